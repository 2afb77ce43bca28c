"""ReSurgSAM2's diverse long-term memory, and DiveMem's rule (Liu et al., MICCAI 2025, arXiv 2505.08581; SAM2S, arXiv 2511.16618)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidmem.bounds import bounded, choice
from vidmem.memory import parts
from vidmem.memory.policy import Held, Policy
from vidmem.types import Cue, Entry, Recall


@dataclass(frozen=True)
class Diverse(Policy):
    """Recent frames, and a few older ones that were confident and unlike each other, read with the prompted frames' code.

    `rule="dlm"`: confident frames gather in a pool; when it is full, the one least like the newest long-term memory (or,
    before there is one, the newest prompted frame) joins the long term and the pool is emptied. Likeness is the cosine of
    the memories, token by token; ReSurgSAM2's code takes it along the image's width (`likeness="width"`), its paper as one vector. That
    code asks for confidence alone; here the object must also be there, unless `presence=False`.
    `rule="dive"` (from the paper; it has no code yet): `pool` confident frames in a row, and the cosine of image features.
    """

    absent: bool = True
    keep: int = bounded(3, 1)  # long-term memories; the oldest goes
    pool: int = bounded(5, 1)
    iou: float = bounded(0.95, 0, 1)  # predicted IoU above which a frame may join the pool
    stride: int = bounded(1, 1)  # frames between recent memories beyond the newest
    rule: str = choice("dlm", "dive")
    likeness: str = choice("tokens", "width")
    presence: bool = True  # frames on which the object is not present stay out of the pool

    needs = frozenset({"cue"})

    @property
    def long(self) -> int:
        return self.keep + self.pool

    @property
    def short(self) -> int:
        return self.slots - 1 if self.stride == 1 else self.slots

    def remember(self, held: Held, entry: Entry) -> Held:
        recent = held.recent
        if recent and recent[-1].frame_idx % self.stride:
            recent = recent[:-1]
        held = held._replace(recent=parts.newest((*recent, entry), self.short))
        confident = entry.verdict.iou > self.iou and (entry.verdict.present or not self.presence)
        pool = held.pool
        if self.rule == "dive" and (not confident or (pool and entry.frame_idx != pool[-1].frame_idx + 1)):
            pool = ()
        if confident:
            pool = (*pool, entry)
        if len(pool) < self.pool:
            return held._replace(pool=pool)
        reference = (held.kept or held.prompted or pool)[-1]
        chosen = pool[int(np.argmin([self._likeness(reference, e) for e in pool]))]
        return held._replace(kept=parts.newest((*held.kept, chosen), self.keep), pool=())

    def _likeness(self, one: Entry, other: Entry) -> float:
        if self.rule == "dive" and one.descriptor is not None and other.descriptor is not None:
            return float(one.descriptor @ other.descriptor)
        return one.payload.similarity(other.payload, self.likeness)

    def recall(self, held: Held, t: int, cue: Cue | None) -> list[Recall]:
        recent = parts.newest(held.recent, self.slots - 1)
        taken = {e.frame_idx for e in recent}
        return [*parts.anchored([e for e in held.kept if e.frame_idx not in taken]), *parts.ranked(recent)]
