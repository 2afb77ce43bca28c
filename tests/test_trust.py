"""A predicted IoU is worth less where the mask lies in pieces; what the banks see is the network's own."""

import sys

import numpy as np
import pytest

from vidmem.memory import Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.networks.trust import Trust, whole
from vidmem.search import Greedy
from vidmem.session import Session
from vidmem.types import Frame


def logits(*squares):
    mask = np.full((40, 60), -4.0, np.float32)
    for top, left, side in squares:
        mask[top : top + side, left : left + side] = 4
    return mask


def test_pieces_and_low_scores_count_against_a_mask():
    trust = Trust(-2.7, 0.6, 2.6)
    one, two, dust = logits((5, 5, 12)), logits((5, 5, 12), (5, 30, 12)), logits((5, 5, 12), (30, 50, 2))
    assert whole(one) == 1 and whole(two) == 0.5 and 0.95 < whole(dust) < 1 and whole(logits()) == 1
    assert trust(0.9, one) > trust(0.9, dust) > trust(0.9, two) and trust(0.9, one) > trust(0.5, one)
    for iou in (0.0, 0.5, 1.0):
        assert 0 < trust(iou, one) < 1
    assert Trust(0, 1, 0)(0.7, one) == pytest.approx(0.7, abs=0.01), "odds there and back"


def test_a_session_reports_what_the_network_trusts(monkeypatch):
    frame_step = sys.modules["vidmem.session.frame_step"]
    image = np.zeros((48, 64, 3), np.uint8)
    image[10:30, 10:30] = (250, 30, 30)
    seen = []
    wrote = frame_step.Verdict
    monkeypatch.setattr(frame_step, "Verdict", lambda *given: seen.append(given[1]) or wrote(*given))

    def score(trust):
        network = FakeNetwork()
        network.trust = trust
        session = Session(network, Recent(), Greedy)
        session.add(1, box=(10, 10, 30, 30))
        return float(session.step(Frame(0, None, image)).scores[0])

    plain, doubted = score(None), score(Trust(-1.0, 0.5, 0.0))
    assert doubted < plain and seen[0] == seen[1] == plain
