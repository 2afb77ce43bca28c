"""Entries that reconstruct the current frame: RMSCL (arXiv 2309.15274; IEEE Access 12:97067, 2024)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidmem.bounds import bounded
from vidmem.memory import parts
from vidmem.memory.policy import ByContent, Held
from vidmem.types import Cue, Entry, Recall

STEPS = 40  # of the projected gradient


@dataclass(frozen=True)
class Reconstructive(ByContent):
    """A diverse store, of which the entries in the support of a non-negative Lasso are read: min over psi >= 0 of
    1/2 |f - X psi|^2 + weight * sum(psi), f the current frame's descriptor and X the stored ones.

    UNVERIFIED: the paper's body and code could not be read; this is the reconstruction in its abstract's words. The paper
    trains a target model on the chosen items; here they are recalled. The store forgets the more redundant of the two
    entries that are most alike.
    """

    store: int = bounded(16, 2)  # older entries kept
    stride: int = bounded(5, 1)  # frames between stored entries
    weight: float = bounded(0.02, 0)  # lambda of the Lasso; descriptors have unit length

    notes = np.ndarray

    @property
    def long(self) -> int:
        return self.store

    def remember(self, held: Held, entry: Entry) -> Held:
        held = super().remember(held, entry)
        if (
            entry.descriptor is None
            or not entry.verdict.present
            or not parts.due(held.kept, entry.frame_idx, self.stride)
        ):
            return held
        kept, likeness = (*held.kept, entry), parts.likeness_with(held.notes, held.kept, entry)
        if len(kept) > self.store:
            kept, likeness = parts.without_most_redundant(kept, likeness)
        return held._replace(kept=kept, notes=likeness)

    def recall(self, held: Held, t: int, cue: Cue | None) -> list[Recall]:
        taken = {e.frame_idx for e in held.recent}
        weights = self._support(held, cue)
        free = [i for i, e in enumerate(held.kept) if weights[i] > 0 and e.frame_idx not in taken]
        old = parts.best(tuple(held.kept[i] for i in free), weights[free], self.slots - 1 - len(held.recent))
        return [*parts.anchored(old), *parts.ranked(held.recent)]

    def _support(self, held: Held, cue: Cue | None) -> np.ndarray:
        n = len(held.kept)
        if cue is None or not n:
            return np.zeros(n)
        gram = held.notes
        if gram is None or len(gram) != n:
            stack = np.stack([parts.descriptor(e) for e in held.kept])
            gram = stack @ stack.T
        return nonnegative_lasso(gram, parts.alike(held.kept, cue), self.weight)


def nonnegative_lasso(gram: np.ndarray, target: np.ndarray, weight: float, steps: int = STEPS) -> np.ndarray:
    """gram (n, n) = X^T X, target (n,) = X^T f -> psi (n,) >= 0, by accelerated projected gradient (FISTA)."""
    rate = 1 / max(float(np.abs(gram).sum(1).max()), 1e-6)  # the row sum bounds the greatest eigenvalue
    psi = ahead = np.zeros(len(target))
    momentum = 1.0
    for _ in range(steps):
        new = np.maximum(0, ahead - rate * (gram @ ahead - target + weight))
        faster = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        psi, ahead, momentum = new, new + (momentum - 1) / faster * (new - psi), faster
    return psi
