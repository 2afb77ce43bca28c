"""Votes: finds of several looks that are one thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vidmem.detect.base import Find, overlap

MOST_CHAINS = 16  # of one concept
NEAR = 0.5  # of the shorter side: how far a middle may move between looks beside an overlap
ALIKE = 0.5  # of the areas, smaller over larger, where boxes do not overlap


@dataclass
class Chain:
    """Finds that follow each other, each near the one before. At most `window` looks are held."""

    finds: list[tuple[int, Find]] = field(default_factory=list)  # number of the look, find
    told: bool = False
    """A candidate that was reported, or refused; it is not reported again."""
    obj_id: int | None = None
    """The object that the newest find lies on, where it lies on one."""

    @property
    def last(self) -> Find:
        return self.finds[-1][1]

    @property
    def score(self) -> float:
        return float(np.mean([find.score for _, find in self.finds]))

    def votes(self, look: int, window: int) -> int:
        return sum(number > look - window for number, _ in self.finds)


def near(one: np.ndarray, other: np.ndarray, iou: float) -> float:
    """How well a box continues another; 0: not at all. Boxes that overlap come before boxes that only lie near and are as large."""
    shared = overlap(one, other)
    if shared >= iou:
        return 1 + shared
    sides, others = one[2:] - one[:2], other[2:] - other[:2]
    moved = np.linalg.norm((one[:2] + one[2:] - other[:2] - other[2:]) / 2)
    areas = sorted((float(sides.prod()), float(others.prod())))
    reach = NEAR * min(*sides, *others)
    return 1 - moved / reach if moved < reach and areas[0] > ALIKE * areas[1] else 0.0


def link(
    chains: list[Chain], finds: Sequence[tuple[Find, int | None]], look: int, window: int, iou: float
) -> list[Chain]:
    """Continue chains with the finds of a look, each find and chain once, the best pairs first; what is left begins new ones.

    finds: each with the object it lies on, or None. Chains that had no vote for `window` looks end.
    """
    pairs = [
        (near(chain.last.box, find.box, iou) + (chain.obj_id is not None and chain.obj_id == obj_id), c, f)
        for c, chain in enumerate(chains)
        for f, (find, obj_id) in enumerate(finds)
    ]
    used_chains, used_finds = set(), set()
    for value, c, f in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if value <= 0 or c in used_chains or f in used_finds:
            continue
        used_chains.add(c)
        used_finds.add(f)
        find, chains[c].obj_id = finds[f]
        chains[c].finds = [*(entry for entry in chains[c].finds if entry[0] > look - window), (look, find)]
    fresh = [Chain([(look, find)], obj_id=obj_id) for f, (find, obj_id) in enumerate(finds) if f not in used_finds]
    alive = [chain for chain in chains if chain.votes(look, window)]
    return sorted([*alive, *fresh], key=lambda chain: -chain.score)[:MOST_CHAINS]
