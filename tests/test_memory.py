"""What every bank promises, and that `Recent` recalls what SAM 2 recalls.

The golden frames and codes were recorded from the official SAM 2 code; its code 6 for prompted frames is -1 here.
"""

import copy

import numpy as np
import pytest

from tests.banks import entry, fill, frames, live, recalled
from vidmem.catalogue.tracker import MODELS
from vidmem.memory import BANKS, Recent
from vidmem.types import Cue, Verdict

POLICIES = {
    **{name: policy() for name, policy in BANKS.items()},
    "smallest": Recent(slots=2, stride=1, prompts=1, pointers=0),
    "long stride": Recent(slots=7, stride=30),
    "pointers only": Recent(slots=2, stride=7, prompts=2, pointers=9),
    "no pointers": Recent(slots=5, stride=4, pointers=0),
    **{f"{name} on nano": MODELS["nano"].make_bank(name) for name in BANKS},
    "diverse, dive": BANKS["diverse"](rule="dive"),
    "confident, sam3": BANKS["confident"](rule="sam3", one_short=False),
}


def contents(bank) -> list[tuple]:
    return [(e.frame_idx, e.payload and (e.payload.tokens, e.payload.tobytes())) for e in bank.entries()]


def told(plan) -> tuple:
    """A plan, comparable."""
    recalls = [(r.entry.frame_idx, r.entry.payload.tokens, r.tcode, r.key_scale) for r in plan.recalls]
    return recalls, [(p.entry.frame_idx, p.distance, p.key_scale) for p in plan.pointers], plan.pointer_norm, plan.watch


# What SAM 2 does ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "stride, t, expected",
    [
        (3, 5, [(0, -1), (3, 1), (4, 0)]),
        (3, 11, [(0, -1), (3, 3), (6, 2), (9, 1), (10, 0)]),
        (3, 17, [(0, -1), (3, 5), (6, 4), (9, 3), (12, 2), (15, 1), (16, 0)]),
        (3, 20, [(0, -1), (6, 5), (9, 4), (12, 3), (15, 2), (18, 1), (19, 0)]),
        (1, 1, [(0, -1)]),
        (1, 4, [(0, -1), (1, 2), (2, 1), (3, 0)]),
        (1, 20, [(0, -1), (14, 5), (15, 4), (16, 3), (17, 2), (18, 1), (19, 0)]),
    ],
)
def test_recent_recalls_the_frames_and_codes_that_sam2_recalls(stride, t, expected):
    assert recalled(fill(Recent(stride=stride), t - 1).read(t)) == expected


@pytest.mark.parametrize("stride", [1, 2, 3, 5, 8, 30])
def test_recent_recalls_what_a_bank_that_forgets_nothing_would(stride):
    """SAM 2's own rule, written a second time, over all frames ever written."""
    policy, bank = Recent(stride=stride), Recent(stride=stride)()
    for t in range(1, 120):
        bank.write(entry(t - 1, prompted=t == 1))
        slots = [t - 1] + [(t - 2) // stride * stride - (k - 2) * stride for k in range(2, policy.slots)]
        expected = [(0, -1)] + [(f, k) for k, f in reversed(list(enumerate(slots))) if 0 < f < t]
        assert recalled(bank.read(t)) == expected


def test_key_lengths_are_those_of_sam2_at_1024_pixels():
    """4100, 8200 ... 28700 at t=7, then 4 more a frame until 16 pointers: 4096 tokens a frame, 4 a pointer."""
    lengths = []
    for t in range(1, 30):
        plan = fill(Recent(), t - 1).read(t)
        lengths.append(4096 * len(plan.recalls) + 4 * len(plan.pointers))
    assert lengths[:7] == [4100 * t for t in range(1, 8)]
    assert lengths[7:16] == [28700 + 4 * k for k in range(1, 10)] and set(lengths[16:]) == {28736}


def test_pointers_are_the_prompted_then_consecutive_ones_with_signed_distances():
    plan = fill(Recent(stride=3), 29, prompts=(0, 25)).read(30)
    near = [d for d in range(1, 16) if d != 5]
    assert [(p.entry.frame_idx, p.distance) for p in plan.pointers] == [(0, 30), (25, 5)] + [(30 - d, d) for d in near]
    assert plan.pointer_norm == 15


@pytest.mark.parametrize("stride", [1, 3, 30])
def test_frames_that_are_only_pointed_to_hold_no_spatial_memory(stride):
    bank = Recent(stride=stride)()
    for t in range(80):
        bank.write(entry(t, prompted=t == 0))
        plan = bank.read(t + 1)
        assert all(recall.entry.payload is not None for recall in plan.recalls)
        assert len(plan.pointers) == min(16, t + 1)
    assert sum(e.payload is not None for e in bank.entries()) <= 8 < len(bank.entries())


def test_a_policy_without_pointers_reads_none():
    plan = fill(Recent(pointers=0), 20).read(21)
    assert plan.pointers == () and len(plan.recalls) == 7


def test_of_many_prompted_frames_the_first_and_the_newest_stay():
    bank = fill(Recent(prompts=3), 50, prompts=(2, 10, 20, 30, 40))
    assert [f for f, code in recalled(bank.read(51)) if code == -1] == [2, 30, 40]


def test_frames_without_the_object_are_remembered_only_if_the_policy_says_so():
    unseen = Verdict(3, 0.5, -1.0, 0.0)
    assert Recent(absent=True)().wants(unseen) and not Recent(absent=False)().wants(unseen)
    assert Recent(absent=False)().wants(Verdict(3, 0.5, -1.0, 0.0, prompted=True))


@pytest.mark.parametrize(
    "wrong",
    [{"slots": 1}, {"stride": 0}, {"prompts": 0}, {"pointers": -1}, {"slots": 2.5}, {"stride": "3"}, {"prompts": True}],
)
def test_numbers_that_no_bank_can_have_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}=.* expected an integer"):
        Recent(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"frames": 0}, {"frames": 2.5}, {"frames": True}, {"absent": 1}, {"corrections": "no"}]
)
def test_a_length_or_a_switch_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}=.* expected"):
        Recent(**wrong)


# The contract of every bank -----------------------------------------------------------------------------------------
@pytest.fixture(params=POLICIES)
def policy(request):
    return POLICIES[request.param]


PATTERNS = {
    "one prompt": lambda t: (t == 0, True),
    "all prompted": lambda t: (True, True),
    "every third prompted": lambda t: (t % 3 == 0, True),
    "often absent": lambda t: (t == 0, t % 7 < 3),
    "never prompted": lambda t: (False, True),
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_bank_holds_at_most_its_capacity_after_every_write(policy, pattern):
    bank = policy()
    for t in range(200):
        prompted, visible = PATTERNS[pattern](t)
        live(bank, entry(t, prompted, visible))
        held = bank.entries()
        assert len(held) <= bank.capacity
        payloads = {id(e.payload): e.payload for e in held if e.payload}
        descriptors = sum(e.descriptor.nbytes for e in held if e.descriptor is not None)
        assert bank.nbytes == sum(p.nbytes for p in payloads.values()) + descriptors
        assert [e.frame_idx for e in held] == sorted({e.frame_idx for e in held})


def test_capacity_does_not_change_with_what_is_written(policy):
    assert policy().capacity == fill(policy, 60, prompts=range(0, 60, 2)).capacity


def test_an_empty_bank_reads_nothing(policy):
    assert policy().read(0).recalls == () and policy().read(9).pointers == () and policy().nbytes == 0


def test_reading_changes_nothing(policy):
    bank = fill(policy, 40, prompts=(0, 7))
    before = copy.deepcopy([e.frame_idx for e in bank.entries()]), contents(bank)
    plans = [bank.read(t, Cue(entry(20).descriptor)) for t in (41, 60, 3, 41)]
    assert told(plans[0]) == told(plans[3]) and ([e.frame_idx for e in bank.entries()], contents(bank)) == before


def test_a_plan_names_only_entries_held_and_only_of_the_past(policy):
    bank = fill(policy, 40, prompts=(0, 7, 40))
    held = {id(e) for e in bank.entries()}
    for t in (0, 7, 8, 40, 41, 55):
        plan = bank.read(t, Cue(entry(12).descriptor))
        assert all(id(recall.entry) in held and recall.entry.payload is not None for recall in plan.recalls)
        assert {pointer.entry.frame_idx for pointer in plan.pointers} <= {e.frame_idx for e in bank.entries()}
        assert all(item.entry.frame_idx < t for item in (*plan.recalls, *plan.pointers))
        assert len(frames(plan)) == len(set(frames(plan)))
        assert plan.pointer_norm >= 1


def test_forks_are_independent(policy):
    bank = fill(policy, 20)
    before, plan = contents(bank), told(bank.read(21))
    fork = bank.fork()
    assert contents(fork) == before and told(fork.read(21)) == plan and fork.capacity == bank.capacity
    assert {id(e) for e in fork.entries()} == {id(e) for e in bank.entries()}  # shared, not copied
    for t in range(21, 60):
        live(fork, entry(t, prompted=t % 5 == 0))
    assert contents(bank) == before and told(bank.read(21)) == plan
    frozen = contents(fork)
    live(bank, entry(21))
    assert contents(fork) == frozen


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_an_entry_of_the_same_frame_is_replaced(policy, first, second):
    bank = fill(policy, 8)
    bank.write(entry(9, first))
    newer = entry(9, second)
    bank.write(newer)
    assert [e for e in bank.entries() if e.frame_idx == 9] in ([newer], [])
    assert frames(bank.read(10)).count(9) <= 1


def test_a_prompted_frame_is_wanted_and_recalled_next(policy):
    bank = fill(policy, 8)
    candidate = entry(9, prompted=True, visible=False)
    assert bank.wants(candidate.verdict)
    bank.write(candidate)
    if getattr(policy, "prompts", 2) > 1:  # one place is the first prompt's
        assert 9 in frames(bank.read(10))


def test_equal_writes_make_equal_banks(policy):
    rng = np.random.default_rng(0)
    entries = [entry(t, prompted=rng.random() < 0.2, visible=rng.random() < 0.7) for t in range(80)]
    banks = policy(), policy()
    for bank in banks:
        for e in entries:
            live(bank, e)
    cue = Cue(entry(33).descriptor)
    assert contents(banks[0]) == contents(banks[1]) and told(banks[0].read(80, cue)) == told(banks[1].read(80, cue))
