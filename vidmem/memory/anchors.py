"""DAM4SAM's distractor-aware memory, bounded per object as in d4sm (Videnovic et al., CVPR 2025, arXiv 2411.17576; IJCV 2026,
arXiv 2509.13864)."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from vidmem.bounds import bounded
from vidmem.memory import parts
from vidmem.memory.policy import Held, Policy
from vidmem.types import Cue, Entry, Pointer, Recall, Verdict

AREAS = 10  # newest areas that a frame's own is compared with


@dataclass(frozen=True)
class Anchors(Policy):
    """Recent appearance (every `stride`th frame on which the object is visible, and the newest), and anchors: frames on
    which the mask was sure and steady while an alternative mask lay elsewhere, so that a distractor was there and was told
    apart. Anchors are read with the code of prompted frames. The first prompted frame takes the place of DAM4SAM's
    hard-coded frame 0; its older anchors give way to the newest `anchors`.
    """

    anchors: int = bounded(3, 1)
    stride: int = bounded(5, 1)
    iou: float = bounded(0.8, 0, 1)
    area_low: float = bounded(0.8, 0)  # of the median of the last ten areas
    area_high: float = bounded(1.2, 0)
    gap: int = bounded(5, 1)  # frames between anchors
    agreement: float = bounded(0.7, 0, 1)  # of the alternatives' boxes with the mask's; at most this, to be evidence

    needs = frozenset({"distractor"})
    notes = tuple[float, ...]

    @property
    def long(self) -> int:
        return self.anchors

    def remember(self, held: Held, entry: Entry) -> Held:
        areas = held.notes or ()
        if entry.verdict.area > 0:
            areas = (*areas, entry.verdict.area)[-AREAS:]
        recent = held.recent
        if recent and recent[-1].frame_idx % self.stride:  # the newest was only the newest
            recent = recent[:-1]
        held = held._replace(recent=parts.newest((*recent, entry), self.short), notes=areas)
        if self._resolves(entry.verdict, held):
            held = held._replace(kept=parts.newest((*held.kept, entry), self.anchors))
        return held

    def _resolves(self, verdict: Verdict, held: Held) -> bool:
        areas = held.notes
        if verdict.distractor is None or not verdict.present or len(areas) < 2 or verdict.area <= 0:
            return False
        steady = self.area_low <= verdict.area / median(areas) <= self.area_high
        spaced = not held.kept or verdict.frame_idx - held.kept[-1].frame_idx > self.gap
        return verdict.iou > self.iou and steady and spaced and verdict.distractor <= self.agreement

    def recall(self, held: Held, t: int, cue: Cue | None) -> list[Recall]:
        anchors = [e for e in held.kept if e.frame_idx != t - 1]  # that one is read as the newest
        taken = {e.frame_idx for e in anchors}
        room = max(1, self.slots - len(anchors) - len(held.prompted))
        recent = parts.newest([e for e in held.recent if e.frame_idx not in taken], room)
        return [*parts.anchored(anchors), *parts.ranked(recent)]

    def point_to(self, held: Held, t: int) -> list[Pointer]:
        taken = {e.frame_idx for e in held.kept}
        pointed = [*held.kept[::-1], *(e for e in held.trail[::-1] if e.frame_idx not in taken)]
        return [Pointer(e, t - e.frame_idx) for e in pointed]
