"""Each policy against its publication: golden frames and codes where they were recorded, else the rule written a second time."""

import numpy as np
import pytest

from tests.banks import direction, entry, fill, frames, live, recalled
from vidmem.memory import (
    BANKS,
    Anchors,
    Confident,
    Consolidated,
    Diverse,
    Hierarchical,
    Keyset,
    Lagged,
    Motion,
    Pruned,
    Reconstructive,
    Spaced,
    Sparse,
    Surprise,
)  # fmt: skip
from vidmem.memory.reconstructive import nonnegative_lasso
from vidmem.networks.fake import Colour
from vidmem.types import Cue, Usage


# confident ----------------------------------------------------------------------------------------------------------
def test_confident_reads_what_a_scan_of_the_whole_past_reads():
    """SAM2Long's scan, written a second time over all frames ever written."""
    random = np.random.default_rng(0)
    iou = {t: float(random.choice([0.05, 0.5, 0.9])) for t in range(120)}
    logit = {t: float(random.normal()) for t in range(120)}
    bank = Confident()()
    for t in range(1, 120):
        live(bank, entry(t - 1, prompted=t == 1, iou=iou[t - 1], object_logit=logit[t - 1]))
        kept = [f for f in range(t - 1, 0, -1) if iou[f] > 0.1 and logit[f] > 0][:15]
        if t > 1 and t - 1 not in kept:
            kept = [t - 1, *kept]
        plan = bank.read(t)
        assert recalled(plan) == [(0, -1), *reversed([(f, rank) for rank, f in enumerate(kept[:6])])]
        short = [(f, rank) for rank, f in enumerate(kept[:-1], 1)][:15]
        assert [(p.entry.frame_idx, p.distance) for p in plan.pointers] == [(0, t), *short]


def test_confident_key_weights_are_a_ramp_over_the_object_logits():
    bank = fill(Confident(), 3, object_logit=lambda t: {0: -3.0, 1: 3.0, 2: 1.0, 3: 2.0}[t])
    plan = bank.read(4)
    assert [r.key_scale for r in plan.recalls] == pytest.approx(
        [1.05, 0.95 + 2 * 0.1 / 3, 0.95, 0.95 + 0.1 / 3]
    )  # the prompt is 10
    assert [r.key_scale for r in fill(Confident(), 0).read(1).recalls] == [1.0]
    assert [p.entry.frame_idx for p in bank.read(4).pointers] == [0, 3, 2]  # one short: frame 1 is left out
    whole = fill(Confident(one_short=False), 3).read(4)
    assert [p.entry.frame_idx for p in whole.pointers] == [0, 3, 2, 1]


def test_key_lengths_are_those_of_sam2long_while_nothing_is_dropped():
    plans = [fill(Confident(), t - 1).read(t) for t in range(1, 5)]
    assert [4096 * len(p.recalls) + 4 * len(p.pointers) for p in plans] == [4100, 8196, 12296, 16396]


def test_confident_by_the_rule_of_sam3():
    policy = Confident(rule="sam3", sam3=0.45)
    assert frames(fill(policy, 6, object_logit=lambda t: 1.0 if t % 2 else 5.0).read(7)) == [0, 2, 4, 6]


# motion -------------------------------------------------------------------------------------------------------------
def test_motion_reads_the_golden_frames_of_samurai():
    unseen = {5, 12, 19, 26}
    logit = {"object_logit": lambda t: -1.5 if t in unseen else 2.0}
    assert recalled(fill(Motion(), 7, **logit).read(8)) == [(0, -1), (2, 4), (3, 3), (4, 2), (6, 1), (7, 0)]
    assert frames(fill(Motion(), 5, **logit).read(6))[-1] == 5  # forced, although it is not visible
    moved = {"motion": lambda t: 0.0 if t == 16 else 0.5}
    assert frames(fill(Motion(), 17, **logit, **moved).read(18)) == [0, 11, 13, 14, 15, 17][:1] + [
        10,
        11,
        13,
        14,
        15,
        17,
    ]


# anchors ------------------------------------------------------------------------------------------------------------
def dam4sam(until: int):
    """The script of the golden vectors: invisible on 6, 9 and 21; distractors seen on 4, 12, 20 and 28."""
    return fill(
        Anchors(),
        until,
        visible=lambda t: t not in {6, 9, 21},
        distractor=lambda t: 0.5 if t in {4, 12, 20, 28} else 1.0,
    )


def test_anchors_reads_the_golden_frames_of_dam4sam():
    assert recalled(dam4sam(9).read(10)) == [(0, -1), (4, -1), (5, 1), (8, 0)]
    assert recalled(dam4sam(26).read(27)) == [(0, -1), (4, -1), (12, -1), (20, -1), (15, 2), (25, 1), (26, 0)]


@pytest.mark.parametrize(
    "spoiled", [{"iou": 0.7}, {"area": 0.2}, {"area": 0.0}, {"distractor": 0.8}, {"distractor": None}]
)
def test_an_anchor_needs_every_sign(spoiled):
    bank = fill(Anchors(), 5)
    live(bank, entry(6, **{"distractor": 0.5, **spoiled}))
    live(bank, entry(7))
    assert not bank.held.kept
    live(bank, entry(8, distractor=0.5))
    assert [e.frame_idx for e in bank.held.kept] == [8]
    live(bank, entry(12, distractor=0.5))  # too soon
    live(bank, entry(14, distractor=0.5))
    assert [e.frame_idx for e in bank.held.kept] == [8, 14]


# diverse ------------------------------------------------------------------------------------------------------------
def test_diverse_keeps_the_pool_entry_least_like_the_last_long_memory():
    colours = {t: Colour(direction(t, 3)) for t in range(12)}
    bank = Diverse()()
    for t in range(11):
        live(bank, entry(t, prompted=t == 0, iou=0.99, payload=colours[t]))
    first = min(range(1, 6), key=lambda t: colours[t].similarity(colours[0]))
    second = min(range(6, 11), key=lambda t: colours[t].similarity(colours[first]))
    assert [e.frame_idx for e in bank.held.kept] == [first, second]
    assert (first, -1) in recalled(bank.read(30)) and not fill(Diverse(), 40, iou=lambda t: 0.9).held.kept


def test_divemem_wants_confident_frames_in_a_row():
    bank = fill(Diverse(rule="dive"), 30, iou=lambda t: 0.5 if t % 4 == 0 else 0.99)
    assert not bank.held.kept and fill(Diverse(rule="dive"), 30, iou=lambda t: 0.99).held.kept


# pruned, sparse, keyset ---------------------------------------------------------------------------------------------
def test_pruned_reads_five_from_the_seventh_frame_on_and_keeps_the_codes_of_slots():
    plans = {t: fill(Pruned(), t - 1).read(t) for t in range(1, 20)}
    assert [len(plans[t].recalls) for t in range(1, 20)] == [1, 2, 3, 4, 5, 6] + [5] * 13
    for t in range(7, 20):
        assert all(code == t - 1 - f for f, code in recalled(plans[t])[1:]) and frames(plans[t])[-1] == t - 1
    colours = {9: Colour(np.array([1, 0, 0.0])), 6: Colour(np.array([1, 0.1, 0])), 8: Colour(np.array([1, 0.2, 0]))}
    other = Colour(np.array([0, 0, 1.0]))
    assert frames(fill(Pruned(), 9, payload=lambda t: colours.get(t, other)).read(10)) == [0, 4, 5, 7, 9]


def test_sparse_leaves_the_most_attended_tokens_of_frames_read_once():
    taken = []

    class Watched(Colour):
        def take(self, tokens):
            taken.append(tokens)
            return super().take(tokens)

    bank, weights = Sparse(share=0.05)(), np.random.default_rng(0).random((4, 100)).astype(np.float32)
    for t in range(4):
        live(bank, entry(t, prompted=t == 0, payload=Watched(np.ones(3, np.float32), 100)),
             lambda plan: [Usage(weights[:, : r.entry.payload.tokens], 0.1) for r in plan.recalls])  # fmt: skip
    assert [e.payload.tokens for e in bank.entries() if e.payload] == [100, 5, 5, 100]
    assert (
        all((np.sort(tokens, -1) == np.sort(np.argsort(-weights)[:, :5], -1)).all() for tokens in taken)
        and len(taken) == 2
    )


def test_the_bag_of_keyset_is_full_random_and_seeded():
    def bag(**how):
        return [
            (e.frame_idx, e.payload.tokens)
            for e in fill(Keyset(**how), 90, payload=lambda t: Colour(np.ones(3), 100)).held.kept
        ]

    held = bag()
    assert 280 < sum(tokens for _, tokens in held) <= 300 and held == bag() and held != bag(seed=1)
    assert len(held) > 10 and held[0][0] < 60
    bank = fill(Keyset(), 90, payload=lambda t: Colour(np.ones(3), 100))
    sizes = [sum(r.entry.payload.tokens for r in bank.read(t).recalls[1:-1]) for t in range(91, 99)]
    assert all(70 < size <= 100 for size in sizes) and len({tuple(frames(bank.read(t))) for t in range(91, 99)}) > 4


# consolidated, lagged, spaced ---------------------------------------------------------------------------------------
def test_consolidated_merges_what_is_alike_and_thins_what_is_not():
    alike = fill(Consolidated(), 60, payload=lambda t: Colour(np.array([1, 0.01 * t, 0]), 400))
    assert len(alike.held.kept) == 2 and not alike.held.pool
    apart = fill(Consolidated(merge=0.999), 60, payload=lambda t: Colour(direction(t, 3), 400))
    assert [e.payload.tokens for e in apart.held.pool] == [128, 128] and len(apart.held.kept) == 2


def test_consolidated_points_to_a_running_mean():
    bank = Consolidated()()
    for t in range(40):
        e = entry(t, prompted=t == 0)
        live(bank, type(e)(e.verdict, e.payload, e.nbytes, np.full(4, float(t)), e.descriptor))
    left = [e for e in range(5, 40, 5) if e < bank.held.recent[0].frame_idx]
    assert bank.read(40).pointers[-1].entry.pointer == pytest.approx(np.full(4, np.mean(left)))


def test_lagged_keeps_what_attention_comes_back_to():
    def usage(plan):  # frame 4 matters on every tenth frame, nothing else ever after its first
        t = plan.recalls[-1].entry.frame_idx + 1
        return [Usage(np.ones((1, 8)), 0.9 if r.entry.frame_idx == 4 and t % 10 == 0 else 0.01) for r in plan.recalls]

    bank = Lagged(slots=5)()
    for t in range(100):
        live(bank, entry(t, prompted=t == 0), usage)
    assert 4 in frames(bank.read(100))


def test_spaced_ages_grow_in_a_constant_ratio():
    ages = [1000 - e.frame_idx for e in fill(Spaced(keep=8, slots=10), 999).held.kept]
    ratios = np.array(ages[:-1]) / np.array(ages[1:])
    assert ages[0] > 300 and ages[-1] < 10 and (ratios > 1).all() and (ratios < 6).all()
    assert np.median([1000 - e.frame_idx for e in fill(Spaced(keep=8, power=0.3), 999).held.kept]) > np.median(ages)


# by content ---------------------------------------------------------------------------------------------------------
SCENES = {"descriptor": lambda t: direction(100 + t // 40) * 0.95 + direction(t) * 0.05}


@pytest.mark.parametrize("policy", [Reconstructive(), Surprise(), Hierarchical(span=40)])
def test_a_bank_that_recalls_by_content_recalls_the_scene_that_is_back(policy):
    bank = fill(policy, 199, **SCENES)
    for scene in (0, 1, 3):
        recalls = [f for f in frames(bank.read(200, Cue(direction(100 + scene)))) if 0 < f < 190]
        assert any(f // 40 == scene for f in recalls), (scene, recalls)


def test_the_lasso_is_solved():
    random = np.random.default_rng(0)
    x, f = random.normal(size=(30, 8)), random.normal(size=30)
    x, f = x / np.linalg.norm(x, axis=0), f / np.linalg.norm(f)
    psi = nonnegative_lasso(x.T @ x, x.T @ f, 0.05, steps=2000)
    slope = (
        x.T @ x @ psi - x.T @ f + 0.05
    )  # zero inside the support, not negative outside: the optimum's own conditions
    assert (psi >= 0).all() and 0 < (psi > 0).sum() < 8
    assert np.abs(slope[psi > 0]).max() < 1e-6 and slope.min() > -1e-6


def test_surprise_begins_events_at_changes_and_at_cuts():
    bank = fill(Surprise(longest=1000), 199, **SCENES)
    begun = [e.frame_idx for e in bank.held.kept]
    assert {40, 80, 120, 160} <= set(begun) and len(begun) < 40
    cut = fill(Surprise(longest=1000), 30, descriptor=lambda t: direction(1), cut=lambda t: t == 17)
    assert 17 in [e.frame_idx for e in cut.held.kept]


# all of them --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", BANKS)
def test_a_lost_object_that_flickers_is_not_remembered_unless_absence_is(name):
    """Visible, but the status machine does not count it as tracked yet."""
    for absent in (True, False):
        bank = fill(BANKS[name](absent=absent), 8)
        assert bank.wants(entry(9, tracked=False).verdict) == absent
        assert bank.wants(entry(9, visible=False).verdict) == absent


@pytest.mark.parametrize("name", BANKS)
def test_numbers_out_of_bounds_are_refused(name):
    for field in ("slots", "prompts", "pointers"):
        with pytest.raises(ValueError, match=f"{field}=-1; expected an integer"):
            BANKS[name](**{field: -1})


def test_words_and_fractions_out_of_bounds_are_refused():
    with pytest.raises(ValueError, match="rule='dam'; expected one of dlm, dive"):
        Diverse(rule="dam")
    with pytest.raises(ValueError, match="iou=1.5; expected a number, from 0 to 1"):
        Motion(iou=1.5)
