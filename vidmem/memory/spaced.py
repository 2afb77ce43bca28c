"""Entries at power-law distances into the past, after the spacing of rehearsal (Wixted and Carpenter 2007, on forgetting as a
power law)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidmem.bounds import bounded
from vidmem.memory import parts
from vidmem.memory.policy import Held, Policy
from vidmem.types import Cue, Entry, Recall


@dataclass(frozen=True)
class Spaced(Policy):
    """Memory is dense in the near past and ever thinner before, from the beginning to now, in a fixed number of entries.

    When there is one too many, the one goes whose absence leaves the smallest gap for its age: gap / age^power. With
    power 1 ages grow in a constant ratio; with less, the far past is remembered in more detail.
    """

    keep: int = bounded(5, 1)
    power: float = bounded(1.0, 0, 4)
    stride: int = bounded(2, 1)  # frames between entries that may join

    @property
    def short(self) -> int:
        return 1

    @property
    def long(self) -> int:
        return self.keep

    def remember(self, held: Held, entry: Entry) -> Held:
        leaving, held = held.recent, held._replace(recent=(entry,))
        if not leaving or not parts.due(held.kept, leaving[0].frame_idx, self.stride):
            return held
        kept = (*held.kept, leaving[0])
        if len(kept) > self.keep:
            at = np.array([held.prompted[0].frame_idx if held.prompted else kept[0].frame_idx - 1]
                          + [e.frame_idx for e in kept] + [entry.frame_idx], float)  # fmt: skip
            strain = (at[2:] - at[:-2]) / (entry.frame_idx - at[1:-1]) ** self.power
            drop = int(strain.argmin())
            kept = (*kept[:drop], *kept[drop + 1 :])
        return held._replace(kept=kept)

    def recall(self, held: Held, t: int, cue: Cue | None) -> list[Recall]:
        return parts.ranked((*held.kept, *held.recent), self.slots - 2)
