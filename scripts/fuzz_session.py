#!/usr/bin/env python3
"""Random calls on a session beside a twin that never sees the failing ones.

    python scripts/fuzz_session.py --network fake --sequences 10000 --seed 1
    python scripts/fuzz_session.py --network nano --sequences 500 --seed 1

Every sequence draws a bank, a search and their numbers, then up to 40 calls: steps, prompts of all kinds on this frame and later ones, removals, undo,
snapshots and their restoring, and among them everything that must be refused: frames that are none, of another size or out of order, prompts outside,
objects without number, an engine that breaks in any stage, results that are written to. After each call the caller's arrays are overwritten, not the
twin's.

It must hold that nothing but the documented errors comes out, and that the twin, which saw the good calls alone, says the same bit for bit. One call is
not kept from the twin: a step whose prompt does not fit, for that prompt is dropped, as `Session.step` says. What fails is printed with the number of its
sequence; `--only N` runs that one. The last line is JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

import vidmem
from vidmem.catalogue.tracker import MODELS, Tracker
from vidmem.errors import ObjectError, PromptError, SessionClosed
from vidmem.memory import BANKS
from vidmem.networks.fake import FakeNetwork
from vidmem.search import SEARCHES, Tree
from vidmem.types import Frame, FrameResult

H, W = 60, 90
COLOURS = ((220, 30, 30), (30, 220, 30), (30, 30, 220))
STAGES = ("encode", "attend", "decode", "memorize")
EXPECTED = (PromptError, ObjectError, ValueError)


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


def prompt(chance: random.Random) -> dict:
    kind = chance.randrange(10)
    spot = [chance.uniform(0, W), chance.uniform(0, H)]
    if kind < 3:
        return {
            "points": np.array(
                [[chance.uniform(0, W), chance.uniform(0, H)] for _ in range(chance.randint(1, 3))],
                chance.choice([np.float32, np.float64]),
            )
        }
    if kind < 5:
        x, y = chance.uniform(0, W - 10), chance.uniform(0, H - 10)
        return {"box": np.array([x, y, x + chance.uniform(2, 30), y + chance.uniform(2, 30)], np.float32)}
    if kind == 5:
        mask, x, y = np.zeros((H, W), bool), chance.randrange(W - 9), chance.randrange(H - 9)
        mask[y : y + chance.randint(1, 20), x : x + chance.randint(1, 20)] = True
        return {"mask": mask}
    if kind == 6:
        return {"points": [spot], "labels": np.array([0])}
    if kind == 7:
        return {"points": [spot], "box": [5, 5, 40, 40]}
    return chance.choice([
        {"points": [[float("nan"), 1]]}, {"box": [9, 9, 1, 1]}, {"box": [500, 500, 600, 600]}, {"points": [[-5, 1]]}, {}, {"points": [[1, 1]], "labels": [1, 0]},
        {"mask": np.zeros((H, W), bool)}, {"mask": np.ones((5, 5), bool)}, {"box": [1, 2, 3]}, {"labels": [1]}, {"points": "x"}, {"box": [0, 0, float("inf"), 3]},
        {"points": []}, {"points": [[10**400, 1]]}, {"points": [[1, 1]] * 300}, {"mask": "abc"}, {"points": [[[[1]]]]}, {"box": {1: 2}},
    ])  # fmt: skip


def bad_frame(chance: random.Random, at: int | None) -> Callable[[], Any]:
    """Makes what is no frame for this session; some of it cannot even be made."""
    return chance.choice([
        lambda: Frame(at or 0, None, image(0)) if at is not None else None, lambda: np.zeros((5, 5), np.uint8), lambda: np.zeros((H, W, 3)), lambda: "x", lambda: None,
        lambda: np.zeros((H, W, 4), np.uint8), lambda: np.zeros((0, 0, 3), np.uint8), lambda: Frame(True, None, image(0)), lambda: Frame(1.5, None, image(0)),
        lambda: Frame((at or 0) + 1, float("nan"), image(0)), lambda: Frame((at or 0) + 1, None, np.zeros((W, H, 3), np.uint8)) if at is not None else None,
    ])  # fmt: skip


def spoil(values) -> None:
    """The caller goes on to use its arrays for something else."""
    for value in values:
        if isinstance(value, np.ndarray) and value.flags.writeable:
            value[...] = 1


def copied(arguments: dict) -> dict:
    return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in arguments.items()}


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


class Sequence:
    """One session and its twin, and the calls on them."""

    def __init__(self, chance: random.Random, network):
        self.chance, self.refused, self.log = chance, Counter(), []
        bank = dataclasses.replace(MODELS["nano"].make_bank(chance.choice(list(BANKS))), absent=chance.random() < 0.3)
        search = SEARCHES[chance.choice(list(SEARCHES))]()
        if isinstance(search, Tree):
            search = Tree(chance.randint(1, 4), chance.choice([None, 0, 1, 3, 8]), chance.choice([0, 2, 100]))
        self.reverse = chance.random() < 0.15
        how = {"max_objects": chance.choice([None, None, 2, 5]), "reverse": self.reverse}
        self.fragile = Fragile(network)
        self.session, self.twin = (
            Tracker(self.fragile, bank, search).session(**how),
            Tracker(network, bank, search).session(**how),
        )
        self.at: int | None = None
        self.snapshots: list = []
        self.about = f"{bank!r}, {search!r}, {how}"

    def both(self, call: Callable, shared: bool = False) -> None:
        """The call on the session, and on the twin if it came to something. shared: a prompt that does not fit is the twin's matter too."""
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
                )

    def step(self) -> None:
        way = -1 if self.reverse else 1
        index = (100 if self.reverse else 0) if self.at is None else self.at + way * self.chance.choice([1, 1, 1, 1, 3])
        if index < 0:
            return
        pts = self.chance.choice([None, index / 5])
        if self.chance.random() < 0.15:
            self.fragile.breaks = self.chance.choice(STAGES)
        self.both(lambda s, which: s.step(Frame(index, pts, image(index))), shared=True)
        self.at = self.session.frame_idx

    def bad_step(self) -> None:
        make = bad_frame(self.chance, self.at)
        try:
            frame = make()
        except ValueError as error:
            self.refused[type(error).__name__] += 1
            return
        self.both(lambda s, which: s.step(frame), shared=True)
        self.at = self.session.frame_idx

    def add(self, later: bool = False) -> None:
        obj_id = self.chance.choice([1, 2, 3, 4, 65535, 7, 7, 0, -1, 70000, "a", 1.5, True, np.int64(5), 10**400])
        said, frame_idx = prompt(self.chance), None
        if later and self.at is not None:
            frame_idx = self.chance.choice(
                [self.at + d * (-1 if self.reverse else 1) for d in (-1, 0, 1, 1, 2, 3)] + ["x", 1.5, -1]
            )
        if self.chance.random() < 0.1:
            self.fragile.breaks = self.chance.choice(STAGES[1:])

        def call(session, which):
            mine = copied(said)
            try:
                return session.add(obj_id, **mine, frame_idx=frame_idx)
            finally:
                if which == 0:  # the twin's stay as they are
                    spoil(mine.values())

        self.both(call)

    def remove(self) -> None:
        obj_id = self.chance.choice([1, 2, 3, 4, 7, 99, "x", None, [1], 2.0])
        self.both(lambda s, which: s.remove(obj_id))

    def keep(self) -> None:
        self.snapshots.append((self.session.snapshot(), self.twin.snapshot(), self.at))

    def restore(self) -> None:
        if self.snapshots:
            kept = self.chance.choice(self.snapshots)
            self.both(lambda s, which: s.restore(kept[which]))
            self.at = kept[2]

    def expect(self) -> None:
        frame = self.chance.choice([Frame(0, None, image(1)), "x", None])
        self.both(lambda s, which: s.expect(frame))

    def run(self) -> None:
        calls = {
            self.step: 30, self.add: 18, lambda: self.add(later=True): 4, self.bad_step: 5, self.remove: 5, self.keep: 4, self.restore: 4,
            lambda: self.both(lambda s, which: s.undo()): 6, lambda: self.both(lambda s, which: s.clear()): 1,
            lambda: self.both(lambda s, which: s.result()): 4, lambda: self.both(lambda s, which: s.settled()): 5,
            lambda: self.both(lambda s, which: s.settled(end=True)): 1, self.expect: 2,
            lambda: self.both(lambda s, which: [s.obj_ids, s.frame_idx, s.nbytes, s.waiting()]): 3,
        }  # fmt: skip
        for call in self.chance.choices(list(calls), list(calls.values()), k=self.chance.randint(5, 40)):
            self.log.append(getattr(call, "__name__", "?"))
            call()
        for session in (self.session, self.session, self.twin):
            session.close()
        try:
            self.session.step(image(0))
            raise AssertionError("a closed session took a frame")
        except SessionClosed:
            pass


def fuzz(kind: str, sequences: int, seed: int, seconds: float = float("inf"), only: int | None = None) -> dict:
    network = FakeNetwork() if kind == "fake" else small_nano()
    began, ran, calls, refused, bad = time.perf_counter(), 0, 0, Counter(), []
    for number in range(sequences) if only is None else [only]:
        if time.perf_counter() - began > seconds:
            break
        sequence = Sequence(random.Random(f"{seed}:{number}"), network)
        try:
            sequence.run()
        except Exception as error:  # whatever it is, it was not to come out
            import traceback

            where = traceback.extract_tb(error.__traceback__)[-1]
            bad.append({"sequence": number, "error": f"{type(error).__name__}: {str(error)[:200]}", "where": f"{Path(where.filename).name}:{where.lineno}",
                        "about": sequence.about, "calls": sequence.log[-8:]})  # fmt: skip
            print(json.dumps(bad[-1]), flush=True)
        ran, calls, refused = ran + 1, calls + len(sequence.log), refused + sequence.refused
    return {
        "network": kind,
        "sequences": ran,
        "seed": seed,
        "calls": calls,
        "refused": dict(refused),
        "bad": len(bad),
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
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    parser.add_argument("--only", type=int, metavar="N", help="run one sequence of the seed alone")
    args = parser.parse_args(argv)
    said = fuzz(args.network, args.sequences, args.seed, args.seconds, args.only)
    print(json.dumps(said))
    return 1 if said["bad"] else 0


if __name__ == "__main__":
    sys.exit(main())
