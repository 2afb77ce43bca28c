"""Texts wherever prompts are: on the command line, in files, in tables of many videos, in evaluation."""

import json
from pathlib import Path

import numpy as np
import pytest

import vidmem.detect
from tests.scenes import new_session, place, scene
from vidmem import Report, track
from vidmem.batch import Worker, find_items, load_table
from vidmem.batch import open_place as place_of
from vidmem.batch.plan import Item
from vidmem.cli.main import main
from vidmem.detect import FakeDetector, Find, Watcher, WatchRule
from vidmem.errors import PromptError
from vidmem.evaluation import find_sequences
from vidmem.evaluation.expressions import load_expressions
from vidmem.evaluation.run import evaluate
from vidmem.prompts import PromptAt, parse_prompts

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "assets/demo.mp4"
FRAMES = [scene(t) for t in range(8)]
needs_weights = pytest.mark.skipif(not (ROOT / "models/words/look.onnx").is_file(), reason="no weights of words")


def box(obj_id: int, t: int) -> np.ndarray:
    return np.array(place(obj_id, t), np.float32)


def finds(concept: int, on: int) -> dict:
    return {t: [Find(concept, 0.9, box(on, t), parts={"word": 0.9})] for t in range(50)}


@pytest.fixture
def fake(monkeypatch):
    """`--detector words` finds one thing, in the demo clip, from the first look on."""
    thing = {
        t: [Find(i, 0.9, np.array([43, 154, 201, 255], np.float32), parts={"word": 0.9}) for i in (1, 2)]
        for t in range(9)
    }
    made = FakeDetector(thing, words=["fish", "shark"])
    monkeypatch.setitem(vidmem.detect.DETECTORS, "words", lambda weights, threads: made)
    return made


def command(out, *more) -> list[str]:
    return ["track", str(DEMO), "--out", str(out), "--end", "6", "--threads", "1", "--save", "csv", *map(str, more)]


def refused(capsys, argv, says: str) -> None:
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("vidmem: ") and says in error, error


# The pipeline --------------------------------------------------------------------------------------------------------
def test_a_text_is_found_followed_and_told():
    session, report = new_session(), Report()
    with session:
        watcher = Watcher(session, FakeDetector(finds(2, on=3)), WatchRule(every=1))
        track(FRAMES, watcher, [PromptAt(1, box=box(1, 0)), PromptAt(2, text="blue")], report=report)
    assert {obj_id: sum(counts.values()) for obj_id, counts in report.statuses.items()} == {1: 8, 2: 6}
    assert [(t, event.kind, event.obj_id) for t, event in report.events] == [(2, "found", 2)]
    assert "frame 2: found object 2, 'blue': word 0.90" in report.summary() and report.sought == []


def test_what_was_not_found_is_said_at_the_end():
    report = Report()
    with new_session() as session:
        track(FRAMES, Watcher(session, FakeDetector()), [PromptAt(1, text="swan")], report=report)
    assert report.sought == ["swan"] and "'swan': nothing here was credible" in report.summary()


def test_a_text_without_a_detector_is_refused():
    with new_session() as session:
        with pytest.raises(PromptError, match="object 1 is the text 'dog', and this session has no detector"):
            track(FRAMES, session, [PromptAt(1, text="dog")])


# Files ---------------------------------------------------------------------------------------------------------------
def test_a_prompts_file_takes_texts():
    first, second = parse_prompts(
        [{"obj_id": 1, "box": [0, 0, 5, 5]}, {"obj_id": 2, "text": "black dog"}], "x", Path(".")
    )
    assert (first.text, second.obj_id, second.text, second.scaled(0.5).text) == (None, 2, "black dog", "black dog")


@pytest.mark.parametrize(
    "item, says",
    [
        ({"obj_id": 1, "text": ""}, "item 0 has text ''; expected a few words"),
        ({"obj_id": 1, "text": 7}, "item 0 has text 7; expected a few words"),
        ({"obj_id": 1, "text": "dog", "box": [0, 0, 5, 5]}, "has text and box"),
        ({"obj_id": 1, "text": "dog", "frame": 5}, "has text and frame"),
    ],
)
def test_a_text_that_cannot_be_meant_names_its_item(item, says):
    with pytest.raises(PromptError, match=says):
        parse_prompts([item], "x", Path("."))


# The command line ----------------------------------------------------------------------------------------------------
def test_track_takes_texts_again_and_again(fake, tmp_path, capsys):
    assert main(command(tmp_path, "--text", "fish")) == 0
    assert "frame 2: found object 1, 'fish': word 0.90" in capsys.readouterr().out
    assert main(command(tmp_path / "two", "--text", "fish", "--text", "shark")) == 0
    assert "found object 1, 'shark'" in capsys.readouterr().out  # they mean one thing: it is not followed twice


def test_texts_stand_beside_a_box_and_get_the_next_ids(fake, tmp_path, capsys):
    fake.script = {}
    assert main(command(tmp_path, "--box", "300,50,340,90", "--text", "shark")) == 0
    assert "'shark': nothing here was credible" in capsys.readouterr().out


@needs_weights
@pytest.mark.parametrize(
    "more, says",
    [
        (["--text", ""], "text is empty"),
        (["--text", "dog " * 500], "text has 500 words"),
        (["--text", "forceps"], "I do not know 'forceps'"),
        (["--text", "dog", "--detector", "owl"], "there is no detector 'owl'; choose from: words"),
        (["--text", "dog", "--detector-weights", "nowhere"], "nowhere/look.onnx is missing"),
        (["--text", "dog", "--prompts", "x.json"], "(not both)"),
        ([], "--click, --box, --mask or --text"),
    ],
)
def test_bad_texts_are_one_line_and_exit_code_two(more, says, tmp_path, capsys):
    refused(capsys, command(tmp_path / "out", *more), says)


# Many videos ---------------------------------------------------------------------------------------------------------
def test_a_table_takes_texts(tmp_path):
    table = tmp_path / "prompts.csv"
    table.write_text("video,obj_id,text\na.mp4,1,black dog\na.mp4,2,cat\nb.mp4,,two cups\n")
    said = load_table(table)
    assert said["a.mp4"]["prompts"] == ({"obj_id": 1, "text": "black dog"}, {"obj_id": 2, "text": "cat"})
    assert Item("b.mp4", **said["b.mp4"]).load()[0].text == "two cups"


def test_a_batch_looks_for_texts_and_says_what_was_not_found(fake, tmp_path):
    from vidmem.batch import Settings

    (tmp_path / "in").mkdir()
    (tmp_path / "in/demo.mp4").write_bytes(DEMO.read_bytes())
    table = tmp_path / "prompts.json"
    table.write_text(json.dumps({"demo.mp4": [{"obj_id": 1, "text": "fish"}]}))
    load = {"model": "nano", "runtime": "onnx", "threads": 1}
    worker = Worker(Settings(str(tmp_path / "in"), str(tmp_path / "out"), load, save=("csv",), max_size=160))
    (item,) = find_items(place_of(str(tmp_path / "in")).files(), load_table(table))
    fake.script = {}
    record = worker.do(item)
    assert record["state"] == "done" and record["not_found"] == ["fish"] and record["objects"] == 0


def test_a_detector_that_nobody_asks_changes_no_setting(tmp_path):
    from vidmem.batch import Settings

    one, other = (Settings("a", "b", detector=name) for name in ("words", "another"))
    boxed, named = (
        Item("x", prompts=({"obj_id": 1, "box": [0, 0, 5, 5]},)),
        Item("x", prompts=({"obj_id": 1, "text": "dog"},)),
    )
    assert one.of(boxed) == other.of(boxed) and one.of(named) != other.of(named)


# Evaluation ----------------------------------------------------------------------------------------------------------
def expressions(folder: Path, videos) -> Path:
    path = folder / "meta_expressions.json"
    path.write_text(json.dumps({"videos": videos}))
    return path


def test_expressions_of_both_layouts_are_read(tmp_path):
    videos = {
        "seq_1": {"expressions": {"0": {"exp": "forceps", "obj_id": 3}, "1": {"exp": "needle driver", "obj_id": "3"}}},
        "clip": {"expressions": {"0": {"exp": "a dog"}}},
    }
    assert load_expressions(expressions(tmp_path, videos)) == {"seq_1": {3: "needle driver"}, "clip": {1: "a dog"}}
    assert load_expressions(tmp_path)["clip"] == {1: "a dog"}


@pytest.mark.parametrize(
    "videos",
    [
        {},
        {"a": {}},
        {"a": {"expressions": {"0": {"obj_id": 1}}}},
        {"a": {"expressions": {"0": {"exp": "x", "obj_id": "y"}}}},
    ],
)
def test_expressions_that_are_none_are_refused(tmp_path, videos):
    with pytest.raises(PromptError, match="expected"):
        load_expressions(expressions(tmp_path, videos))


def test_text_is_scored_from_the_frame_it_was_found_on(tmp_path):
    """The squares as a sequence: found on the third frame, so that the second, which counts, is missed."""
    from PIL import Image

    from vidmem.catalogue.tracker import Tracker
    from vidmem.memory import Recent
    from vidmem.networks.fake import FakeNetwork
    from vidmem.search import Greedy

    for t in range(8):
        for kind, image in (("frames", scene(t).image), ("masks", (scene(t).image[..., 2] > 200).astype(np.uint8))):
            (tmp_path / "squares" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(tmp_path / "squares" / kind / f"{t:05d}.png")
    (sequence,) = find_sequences(tmp_path)
    tracker = Tracker(FakeNetwork(), Recent(slots=4), Greedy())
    row = evaluate(sequence, tracker, "text", texts={1: "blue"}, detector=FakeDetector(finds(1, on=3)))
    assert row.score.frame_j[0, 0] == 0 and (row.score.frame_j[1:] > 0.9).all()
    assert evaluate(sequence, tracker, "text", texts={}, detector=FakeDetector()).score.j == 0
