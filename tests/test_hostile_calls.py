"""Whatever a session or a policy is given is refused in words, before it costs anything; and what was refused leaves no trace."""

import time

import numpy as np
import pytest
from scenes import new_session, scene

from vidmem.errors import ObjectError, PromptError
from vidmem.memory import BANKS, Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.prompts import MOST_POINTS
from vidmem.search import MotionAware, Tree
from vidmem.session.status import StatusRule
from vidmem.types import Frame

BOX = (8, 8, 24, 24)


def picture() -> np.ndarray:
    image = np.zeros((64, 64, 3), np.uint8)
    image[8:24, 8:24], image[40:56, 40:56] = (250, 0, 0), (0, 250, 0)
    return image


# Sessions


def test_a_callers_buffers_may_be_used_again():
    session, points, mask = new_session(), np.array([[12, 12]], np.float32), np.zeros((64, 64), bool)
    session.add(1, points=points)
    points[:] = 48
    session.add(2, points=points)
    mask[40:56, 40:56] = True
    session.add(3, mask=mask)
    mask[:] = False
    boxes = session.step(picture()).boxes.tolist()
    assert boxes == [[8, 8, 24, 24], [40, 40, 56, 56], [40, 40, 56, 56]]


def test_a_result_cannot_be_changed_under_the_session():
    session = new_session()
    session.add(1, box=BOX)
    result = session.step(picture())
    for name in ("masks", "boxes", "scores", "object_logits", "mask_logits", "obj_ids"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(result, name)[...] = 0
    assert session.result() is result and session.settled()[0].masks.sum() == result.masks.sum() > 0


@pytest.mark.parametrize("shape", [(32, 64), (64, 128), (1, 1)])
def test_a_frame_of_another_size_is_refused_and_the_stream_goes_on(shape):
    session, twin = new_session(), new_session()
    for s in (session, twin):
        s.add(1, box=BOX)
        s.step(picture())
    before = session.result()
    with pytest.raises(
        ValueError,
        match=f"frame 1 is {shape[1]}x{shape[0]}, and those before it were 64x64; scale it, or make a new session",
    ):
        session.step(np.zeros((*shape, 3), np.uint8))
    assert session.frame_idx == 0 and (session.result().masks == before.masks).all()
    one, other = session.step(picture()), twin.step(picture())
    assert (one.mask_logits == other.mask_logits).all() and one.frame_idx == other.frame_idx


@pytest.mark.parametrize("what, says", [
    ({"index": 1.5}, "index is 1.5"), ({"index": "x"}, "index is 'x'"), ({"index": None}, "index is None"), ({"index": True}, "index is True"),
    ({"index": float("nan")}, "index is nan"), ({"pts_seconds": float("nan")}, "pts_seconds is nan"),
    ({"pts_seconds": "1"}, "pts_seconds is '1'"), ({"image": np.zeros((0, 0, 3), np.uint8)}, "0x0, without a pixel"),
    ({"image": np.zeros((0, 10, 3), np.uint8)}, "10x0"),
])  # fmt: skip
def test_a_frame_says_what_is_wrong_with_it(what, says):
    with pytest.raises(ValueError, match=says):
        Frame(**({"index": 0, "pts_seconds": None, "image": picture()} | what))


@pytest.mark.parametrize("stage", ["encode", "attend", "decode", "memorize"])
@pytest.mark.parametrize("error", [RuntimeError, MemoryError, KeyboardInterrupt])
def test_a_step_that_fails_in_the_network_takes_nothing_with_it(stage, error, monkeypatch):
    session, twin = new_session(), new_session()
    for s in (session, twin):
        s.add(1, box=BOX)
        s.step(scene(0))
        s.add(2, points=[[48, 48]], frame_idx=1)
    once, plain = [], getattr(FakeNetwork, stage)

    def broken(self, *args):
        if not once:
            once.append(1)
            raise error("the engine broke")
        return plain(self, *args)

    monkeypatch.setattr(FakeNetwork, stage, broken)
    with pytest.raises(error):
        session.step(scene(1))
    assert session.frame_idx == 0 and session.waiting() == {1: [2]} and session.obj_ids == [1, 2]
    for t in (1, 2):
        one, other = session.step(scene(t)), twin.step(scene(t))
        assert one.obj_ids.tolist() == other.obj_ids.tolist() and (one.mask_logits == other.mask_logits).all()


def test_a_correction_that_fails_can_be_said_again(monkeypatch):
    session = new_session()
    session.add(1, box=BOX)
    session.step(picture())
    with monkeypatch.context() as patch:
        patch.setattr("vidmem.session.session.frame_step", lambda *a: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            session.add(2, points=[[48, 48]])
    assert session.obj_ids == [1] and session.undo() is False


@pytest.mark.parametrize("prompt", [
    {"points": [[10**400, 1]]}, {"box": [0, 0, 10**400, 5]}, {"points": [[1, 1]], "labels": [10**400]}, {"mask": "abc"}, {"mask": object()},
    {"mask": np.array([["a"]])}, {"points": np.array([[1 + 2j, 1]])}, {"points": {"a": 1}}, {"points": [[1, [2]]]}, {"points": 1e39}, {"box": "0123"},
])  # fmt: skip
def test_prompts_that_are_no_numbers_are_prompt_errors(prompt):
    with pytest.raises(PromptError) as said:
        new_session().add(1, **prompt)
    assert len(str(said.value)) < 300


def test_points_have_a_bound_also_when_they_come_one_by_one():
    session = new_session()
    began = time.perf_counter()
    with pytest.raises(PromptError, match=f"expected at most {MOST_POINTS}"):
        session.add(1, points=[[1, 1]] * 2_000_000)
    assert time.perf_counter() - began < 0.5
    session.add(1, points=[[10, 10]] * MOST_POINTS)
    session.step(picture())
    with pytest.raises(PromptError, match=f"{MOST_POINTS + 1} points on one object"):
        session.add(1, points=[[12, 12]])
    assert session.step(picture()).masks.any()


@pytest.mark.parametrize("obj_id", [[1], None, "1", 1.0, True, {}, 0, 2**70, pytest.param(10**5000, id="huge")])
def test_removing_what_is_no_number_is_an_object_error(obj_id):
    with pytest.raises(ObjectError):
        new_session().remove(obj_id)


# Numbers of policies


@pytest.mark.parametrize("make, says", [
    (lambda: Tree(width=20_000), "width=20000; expected an integer, from 1 to 64"), (lambda: Tree(lag=10**9), "lag=1000000000"),
    (lambda: Tree(uncertainty=float("nan")), "uncertainty=nan"), (lambda: Tree(uncertainty=float("inf")), "uncertainty=inf"),
    (lambda: MotionAware(stable_frames=10**8), "stable_frames"), (lambda: Recent(slots=10**6), "slots=1000000"), (lambda: Recent(slots=10**5000), "slots="),
    (lambda: Recent(slots=4000, pointers=4000), "keep 8001 memories; expected at most 4096"), (lambda: StatusRule(lost_after="x"), "lost_after='x'"),
])  # fmt: skip
def test_numbers_have_an_upper_bound(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize("bank", BANKS)
def test_every_number_of_every_bank_has_one(bank):
    import dataclasses

    for field in dataclasses.fields(BANKS[bank]):
        if isinstance(field.default, (int, float)) and not isinstance(field.default, bool):
            for value in (10**12, float("nan") if isinstance(field.default, float) else 1.5):
                with pytest.raises(ValueError, match=f"{field.name}="):
                    BANKS[bank](**{field.name: value})
