"""tracking, occluded, lost: the rule alone, frame by frame."""

import pytest

from vidmem.session.status import StatusRule, StatusState
from vidmem.types import Status


def run(rule: StatusRule, seen: str, prompts=()) -> str:
    """seen: 1 visible, 0 not -> the first letter of each status."""
    state, said = StatusState(rule), ""
    for t, letter in enumerate(seen):
        state = state.advance(letter == "1", t in prompts)
        said += state.status.value[0]
    return said


@pytest.mark.parametrize(
    "rule, seen, said",
    [
        (StatusRule(1, 3, 2), "1101", "ttot"),  # a single hidden frame
        (StatusRule(1, 3, 2), "1000011", "toolllt"),  # found only on the second frame
        (StatusRule(1, 3, 2), "10000101011", "toolllllllt"),  # single glimpses do not count
        (StatusRule(2, 4, 1), "10100001", "ttttoolt"),
        (StatusRule(5, 3, 1), "100001", "tttllt"),  # lost without ever being occluded
    ],
)
def test_status_follows_consecutive_frames(rule, seen, said):
    assert run(rule, seen) == said


def test_an_occluded_object_is_tracked_again_as_soon_as_it_is_seen():
    assert run(StatusRule(1, 30, 10), "1001") == "toot"


def test_a_prompt_that_finds_a_lost_object_settles_it_and_one_that_does_not_changes_nothing():
    rule = StatusRule(1, 2, 5)
    assert run(rule, "10001", prompts=[4]) == "tollt"
    assert run(rule, "10000", prompts=[4]) == "tolll"


def test_ambiguous_needs_a_rival_on_consecutive_frames_and_gives_way_to_being_unseen():
    state, said = StatusState(StatusRule(1, 3, 1, ambiguous_after=2)), ""
    for letter in "1RRR1RR00":  # R: seen, and claimed by object 7 too
        state = state.advance(letter != "0", rival=7 if letter == "R" else None)
        said += state.status.value[0]
        assert state.rival == (7 if state.status is Status.AMBIGUOUS else None)
    assert said == "ttaattaoo"


def test_states_are_shared_safely_because_they_never_change():
    state = StatusState()
    later = state.advance(False)
    assert state.status is Status.TRACKED and later.status is Status.OCCLUDED
    with pytest.raises(AttributeError):
        state.unseen = 3
