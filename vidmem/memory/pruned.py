"""Surgical SAM 2's efficient frame pruning (Liu et al. 2024, arXiv 2408.07931)."""

from __future__ import annotations

from dataclasses import dataclass

from vidmem.bounds import bounded
from vidmem.memory.policy import Held, Policy
from vidmem.types import Cue, Entry, Recall


@dataclass(frozen=True)
class Pruned(Policy):
    """SAM 2's window; when it is full, the `drop` frames most like the newest are not read. The first entry (the prompt)
    and the newest are always read, and the others keep the codes of their slots. Likeness is measured once, when the newest
    frame is written, so that a read costs nothing.
    """

    absent: bool = True
    drop: int = bounded(2, 0)

    notes = dict[int, float]

    def remember(self, held: Held, entry: Entry) -> Held:
        held = super().remember(held, entry)
        likeness = {e.frame_idx: e.payload.similarity(entry.payload) for e in held.recent[:-1]}
        return held._replace(notes=likeness)

    def recall(self, held: Held, t: int, cue: Cue | None) -> list[Recall]:
        recalls = [*super().recall(held, t, cue)]
        if len(recalls) + len(held.prompted) < self.slots:
            return recalls
        likeness = held.notes
        others = [r.entry.frame_idx for r in recalls[:-1] if r.entry.frame_idx in likeness]
        dropped = set(sorted(others, key=lambda f: likeness[f], reverse=True)[: self.drop])
        return [r for r in recalls if r.entry.frame_idx not in dropped]
