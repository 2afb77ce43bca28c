"""Episodic memory by surprise: EM-LLM (Fountas et al., ICLR 2025, arXiv 2407.09450)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vidmem.bounds import bounded
from vidmem.memory import parts
from vidmem.memory.policy import ByContent, Held
from vidmem.types import Cue, Entry, Recall


class Notes(NamedTuple):
    mean: np.ndarray
    """(D,) float32: the last frames' descriptors."""
    past: tuple[float, ...] = ()
    """The last frames' surprise."""
    likeness: np.ndarray | None = None
    """(n, n) float32: cosines of the events."""


@dataclass(frozen=True)
class Surprise(ByContent):
    """A frame that surprises begins an event, and its entry is kept; recalled are the events most like the current frame,
    and the neighbours in time of the best of them (EM-LLM's similarity and contiguity buffers), beside the newest frames.

    EM-LLM's surprise is a language model's; here it is 1 - cosine with the mean of the last `window` frames' descriptors,
    and a cut always surprises. The threshold is theirs: mean + gamma * standard deviation over that window. Where nothing
    surprises for `longest` frames an event begins all the same. A full store forgets as `reconstructive` does.
    """

    store: int = bounded(16, 2)  # events kept
    window: int = bounded(32, 2)
    gamma: float = bounded(1.0, 0)
    longest: int = bounded(60, 1)
    shortest: int = bounded(3, 1)  # frames between events

    notes = Notes

    @property
    def long(self) -> int:
        return self.store

    def remember(self, held: Held, entry: Entry) -> Held:
        held = super().remember(held, entry)
        if entry.descriptor is None:
            return held
        mean, past, likeness = held.notes or Notes(entry.descriptor)
        surprise = 1 - float(entry.descriptor @ mean) / max(float(np.linalg.norm(mean)), 1e-6)
        threshold = np.mean(past) + self.gamma * np.std(past) if len(past) > 3 else np.inf
        mean = mean + (entry.descriptor - mean) * (2 / (self.window + 1))
        past = (*past, surprise)[-self.window :]
        begins = surprise > threshold and parts.due(held.kept, entry.frame_idx, self.shortest)
        if entry.verdict.present and (
            begins or entry.verdict.cut or parts.due(held.kept, entry.frame_idx, self.longest)
        ):
            kept, likeness = (*held.kept, entry), parts.likeness_with(likeness, held.kept, entry)
            if len(kept) > self.store:
                kept, likeness = parts.without_most_redundant(kept, likeness)
            held = held._replace(kept=kept)
        return held._replace(notes=Notes(mean, past, likeness))

    def recall(self, held: Held, t: int, cue: Cue | None) -> list[Recall]:
        taken = {e.frame_idx for e in held.recent}
        events = tuple(e for e in held.kept if e.frame_idx not in taken)
        room = self.slots - 1 - len(held.recent)
        scores = parts.alike(events, cue)
        if cue is not None and len(events) > room > 1:
            best = int(scores.argmax())
            for neighbour in (best - 1, best + 1)[: room // 2]:
                if 0 <= neighbour < len(events):
                    scores[neighbour] = max(scores[neighbour], scores[best] - 1e-6)
        return [*parts.anchored(parts.best(events, scores, room)), *parts.ranked(held.recent)]
