"""A session keeps objects apart, corrects them at once, takes edits back, and never holds more than it says.

The network is `FakeNetwork`: it follows colour, so each mask here can be said beforehand.
"""

import cv2
import numpy as np
import pytest
from scenes import click, iou, memory, new_session, place, scene, shot, truth

from vidmem.errors import ObjectError
from vidmem.memory import Recent
from vidmem.session.session import UNDO_DEPTH
from vidmem.session.status import StatusRule
from vidmem.session.tracks import Meta, Outcome, collect
from vidmem.types import Status, resize_logits


# Objects ------------------------------------------------------------------------------------------------------------
def test_objects_start_on_different_frames_and_each_is_followed():
    session = new_session()
    session.add(2, points=click(2, 0))
    for t in range(12):
        result = session.step(scene(t))
        if t == 3:
            result = session.add(1, points=click(1, t))
        if t == 6:
            result = session.add(3, points=click(3, t))
        assert result.obj_ids.tolist() == [i for i, start in ((1, 3), (2, 0), (3, 6)) if t >= start]
        for obj_id, mask in zip(result.obj_ids, result.masks):
            assert iou(mask, truth(obj_id, t)) > 0.8  # the fake's mask has cells of 4 pixels
    assert {e[0].frame_idx for e in memory(session, 3)} == set(range(6, 12))


@pytest.mark.parametrize("edit", ["add", "remove", "correct", "undo"])
def test_an_edit_of_one_object_leaves_the_others_bit_identical(edit):
    alone, edited = new_session(), new_session()
    for session in (alone, edited):
        session.add(1, points=click(1, 0))
        session.add(3, points=click(3, 0))
    if edit != "add":
        edited.add(2, points=click(2, 0))
    for t in range(10):
        plain, other = alone.step(scene(t)), edited.step(scene(t))
        if t == 4 and edit == "add":
            other = edited.add(2, points=click(2, t))
        if t == 4 and edit in ("correct", "undo"):
            other = edited.add(2, points=click(1, t), labels=[1])  # a wrong one: it now has red, too
        if t == 4 and edit == "remove":
            edited.remove(2)
            other = edited.result()
        if t == 4 and edit == "undo":
            assert edited.undo()
            other = edited.result()
        assert all(shot(plain, i) == shot(other, i) for i in (1, 3))
        assert all(memory(alone, i) == memory(edited, i) for i in (1, 3))
    assert (2 in edited.obj_ids) == (edit != "remove")


def test_a_session_without_objects_steps_and_says_so():
    result = new_session().step(scene(0))
    assert result.masks.shape == (0, 52, 64) and result.boxes.shape == (0, 4) and result.status == ()
    assert not result.label_map().any()


def test_removing_the_last_object_leaves_a_session_that_goes_on():
    session = new_session()
    session.add(1, points=click(1, 0))
    session.step(scene(0))
    session.remove(1)
    assert session.nbytes == 0 and len(session.step(scene(1)).obj_ids) == 0


@pytest.mark.parametrize("obj_id", [0, -1, 65536, 1.0, True, "1", None])
def test_an_id_that_is_no_integer_from_1_to_65535_is_refused(obj_id):
    with pytest.raises(ObjectError, match="from 1 to 65535"):
        new_session().add(obj_id, points=[[1, 1]])


def test_more_objects_than_allowed_are_refused_and_the_known_ones_can_still_be_corrected():
    session = new_session(max_objects=2)
    session.add(1, points=click(1, 0))
    session.add(2, points=click(2, 0))
    with pytest.raises(ObjectError, match="max_objects is 2"):
        session.add(3, points=click(3, 0))
    session.step(scene(0))
    session.add(1, points=click(1, 0))
    with pytest.raises(ObjectError, match="max_objects is 2"):
        session.add(3, points=click(3, 0))


def test_removing_an_unknown_object_is_refused_by_name():
    session = new_session()
    session.add(2, points=click(2, 0))
    with pytest.raises(ObjectError, match=r"object 7 .*\[2\]"):
        session.remove(7)


# Corrections --------------------------------------------------------------------------------------------------------
def test_a_correction_changes_the_current_mask_at_once_and_is_remembered_as_prompted():
    session = new_session()
    session.add(1, points=click(1, 0))
    for t in range(5):
        before = session.step(scene(t))
    after = session.add(1, points=[click(2, 4)[0], click(1, 4)[0]], labels=[1, 0])
    assert after.frame_idx == before.frame_idx == 4
    assert iou(before.masks[0], truth(1, 4)) > 0.8 and iou(after.masks[0], truth(2, 4)) > 0.8
    verdicts = [verdict for verdict, _ in memory(session, 1)]
    assert [v.frame_idx for v in verdicts] == [0, 1, 2, 3, 4]  # frame 4 once
    assert [v.frame_idx for v in verdicts if v.prompted] == [0, 4]


def test_further_clicks_on_a_frame_merge():
    one, three = new_session(), new_session()
    for session in (one, three):
        session.add(1, points=click(1, 0))
        session.step(scene(0))
    last = None
    for obj_id in (2, 3):
        last = one.add(1, points=click(obj_id, 0))
    together = three.add(1, points=click(2, 0) + click(3, 0))
    assert shot(last, 1) == shot(together, 1) and memory(one, 1) == memory(three, 1)
    assert all(last.masks[0][truth(k, 0)].any() for k in (1, 2, 3))
    assert len(one._state.tracks[1].best.outcome.prompt.points) == 3


def test_a_new_box_starts_over_instead_of_merging():
    session = new_session()
    session.add(1, points=click(1, 0))
    session.step(scene(0))
    result = session.add(1, box=place(2, 0))
    assert not result.masks[0][truth(1, 0)].any() and iou(result.masks[0], truth(2, 0)) > 0.8


def test_clicks_of_an_earlier_frame_do_not_merge_with_this_one():
    session = new_session()
    session.add(1, points=click(1, 0))
    session.step(scene(0))
    session.step(scene(1))
    session.add(1, points=click(1, 1))
    assert len(session._state.tracks[1].best.outcome.prompt.points) == 1


def test_the_corrected_memory_is_what_later_frames_recall():
    session = new_session()
    session.add(1, points=click(1, 0))
    session.step(scene(0))
    session.add(1, points=[click(2, 0)[0], click(1, 0)[0]], labels=[1, 0])
    result = session.step(scene(1))
    assert iou(result.masks[0], truth(2, 1)) > 0.8 and not result.masks[0][truth(1, 1)].any()


def test_a_mask_prompt_is_returned_exactly():
    rng = np.random.default_rng(0)
    mask = rng.random((37, 51)) < 0.5
    session = new_session()
    session.add(1, mask=mask)
    result = session.step(np.zeros((37, 51, 3), np.uint8))
    assert np.array_equal(result.masks[0], mask)
    again = ~mask
    assert np.array_equal(session.add(1, mask=again).masks[0], again)
    assert np.array_equal(session.result().masks[0], again)


@pytest.mark.parametrize("size", [(52, 64), (37, 51), (49, 1), (1, 33), (3, 3)])
def test_masks_and_boxes_have_the_source_size_however_odd(size):
    session = new_session()
    session.add(1, points=[[0, 0]])
    image = np.full((*size, 3), 200, np.uint8)
    result = session.step(image)
    assert result.size == size and result.masks.shape == (1, *size) and result.masks.all()
    assert result.boxes[0].tolist() == [0, 0, size[1], size[0]]


# Undo, snapshots ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("edit", ["new", "correct", "remove", "clear", "queue"])
def test_undo_takes_an_edit_back_bit_for_bit(edit):
    session = new_session()
    session.add(1, points=click(1, 0))
    for t in range(3):
        before = session.step(scene(t))
    held, waiting = memory(session, 1), session.waiting()
    {
        "new": lambda: session.add(2, points=click(2, 2)),
        "correct": lambda: session.add(1, points=click(3, 2)),
        "remove": lambda: session.remove(1),
        "clear": session.clear,
        "queue": lambda: session.add(2, points=click(2, 5), frame_idx=5),
    }[edit]()
    assert session.undo()
    after = session.result()
    assert session.obj_ids == [1] and session.waiting() == waiting
    assert shot(before, 1) == shot(after, 1) and memory(session, 1) == held
    assert not session.undo()


def test_a_second_correction_is_undone_to_the_first():
    session = new_session()
    session.add(1, points=click(1, 0))
    session.step(scene(0))
    first = session.add(1, points=click(2, 0))
    session.add(1, points=click(3, 0))
    session.undo()
    assert shot(session.result(), 1) == shot(first, 1)
    assert len(session._state.tracks[1].best.outcome.prompt.points) == 2  # and the next click merges with those


def test_a_step_ends_what_can_be_undone():
    session = new_session()
    session.add(1, points=click(1, 0))
    session.step(scene(0))
    session.add(2, points=click(2, 0))
    session.step(scene(1))
    assert not session.undo() and session.obj_ids == [1, 2]


def test_undo_is_bounded():
    session = new_session()
    session.step(scene(0))
    for _ in range(UNDO_DEPTH + 20):
        session.add(1, box=place(1, 0))
    assert sum(iter(session.undo, False)) == UNDO_DEPTH


def test_a_restored_snapshot_replays_the_same_results_any_number_of_times():
    session = new_session()
    session.add(1, points=click(1, 0))
    session.add(2, points=click(2, 0))
    session.add(3, points=click(3, 6), frame_idx=6)
    for t in range(4):
        session.step(scene(t))
    snapshot, runs = session.snapshot(), []
    for _ in range(3):
        session.restore(snapshot)
        assert session.frame_idx == 3 and session.waiting() == {6: [3]}
        results = [session.add(2, points=click(1, 3))] + [
            session.step(scene(t, hidden=(2,) if t == 5 else ())) for t in range(4, 9)
        ]
        runs.append(
            [[shot(r, i) for i in r.obj_ids.tolist()] for r in results] + [memory(session, i) for i in (1, 2, 3)]
        )
        session.remove(1)
    assert runs[0] == runs[1] == runs[2]


# Status -------------------------------------------------------------------------------------------------------------
def test_status_goes_from_tracking_to_occluded_to_lost_and_back_without_flicker():
    rule = StatusRule(hidden_after=2, lost_after=5, found_after=3)
    session = new_session(Recent(slots=4), status=rule)
    session.add(1, points=click(1, 0))
    session.add(2, points=click(2, 0))
    gone = {2, 4, 5, 8, 9, 10, 11, 12, 13, 15}
    said = []
    for t in range(20):
        result = session.step(scene(t, hidden=(1,) if t in gone else ()))
        assert result.masks[0].any() == (t not in gone) and result.status[1] is Status.TRACKED
        said.append(result.status[0].value[0])
    assert "".join(said) == "tttttotttooolllllltt"  # hidden: 2, 4-5, 8-13, 15


def test_a_prompt_on_a_lost_object_makes_it_tracked_at_once():
    session = new_session(status=StatusRule(hidden_after=1, lost_after=2, found_after=5))
    session.add(1, points=click(1, 0))
    for t in range(5):
        result = session.step(scene(t, hidden=(1,) if t else ()))
    assert result.status == (Status.LOST,) and not result.masks.any() and not result.boxes.any()
    assert session.step(scene(5)).status == (Status.LOST,)  # seen, but not yet believed
    assert session.add(1, points=click(1, 5)).status == (Status.TRACKED,)


def test_a_label_map_gives_every_pixel_to_the_greatest_logit_of_those_who_claim_it():
    random = np.random.default_rng(0)
    fields = [cv2.GaussianBlur(random.normal(size=(24, 32)).astype(np.float32), (0, 0), 4) * 9 for _ in range(5)]
    size, obj_ids = (90, 120), np.array([2, 3, 5, 300, 65535])
    wide = np.stack([resize_logits(field, size) for field in fields])
    outcomes = {int(i): Outcome(field, 0.5, 1.0, Status.TRACKED) for i, field in zip(obj_ids, fields)}
    result = collect(Meta(0, size, None, {}, False), outcomes, ({},) * 5)
    expected = np.where((wide > 0).any(0), obj_ids[np.where(wide > 0, wide, -np.inf).argmax(0)], 0)
    assert ((wide > 0).sum(0) > 1).any() and np.array_equal(result.label_map(), expected)
