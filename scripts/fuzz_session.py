#!/usr/bin/env python3
"""Random calls on a session beside a twin that never sees the failing ones: a state machine of Hypothesis.

    python scripts/fuzz_session.py --network fake --sequences 10000 --seed 1
    python scripts/fuzz_session.py --network nano --sequences 500 --seed 1

Every sequence draws a bank, a search and their numbers, then up to 40 calls: steps, prompts of all kinds on this frame and later ones, removals, undo,
snapshots and their restoring, and among them everything that must be refused: frames that are none, of another size or out of order, prompts outside,
objects without number, an engine that breaks in any stage, results that are written to. After each call the caller's arrays are overwritten, not the
twin's.

It must hold that nothing but the documented errors comes out, and that the twin, which saw the good calls alone, says the same bit for bit. One call is
not kept from the twin: a step whose prompt does not fit, for that prompt is dropped, as `Session.step` says. What fails is made as short as it can be and
printed as the calls that lead to it. The last line is JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import vidmem
from vidmem.catalogue.tracker import MODELS, Tracker
from vidmem.errors import FrameError, ObjectError, PromptError, SessionClosed
from vidmem.memory import BANKS
from vidmem.networks.fake import FakeNetwork
from vidmem.search import SEARCHES, Tree
from vidmem.types import Frame, FrameResult

H, W = 60, 90
COLOURS = ((220, 30, 30), (30, 220, 30), (30, 30, 220))
STAGES = ("encode", "attend", "decode", "memorize")
EXPECTED = (PromptError, ObjectError, FrameError)
CALLS = 40  # at most, in a sequence


class Broken(Exception):
    """What the engine raises when it is told to."""


class Fragile:
    """A network that breaks once in the stage that `breaks` names; all else is the network's own."""

    def __init__(self, network):
        self._network, self.breaks = network, None

    def __getattr__(self, name: str):
        found = getattr(self._network, name)
        if name in STAGES and name == self.breaks:
            self.breaks = None
            raise Broken(name)
        return found


def image(t: int) -> np.ndarray:
    """Three squares that move to the right, each of them hidden now and then."""
    picture = np.full((H, W, 3), 40, np.uint8)
    for k, colour in enumerate(COLOURS):
        x = (8 + 25 * k + t) % (W - 16)
        if (t // 7 + k) % 4:
            picture[10 + 8 * k : 26 + 8 * k, x : x + 14] = colour
    return picture


def painted(x: int, y: int, width: int, height: int) -> np.ndarray:
    mask = np.zeros((H, W), bool)
    mask[y : y + height, x : x + width] = True
    return mask


# Without subnormals: what flushes them in this process (torch can be told to) must not stop a run.
floats = partial(st.floats, width=32, allow_subnormal=False)
inside_x, inside_y = floats(0, W, exclude_max=True), floats(0, H, exclude_max=True)
spots = st.lists(st.tuples(inside_x, inside_y), min_size=1, max_size=3)
GOOD = st.one_of(
    st.builds(lambda p, kind: {"points": np.array(p, kind)}, spots, st.sampled_from([np.float32, np.float64])),
    st.builds(
        lambda x, y, w, h: {"box": np.array([x, y, x + w, y + h], np.float32)},
        *(floats(0, most - 10) for most in (W, H)),
        *(floats(2, 30),) * 2,
    ),
    st.builds(
        lambda *at: {"mask": painted(*at)},
        st.integers(0, W - 10),
        st.integers(0, H - 10),
        st.integers(1, 20),
        st.integers(1, 20),
    ),
    st.builds(lambda p: {"points": p[:1], "labels": np.array([0])}, spots),
    st.builds(lambda p: {"points": p[:1], "box": [5, 5, 40, 40]}, spots),
)
BAD = st.sampled_from([
    {"points": [[float("nan"), 1]]}, {"box": [9, 9, 1, 1]}, {"box": [500, 500, 600, 600]}, {"points": [[-5, 1]]}, {}, {"points": [[1, 1]], "labels": [1, 0]},
    {"mask": np.zeros((H, W), bool)}, {"mask": np.ones((5, 5), bool)}, {"box": [1, 2, 3]}, {"labels": [1]}, {"points": "x"}, {"box": [0, 0, float("inf"), 3]},
    {"points": []}, {"points": [[10**400, 1]]}, {"points": [[1, 1]] * 300}, {"mask": "abc"}, {"points": [[[[1]]]]}, {"box": {1: 2}},
])  # fmt: skip
PROMPTS = st.one_of(GOOD, GOOD, BAD)
OBJECTS = st.sampled_from([1, 2, 3, 4, 1, 2, 3, 4, 7, 65535, 0, -1, 70000, "a", 1.5, True, np.int64(5), 10**400])

# What is no frame for a session that is at `at`; some of it cannot even be made.
BAD_FRAMES: dict[str, Callable[[int | None], object]] = {
    "the same index again": lambda at: Frame(at, None, image(0)) if at is not None else None,
    "grey": lambda at: np.zeros((5, 5), np.uint8),
    "floats": lambda at: np.zeros((H, W, 3)),
    "text": lambda at: "x",
    "nothing": lambda at: None,
    "four channels": lambda at: np.zeros((H, W, 4), np.uint8),
    "no pixels": lambda at: np.zeros((0, 0, 3), np.uint8),
    "an index that is a bool": lambda at: Frame(True, None, image(0)),
    "an index that is a fraction": lambda at: Frame(1.5, None, image(0)),
    "a time that is no number": lambda at: Frame((at or 0) + 1, float("nan"), image(0)),
    "another size": lambda at: Frame(at + 1, None, np.zeros((W, H, 3), np.uint8)) if at is not None else None,
}


def breaks(stages: tuple[str, ...]) -> st.SearchStrategy:
    """Mostly None; else the stage in which the engine breaks."""
    return st.sampled_from([None] * 3 * len(stages) + list(stages))


def spoil(values) -> None:
    """The caller goes on to use its arrays for something else."""
    for value in values:
        if isinstance(value, np.ndarray) and value.flags.writeable:
            value[...] = 1


def copied(arguments: dict) -> dict:
    return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in arguments.items()}


def asked(session) -> list:
    """The prompts that a session holds, on its frame and waiting: a spoilt one may show in a mask only much later."""
    state = session._state
    held = [t.best.outcome.prompt for t in state.tracks.values() if t.best.outcome and t.best.outcome.prompt]
    held += [prompt for queue in state.queued.values() for prompt in queue.values()]
    given = [(p.points, p.labels, p.box, p.mask) for p in held]
    return [[None if part is None else (part.shape, part.tobytes()) for part in parts] for parts in given]


def same(one, other) -> bool:
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    if not isinstance(one, FrameResult) or not isinstance(other, FrameResult):
        return type(one) is type(other) and one == other
    plain = ("frame_idx", "pts_seconds", "status", "cut", "search", "size")
    arrays = ("obj_ids", "masks", "boxes", "scores", "object_logits", "mask_logits")
    return all(getattr(one, n) == getattr(other, n) for n in plain) and all(
        np.array_equal(getattr(one, n), getattr(other, n)) for n in arrays
    )


class Twins(RuleBasedStateMachine):
    """A session and its twin, and the calls on them."""

    network: object = None  # a subclass says which
    count: Counter = Counter()
    refused: Counter = Counter()

    kept = Bundle("kept")

    @initialize(
        bank=st.sampled_from(list(BANKS)),
        absent=st.booleans(),
        search=st.sampled_from(list(SEARCHES)),
        width=st.integers(1, 4),
        lag=st.sampled_from([None, 0, 1, 3, 8]),
        margin=st.sampled_from([0, 2, 100]),
        most=st.sampled_from([None, None, 2, 5]),
        reverse=st.sampled_from([False] * 5 + [True]),
        under_way=st.sampled_from([True] * 4 + [False]),
    )
    def begin(self, bank, absent, search, width, lag, margin, most, reverse, under_way):
        bank = dataclasses.replace(MODELS["nano"].make_bank(bank), absent=absent)
        search = SEARCHES[search]()
        if isinstance(search, Tree):
            search = Tree(width, lag, margin)
        self.way, self.at, how = -1 if reverse else 1, None, {"max_objects": most, "reverse": reverse}
        self.fragile = Fragile(self.network)
        self.session = Tracker(self.fragile, bank, search).session(**how)
        self.twin = Tracker(self.network, bank, search).session(**how)
        if under_way:  # without a frame and an object most calls are refused, and show little
            self.step([1], True, None)
            for obj_id, (x, y) in {1: (10, 12), 2: (35, 20)}.items():
                self.ask(obj_id, {"points": np.array([[x, y]], np.float32)}, None, None)

    def both(self, call: Callable, shared: bool = False) -> None:
        """The call on the session, and on the twin if it came to something. shared: a prompt that does not fit is the twin's matter too."""
        self.count["calls"] += 1
        try:
            one = call(self.session, 0)
        except (*EXPECTED, Broken) as error:
            self.refused[type(error).__name__] += 1
            if shared and isinstance(error, PromptError):
                try:
                    call(self.twin, 1)
                except PromptError:
                    pass
            return
        finally:
            self.fragile.breaks = None
        other = call(self.twin, 1)
        assert same(one, other), "the twin says something else"
        for result in one if isinstance(one, list) else [one]:
            if isinstance(result, FrameResult):
                assert not any(
                    a.flags.writeable
                    for a in (result.masks, result.boxes, result.scores, result.mask_logits, result.obj_ids)
                ), "a result that can be written to"

    @rule(
        skips=st.lists(st.sampled_from([1, 1, 1, 1, 3]), min_size=1, max_size=4),
        timed=st.booleans(),
        fault=breaks(STAGES),
    )
    def step(self, skips, timed, fault):
        """Up to four frames, for most calls mean something only among frames; the engine may break on the first."""
        self.fragile.breaks = fault
        for skip in skips:
            index = (100 if self.way < 0 else 0) if self.at is None else self.at + self.way * skip
            if index >= 0:
                frame = Frame(index, index / 5 if timed else None, image(index))
                self.both(lambda s, which, frame=frame: s.step(frame), shared=True)
                self.at = self.session.frame_idx

    @rule(kind=st.sampled_from(list(BAD_FRAMES)))
    def step_what_is_no_frame(self, kind):
        try:
            frame = BAD_FRAMES[kind](self.at)
        except FrameError as error:
            self.refused[type(error).__name__] += 1
            return
        self.both(lambda s, which: s.step(frame), shared=True)
        self.at = self.session.frame_idx

    def ask(self, obj_id, prompt: dict, frame_idx, fault: str | None) -> None:
        self.fragile.breaks = fault

        def call(session, which):
            mine = copied(prompt)
            try:
                return session.add(obj_id, **mine, frame_idx=frame_idx)
            finally:
                if which == 0:  # the twin's stay as they are
                    spoil(mine.values())

        self.both(call)

    @rule(obj_id=OBJECTS, prompt=PROMPTS, fault=breaks(STAGES[1:]))
    def add(self, obj_id, prompt, fault):
        self.ask(obj_id, prompt, None, fault)

    @rule(obj_id=st.integers(1, 4), prompt=GOOD)
    def add_what_fits(self, obj_id, prompt):
        self.ask(obj_id, prompt, None, None)

    @precondition(lambda self: self.at is not None)
    @rule(obj_id=OBJECTS, prompt=PROMPTS, when=st.sampled_from([-1, 0, 1, 1, 2, 3, "x", 1.5, None]))
    def add_later(self, obj_id, prompt, when):
        self.ask(obj_id, prompt, self.at + self.way * when if isinstance(when, int) else when, None)

    @rule(obj_id=st.sampled_from([99, "x", None, [1], 2.0, *("one that is there",) * 5]), which=st.integers(0, 4))
    def remove(self, obj_id, which):
        if obj_id == "one that is there" and self.session.obj_ids:
            obj_id = self.session.obj_ids[which % len(self.session.obj_ids)]
        self.both(lambda s, which: s.remove(obj_id))

    @rule()
    def undo(self):
        self.both(lambda s, which: s.undo())

    @rule(sure=st.sampled_from([True] + [False] * 4))
    def clear(self, sure):
        if sure:  # rarely: an empty session shows little
            self.both(lambda s, which: s.clear())

    @rule(target=kept)
    def keep(self):
        self.count["calls"] += 1
        return self.session.snapshot(), self.twin.snapshot(), self.at

    @rule(snapshots=kept)
    def restore(self, snapshots):
        self.both(lambda s, which: s.restore(snapshots[which]))
        self.at = snapshots[2]

    @rule()
    def result(self):
        self.both(lambda s, which: s.result())

    @rule(end=st.sampled_from([False] * 5 + [True]))
    def settled(self, end):
        self.both(lambda s, which: s.settled(end=end))

    @rule(frame=st.sampled_from(["x", None, 1]))
    def expect(self, frame):
        self.both(lambda s, which: s.expect(Frame(0, None, image(1)) if frame == 1 else frame))

    @invariant()
    def they_hold_the_same(self):
        one, other = (
            [s.obj_ids, s.followed, s.frame_idx, s.nbytes, s.waiting(), asked(s)] for s in (self.session, self.twin)
        )
        assert one == other, f"the session holds {one}, the twin {other}"

    def teardown(self):
        if not hasattr(self, "session"):  # it was given up before it began
            return
        for session in (self.session, self.session, self.twin):
            session.close()
        try:
            self.session.step(image(0))
            raise AssertionError("a closed session took a frame")
        except SessionClosed:
            self.count["sequences"] += 1


def fuzz(kind: str, sequences: int, seed: int, shrink: bool = True) -> dict:
    """shrink: make what fails as short as it can be before it is printed, which takes minutes at most."""

    class Machine(Twins):
        network = FakeNetwork() if kind == "fake" else small_nano()
        count, refused = Counter(), Counter()

    began, bad = time.perf_counter(), 0
    how = settings(
        max_examples=sequences,
        stateful_step_count=CALLS,
        deadline=None,
        database=None,  # every run begins afresh, and leaves nothing in the folder
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(hypothesis.seed(seed)(Machine), settings=how)
    except Exception as error:  # whatever it is, it was not to come out
        bad = 1
        print("".join(traceback.format_exception(error)), flush=True)
        print("\n".join(getattr(error, "__notes__", [])), flush=True)
    return {
        "network": kind,
        "sequences": Machine.count["sequences"],
        "seed": seed,
        "calls": Machine.count["calls"],
        "refused": dict(Machine.refused),
        "bad": bad,
        "seconds": round(time.perf_counter() - began, 1),
    }


def small_nano():
    network = vidmem.load("nano", threads=1).network
    network.area = 64 * 96
    return network


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=("fake", "nano"), default="fake")
    parser.add_argument("--sequences", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    said = fuzz(args.network, args.sequences, args.seed)
    print(json.dumps(said))
    return 1 if said["bad"] else 0


if __name__ == "__main__":
    sys.exit(main())
