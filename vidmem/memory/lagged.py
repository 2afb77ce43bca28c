"""Eviction by the recurrence of attention, with a lag: LazyEviction (arXiv 2506.15969)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidmem.bounds import bounded
from vidmem.memory import parts
from vidmem.memory.policy import Held, Policy
from vidmem.types import Cue, Entry, ReadPlan, Recall, Usage


@dataclass(frozen=True)
class Lagged(Policy):
    """An entry that was important may become so again after as long a pause as it once had. Each entry counts the frame on
    which it last got more than `important` of an even share of attention, and its longest pause between such frames; every
    `lag` entries, those whose present pause exceeds their longest the most are evicted. The newest `lag`, but no more than half of what stays, are safe.

    LazyEviction works on tokens of a language model's cache; here the unit is a remembered frame.
    """

    stride: int = bounded(3, 1)  # frames between entries of the long term
    lag: int = bounded(3, 1)
    important: float = bounded(1.0, 0)

    needs = frozenset({"usage"})
    notes = dict[int, tuple[int, int]]

    @property
    def short(self) -> int:
        return 1

    @property
    def keep(self) -> int:
        return self.slots - 2

    @property
    def long(self) -> int:
        return max(0, self.keep) + self.lag

    def remember(self, held: Held, entry: Entry) -> Held:
        leaving, held = held.recent, held._replace(recent=(entry,))
        if not leaving or not parts.due(held.kept, leaving[0].frame_idx, self.stride):
            return held
        kept = (*held.kept, leaving[0])
        if len(kept) >= self.keep + self.lag:
            safe = min(self.lag, self.keep // 2)
            old = kept[: len(kept) - safe]
            scores = np.array([self._score(held, e, entry.frame_idx) for e in old])
            kept = (*parts.best(old, scores, self.keep - safe), *kept[len(old) :])
        return held._replace(kept=kept)

    def _score(self, held: Held, entry: Entry, t: int) -> float:
        """Above -1 while the present pause is within the longest one; entries that never paused count one frame."""
        last, pause = (held.notes or {}).get(entry.frame_idx, (entry.frame_idx, 1))
        return -(t - last) / pause

    def observe(self, held: Held, plan: ReadPlan, usage: Sequence[Usage]) -> Held:
        t = plan.recalls[-1].entry.frame_idx + 1
        notes, even = {}, 1 / len(usage)
        for recall, u in zip(plan.recalls, usage):
            f = recall.entry.frame_idx
            last, pause = (held.notes or {}).get(f, (f, 1))
            if u.share > self.important * even:
                last, pause = t, max(pause, t - last)
            notes[f] = last, pause
        unread = {e.frame_idx for e in held.kept} - notes.keys()
        notes |= {f: held.notes[f] for f in unread if held.notes and f in held.notes}
        return held._replace(notes=notes)

    def recall(self, held: Held, t: int, cue: Cue | None) -> list[Recall]:
        scores = np.array([self._score(held, e, t) for e in held.kept])
        return [*parts.anchored(parts.best(held.kept, scores, self.keep)), *parts.ranked(held.recent)]
