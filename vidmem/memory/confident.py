"""SAM2Long's reading of the memory, and SAM 3's (Ding et al. 2024, arXiv 2410.16268; Carion et al. 2025, arXiv 2511.16719)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vidmem.bounds import bounded, choice
from vidmem.memory import parts
from vidmem.memory.policy import Bank, Held, Policy
from vidmem.types import Cue, Entry, Pointer, ReadPlan, Recall, Verdict


@dataclass(frozen=True)
class Confident(Policy):
    """The newest frames on which the object is present and the mask believed, with codes by rank instead of age; the
    newest frame of all is always read.

    Numbers are those of SAM2Long's code (its paper has iou 0.3). `rule="sam3"` keeps a frame if (2 sigmoid(o) - 1) * iou
    exceeds `sam3`, for o > 0: each object for itself, as in SAM3-DMS, not the mean over objects. Both codes leave out the
    pointer of the oldest frame they keep; `one_short=False` mends that. Keys are weighted by the rank of the frames' object
    logits, from `scale_low` to `scale_high` (prompted frames count as 10).
    """

    absent: bool = True  # the newest frame is read even where the object is not present, as published
    iou: float = bounded(0.1, 0, 1)  # predicted IoU above which a mask is believed
    scale_low: float = bounded(0.95, 0)
    scale_high: float = bounded(1.05, 0)
    one_short: bool = True
    rule: str = choice("sam2long", "sam3")
    sam3: float = bounded(0.01, 0, 1)

    def __call__(self) -> ConfidentBank:
        return ConfidentBank(self)

    @property
    def window(self) -> int:
        """Frames kept that pass: those recalled, and those that are only pointed to."""
        return max(self.slots - 1, self.pointers - 1)

    @property
    def capacity(self) -> int:
        return self.prompts + self.window + 1

    def believes(self, verdict: Verdict) -> bool:
        if self.rule == "sam3":
            return verdict.visible and math.tanh(verdict.object_logit / 2) * verdict.iou > self.sam3
        return verdict.visible and verdict.iou > self.iou

    def admits(self, held: Held, verdict: Verdict) -> bool:
        return self.absent or (verdict.present and self.believes(verdict))

    def remember(self, held: Held, entry: Entry) -> Held:
        recent = parts.gated(held.recent, entry, lambda e: self.believes(e.verdict), self.window)
        spatial = len(recent) - self.slots  # one more than is read, for the newest may go
        return held._replace(
            recent=tuple(e.pointer_only if i < spatial and e.payload else e for i, e in enumerate(recent))
        )

    def point(self, held: Held, entry: Entry) -> Held:
        return held  # `recent` is what is pointed to

    def recall(self, held: Held, t: int, cue: Cue | None) -> list[Recall]:
        return parts.ranked(parts.newest(held.recent, self.slots - 1))

    def point_to(self, held: Held, t: int) -> list[Pointer]:
        newest_first = held.recent[::-1]
        last = min(len(newest_first) - self.one_short, self.pointers - 1)
        return [Pointer(e, rank + 1) for rank, e in enumerate(newest_first[: max(0, last)])]

    def weights(self, entries: list[Entry]) -> list[float]:
        """Key weights: a ramp over the rank of the object logits; one entry alone gets the low end."""
        logits = [10.0 if e.prompted else e.verdict.object_logit for e in entries]
        ramp = np.linspace(self.scale_low, self.scale_high, len(entries))
        ranks = np.argsort(np.argsort(logits, kind="stable"), kind="stable")
        return [float(ramp[rank]) for rank in ranks]


class ConfidentBank(Bank):
    """A `Bank` whose recalls and pointers are weighted among themselves."""

    policy: Confident

    def read(self, t: int, cue: Cue | None = None) -> ReadPlan:
        plan = super().read(t, cue)
        if len(plan.recalls) < 2:
            return plan
        weights = self.policy.weights([r.entry for r in plan.recalls])
        recalls = tuple(r._replace(key_scale=w) for r, w in zip(plan.recalls, weights))
        weights = self.policy.weights([p.entry for p in plan.pointers])
        pointers = tuple(p._replace(key_scale=w) for p, w in zip(plan.pointers, weights))
        return ReadPlan(recalls, pointers, plan.pointer_norm)
