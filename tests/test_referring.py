"""Ref-Endovis' and Ref-YouTube-VOS's folders, and scores as they are taken there."""

import json

import numpy as np
import pytest
from PIL import Image
from scenes import RED, scene, truth

from vidmem.catalogue.tracker import Tracker
from vidmem.cli import main as cli
from vidmem.errors import SourceError, UserError
from vidmem.evaluation import find_sequences
from vidmem.evaluation.expressions import load_expressions
from vidmem.evaluation.referring import ReferringScorer, dice
from vidmem.evaluation.run import evaluate, mean_scores
from vidmem.memory import Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.search import Greedy

CODE = "#" + "".join(f"{channel:02x}" for channel in RED)


def mask(*columns: int) -> np.ndarray:
    out = np.zeros((4, 8), bool)
    out[:, list(columns)] = True
    return out


def test_an_object_counts_from_the_first_frame_that_shows_it_to_the_last():
    scorer = ReferringScorer([1, 2, 3])
    scorer.add({}, np.zeros((4, 8), np.uint8))  # nothing anywhere: no frame of any object
    scorer.add({1: mask(0, 1), 2: mask(5)}, mask(0, 1).astype(np.uint8))  # 1 is right, 2 is nowhere
    scorer.add({1: mask(0), 2: mask()}, mask(0, 1).astype(np.uint8))
    scorer.add({1: mask()}, 2 * mask(5).astype(np.uint8))  # 1 is gone, and rightly so; 2 is missed
    score = scorer.score()
    assert score.objects == 2  # 3 does not occur
    assert score.j == pytest.approx(((1 + 0.5 + 1) / 3 + (0 + 1 + 0) / 3) / 2)
    assert score.dice == pytest.approx(((1 + 2 / 3 + 1) / 3 + (0 + 1 + 0) / 3) / 2)


def test_an_answer_that_is_nowhere_in_the_truth_is_no_object_and_nothing_else_neither():
    scorer = ReferringScorer([1])
    scorer.add({1: mask(0)}, 2 * mask(5).astype(np.uint8))
    with pytest.raises(UserError, match="none of the objects that have a text"):
        scorer.score()
    assert dice(mask(), mask()) == 1 and dice(mask(0, 1), mask(1, 2)) == 0.5


def test_masks_may_overlap():
    scorer = ReferringScorer()
    labels = mask(0, 1).astype(np.uint8) + 2 * mask(2, 3).astype(np.uint8)
    scorer.add({1: mask(0, 1, 2), 2: mask(1, 2, 3)}, labels)
    assert scorer.score().j == pytest.approx(2 / 3)


def test_data_sets_are_means_over_objects():
    rows = [{"j": 1.0, "f": 1.0, "j_and_f": 1.0, "dice": 1.0, "objects": 1}, {"j": 0.0, "f": 0.0, "j_and_f": 0.0, "dice": 0.4, "objects": 3}]  # fmt: skip
    assert mean_scores(rows) == {"j": 0.25, "f": 0.25, "j_and_f": 0.25, "dice": pytest.approx(0.55)}
    assert (
        mean_scores([{"j": 1.0, "f": 1.0, "j_and_f": 1.0, "fps": 3}, {"j": 0.0, "f": 0.0, "j_and_f": 0.0, "fps": 3}])[
            "j"
        ]
        == 0.5
    )


@pytest.fixture
def data(tmp_path):
    """Two videos of the squares, in which the red one is missing at first in the second."""
    videos = {}
    for name, hidden in (("seq_2", 0), ("seq_10", 2)):
        for kind in ("JPEGImages", "Annotations"):
            (tmp_path / kind / name).mkdir(parents=True)
        for t in range(10):
            shown = t >= hidden
            Image.fromarray(scene(t, hidden=() if shown else (1,)).image).save(
                tmp_path / "JPEGImages" / name / f"{t:05d}.png"
            )
            labels = 7 * (truth(1, t) & shown).astype(np.uint8)
            Image.fromarray(labels).save(tmp_path / "Annotations" / name / f"{t:05d}.png")
        videos[name] = {"expressions": {"0": {"exp": "a wrong one", "obj_id": 7}, "1": {"exp": CODE, "obj_id": "7"}}}
    (tmp_path / "meta_expressions.json").write_text(json.dumps({"videos": videos}))
    return tmp_path


def test_the_folders_of_ref_endovis_are_read_and_its_last_expression_counts(data):
    sequences = find_sequences(data)
    assert [s.name for s in sequences] == ["seq_2", "seq_10"] and all(s.referring and len(s) == 10 for s in sequences)
    assert load_expressions(data) == {"seq_2": {7: CODE}, "seq_10": {7: CODE}}
    (data / "Annotations/seq_2/00004.png").unlink()
    with pytest.raises(SourceError, match=r"no mask for 00004.png \(1 of 10\)"):
        find_sequences(data)


def test_a_network_that_reads_words_is_scored_from_where_its_object_appears(data):
    tracker = Tracker(FakeNetwork(reads_words=True), Recent(), Greedy())
    for sequence in find_sequences(data):
        row = evaluate(sequence, tracker, "text", texts={7: CODE})
        assert row.frames == 10 and row.score.objects == 1
        assert row.score.j > 0.95 and row.score.f == 1 and row.score.dice > 0.95, (
            row
        )  # before it is found its mask is said already


def test_vidmem_eval_scores_texts_of_such_a_folder(data, monkeypatch, capsys):
    tracker = Tracker(FakeNetwork(reads_words=True), Recent(), Greedy())
    monkeypatch.setattr(cli, "make_tracker", lambda args: tracker)
    out = data / "scores.json"
    assert cli.main(["eval", str(data), "--prompt", "text", "--json", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("seq_2") and "Dice 0.98" in said[-1]
    written = json.loads(out.read_text())
    assert written["mean"]["dice"] > 0.95 and [row["objects"] for row in written["sequences"]] == [1, 1]
