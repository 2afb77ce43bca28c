"""Objects of one session share its pixels: the competition itself, and a session whose network asks for it."""

import numpy as np

from vidmem.memory import Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.search import Greedy
from vidmem.session import Session
from vidmem.session.competition import Rival, compete, rivals
from vidmem.session.status import StatusRule
from vidmem.types import Candidates, Status


def claim(columns: slice, logit: float) -> np.ndarray:
    logits = np.full((4, 8), -6.0, np.float32)
    logits[:, columns] = logit
    return logits


def test_who_is_alone_or_overlaps_nobody_keeps_the_same_array():
    left, right = claim(slice(0, 3), 2.0), claim(slice(4, 8), 5.0)
    assert compete([left], [False])[0] is left
    assert all(a is b for a, b in zip(compete([left, right], [False, False]), [left, right]))


def test_the_surer_object_keeps_a_disputed_cell_and_the_other_is_behind_by_the_difference():
    weak, strong = claim(slice(0, 5), 2.0), claim(slice(3, 8), 5.0)
    first, second = compete([weak, strong], [False, False])
    assert second is strong
    assert (first[:, 3:5] == -3.0).all() and (first[:, :3] == 2.0).all() and (first[:, 5:] == -6.0).all()
    assert (weak[:, 3:5] == 2.0).all()  # the caller's array is its own


def test_of_equals_the_first_wins_and_exactly_one_has_each_cell():
    claims = [claim(slice(0, 6), 1.0), claim(slice(2, 8), 1.0), claim(slice(4, 5), 1.0)]
    won = np.stack(compete(claims, [False] * 3)) > 0
    assert (won.sum(0) == 1).all() and won[0, :, :6].all() and won[1, :, 6:].all() and not won[2].any()


def test_nothing_is_taken_from_a_mask_that_a_person_shaped():
    said, strong = claim(slice(0, 5), 2.0), claim(slice(3, 8), 5.0)
    assert compete([said, strong], [True, False])[0] is said


class Greedily(FakeNetwork):
    """Every object sees the whole frame, the later ones surer; presence as asked for."""

    competes = True
    present = (1.0, 1.0)

    def decode(self, features, conditioned, asks):
        said = super().decode(features, conditioned, asks)
        if any(ask is not None for ask in asks):
            return said
        rows = len(asks)
        masks = np.zeros_like(said.mask_logits) + np.arange(1, rows + 1, dtype=np.float32)[:, None, None, None]
        return Candidates(masks, said.iou, np.array(self.present[:rows], np.float32), said.pointer)


def masks_of(network) -> np.ndarray:
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, 16:] = 200
    with Session(network, Recent(), Greedy) as session:
        session.add(1, box=(0, 0, 16, 16))
        session.add(2, box=(16, 0, 32, 16))
        session.step(image)
        return session.step(image).masks


def test_a_session_shares_out_what_two_objects_claim():
    masks = masks_of(Greedily())
    assert masks[1].all() and not masks[0].any()


def test_who_is_absent_takes_nothing_and_networks_that_do_not_compete_overlap():
    absent, apart = Greedily(), Greedily()
    absent.present, apart.competes = (1.0, -1.0), False
    assert masks_of(absent)[0].all() and masks_of(apart).all()


def test_rivals_claim_the_same_and_one_is_stronger_unless_a_person_has_spoken():
    weak, strong, apart = claim(slice(0, 5), 2.0), claim(slice(1, 5), 5.0), claim(slice(5, 8), 9.0)
    assert rivals([weak, strong, apart], [False] * 3) == [Rival(1, True), Rival(0, False), None]
    assert rivals([weak, strong], [True, False]) == [None, Rival(0, True)]
    assert rivals([weak], [False]) == [None] and rivals([], []) == []
    assert rivals([weak, claim(slice(3, 8), 5.0)], [False] * 2) == [None, None]  # they touch: a quarter is shared


def contested(network, frames: int = 5, **how):
    """Two objects that claim the same from the second frame on -> the results, and what each one's bank holds."""
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, 16:] = 200
    with Session(network, Recent(), Greedy, **how) as session:
        session.add(1, box=(0, 0, 16, 16))
        session.add(2, box=(16, 0, 32, 16))
        results = [session.step(image) for _ in range(frames)]
        return results, [[m.frame_idx for m in session.memories(o)] for o in (1, 2)]


def test_two_that_claim_the_same_are_ambiguous_after_a_while_and_name_each_other():
    results, _ = contested(Greedily(), status=StatusRule(ambiguous_after=2))
    said = [[status.value[0] for status in result.status] for result in results]
    assert said == [["t", "t"], ["t", "t"], ["a", "a"], ["a", "a"], ["a", "a"]]
    assert results[1].rivals == (None, None) and results[2].rivals == (2, 1)


def test_the_weaker_ones_memories_are_not_written_where_objects_compete():
    _, (weak, strong) = contested(Greedily())
    assert weak == [0] and strong == [0, 1, 2, 3, 4]
    apart = Greedily()
    apart.competes = False
    _, (first, second) = contested(apart)
    assert first == second == [0, 1, 2, 3, 4]


def test_a_prompt_settles_whose_it_is():
    image = np.zeros((16, 32, 3), np.uint8)
    with Session(Greedily(), Recent(), Greedy, status=StatusRule(ambiguous_after=1)) as session:
        session.add(1, box=(0, 0, 16, 16))
        session.add(2, box=(16, 0, 32, 16))
        session.step(image)
        assert session.step(image).status == (Status.AMBIGUOUS, Status.AMBIGUOUS)
        assert session.add(1, box=(0, 0, 16, 16)).status[0] is Status.TRACKED
