"""Cuts and distractor evidence: the two cheap looks at a frame."""

import numpy as np
import pytest

from tests.scenes import click, new_session, scene
from vidmem.session.cuts import CutRule
from vidmem.session.distractors import agreement
from vidmem.types import Frame


def picture(hue: int, seed: int = 0) -> np.ndarray:
    image = np.random.default_rng(seed).integers(0, 60, (120, 160, 3))
    image[..., hue] += 150
    return image.astype(np.uint8)


def test_other_colours_are_a_cut_and_a_moved_or_darker_frame_is_not():
    rule = CutRule()
    base = rule.histogram(picture(0))
    assert rule.is_cut(base, rule.histogram(picture(1)))
    assert not rule.is_cut(base, rule.histogram(np.roll(picture(0), 30, 1)))
    assert not rule.is_cut(base, rule.histogram((picture(0) * 0.8).astype(np.uint8)))
    assert not rule.is_cut(None, base) and rule.distance(base, base) == pytest.approx(0, abs=1e-3)


def test_the_distance_is_that_of_opencv():
    import cv2

    one, other = (CutRule().histogram(picture(0, seed)).astype(np.float32) for seed in (0, 1))
    assert CutRule().distance(one, other) == pytest.approx(
        cv2.compareHist(one, other, cv2.HISTCMP_BHATTACHARYYA), abs=1e-5
    )


def test_a_session_reports_the_cut_and_tells_banks_and_snapshots():
    session = new_session()
    session.add(1, points=click(1, 0))
    red, cuts = picture(0), []
    session.step(Frame(0, None, scene(0, 120, 160).image))
    before = session.snapshot()
    for t, image in enumerate([red, red, picture(2), picture(2)], 1):
        cuts.append(session.step(Frame(t, None, image)).cut)
    assert cuts == [True, False, True, False]
    entries = {e.frame_idx: e.verdict.cut for e in session._state.tracks[1].best.bank.entries()}
    assert entries == {0: False, 1: True, 2: False, 3: True, 4: False}
    session.restore(before)
    assert session.step(Frame(1, None, scene(1, 120, 160).image)).cut is False
    assert (
        not any(session.step(Frame(2 + k, None, image)).cut for k, image in enumerate([]))
        and session.result().cut is False
    )


def test_without_a_rule_nothing_is_a_cut():
    session = new_session(cuts=None)
    session.add(1, points=click(1, 0))
    session.step(Frame(0, None, picture(0)))
    assert session.step(Frame(1, None, picture(2))).cut is False


def masks(*windows) -> np.ndarray:
    logits = np.full((len(windows), 40, 40), -5, np.float32)
    for k, window in enumerate(windows):
        for y0, y1, x0, x1 in window:
            logits[k, y0:y1, x0:x1] = 5
    return logits


def test_agreement_is_the_iou_of_the_joint_box():
    own, far, part = (0, 10, 0, 10), (0, 10, 30, 40), (2, 8, 2, 8)
    assert agreement(masks([own], [far], [part]), 0) == pytest.approx(100 / 400)
    assert agreement(masks([own], [own], [part]), 0) == 1.0
    assert agreement(masks([own], [own, far, (20, 22, 0, 2)], [own]), 0) == pytest.approx(
        100 / 400
    )  # the largest part counts
    assert agreement(masks([], [own], [far]), 0) == 1.0
