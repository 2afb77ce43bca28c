"""Summaries of chunks first, then entries inside the chosen ones: HCAM (Lampinen et al. 2021, arXiv 2105.14039), HMT (arXiv
2405.06067), HEMA (arXiv 2504.16754)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import numpy as np

from vidmem.bounds import bounded
from vidmem.memory import parts
from vidmem.memory.policy import ByContent, Held
from vidmem.types import Cue, Entry, Recall


@dataclass(frozen=True)
class Hierarchical(ByContent):
    """The past is cut into chunks of `span` frames, each with up to `inside` entries and the mean of their descriptors as
    summary. A read compares the current frame with the summaries, opens the `open` best chunks, and takes the entries most
    like it there, beside the newest frames. When there are too many chunks, the two neighbours most alike become one, which
    keeps `inside` of their entries, evenly spread (the papers keep every chunk; theirs are learned attentions, ours cosines).
    """

    span: int = bounded(60, 1)
    inside: int = bounded(3, 1)
    chunks: int = bounded(6, 2)
    open: int = bounded(2, 1)

    notes = dict[int, int]

    @property
    def long(self) -> int:
        return self.chunks * self.inside

    def remember(self, held: Held, entry: Entry) -> Held:
        held = super().remember(held, entry)
        stride = max(1, self.span // self.inside)
        if entry.descriptor is None or not entry.verdict.present or not parts.due(held.kept, entry.frame_idx, stride):
            return held
        labels: dict[int, int] = dict(held.notes or {})
        last = labels[held.kept[-1].frame_idx] if held.kept else 0
        begun = [e.frame_idx for e in held.kept if labels[e.frame_idx] == last]
        full = bool(begun) and (
            entry.verdict.cut or entry.frame_idx - begun[0] >= self.span or len(begun) >= self.inside
        )
        labels[entry.frame_idx] = last + full
        kept = (*held.kept, entry)
        if len({labels[e.frame_idx] for e in kept}) > self.chunks:
            kept, labels = self._merge(kept, labels)
        return held._replace(kept=kept, notes={e.frame_idx: labels[e.frame_idx] for e in kept})

    def _groups(self, kept: tuple[Entry, ...], labels: dict[int, int]) -> list[list[Entry]]:
        return [list(group) for _, group in groupby(kept, key=lambda e: labels[e.frame_idx])]

    def _merge(self, kept: tuple[Entry, ...], labels: dict[int, int]) -> tuple[tuple[Entry, ...], dict[int, int]]:
        groups = self._groups(kept, labels)
        summaries = np.stack([_summary(group) for group in groups])
        alike = (summaries[:-1] * summaries[1:]).sum(1)[:-1]  # the newest chunk is still growing
        i = int(alike.argmax())
        both = groups[i] + groups[i + 1]
        evenly = np.unique(np.linspace(0, len(both) - 1, self.inside).round().astype(int))
        groups[i : i + 2] = [[both[k] for k in evenly]]
        return tuple(e for g in groups for e in g), {e.frame_idx: number for number, g in enumerate(groups) for e in g}

    def recall(self, held: Held, t: int, cue: Cue | None) -> list[Recall]:
        taken = {e.frame_idx for e in held.recent}
        inside: tuple[Entry, ...] = ()
        if held.kept and cue is not None:
            groups = self._groups(held.kept, held.notes)
            scores = [float(_summary(group) @ cue.frame) for group in groups]
            opened = sorted(np.argsort(scores)[::-1][: self.open])
            inside = tuple(e for i in opened for e in groups[i] if e.frame_idx not in taken)
            inside = parts.best(inside, parts.alike(inside, cue), self.slots - 1 - len(held.recent))
        return [*parts.anchored(inside), *parts.ranked(held.recent)]


def _summary(group: list[Entry]) -> np.ndarray:
    mean = np.mean([parts.descriptor(e) for e in group], 0)
    return mean / max(float(np.linalg.norm(mean)), 1e-6)
