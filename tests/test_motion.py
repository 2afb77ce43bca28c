"""`MotionAware`: the filter against the textbook's, and SAMURAI's rules one by one."""

import numpy as np
import pytest

from vidmem.search import MotionAware, View
from vidmem.search.motion import begin, box_iou, predict, to_box, to_state, update

BOX = np.array([10.0, 20, 30, 60])


def look(box, iou=(0.9, 0.2, 0.1), other=(200.0, 200, 220, 240), logit=3.0, **how) -> View:
    boxes = np.array([[box, other, other]], float)
    return View(np.array([iou], np.float32), np.array([logit], np.float32), boxes=lambda: boxes, **how)


def follow(search, frames: int, speed: float = 2.0, start: int = 0):
    return [search.advance(look(BOX + (speed * t, 0, speed * t, 0)))[0] for t in range(start, start + frames)]


def test_boxes_and_states_are_each_others_inverse():
    assert to_box(to_state(BOX)) == pytest.approx(BOX)
    assert box_iou(BOX, np.array([BOX, BOX + 1000, [10, 20, 30, 40]])) == pytest.approx([1, 0, 0.5])


def test_the_filter_is_kalmans():
    """Against the information form, written independently."""
    mean, covariance = predict(*begin(to_state(BOX)))
    measured = to_state(BOX + 3)
    new_mean, new_covariance = update(mean, covariance, measured)
    h = mean[3]
    noise = np.diag(np.array([h / 20, h / 20, 0.1, h / 20]) ** 2)
    see = np.eye(4, 8)
    information = np.linalg.inv(covariance) + see.T @ np.linalg.inv(noise) @ see
    assert new_covariance == pytest.approx(np.linalg.inv(information), rel=1e-6, abs=1e-9)
    right = np.linalg.inv(information) @ (np.linalg.inv(covariance) @ mean + see.T @ np.linalg.inv(noise) @ measured)
    assert new_mean == pytest.approx(right, rel=1e-6, abs=1e-9)


def test_motion_speaks_after_enough_stable_frames_and_learns_the_speed():
    search = MotionAware(stable_frames=15)()
    choices = follow(search, 40)
    assert [c.motion is None for c in choices[:15]] == [True] * 15 and all(c.motion > 0.8 for c in choices[20:])
    assert search.mean[4] == pytest.approx(2.0, abs=0.1)


def test_a_mask_elsewhere_with_a_slightly_better_iou_loses_to_the_motion():
    search = MotionAware(motion_weight=0.15)()
    follow(search, 30)
    here = BOX + (60, 0, 60, 0)
    (choice,) = search.advance(look(here, iou=(0.80, 0.88, 0.1)))
    assert choice.candidate == 0 and choice.motion > 0.8 and search.report()["guided"] == 1
    greedy = MotionAware(motion_weight=0.0)()
    follow(greedy, 30)
    assert greedy.advance(look(here, iou=(0.80, 0.88, 0.1)))[0].candidate == 1


@pytest.mark.parametrize("event", [{"cut": True}, {"prompted": True}, {"iou": (0.2, 0.1, 0.1)}, {"logit": -1.0}])
def test_what_ends_a_stable_run(event):
    search = MotionAware()()
    follow(search, 30)
    search.advance(look(BOX + (60, 0, 60, 0), **event))
    assert search.report()["stable"] <= 1
    assert follow(search, 5, start=31)[-1].motion is None


def test_objects_have_filters_of_their_own():
    policy = MotionAware()
    one, two = policy(), policy()
    follow(one, 20)
    follow(two, 20, speed=-2.0)
    assert one.mean[4] == pytest.approx(2.0, abs=0.2) and two.mean[4] == pytest.approx(-2.0, abs=0.2)
    fork = one.fork()
    follow(fork, 5, start=20)
    assert one.report()["stable"] == 20 and fork.report()["stable"] == 25


@pytest.mark.parametrize("wrong", [{"stable_frames": 0}, {"stable_iou": 2}, {"motion_weight": "much"}])
def test_numbers_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        MotionAware(**wrong)
