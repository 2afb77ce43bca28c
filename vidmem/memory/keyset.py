"""MAMBA's memory bank, at the level of tokens (Sun et al., AAAI 2021, arXiv 2401.09923)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidmem.bounds import bounded
from vidmem.memory import parts
from vidmem.memory.policy import Held, Policy
from vidmem.types import Cue, Entry, Recall

PIECES = 24  # entries that the bag's tokens may come from


@dataclass(frozen=True)
class Keyset(Policy):
    """A bag of tokens from the whole past. Each frame gives a random share of its tokens; a full bag loses as many random
    ones; each read takes a random key set from it. Prompted frames and the newest stay whole and outside the bag.

    MAMBA holds vectors of detected boxes without time or place; here tokens keep their place, which rotary positions need,
    and key sets are drawn entry by entry, so that a read copies nothing. Random numbers come from `seed` and the frame alone.
    """

    write: float = bounded(0.25, 0.01, 1)  # share of a frame's tokens that joins the bag
    stride: int = bounded(2, 1)  # frames between additions to the bag
    bag: float = bounded(3.0, 0.1)  # capacity, in whole frames' tokens
    keys: float = bounded(1.0, 0.1)  # of a key set, in whole frames' tokens
    seed: int = bounded(0, 0, 2**31)

    @property
    def short(self) -> int:
        return 1

    @property
    def long(self) -> int:
        return PIECES

    def remember(self, held: Held, entry: Entry) -> Held:
        leaving, held = held.recent, held._replace(recent=(entry,))
        if not leaving or not parts.due(held.kept, leaving[0].frame_idx, self.stride):
            return held
        whole = leaving[0].payload.tokens
        random = np.random.default_rng((self.seed, abs(entry.frame_idx)))
        piece = leaving[0].take(_draw(random, whole, max(1, int(self.write * whole))))
        return held._replace(kept=parts.newest(self._make_room(random, held.kept, piece, whole), PIECES))

    def _make_room(self, random, kept: tuple[Entry, ...], piece: Entry, whole: int) -> tuple[Entry, ...]:
        """Delete as many random tokens as do not fit, and add the new ones."""
        counts = np.array([e.payload.tokens for e in kept], np.int64)
        excess = int(counts.sum()) + piece.payload.tokens - int(self.bag * whole)
        if excess <= 0:
            return (*kept, piece)
        leave = counts - random.multivariate_hypergeometric(counts, min(excess, int(counts.sum())))
        thinned = (e if n == c else e.take(_draw(random, c, n)) for e, c, n in zip(kept, counts, leave) if n)
        return (*thinned, piece)

    def recall(self, held: Held, t: int, cue: Cue | None) -> list[Recall]:
        if not held.recent:
            return []
        room, chosen = int(self.keys * held.recent[0].payload.tokens), []
        for i in np.random.default_rng((self.seed, abs(t))).permutation(len(held.kept)):
            room -= held.kept[i].payload.tokens
            if room < 0:
                break
            chosen.append(int(i))
        return parts.ranked([*(held.kept[i] for i in sorted(chosen)), *held.recent], self.slots - 2)


def _draw(random: np.random.Generator, total: int, count: int) -> np.ndarray:
    return np.sort(random.choice(total, count, replace=False))
