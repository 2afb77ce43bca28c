"""A session's frames come in order, its queue waits for them, and what it holds has bounds and an end."""

import numpy as np
import pytest
from scenes import COLOURS, click, iou, memory, new_session, place, scene, shot, truth

from vidmem.errors import ObjectError, PromptError, SessionClosed
from vidmem.memory import Recent
from vidmem.types import Frame


# The queue and the order of frames ----------------------------------------------------------------------------------
def test_a_prompt_for_a_later_frame_waits_for_it():
    session = new_session()
    session.add(1, points=click(1, 0))
    assert session.add(2, points=click(2, 3), frame_idx=3) is None
    assert session.waiting() == {-1: [1], 3: [2]} and session.obj_ids == [1, 2]
    seen = [session.step(scene(t)).obj_ids.tolist() for t in range(5)]
    assert seen == [[1], [1], [1], [1, 2], [1, 2]] and session.waiting() == {}
    assert [v.frame_idx for v, _ in memory(session, 2) if v.prompted] == [3]


def test_a_queued_correction_of_a_followed_object_acts_on_its_frame():
    session = new_session()
    session.add(1, points=click(1, 0))
    session.add(1, box=place(2, 2), frame_idx=2)
    results = [session.step(scene(t)) for t in range(3)]
    assert iou(results[1].masks[0], truth(1, 1)) > 0.8 and iou(results[2].masks[0], truth(2, 2)) > 0.8


def test_a_prompt_for_a_past_frame_is_refused():
    session = new_session()
    for t in range(3):
        session.step(scene(t))
    with pytest.raises(PromptError, match="frame_idx 1 has passed .* at 2"):
        session.add(1, points=click(1, 1), frame_idx=1)


@pytest.mark.parametrize("frame_idx", [-1, -7, 1.5, "3", True])
@pytest.mark.parametrize("stepped", [False, True])
def test_a_frame_index_that_no_frame_can_have_is_refused(frame_idx, stepped):
    session = new_session()
    if stepped:
        session.step(scene(0))
    with pytest.raises(PromptError, match="frame_idx"):
        session.add(1, points=click(1, 0), frame_idx=frame_idx)
    assert session.waiting() == {}


@pytest.mark.parametrize("frame_idx", [None, 4])
def test_an_object_queued_twice_for_a_frame_is_refused(frame_idx):
    session = new_session()
    session.add(1, points=click(1, 0), frame_idx=frame_idx)
    with pytest.raises(ObjectError, match="twice"):
        session.add(1, points=click(1, 0), frame_idx=frame_idx)


def test_a_prompt_for_a_skipped_frame_is_reported_once_and_the_session_goes_on():
    session = new_session()
    session.add(1, points=click(1, 2), frame_idx=2)
    session.step(scene(0))
    with pytest.raises(PromptError, match="waits for frame 2, but frame 5 came"):
        session.step(scene(5))
    assert session.step(scene(5)).frame_idx == 5 and session.waiting() == {}


def test_a_queued_prompt_that_does_not_fit_is_dropped_and_the_others_stay():
    session = new_session()
    session.add(1, points=click(1, 0))
    session.add(2, points=[[500, 500]])
    with pytest.raises(PromptError, match="outside"):
        session.step(scene(0))
    assert session.frame_idx is None
    assert session.step(scene(0)).obj_ids.tolist() == [1]


@pytest.mark.parametrize("index", [3, 2, 0])
def test_a_frame_that_comes_again_or_too_late_is_refused(index):
    session = new_session()
    session.step(scene(3))
    with pytest.raises(ValueError, match=f"frame {index} came after frame 3"):
        session.step(scene(index))
    assert session.step(scene(4)).frame_idx == 4


def test_plain_arrays_count_from_zero():
    session = new_session()
    assert [session.step(scene(t).image).frame_idx for t in range(3)] == [0, 1, 2]
    assert session.step(scene(9)).frame_idx == 9 and session.step(scene(0).image).frame_idx == 10


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3)), None]
)
def test_an_image_of_another_kind_is_refused_by_its_shape_or_type(image):
    with pytest.raises(ValueError, match="expected uint8"):
        new_session().step(image)


@pytest.mark.parametrize("bad", [{"points": [[64.5, 3]]}, {"box": (70, 0, 90, 9)}, {"mask": np.ones((3, 3))}, {}])
def test_a_refused_prompt_changes_nothing(bad):
    session = new_session()
    session.add(1, points=click(1, 0))
    before = session.step(scene(0))
    with pytest.raises(PromptError):
        session.add(1, **bad)
    with pytest.raises(PromptError):
        session.add(2, **bad)
    assert shot(session.result(), 1) == shot(before, 1) and session.obj_ids == [1] and not session.undo()


# Limits and the end -------------------------------------------------------------------------------------------------
def test_three_thousand_frames_never_hold_more_than_the_capacity():
    session = new_session(Recent(slots=4, stride=5, prompts=3, pointers=4))
    frames = [scene(t) for t in range(10)]
    capacity, largest = session._new_track().banks[0].capacity, 0
    for obj_id in COLOURS:
        session.add(obj_id, points=click(obj_id, 0))
    for t in range(3000):
        session.step(Frame(t, None, frames[t % 10].image))
        if t % 100 == 7:
            session.add(t // 100 % 3 + 1, points=click(t // 100 % 3 + 1, t))
        banks = [bank for track in session._state.tracks.values() for bank in track.banks]
        assert len(banks) == 3 and all(len(bank.entries()) <= capacity for bank in banks)
        if t % 50 == 49:
            largest = max(largest, session.nbytes)
        assert all(track.before.before is None for track in session._state.tracks.values())  # no chain of pasts
    assert largest <= 3 * capacity * 12  # a colour is 3 float32
    assert not session._state.queued and len(session._undo) <= 1


def test_timings_name_every_stage():
    session = new_session()
    session.add(1, points=click(1, 0))
    for t in range(2):
        timings = session.step(scene(t)).timings
        assert timings.keys() == {"encode", "attend", "decode", "memorize", "total"}
        assert timings["total"] >= sum(v for k, v in timings.items() if k != "total") > 0
    assert "encode" not in session.add(1, points=click(1, 1)).timings  # the frame is not encoded again


def test_a_closed_session_says_so_and_closes_twice():
    with new_session() as session:
        session.add(1, points=click(1, 0))
        session.step(scene(0))
        snapshot = session.snapshot()
    session.close()
    assert session.nbytes == 0
    calls = [
        lambda: session.step(scene(1)), lambda: session.add(1, points=click(1, 0)), lambda: session.remove(1), session.clear,
        session.undo, session.result, session.snapshot, lambda: session.restore(snapshot),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(SessionClosed, match="make a new one"):
            call()


def test_a_result_before_the_first_frame_is_refused():
    with pytest.raises(ValueError, match="step"):
        new_session().result()
