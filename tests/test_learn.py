"""The learner of each object: its arithmetic, its bounds, and what a session makes of it."""

import numpy as np
import pytest

import vidmem
from vidmem.catalogue.tracker import Tracker, load
from vidmem.errors import ModelError
from vidmem.learn import Cells, Ridge
from vidmem.learn.ridge import sums
from vidmem.memory import Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.search import Greedy
from vidmem.types import Candidates, Frame, Status

H, W, D = 12, 20, 9


def world(rng, places, noise=0.05, twin=None):
    """A frame whose cells have one vector for the background and one for the object -> Cells, mask logits (2H, 2W)."""
    kinds = np.random.default_rng(7).normal(size=(3, D - 1))
    kinds /= np.linalg.norm(kinds, axis=1, keepdims=True)
    kinds[2] = kinds[1] + 0.3 * kinds[2]  # the twin is much like the object
    which = np.zeros((H, W), int)
    for value, place in ((2, twin), (1, places)):
        if place is not None:
            y, x = place
            which[y : y + 4, x : x + 5] = value
    grid = kinds[which] + rng.normal(0, noise, (H, W, D - 1))
    logits = np.where(np.kron(which == 1, np.ones((2, 2))) > 0, 5.0, -5.0).astype(np.float32)
    return Cells(np.concatenate([grid, np.ones((H, W, 1))], -1).astype(np.float32)), logits


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_sums_are_the_normal_equations(rng):
    cells, logits = world(rng, (3, 4))
    on = cells.cover(logits)
    made = sums(cells, on)
    weight = np.where(on, 0.5 / on.sum(), 0.5 / (~on).sum())
    x = cells.vectors.astype(np.float64)
    np.testing.assert_allclose(made.square, x.T @ (x * weight[:, None]), atol=1e-5)
    np.testing.assert_allclose(made.label, x.T @ (weight * on), atol=1e-5)


def test_solution_minimises_the_ridge_loss(rng):
    cells, logits = world(rng, (3, 4))
    learnt = Ridge(shrink=0.01)().prompted(cells, logits)
    square, label = sums(cells, cells.cover(logits))
    ridge = 0.01 * np.trace(square) / D
    gradient = square @ learnt.weights + ridge * learnt.weights - label
    assert np.abs(gradient).max() < 1e-5


def test_map_tells_the_object_from_the_rest(rng):
    learnt = Ridge()().prompted(*world(rng, (3, 4)))
    cells, logits = world(rng, (7, 12))
    values, on = learnt.map(cells), cells.cover(logits)
    assert values[on].mean() > 0.8 and values[~on].mean() < 0.2


def test_presence_falls_where_the_mask_is_not_the_object(rng):
    learnt = Ridge()().prompted(*world(rng, (3, 4)))
    cells, logits = world(rng, (3, 4))
    elsewhere = np.roll(logits, 16, axis=1)
    right, present = learnt.presence(cells, logits, 4.0)
    wrong, absent = learnt.presence(cells, elsewhere, 4.0)
    assert right > 0.8 and wrong < 0.2 and present > learnt.doubt and absent < 0


def test_order_of_prompts_does_not_matter(rng):
    frames = [world(rng, (y, x)) for y, x in ((1, 2), (5, 8), (7, 14))]
    one, two = Ridge()(), Ridge()()
    for frame in frames:
        one = one.prompted(*frame)
    for frame in reversed(frames):
        two = two.prompted(*frame)
    np.testing.assert_allclose(one.weights, two.weights, atol=1e-4)


def test_bounded_and_immutable(rng):
    learnt = Ridge(every=1)().prompted(*world(rng, (3, 4)))
    first, before = learnt, learnt.weights.copy()
    sizes = set()
    for i in range(60):
        if i % 3:
            cells, logits = world(rng, (i % 8, i % 15))
            learnt = learnt.after(cells, logits, 3.0, 0.9, True)
        else:
            cells, logits = world(rng, None)
            for _ in range(8):
                learnt = learnt.after(cells, logits, -3.0, 0.2, False)
        if i > 2:
            sizes.add(learnt.nbytes)
    assert len(sizes) == 1
    assert (first.weights == before).all() and not (learnt.weights == before).all()


def test_learns_what_it_is_told_only(rng):
    learnt = Ridge(every=1)().prompted(*world(rng, (3, 4)))
    cells, logits = world(rng, (3, 4))
    assert learnt.after(cells, logits, 3.0, 0.5, True) is learnt  # too poor a mask
    assert learnt.after(cells, logits, 3.0, 0.9, False) is learnt  # the status does not agree
    assert learnt.after(cells, logits, -1.0, 0.9, True) is learnt  # believed absent, and yet the map sees it
    assert Ridge()().after(cells, logits, 3.0, 0.9, True).weights is None  # nobody has said where the object is


def test_a_twin_is_told_apart_once_it_was_background(rng):
    plain = Ridge()().prompted(*world(rng, (3, 4)))
    beside = Ridge()().prompted(*world(rng, (3, 4), twin=(7, 14)))
    cells, logits = world(rng, None, twin=(5, 5))
    mask = np.where(np.kron(np.pad(np.ones((4, 5)), ((5, 3), (5, 10))), np.ones((2, 2))) > 0, 5.0, -5.0)
    taken, known = plain.presence(cells, mask, 3.0), beside.presence(cells, mask, 3.0)
    assert taken[0] > 0.7 > known[0] + 0.1 and known[1] < taken[1] - 0.5


def test_an_object_smaller_than_a_cell_has_one(rng):
    cells, logits = world(rng, (3, 4))
    tiny = np.full_like(logits, -5)
    tiny[7, 9] = 5
    assert cells.cover(tiny).sum() == 1 and not cells.cover(np.full_like(logits, -5)).any()


def test_no_say_where_the_object_does_not_stand_out(rng):
    cells = Cells(np.ones((H, W, D), np.float32))
    mask = world(rng, (3, 4))[1]
    learnt = Ridge()().prompted(cells, mask)
    assert learnt.presence(cells, mask, 2.0)[1] == 2.0 and learnt.doubt == 0


@pytest.mark.parametrize("numbers", [{"rate": 2.0}, {"every": 0}, {"shrink": 0.0}, {"doubt": -1.0}])
def test_numbers_have_bounds(numbers):
    with pytest.raises(ValueError, match="expected"):
        Ridge(**numbers)


# In a session ---------------------------------------------------------------------------------------------------------
RED, GREY = (220, 30, 30), (90, 90, 90)


def picture(x, colour=RED):
    image = np.full((64, 96, 3), GREY, np.uint8)
    if x is not None:
        image[20:44, x : x + 24] = colour
    return image


def tracker(**numbers):
    return Tracker(FakeNetwork(), Recent(absent=False), Greedy(), learner=Ridge(every=1, **numbers))


def box(x):
    return (x, 20, x + 24, 44)


def test_session_says_how_well_the_mask_fits():
    with tracker().session() as session:
        session.add(1, box=box(8))
        assert np.isnan(session.step(picture(8)).seen[0])  # a person spoke
        result = session.step(picture(8))
        assert result.seen[0] == pytest.approx(1, abs=0.1) and result.status == (Status.TRACKED,)
        assert not result.seen.flags.writeable


def test_none_is_the_network_alone():
    frames = [picture(x) for x in (8, 20, None, 32)]
    with (
        Tracker(FakeNetwork(), Recent(absent=False), Greedy()).session() as plain,
        tracker().session(learner="none") as off,
    ):
        for session in (plain, off):
            session.add(1, box=box(8))
        for frame in frames:
            one, two = plain.step(frame), off.step(frame)
            assert (one.masks == two.masks).all() and (one.object_logits == two.object_logits).all()
            assert np.isnan(two.seen).all()


class Eager(FakeNetwork):
    """Says that the object is there on every frame, and draws it in the middle where it does not see it."""

    def decode(self, features, conditioned, asks):
        logits, iou, visible, _ = super().decode(features, conditioned, asks)
        for row in range(len(asks)):
            if not (logits[row, 0] > 0).any():
                logits[row, 0, 4:10, 8:14] = 10
        return Candidates(logits, iou, np.full_like(visible, 2.0))


def test_an_eager_network_is_silenced_and_its_mistakes_are_not_remembered():
    track = Tracker(Eager(), Recent(absent=False), Greedy(), learner=Ridge(every=1))
    with track.session() as session:
        session.add(1, box=box(8))
        for t in range(6):
            session.step(picture(8 + 4 * t))
        gone = [session.step(picture(None)) for _ in range(3)]
        assert not any(result.masks.any() for result in gone) and gone[-1].status == (Status.OCCLUDED,)
        assert not {6, 7, 8} & {memory.frame_idx for memory in session.memories(1)}
        back = session.step(picture(40))
        assert back.masks.any() and back.status == (Status.TRACKED,)
    with track.session(learner="none") as session:
        session.add(1, box=box(8))
        session.step(picture(8))
        assert session.step(picture(None)).masks.any()


def test_what_comes_back_must_be_surer_and_is_remembered_before_it_is_shown():
    with tracker(doubt=100.0).session() as session:
        session.add(1, box=box(8))
        shown = [session.step(picture(x)).masks.any() for x in (8, 12, None, 16)]
        assert shown == [True, True, False, False]
        result = session.result()
        assert result.object_logits[0] <= 0 and result.status == (Status.OCCLUDED,)
        assert [memory.frame_idx for memory in session.memories(1)] == [0, 1, 3]
    with tracker().session() as session:
        session.add(1, box=box(8))
        assert [session.step(picture(x)).masks.any() for x in (8, 12, None, 16)] == [True, True, False, True]


def test_corrections_snapshots_and_undo_carry_the_learner():
    with tracker().session() as session:
        session.add(1, box=box(8))
        session.step(picture(8))
        snapshot = session.snapshot()
        first = [session.step(Frame(t, None, picture(8 + 4 * t))).seen[0] for t in range(1, 5)]
        session.restore(snapshot)
        assert [session.step(Frame(t, None, picture(8 + 4 * t))).seen[0] for t in range(1, 5)] == first
        before = session.result().seen[0]
        assert np.isnan(session.add(1, points=[(36, 30)], labels=[1]).seen[0])
        session.undo()
        assert session.result().seen[0] == before


def test_names():
    assert load("nano").learner is None and load("nano", learner="none").learner is None
    assert load("nano", learner="ridge").learner == Ridge()
    with pytest.raises(ModelError, match="there is no learner 'rigde'"):
        load("nano", learner="rigde")
    with pytest.raises(ModelError, match="there is no learner"):
        vidmem.load("nano").session(learner="x")
