"""The command line makes the files it names, and answers every wrong input with one line and the exit code 2."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vidmem.cli.main import main
from vidmem.session import Session

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "assets/demo.mp4"
BOX = "43,154,201,255"

pytestmark = pytest.mark.skipif(
    not (ROOT / "models/nano/encode.onnx").is_file() or not DEMO.is_file(), reason="no nano weights, or no demo clip"
)


def command(out, *more, source=DEMO, end=5) -> list[str]:
    return ["track", str(source), "--out", str(out), "--end", str(end), "--threads", "1", *map(str, more)]


def picture(path: Path, array: np.ndarray) -> Path:
    Image.fromarray(array).save(path)
    return path


def decoded(path: Path) -> int:
    import av

    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "masks.jsonl").read_text().splitlines()]


def refused(capsys, argv, says: str) -> None:
    """Exit code 2, and one line on standard error that holds `says`."""
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("vidmem: ") and says in error, error


# What it makes ------------------------------------------------------------------------------------------------------
def test_track_makes_every_file_it_promises(tmp_path, capsys):
    out = tmp_path / "a" / "b"
    assert main(command(out, "--box", BOX)) == 0
    said = capsys.readouterr()
    assert said.err == "" and "object 1: 5 frames tracking" in said.out and str(out) in said.out
    assert sorted(p.name for p in out.iterdir()) == [
        ".vidmem-files",
        "boxes.csv",
        "masks",
        "masks.jsonl",
        "overlay.mp4",
    ]
    assert decoded(out / "overlay.mp4") == 5
    assert [p.name for p in sorted((out / "masks").iterdir())] == [f"{i:05d}.png" for i in range(5)]
    assert [line["frame_idx"] for line in lines(out)] == list(range(5))
    rows = list(csv.DictReader((out / "boxes.csv").open()))
    assert [int(row["frame_idx"]) for row in rows] == list(range(5)) and rows[0]["status"] == "tracking"
    labels = np.array(Image.open(out / "masks/00000.png"))
    assert labels.shape == (360, 640) and set(np.unique(labels)) == {0, 1}


def test_save_and_max_size_are_obeyed_and_prompts_scale_along(tmp_path):
    assert main(command(tmp_path, "--box", BOX, "--save", "rle", "--max-size", 320, end=1)) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == [".vidmem-files", "masks.jsonl"]
    (line,) = lines(tmp_path)
    x, y, w, h = line["objects"][0]["bbox"]
    assert line["size"] == [180, 320] and 10 < x < 40 and 60 < y < 100 and w < 110 and h < 70


def test_prompts_for_several_objects_and_frames_are_followed(tmp_path):
    mask = np.zeros((360, 640), np.uint8)
    mask[154:255, 43:201] = 7
    picture(tmp_path / "m.png", mask)
    items = [{"obj_id": 7, "mask": "m.png"}, {"obj_id": 2, "frame": 2, "points": [[320, 180]]}]
    (tmp_path / "p.json").write_text(json.dumps(items))
    assert main(command(tmp_path, "--prompts", tmp_path / "p.json", "--save", "rle", end=4)) == 0
    assert [[o["obj_id"] for o in line["objects"]] for line in lines(tmp_path)] == [[7], [7], [2, 7], [2, 7]]


def test_bank_options_reach_the_bank_and_wrong_ones_are_refused(tmp_path, capsys):
    assert (
        main(command(tmp_path, "--box", BOX, "--save", "csv", "--bank-slots", 2, "--bank-absent", "True", end=1)) == 0
    )
    capsys.readouterr()
    for value, says in (("1", "2 or more"), ("2.5", "expected an integer"), ("many", "bank options")):
        refused(capsys, command(tmp_path, "--box", BOX, "--bank-slots", value), says)


def test_banks_and_searches_and_their_numbers_are_chosen_by_name(tmp_path, capsys):
    chosen = ["--bank", "diverse", "--bank-rule", "dive", "--bank-iou", "0.8", "--search", "tree", "--search-lag", 2]
    assert main(command(tmp_path, "--box", BOX, "--save", "csv", *chosen, end=5)) == 0
    assert len((tmp_path / "boxes.csv").read_text().splitlines()) == 6
    capsys.readouterr()
    refused(
        capsys,
        command(tmp_path, "--box", BOX, "--bank", "diverse", "--bank-rule", "dam"),
        "rule='dam'; expected one of dlm, dive",
    )
    refused(capsys, command(tmp_path, "--box", BOX, "--search-lag", "2"), "the search has no lag, it has no numbers")
    refused(
        capsys,
        command(tmp_path, "--box", BOX, "--search", "tree", "--search-width", "0"),
        "width=0; expected an integer",
    )
    refused(
        capsys,
        command(tmp_path, "--box", BOX, "--bank", "spaced", "--bank-stride", "0"),
        "stride=0; expected an integer, 1 or more",
    )


def test_models_names_every_model_bank_and_search(capsys):
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("nano", "recent", "slots=7", "greedy"))


def test_doctor_tries_every_runtime_and_says_what_works(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "nano runs on onnx" in out and out.splitlines()[-1] == "a video can be tracked"


def test_doctor_fails_when_nothing_works(capsys, monkeypatch):
    monkeypatch.setattr("vidmem.catalogue.tracker.load", lambda *a, **k: 1 / 0)
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "no runtime works: pip install openvino"


@pytest.fixture
def data(tmp_path):
    """One sequence of 4 frames: a bright square that moves by 4 pixels a frame."""
    for kind in ("frames", "masks"):
        (tmp_path / "data/square" / kind).mkdir(parents=True)
    for t in range(4):
        image, mask = np.full((96, 128, 3), 40, np.uint8), np.zeros((96, 128), np.uint8)
        image[30:60, 20 + 4 * t : 60 + 4 * t], mask[30:60, 20 + 4 * t : 60 + 4 * t] = (230, 200, 40), 1
        picture(tmp_path / f"data/square/frames/{t:05d}.png", image)
        picture(tmp_path / f"data/square/masks/{t:05d}.png", mask)
    return tmp_path / "data"


def test_eval_writes_its_scores_and_the_machine_as_json(data, tmp_path, capsys):
    file = tmp_path / "new/scores.json"
    assert main(["eval", str(data), "--json", str(file), "--masks", str(tmp_path / "out"), "--threads", "1"]) == 0
    scores = json.loads(file.read_text())
    assert scores["model"] == "nano" and scores["prompt"] == "mask" and scores["machine"]["cores"] >= 1
    (row,) = scores["sequences"]
    assert (row["name"], row["frames"]) == ("square", 4) and 0 <= row["j_and_f"] <= 1
    assert scores["mean"]["j"] == row["j"] and "square" in capsys.readouterr().out
    assert len(list((tmp_path / "out/square").glob("*.png"))) == 4


def test_eval_says_what_it_cannot_read_or_write(data, tmp_path, capsys):
    refused(capsys, ["eval", str(tmp_path / "none")], "none does not exist; expected NAME/frames")
    refused(capsys, ["eval", str(tmp_path)], "no sequence with masks")
    (tmp_path / "file").write_text("")
    refused(capsys, ["eval", str(tmp_path / "file")], "file is no folder")
    refused(
        capsys, ["eval", str(data), "--threads", "1", "--json", str(tmp_path / "file/scores.json")], "cannot be written"
    )


# What it refuses ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "more, says",
    [
        (["--click", "900,10"], "click [900.0, 10.0] is outside"),
        (["--click", "nan,10"], "points holds nan"),
        (["--box", "200,20,100,80"], "reversed"),
        (["--box", "700,20,800,80"], "outside"),
        (["--box", BOX, "--model", "giant"], "no model 'giant'; choose from: nano"),
        (["--box", BOX, "--bank", "none"], "no bank 'none'; choose from: recent"),
        (["--box", BOX, "--search", "none"], "no search 'none'; choose from: greedy"),
        (["--box", BOX, "--runtime", "none"], "no runtime 'none'; choose from: auto"),
        (["--box", BOX, "--save", "overlay,gif"], "cannot save 'gif'; choose from: overlay"),
        (["--box", BOX, "--start", "900", "--end", "901"], "past the end"),
        ([], "say what to track"),
        (["--not-click", "3,3", "--prompts", "p.json"], "not both"),
        (["--box", BOX, "--prompts", "p.json"], "not both"),
        (["--prompts", "none.json"], "does not exist"),
        (["--mask", "none.png"], "does not exist"),
        (["--box", BOX, "--weights", "none"], "weights none: there is no such folder"),
        (["--box", BOX, "--device", "tpu"], "no device 'tpu'; choose from: cpu, cuda"),
        (["--box", BOX, "--save", ""], "cannot save 'nothing'; choose from: overlay"),
        (["--box", BOX, "--save", " , "], "cannot save 'nothing'"),
        (["--not-click", "3,3"], "--not-click says what is not the object; give --click or --box too"),
        (["--box", "-30,-20,-10,-5"], "box [-30.0, -20.0, -10.0, -5.0] is outside"),
        (["--click", "-3,5"], "click [-3.0, 5.0] is outside"),
        (["--box", BOX, "--opacity", "2"], "opacity is 2.0; expected from 0"),
        (["--box", BOX, "--effect", "sepia"], "no effect 'sepia'; choose from: blur"),
        (["--box", BOX, "--at", "900"], "object 1 waits for frame 900, but frames 0 to 4 are read"),
        (["--box", BOX, "--at", "-1"], "--at is -1; expected the index"),
        (["--prompts", "p.json", "--at", "1"], "--at is for --click"),
        (["--box", BOX, "--reverse", "--both-ways"], "choose one"),
    ],
)
def test_a_wrong_option_is_refused_in_one_line(tmp_path, capsys, more, says):
    refused(capsys, command(tmp_path / "out", *more), says)


def test_a_wrong_source_is_refused_in_one_line(tmp_path, capsys):
    text = tmp_path / "notes.mp4"
    text.write_text("this is no video\n" * 50)
    refused(capsys, command(tmp_path / "out", "--box", BOX, source=tmp_path / "none.mp4"), "does not exist")
    refused(capsys, command(tmp_path / "out", "--box", BOX, source=text), "not a video")


def test_a_wrong_mask_file_is_refused_in_one_line(tmp_path, capsys):
    empty = picture(tmp_path / "empty.png", np.zeros((360, 640), np.uint8))
    small = picture(tmp_path / "small.png", np.full((36, 64), 255, np.uint8))
    refused(capsys, command(tmp_path / "out", "--mask", empty), "is empty")
    refused(capsys, command(tmp_path / "out", "--mask", small), "the mask is 64x36 but the frame is 640x360")
    refused(capsys, command(tmp_path / "out", "--mask", small, "--click", "3,3"), "--mask came with")


def test_a_folder_that_cannot_be_written_is_refused_in_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    refused(capsys, command(tmp_path / "file", "--box", BOX), "cannot be written")
    refused(capsys, command(tmp_path / "file/out", "--box", BOX), "cannot be written")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_refused_prompt_leaves_no_video_of_no_bytes(tmp_path, capsys):
    refused(capsys, command(tmp_path, "--click", "nan,1"), "nan")
    refused(capsys, command(tmp_path, "--click", "900,1"), "outside")
    assert not (tmp_path / "overlay.mp4").exists()


def test_a_prompt_past_the_end_is_refused_before_the_work(tmp_path, capsys):
    box = {"obj_id": 1, "box": [43, 154, 201, 255]}
    (tmp_path / "p.json").write_text(json.dumps([box, {"obj_id": 2, "frame": 3, "points": [[900, 9]]}]))
    refused(
        capsys, command(tmp_path / "out", "--prompts", tmp_path / "p.json"), "object 2: click [900.0, 9.0] is outside"
    )
    items = [box, {"obj_id": 2, "frame": 400, "points": [[9, 9]]}]
    (tmp_path / "p.json").write_text(json.dumps(items))
    for end, last in (("3", 2), ("999", 275)):
        says = f"object 2 waits for frame 400, but frames 0 to {last} are read"
        refused(capsys, command(tmp_path / "out", "--prompts", tmp_path / "p.json", end=end), says)
    assert not (tmp_path / "out").exists()


def test_images_of_several_sizes_are_refused_before_the_work(tmp_path, capsys):
    (tmp_path / "frames").mkdir()
    for name, size in (("1.png", (30, 40)), ("2.png", (30, 40)), ("3.png", (60, 80))):
        picture(tmp_path / "frames" / name, np.full((*size, 3), 90, np.uint8))
    says = "holds images of 40x30 (1.png) and of 80x60 (3.png); scale them to one size"
    refused(capsys, command(tmp_path / "out", "--box", "2,2,20,20", source=tmp_path / "frames"), says)
    assert not (tmp_path / "out").exists()
    assert main(command(tmp_path / "out", "--box", "2,2,20,20", source=tmp_path / "frames", end=2)) == 0


def test_a_malformed_number_shows_the_form_that_is_expected(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(command(tmp_path, "--box", "1,2,3"))
    assert stop.value.code == 2 and "expected x0,y0,x1,y1" in capsys.readouterr().err


# What is not the user's fault ---------------------------------------------------------------------------------------
def test_an_internal_error_is_one_line_with_exit_code_1_and_a_traceback_only_with_debug(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Session, "step", lambda self, frame: 1 / 0)
    assert main(command(tmp_path, "--box", BOX)) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "internal error, ZeroDivisionError" in error and "--debug" in error
    with pytest.raises(ZeroDivisionError):
        main(command(tmp_path, "--box", BOX, "--debug"))


def test_ctrl_c_exits_with_130_and_leaves_whole_files(tmp_path, capsys, monkeypatch):
    step = Session.step

    def interrupted(self, frame):
        if frame.index == 3:
            raise KeyboardInterrupt
        return step(self, frame)

    monkeypatch.setattr(Session, "step", interrupted)
    assert main(command(tmp_path, "--box", BOX)) == 130
    said = capsys.readouterr()
    assert "interrupted after 3 frames" in said.err and "3 frames in" in said.out
    assert decoded(tmp_path / "overlay.mp4") == 3 and [line["frame_idx"] for line in lines(tmp_path)] == [0, 1, 2]


def test_the_module_runs_as_a_program_without_a_traceback(tmp_path):
    """The one subprocess: exit codes arrive at the shell."""
    run = subprocess.run([sys.executable, "-m", "vidmem", *command(tmp_path, "--box", BOX, source="none.mp4")],
                         cwd=ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    assert run.returncode == 2 and run.stderr.count("\n") == 1 and "Traceback" not in run.stderr
