"""What the command line says of itself, and what it does for people who have not read the docs."""

import json
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vidmem.cli.main import build_parser, main
from vidmem.cli.options import joined
from vidmem.learn import LEARNERS
from vidmem.memory import BANKS
from vidmem.search import SEARCHES
from vidmem.video import SINKS

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "assets/demo.mp4"
COMMANDS = ["track", "pick", "batch", "eval", "banks", "models", "export", "gate", "bench", "doctor"]

needs_model = pytest.mark.skipif(
    not (ROOT / "models/nano/encode.onnx").is_file() or not DEMO.is_file(), reason="no nano weights, or no demo clip"
)


def said(capsys, *argv: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(list(argv))
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_vidmem_alone_shows_the_help(capsys):
    assert main([]) == 0
    out = capsys.readouterr()
    assert out.err == "" and all(f"    {name} " in out.out for name in COMMANDS) and "vidmem track clip.mp4" in out.out


def test_the_help_of_track_has_groups_examples_and_every_format_but_no_number_of_a_bank(capsys):
    text = said(capsys, "track", "--help")
    groups = [
        "what to track:",
        "which frames:",
        "what to write:",
        "how overlay.mp4 looks:",
        "model, memory and engine:",
    ]
    assert [text.index(group) for group in groups] == sorted(text.index(group) for group in groups)
    assert all(re.search(rf"\b{name} +{re.escape(target)}", text) for name, (target, _) in SINKS.items())
    assert "--bank-slots " in text and not re.search(r"^ +--(bank|search)-", text, re.M)


def test_the_examples_of_the_help_are_understood(capsys):
    parser = build_parser()
    examples = re.findall(r"^  vidmem ((?:track|pick|batch) .*?)(?:   .*)?$", said(capsys, "--help") + said(capsys, "track", "--help") + said(capsys, "batch", "--help"), re.M)  # fmt: skip
    assert len(examples) >= 8
    for line in examples:
        parser.parse_args(joined(shlex.split(line)))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_takes_and_what_it_does(capsys, command):
    (commands,) = (a for a in build_parser()._actions if hasattr(a, "choices") and isinstance(a.choices, dict))
    for action in commands.choices[command]._actions:
        assert action.help, f"{command}: {action.option_strings or action.dest} has no help"


def test_an_abbreviation_is_no_option(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["track", str(DEMO), "--out", "x", "--bo", "1,2,3,4"])
    assert stop.value.code == 2 and "unrecognized arguments: --bo" in capsys.readouterr().err


def test_numbers_below_zero_are_values():
    assert joined(["track", "v", "--box", "-10,-5,30,40", "--start", "-1", "--click", "3,4"]) == [
        "track", "v", "--box=-10,-5,30,40", "--start=-1", "--click", "3,4",
    ]  # fmt: skip
    assert joined(["a", "-h", "--box=1", "-2", "--", "-5"]) == ["a", "-h", "--box=1", "-2", "--", "-5"]
    args = build_parser().parse_args(joined(["track", "v", "--out", "o", "--box", "-10,-5.5,30,40"]))
    assert args.box == [-10, -5.5, 30, 40]


@pytest.mark.parametrize("name", [*BANKS, *SEARCHES, *LEARNERS])
def test_banks_says_what_each_does_and_names_the_option_of_every_number(capsys, name):
    import dataclasses

    assert main(["banks", name]) == 0
    out = capsys.readouterr().out
    policy = {**BANKS, **SEARCHES, **LEARNERS}[name]
    kind = "search" if name in SEARCHES else "learner" if name in LEARNERS else "bank"
    assert out.splitlines()[0] == policy.__doc__.splitlines()[0]
    options = re.findall(r"^  (--\S+)", out, re.M)
    assert options == [f"--{kind}-{f.name.replace('_', '-')}" for f in dataclasses.fields(policy)]
    build_parser().parse_args(["track", "v", "--out", "o", *(word for option in options for word in (option, "1"))])


def test_banks_lists_them_and_refuses_others(capsys):
    assert main(["banks"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == [*BANKS, *SEARCHES, *LEARNERS] and all(
        len(line.split()) > 4 for line in lines
    )
    assert main(["banks", "none"]) == 2 and "choose from: recent" in capsys.readouterr().err


@needs_model
def test_the_results_name_the_file_to_open_and_the_runtime(tmp_path, capsys):
    argv = ["track", str(DEMO), "--box", "43,154,201,255", "--end", "2", "--threads", "1", "--out", str(tmp_path / "o")]
    assert main([*argv, "--save", "png, overlay"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"results: {tmp_path / 'o/overlay.mp4'}, and masks" in lines
    assert any(re.match(r"runtime: \w+, (fp32|bf16), the (default|fastest here)", line) for line in lines)
    assert main([*argv, "--save", "csv", "--runtime", "onnx"]) == 0
    assert "runtime: onnx, as asked for" in capsys.readouterr().out.splitlines()


# pick


def test_pick_writes_a_frame_with_its_coordinates_and_the_next_command(tmp_path, capsys):
    out = tmp_path / "new/first.png"
    assert main(["pick", str(DEMO), "--out", str(out), "--frame", "3"]) == 0
    first, command = capsys.readouterr().out.splitlines()
    assert f"{out}: frame 3 of 640x360 pixels, a line every 50" in first
    assert command == f"vidmem track {DEMO} --click x,y --at 3 --out results"
    picture = np.asarray(Image.open(out)).astype(int)
    assert picture.shape == (720, 1280, 3)  # twice as large
    yellow = (np.abs(picture - (255, 213, 0)).sum(2) < 260).mean(0)
    lines = np.flatnonzero(yellow > 0.9)
    assert set(range(100, 1280, 100)) <= set(lines.tolist())


def test_pick_replaces_its_own_picture_and_no_other(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["pick", str(DEMO)]) == 0 == main(["pick", str(DEMO)])
    assert os.listdir() == ["demo-frame0.png"]
    Image.new("RGB", (9, 9)).save("mine.png")
    before = Path("mine.png").read_bytes()
    assert main(["pick", str(DEMO), "--out", "mine.png"]) == 2
    assert "is no picture of an earlier" in capsys.readouterr().err and Path("mine.png").read_bytes() == before
    assert main(["pick", str(DEMO), "--frame", "900"]) == 2 and "past the end" in capsys.readouterr().err


@pytest.mark.parametrize("size", [(1080, 1920), (48, 64), (2000, 300), (5, 3)])
def test_a_grid_has_a_line_every_step_whatever_the_size(size):
    from vidmem.render.grid import LINES, grid

    picture, step = grid(np.full((*size, 3), 60, np.uint8))
    factor = picture.shape[0] // size[0]
    assert picture.shape == (size[0] * factor, size[1] * factor, 3) and max(size) / step <= LINES
    if size[1] > 2 * step:
        row = picture[int(2.5 * step * factor) if size[0] > 3 * step else picture.shape[0] - 1].astype(int)
        assert (np.abs(row[step * factor] - 60) > 60).any()


# The other direction


@needs_model
def test_both_ways_goes_from_the_middle_to_both_ends_and_reverse_from_the_end(tmp_path, capsys):
    box = json.loads((ROOT / "assets/demo.json").read_text())["box"]
    argv = [
        "track",
        str(DEMO),
        "--threads",
        "1",
        "--end",
        "6",
        "--save",
        "overlay,rle",
        "--box",
        ",".join(map(str, box)),
    ]
    for name, more in (("both", ["--at", "3", "--both-ways"]), ("back", ["--reverse"])):
        assert main([*argv, "--out", str(tmp_path / name), *more]) == 0
        lines = [json.loads(line) for line in (tmp_path / name / "masks.jsonl").read_text().splitlines()]
        assert [line["frame_idx"] for line in lines] == list(range(6))
        assert all(line["objects"][0]["status"] == "tracking" for line in lines)
        assert "object 1: 6 frames tracking" in capsys.readouterr().out
