"""Folders of videos: prompts by name, one line for whatever is wrong, nothing done twice, nothing lost when a process dies."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clips import encode as write_clip

from vidmem.batch import LocalCrew, Settings, Worker, find_items, load_table, place, run
from vidmem.batch.plan import Item
from vidmem.batch.run import Report
from vidmem.batch.work import failure
from vidmem.cli.main import main
from vidmem.errors import OutputError, PromptError, SourceError
from vidmem.render import Look

ROOT = Path(__file__).resolve().parents[1]
SIZE = (48, 64)
BOX = "12,10,30,28"
pytestmark = pytest.mark.skipif(not (ROOT / "models/nano/encode.onnx").is_file(), reason="no nano weights")


def images(count: int, shift: int = 0) -> list[np.ndarray]:
    """A bright square that moves to the right over a dim ground."""
    frames = np.full((count, *SIZE, 3), 60, np.uint8)
    for t, frame in enumerate(frames):
        frame[10:28, 12 + t + shift : 30 + t + shift] = (230, 120, 30)
    return list(frames)


@pytest.fixture
def tree(tmp_path):
    """Two clips, one in a folder, and a folder of images; a table with a box for each."""
    from PIL import Image

    folder = tmp_path / "videos"
    (folder / "deep/stills").mkdir(parents=True)
    write_clip(folder / "a.mp4", images(6))
    write_clip(folder / "deep/b.mp4", images(8, 1))
    for t, image in enumerate(images(5)):
        Image.fromarray(image).save(folder / f"deep/stills/{t:03d}.png")
    table = tmp_path / "prompts.csv"
    table.write_text(f"video,obj_id,x0,y0,x1,y1\na.mp4,1,{BOX}\ndeep/b,1,{BOX}\ndeep/stills,2,{BOX}\n")
    return folder, table, tmp_path / "out"


class Here:
    """A crew of one, in this process; notes what it did."""

    count = 1

    def __init__(self, settings):
        self.worker, self.did, self._said = Worker(settings), [], None

    def give(self, worker, item):
        self.did.append(item.name)
        self._said = worker, self.worker.do(item)

    def next(self, seconds):
        said, self._said = self._said, None
        return said

    def close(self):
        pass


def settings_for(folder, out, **other) -> Settings:
    return Settings(
        str(folder), str(out), {"model": "nano", "runtime": "onnx", "threads": 1}, save=("png", "csv"), **other
    )


def go(folder, table, out, settings=None, crews=None, **options):
    settings = settings or settings_for(folder, out)
    items = find_items(place(folder).files(), load_table(table))
    crews = [] if crews is None else crews

    def crew():
        crews.append(Here(settings))
        return crews[-1]

    return run(items, settings, place(out), crew, **options), crews


def finished(out: Path) -> dict[Path, int]:
    """Published records -> inode. What workers are about is left out; it comes and goes while one looks."""
    found = {}
    for folder, below, names in os.walk(out):
        below[:] = [name for name in below if not name.startswith(".")]
        if "done.json" in names:
            found[Path(folder) / "done.json"] = os.stat(Path(folder) / "done.json").st_ino
    return found


# Prompts


def test_a_table_names_boxes_clicks_objects_and_frames(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text(
        "video, obj_id, frame, x0, y0, x1, y1, x, y, label\na.mp4,1,,1,2,3,4,,,\na.mp4,2,5,,,,,7,8,\na.mp4,2,5,,,,,9,9,0\n\nb,1,,,,,,3,,\n"
    )
    said = load_table(path)
    assert said["a.mp4"]["prompts"] == (
        {"obj_id": 1, "box": [1, 2, 3, 4]},
        {"obj_id": 2, "frame": 5, "points": [[7, 8], [9, 9]], "labels": [1, 0]},
    )
    assert "line 6: x without y" in said["b"]["problem"]
    loaded = Item("a.mp4", **said["a.mp4"]).load()
    assert [(p.obj_id, p.frame_idx) for p in loaded] == [(1, None), (2, 5)]


def test_json_and_folders_of_masks_say_the_same_in_other_words(tmp_path):
    from PIL import Image

    path = tmp_path / "p.json"
    path.write_text(json.dumps({"a.mp4": [{"obj_id": 3, "box": [1, 2, 3, 4]}], "b.mp4": "box"}))
    said = load_table(path)
    assert (
        said["a.mp4"]["prompts"] == ({"obj_id": 3, "box": [1, 2, 3, 4]},)
        and "expected a list of prompts" in said["b.mp4"]["problem"]
    )
    masks = tmp_path / "masks"
    (masks / "deep/c").mkdir(parents=True)
    labels = np.zeros(SIZE, np.uint8)
    labels[:9, :9], labels[20:, 20:] = 1, 2
    for name in ("a.png", "deep/c/00000.png", "deep/c/00001.png"):
        Image.fromarray(labels).save(masks / name)
    said = load_table(masks)
    assert set(said) == {"a", "deep/c"} and said["deep/c"]["mask"].endswith("00000.png")
    assert [p.obj_id for p in Item("a.mp4", **said["a"]).load()] == [1, 2]


@pytest.mark.parametrize("name, text, message", [
    ("p.csv", "clip,box\n1,2\n", "has the columns box, clip; expected video, obj_id"), ("p.csv", "video,obj_id\n", "no line that names a video"),
    ("p.json", "[1]", "holds list; expected"), ("p.json", "{", "is not JSON"), ("p.txt", "\xff", "is not JSON"), ("none.csv", None, "cannot be read"),
])  # fmt: skip
def test_a_table_that_cannot_be_read_is_refused_before_the_work(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(PromptError, match=message):
        load_table(tmp_path / name)


def test_every_video_is_found_by_name_and_slips_in_names_are_items_too(tree):
    folder, table, _ = tree
    (folder / "notes.txt").write_text("no video")
    (folder / ".hidden.mp4").write_bytes(b"")
    write_clip(folder / "unasked.mp4", images(2))
    table.write_text(table.read_text() + f"gone.mp4,1,{BOX}\n")
    items = {item.name: item for item in find_items(place(folder).files(), load_table(table))}
    assert set(items) == {"a.mp4", "deep/b.mp4", "deep/stills", "unasked.mp4", "gone.mp4"}
    assert "no prompts for unasked.mp4" in items["unasked.mp4"].problem and "no such video" in items["gone.mp4"].problem
    assert (
        items["deep/stills"].stamp.startswith("5 images") and items["a.mp4"].size == (folder / "a.mp4").stat().st_size
    )
    with pytest.raises(SourceError, match="is no folder"):
        place(folder / "none").files()


# One run after another


def test_what_is_done_is_not_done_again_until_something_changes(tree):
    folder, table, out = tree
    report, crews = go(*tree)
    assert dict(report.states) == {"done": 3} and report.now == 3
    assert {r["video"]: (r["frames"], r["objects"]) for r in report.records.values()} == {
        "a.mp4": (6, 1),
        "deep/b.mp4": (8, 1),
        "deep/stills": (5, 1),
    }
    assert len(list((out / "deep/b.mp4/masks").glob("*.png"))) == 8 and not list(out.glob(".work/*"))
    inodes = finished(out)
    report, crews = go(*tree)
    assert crews == [] and report.now == 0 and dict(report.states) == {"done": 3}
    write_clip(folder / "a.mp4", images(7))
    table.write_text(table.read_text().replace("deep/stills,2", "deep/stills,3"))
    report, crews = go(*tree)
    assert sorted(crews[0].did) == ["a.mp4", "deep/stills"] and report.records["a.mp4"]["frames"] == 7
    kept = [path for path, inode in inodes.items() if path.exists() and path.stat().st_ino == inode]
    assert [path.parent.name for path in kept] == ["b.mp4"]
    report, crews = go(*tree, settings=replace(settings_for(folder, out), max_size=32))
    assert len(crews[0].did) == 3


def test_failures_stay_until_the_file_changes_or_they_are_asked_for_again(tree):
    folder, table, out = tree
    whole = (folder / "a.mp4").read_bytes()
    (folder / "a.mp4").write_bytes(b"no video at all")
    report, _ = go(*tree)
    assert dict(report.states) == {"done": 2, "failed": 1} and "a.mp4" in report.records["a.mp4"]["error"]
    assert not (out / "a.mp4").exists() and (out / ".failed/a.mp4.json").is_file()
    _, crews = go(*tree)
    assert crews == []
    _, crews = go(*tree, retry_failed=True)
    assert crews[0].did == ["a.mp4"]
    (folder / "a.mp4").write_bytes(whole)
    report, crews = go(*tree)
    assert (
        crews[0].did == ["a.mp4"] and dict(report.states) == {"done": 3} and not (out / ".failed/a.mp4.json").exists()
    )


def test_the_report_is_for_programs_and_for_people(tree):
    folder, table, out = tree
    (folder / "deep/b.mp4").write_bytes(b"")
    report, _ = go(*tree)
    whole = json.loads((out / "report.json").read_text())
    assert whole["states"] == {"done": 2, "failed": 1} and {v["video"] for v in whole["videos"]} == {
        "a.mp4",
        "deep/b.mp4",
        "deep/stills",
    }
    assert all(len(v["sha256"]) == 64 for v in whole["videos"] if v["state"] == "done")
    lines = (out / "report.csv").read_text().splitlines()
    assert lines[0].startswith("video,state") and len(lines) == 4
    assert (
        "failed  deep/b.mp4: " in report.table()
        and "2 done (2 in this run), 1 failed, 0 waiting; 11 frames" in report.table()
    )


def test_thirty_files_that_are_wrong_give_thirty_lines_and_the_good_ones_are_done(tree):
    folder, table, out = tree
    whole, chance = (folder / "deep/b.mp4").read_bytes(), np.random.default_rng(0)
    for number in range(6):
        (folder / f"cut{number}.mp4").write_bytes(whole[: 40 + 30 * number])  # not even the header
        (folder / f"noise{number}.avi").write_bytes(chance.bytes(5000))
        (folder / f"empty{number}.mkv").write_bytes(b"")
        (folder / f"text{number}.mov").write_text("<html>404 not found</html>")
        (folder / f"stills{number}").mkdir()
        (folder / f"stills{number}/00000.png").write_bytes(b"\x89PNG\r\n" + chance.bytes(30))
    odd = [np.ascontiguousarray(image[:47, :61]) for image in images(4)]
    write_clip(folder / "odd.mkv", odd, codec="ffv1")
    (folder / "really_mp4.avi").write_bytes(whole)  # mislabelled, and fine
    names = sorted(p.name for p in folder.iterdir() if p.name not in ("deep", "a.mp4"))
    table.write_text(table.read_text() + "".join(f"{name},1,{BOX}\n" for name in names))
    report, _ = go(*tree)
    failed = [r for r in report.records.values() if r["state"] == "failed"]
    assert len(failed) == 30 and dict(report.states) == {"done": 5, "failed": 30}
    assert all(
        r["video"].split("/")[-1].split(".")[0] in r["error"]
        and "internal error" not in r["error"]
        and "\n" not in r["error"]
        for r in failed
    )
    assert report.records["odd.mkv"]["frames"] == 4 and report.records["really_mp4.avi"]["frames"] == 8


def test_two_runs_into_one_folder_do_not_get_in_each_others_way(tree):
    import fcntl

    folder, table, out = tree
    out.mkdir()
    with (out / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another run is writing into"):
            go(*tree)
    assert go(*tree)[0].states["done"] == 3


def test_a_place_of_fsspec_gives_the_same_results_and_marks_them_last(tree, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    folder, table, out = tree
    here, _ = go(*tree)
    memory = fsspec.filesystem("memory")
    memory.put(f"{folder}/", "/videos/", recursive=True)
    order = []
    plain = type(memory).put_file
    monkeypatch.setattr(type(memory), "put_file", lambda self, a, b, **k: (order.append(b), plain(self, a, b, **k))[1])
    there, crews = go("memory://videos", table, "memory://out")
    assert dict(there.states) == {"done": 3} and [name.rsplit("/", 1)[1] for name in order].count("done.json") == 3
    assert all(
        order[i - 1].rsplit("/", 1)[1] != "done.json"
        or i == 0
        or order[i].rsplit("/", 2)[0] != order[i - 1].rsplit("/", 1)[0]
        for i in range(len(order))
    )
    for name in ("a.mp4/boxes.csv", "deep/stills/masks/00004.png"):
        assert memory.cat(f"/out/{name}") == (out / name).read_bytes()
    assert go("memory://videos", table, "memory://out")[1] == [] and json.loads(memory.cat("/out/report.json"))[
        "states"
    ] == {"done": 3}


# Processes that die


def test_a_worker_that_dies_is_replaced_and_its_video_done(tree):
    folder, table, out = tree
    settings, killed = settings_for(folder, out), []
    items = find_items(place(folder).files(), load_table(table))

    class Killing(LocalCrew):
        def give(self, worker, item):
            super().give(worker, item)
            if len(killed) < 1 and item.name == "deep/b.mp4":
                os.kill(self._workers[worker][0].pid, signal.SIGKILL)
                killed.append(item.name)

    report = run(items, settings, place(out), lambda: Killing(settings, 2))
    assert (
        killed == ["deep/b.mp4"]
        and dict(report.states) == {"done": 3}
        and len({r["worker"] for r in report.records.values()}) >= 2
    )

    class Deadly(LocalCrew):
        def give(self, worker, item):
            super().give(worker, item)
            if item.name == "a.mp4":
                os.kill(self._workers[worker][0].pid, signal.SIGKILL)

    report = run(items, replace(settings, max_size=40), place(out), lambda: Deadly(settings, 1))
    assert (
        report.records["a.mp4"]["error"].startswith("the worker died 2 times on this video, signal 9")
        and report.states["done"] == 2
    )


def test_streams_of_one_process_share_its_model_and_its_fate(tree):
    folder, table, out = tree
    settings, killed = settings_for(folder, out), []
    items = find_items(place(folder).files(), load_table(table))

    class Killing(LocalCrew):
        def give(self, spot, item):
            super().give(spot, item)
            if len(self._busy) == 2 and not killed:
                killed.append(len(self._busy))
                os.kill(self._workers[0][0].pid, signal.SIGKILL)

    report = run(items, settings, place(out), lambda: Killing(settings, 1, 2))
    assert (
        killed == [2]
        and dict(report.states) == {"done": 3}
        and len({r["worker"] for r in report.records.values()}) == 1
    )
    alone = folder.parent / "alone"
    run(items, settings_for(folder, alone), place(alone), lambda: Here(settings_for(folder, alone)))
    for name in ("a.mp4", "deep/b.mp4", "deep/stills"):
        assert (out / name / "boxes.csv").read_bytes() == (alone / name / "boxes.csv").read_bytes()


def test_a_run_that_is_killed_goes_on_where_it_stopped(tree):
    folder, table, out = tree
    for number in range(5):
        shutil.copy(folder / "deep/b.mp4", folder / f"more{number}.mp4")
        table.write_text(table.read_text() + f"more{number}.mp4,1,{BOX}\n")
    command = [
        sys.executable,
        "-m",
        "vidmem",
        "batch",
        str(folder),
        "--prompts",
        str(table),
        "--out",
        str(out),
        "--save",
        "png,csv",
    ]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while len(finished(out)) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    first.kill()
    first.wait()
    time.sleep(0.5)  # its worker notices
    before = finished(out)
    assert 2 <= len(before) < 8
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert second.returncode == 0 and "8 done" in second.stdout, second.stderr
    assert all(path.stat().st_ino == inode for path, inode in before.items())
    for path in finished(out):
        assert len(list((path.parent / "masks").glob("*.png"))) == json.loads(path.read_text())["frames"]
    assert not (out / ".work").exists()


def test_ray_does_the_same_and_survives_the_death_of_an_actor(tree):
    pytest.importorskip("ray")
    from vidmem.batch import RayCrew

    folder, table, out = tree
    settings, killed = settings_for(folder, out), []
    items = find_items(place(folder).files(), load_table(table))

    class Killing(RayCrew):
        def give(self, spot, item):
            super().give(spot, item)
            if not killed:
                killed.append(item.name)
                until = time.monotonic() + 60
                while not (begun := list(out.glob(".work/*"))) and time.monotonic() < until:
                    time.sleep(0.002)
                os.kill(int(begun[0].name.split("-")[0]), signal.SIGKILL)

    report = run(items, settings, place(out), lambda: Killing(settings, 2, "local"))
    assert killed and dict(report.states) == {"done": 3}
    assert {v["video"]: v["state"] for v in json.loads((out / "report.json").read_text())["videos"]} == {
        item.name: "done" for item in items
    }


def test_a_ray_actor_that_hangs_is_replaced(tree):
    pytest.importorskip("ray")
    from vidmem.batch import RayCrew

    folder, table, out = tree
    settings, frozen = settings_for(folder, out), []
    items = find_items(place(folder).files(), load_table(table))

    class Freezing(RayCrew):
        def give(self, spot, item):
            super().give(spot, item)
            if not frozen:
                until = time.monotonic() + 60
                while not (begun := list(out.glob(".work/*"))) and time.monotonic() < until:
                    time.sleep(0.002)
                frozen.append(int(begun[0].name.split("-")[0]))
                os.kill(frozen[0], signal.SIGSTOP)

    try:
        report = run(items, settings, place(out), lambda: Freezing(settings, 1, "local", stall=3))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(frozen[0], signal.SIGKILL)
    assert dict(report.states) == {"done": 3}
    assert frozen[0] not in {record["worker"] for record in report.records.values()}, "another did it"


def test_a_model_that_no_ray_actor_can_load_ends_the_run(tree):
    pytest.importorskip("ray")
    from vidmem.batch import RayCrew
    from vidmem.errors import ModelError

    folder, table, out = tree
    settings = replace(settings_for(folder, out), load={"model": "nano", "weights": out / "none"})
    items = find_items(place(folder).files(), load_table(table))
    with pytest.raises(ModelError, match="none"):
        run(items, settings, place(out), lambda: RayCrew(settings, 1, "local"))


# The command


def test_another_look_is_other_work_and_the_usual_one_is_not():
    plain = Settings("s", "o").of(Item("a.mp4"))
    assert plain == "66dc15808a0042b4", "results of earlier runs would be made again"
    changed = [Settings("s", "o", look=Look(effect="blur")), Settings("s", "o", sound=False)]
    assert len({plain, *(settings.of(Item("a.mp4")) for settings in changed)}) == 3


def test_the_exit_code_says_whose_fault_it_was():
    failed = {"state": "failed"}
    for records, code in (
        ([{"state": "done"}], 0),
        ([{**failed, "exit_code": 2}, {"state": "done"}], 2),
        ([{**failed, "exit_code": 2}, {**failed, "exit_code": 1}], 1),
        ([failed], 1),  # a worker that died
    ):
        assert Report({str(i): record for i, record in enumerate(records)}).exit_code == code
    assert failure(PromptError("x"))["exit_code"] == 2 and failure(ZeroDivisionError())["exit_code"] == 1


def test_the_command_says_what_was_wrong_and_ends_with_2(tree, capsys):
    folder, table, out = tree
    (folder / "a.mp4").write_bytes(b"")
    arguments = ["batch", str(folder), "--prompts", str(table), "--out", str(out), "--save", "vos", "--runtime", "onnx"]
    assert main(arguments) == 2
    said = capsys.readouterr().out
    assert (
        "failed  a.mp4: " in said
        and "2 done (2 in this run), 1 failed" in said
        and (out / "deep/b.mp4/tracks.json").is_file()
    )
    for wrong, message in ((["--save", "gif"], "cannot save 'gif'"), (["--workers", "0"], "--workers is 0"), (["--out", str(folder)], "is the folder of the videos"),
                           (["--bank", "none"], "there is no bank 'none'")):  # fmt: skip
        assert main([*arguments, *wrong]) == 2
        assert message in capsys.readouterr().err
