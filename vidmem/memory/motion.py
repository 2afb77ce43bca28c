"""SAMURAI's memory (Yang et al. 2024, arXiv 2411.11922). Its Kalman filter is a search, `vidmem.search.motion`."""

from __future__ import annotations

from dataclasses import dataclass

from vidmem.bounds import bounded
from vidmem.memory import parts
from vidmem.memory.policy import Held, Policy
from vidmem.types import Cue, Entry, Recall, Verdict


@dataclass(frozen=True)
class Motion(Policy):
    """The newest frames whose predicted IoU, object logit and agreement with the motion all pass, with codes by rank; the
    newest frame is always read. The frame after the first prompt never counts among the passing ones, as in SAMURAI's
    code, which ends its scan before it. Pointers are those of plain SAM 2. A search without motion leaves that test out.
    """

    absent: bool = True
    iou: float = bounded(0.5, 0, 1)
    object_logit: float = bounded(0.0)
    motion: float = bounded(0.0, 0, 1)  # IoU with the predicted box must exceed this

    @property
    def short(self) -> int:
        return self.slots

    def passes(self, verdict: Verdict) -> bool:
        moved = verdict.motion is None or verdict.motion > self.motion
        return verdict.iou > self.iou and verdict.object_logit > self.object_logit and moved

    def admits(self, held: Held, verdict: Verdict) -> bool:
        return self.absent or (verdict.present and self.passes(verdict))

    def remember(self, held: Held, entry: Entry) -> Held:
        never = held.prompted[0].frame_idx + 1 if held.prompted else None
        recent = parts.gated(
            held.recent, entry, lambda e: self.passes(e.verdict) and e.frame_idx != never, self.slots - 1
        )
        return held._replace(recent=recent)

    def recall(self, held: Held, t: int, cue: Cue | None) -> list[Recall]:
        return parts.ranked(parts.newest(held.recent, self.slots - 1))
