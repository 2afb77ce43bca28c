"""`vidmem live`: lines of JSON on standard output, events beside them, and errors of one line."""

import json

import pytest
from clips import encode as write_clip
from scenes import scene

from vidmem.cli.main import main

BOX = "8,8,24,24"


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    write_clip(path, [scene(t).image for t in range(30)])
    return path


def test_a_file_plays_as_a_camera_would_and_every_answer_is_a_line(clip, tmp_path, capsys):
    answers = tmp_path / "answers.jsonl"
    said = [
        "live",
        str(clip),
        "--box",
        BOX,
        "--answers",
        str(answers),
        "--masks",
        "--runtime",
        "onnx",
        "--threads",
        "1",
    ]
    assert (
        main(
            [
                *said,
                "--deadline-ms",
                "30000",
                "--stale-after-ms",
                "40000",
                "--invalid-after-ms",
                "50000",
                "--hang-seconds",
                "600",
            ]
        )
        == 0
    )
    lines = [json.loads(line) for line in answers.read_text().splitlines()]
    assert lines and all(line["validity"] == "fresh" for line in lines)
    seen = [line["frame_idx"] for line in lines]
    assert seen == sorted(set(seen)) and seen[-1] == 29, "the newest frame wins, and the last is answered"
    assert lines[0]["objects"][0]["obj_id"] == 1 and "counts" in lines[0]["objects"][0]["mask"]
    told = capsys.readouterr().err
    assert "started at frame" in told and "ended" in told
    stats = json.loads(told.strip().splitlines()[-1])
    assert stats["worked"] == len(lines) and stats["worked"] + stats["dropped"] == 30


@pytest.mark.parametrize(
    "more, named",
    [
        (["--box", BOX, "--deadline-ms", "900"], "in this order"),
        ([], "--click, --box"),
        (["--box", "9000,1,9010,5"], "outside"),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_exit_code_2(clip, capsys, more, named):
    assert main(["live", str(clip), "--runtime", "onnx", "--threads", "1", *more]) == 2
    assert named in capsys.readouterr().err


def test_a_file_that_is_not_there_fails_with_2(tmp_path, capsys):
    assert main(["live", str(tmp_path / "no.mp4"), "--box", BOX, "--runtime", "onnx", "--threads", "1"]) == 2
    assert "no.mp4" in capsys.readouterr().err
