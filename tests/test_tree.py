"""`Tree` against the published rule written down literally, and as a stream against itself offline."""

import numpy as np
import pytest

from tests.scenes import click, scene
from vidmem.memory import Confident, Recent
from vidmem.networks.base import Memory
from vidmem.networks.fake import Colour, FakeNetwork
from vidmem.search import Greedy, Tree, View
from vidmem.session import Session
from vidmem.types import Candidates


class Scripted(FakeNetwork):
    """A network whose scores depend on the frame and on what the row reads, so that branches part; a memory is the history
    of candidates that led to it, as a hash of integers and floats, which Python does not salt."""

    def __init__(self, uncertain=lambda t: t % 4 != 0, seed=0):
        super().__init__()
        self.t, self.uncertain, self.seed, self.rows = -1, uncertain, seed, []

    def encode(self, image):
        self.t += 1
        return super().encode(image)

    def attend(self, features, plans):
        self.plans = plans
        self.rows.append(len(plans))
        super().attend(features, plans)
        return [tuple((r.entry.frame_idx, r.entry.payload.value, r.tcode, round(r.key_scale, 6)) for r in plan.recalls)
                + tuple((p.entry.frame_idx, p.distance) for p in plan.pointers) for plan in plans]  # fmt: skip

    def scores(self, read: tuple, t: int) -> tuple[np.ndarray, float]:
        random = np.random.default_rng(abs(hash((read, t, self.seed))))
        return random.uniform(0.05, 0.95, 3).astype(np.float32), float(
            random.uniform(-2, 2) if self.uncertain(t) else 4.0
        )

    def decode(self, features, conditioned, asks):
        both = [self.scores(read, self.t) for read in conditioned]
        logits = np.stack(
            [
                np.stack([np.full((4, 4), 1 + hash((self.t, read, k)) % 97, np.float32) for k in range(3)])
                for read in conditioned
            ]
        )
        self.read = conditioned
        return Candidates(logits, np.stack([q for q, _ in both]), np.array([o for _, o in both], np.float32))

    def memorize(self, features, candidates, chosen):
        return [Memory(History(hash((self.t, self.read[c.row], c.candidate))), 8) for c in chosen]


class History(Colour):
    @property
    def nbytes(self):
        return 8


def published(network: Scripted, frames: int, width=3):
    """SAM2Long's loop, each pathway computed for itself, over a past that forgets nothing: `algorithms.md` 2.2.

    -> per frame the scores and the masks' histories of the pathways, and all reads."""
    delta, unsure, weights = 0.1, 2.0, (0.95, 1.05)
    random_read: tuple = ()
    q, o = network.scores(random_read, 0)
    start = hash((0, random_read, int(q.argmax())))
    first = {"q": float(q.max()), "o": o, "value": start}
    paths, totals, log, reads = None, None, [], []

    def read(past: dict, t: int) -> tuple:
        kept = [f for f in range(t - 1, 0, -1) if past[f]["q"] > delta and past[f]["o"] > 0][:15]
        if t > 1 and t - 1 not in kept:
            kept = [t - 1, *kept]
        spatial = [0, *kept[:6][::-1]]
        codes = [-1, *range(len(spatial) - 2, -1, -1)]
        logits = [10.0, *(past[f]["o"] for f in spatial[1:])]
        ranks = np.argsort(np.argsort(logits, kind="stable"), kind="stable")
        scale = np.linspace(*weights, len(spatial))[ranks] if len(spatial) > 1 else [1.0]
        pointers = [(0, t), *((f, rank) for rank, f in enumerate(kept[:-1], 1) if rank < 16)]
        values = [start, *(past[f]["value"] for f in spatial[1:])]
        return tuple((f, v, c, round(float(s), 6)) for f, v, c, s in zip(spatial, values, codes, scale)) + tuple(
            pointers
        )

    for t in range(1, frames):
        if t == 1:
            seen = read({}, 1)
            q, o = network.scores(seen, 1)
            slot = {"q": float(q.max()), "o": o, "value": hash((1, seen, int(q.argmax())))}
            paths, totals = [{1: slot} for _ in range(width)], [0.0] * width
        else:
            found, signed, seen_by, o_by = [], {}, [], []
            for p in range(width):
                seen = read(paths[p], t)
                q, o = network.scores(seen, t)
                seen_by.append((seen, q, o))
                o_by.append(o)
                for j in range(3):
                    found.append((totals[p] + np.log(float(q[j]) + 1e-5), p, j))
                    signed[p, j] = round(float(q[j]) if o > 0 else -float(q[j]), 2)
            found.sort(key=lambda c: -c[0])
            if max(abs(o) for o in o_by) > unsure:
                taken = found[:width]
            else:
                taken, values = [], set()
                for c in found:
                    if len(taken) < width and signed[c[1:]] not in values:
                        values.add(signed[c[1:]])
                        taken.append(c)
                for p in range(width):
                    if len(taken) < width and p not in [c[1] for c in taken]:
                        taken.append(next(c for c in found if c[1] == p))
                taken.sort(key=lambda c: -c[0])
            new = []
            for _, p, j in taken:
                seen, q, o = seen_by[p]
                new.append({**paths[p], t: {"q": float(q[j]), "o": o, "value": hash((t, seen, j))}})
            paths, totals = new, [c[0] for c in taken]
        log.append((list(totals), [path[t]["value"] for path in paths]))
        reads.append({read(path, t + 1) for path in paths})
    return first, log, reads


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("stretch", ["mixed", "all uncertain", "all certain", "long stretches"])
def test_the_tree_is_sam2long_over_sixty_frames(seed, stretch):
    """Survivors, scores to 1e-6 and reads."""
    uncertain = {"mixed": lambda t: t % 4 != 0, "all uncertain": lambda t: True, "all certain": lambda t: False,
                 "long stretches": lambda t: t // 15 % 2 == 1}[stretch]  # fmt: skip
    network = Scripted(uncertain, seed)
    session = Session(network, Confident(), Tree(3, lag=None))
    session.add(1, box=(0, 0, 20, 20))
    session.step(scene(0))
    _, log, reads = published(Scripted(uncertain, seed), 60)
    for t in range(1, 60):
        session.step(scene(t))
        track = session._state.tracks[1]
        search, copies = track.search, track.search.copies
        ours = [score for score, n in zip(search.scores, copies) for _ in range(n)]
        memories = [h.bank.held.recent[-1].payload.value for h, n in zip(track.hypotheses, copies) for _ in range(n)]
        scores, values = log[t - 1]
        assert ours == pytest.approx(scores, abs=1e-6)
        assert memories == values
        ours_read = {network_read(h.bank.read(t + 1)) for h in track.hypotheses}
        assert ours_read == reads[t - 1]
    distinct = network.rows[2:]
    assert max(distinct) == (1 if stretch == "all certain" else 3)


def network_read(plan) -> tuple:
    return tuple(
        (r.entry.frame_idx, r.entry.payload.value, r.tcode, round(r.key_scale, 6)) for r in plan.recalls
    ) + tuple((p.entry.frame_idx, p.distance) for p in plan.pointers)


def test_twins_are_computed_once():
    network = Scripted(lambda t: t in (20, 21))
    session = Session(network, Confident(), Tree(3))
    session.add(1, box=(0, 0, 20, 20))
    alive = [int(session.step(scene(t)).search[0]["hypotheses"]) for t in range(30)]
    assert alive[:20] == [1] * 20 and max(alive[20:]) == 3 and network.rows[:21] == [1] * 21


# As a stream --------------------------------------------------------------------------------------------------------
def run(search, frames=50, seed=0):
    session = Session(Scripted(seed=seed), Recent(slots=3, pointers=0), search)
    session.add(1, box=(0, 0, 20, 20))
    live, final = [], []
    for t in range(frames):
        live.append(session.step(scene(t)))
        final += session.settled()
    return live, final, final + session.settled(end=True), session


def shown(result) -> tuple:
    return result.frame_idx, result.mask_logits[0, 0, 0], float(result.scores[0]), result.status


@pytest.mark.parametrize("lag", [0, 1, 8])
def test_a_lag_settles_each_frame_once_and_that_much_later(lag):
    live, during, every, _ = run(Tree(3, lag=lag))
    assert [r.frame_idx for r in every] == list(range(50)) and len(during) == 50 - lag
    assert [r.frame_idx for r in live] == list(range(50))


@pytest.mark.parametrize("seed", range(3))
def test_settled_answers_are_those_of_the_offline_run_unless_the_branch_changed_later(seed):
    _, none_yet, offline, _ = run(Tree(3), seed=seed)
    assert not none_yet
    whole = {r.frame_idx: shown(r) for r in offline}
    agreeing = []
    for lag in (0, 8, 40):
        _, _, every, _ = run(Tree(3, lag=lag), seed=seed)
        agreeing.append(np.mean([shown(r) == whole[r.frame_idx] for r in every]))
    assert agreeing[0] <= agreeing[1] <= agreeing[2] and agreeing[2] > 0.9


def test_offline_answers_are_one_branch():
    """The masks that the winning branch's own memories were made of."""
    _, _, offline, session = run(Tree(3))
    best = session._state.tracks[1].best.bank
    for e in best.entries()[1:]:
        assert offline[e.frame_idx].mask_logits[0, 0, 0] == 1 + e.payload.value % 97


@pytest.mark.parametrize("asks", [True, False])
def test_a_lag_bounds_what_is_kept(asks):
    session = Session(Scripted(), Recent(slots=3, pointers=0), Tree(3, lag=8))
    session.add(1, box=(0, 0, 20, 20))
    for t in range(300):
        session.step(scene(t))
        if asks:
            session.settled()
        for hypothesis in session._state.tracks[1].hypotheses:
            assert len(hypothesis.past) <= 9
    assert len(session._state.unsettled) <= 9


def test_greedy_settles_at_once():
    session = Session(FakeNetwork(), Recent(slots=4), Greedy())
    session.add(1, points=click(1, 0))
    for t in range(5):
        result = session.step(scene(t))
        assert session.settled() == [result] and session.settled() == []


def test_a_correction_leaves_one_hypothesis_that_is_settled_as_corrected():
    session = Session(Scripted(), Recent(slots=3, pointers=0), Tree(3, lag=4))
    session.add(1, box=(0, 0, 20, 20))
    for t in range(30):
        session.step(scene(t))
        session.settled()
    session.add(1, box=(4, 4, 16, 16))
    assert len(session._state.tracks[1].hypotheses) == 1
    final = session.settled(end=True)
    assert [r.frame_idx for r in final] == [26, 27, 28, 29]


def test_a_snapshot_brings_the_branches_back():
    network = Scripted()
    session = Session(network, Recent(slots=3, pointers=0), Tree(3, lag=5))
    session.add(1, box=(0, 0, 20, 20))
    for t in range(20):
        session.step(scene(t))
        session.settled()
    snapshot, clock = session.snapshot(), network.t
    runs = []
    for _ in range(2):
        session.restore(snapshot)
        network.t, out = clock, []
        for t in range(20, 40):
            session.step(scene(t))
            out += [shown(r) for r in session.settled()]
        runs.append((out + [shown(r) for r in session.settled(end=True)], session._state.tracks[1].search.report()))
    assert runs[0] == runs[1] and len(runs[0][0]) == 25


@pytest.mark.parametrize(
    "wrong", [{"width": 0}, {"width": 2.0}, {"lag": -1}, {"lag": True}, {"uncertainty": -1}, {"uncertainty": "2"}]
)
def test_numbers_that_no_tree_can_have_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}=.* expected"):
        Tree(**wrong)


def test_a_switch_of_the_best_branch_is_counted():
    search = Tree(2)()
    search.advance(View(np.array([[0.5, 0.4, 0.1]]), np.ones(1), prompted=True))
    search.advance(View(np.array([[0.5, 0.4, 0.1]]), np.ones(1)))
    assert len(search.advance(View(np.array([[0.9, 0.8, 0.1]]), np.ones(1)))) == 2 and search.report()["switches"] == 0
    search.advance(View(np.array([[0.1, 0.1, 0.1], [0.9, 0.1, 0.1]]), np.ones(2)))
    assert search.report() == {"hypotheses": 2, "switches": 1, "uncertain": 2}
