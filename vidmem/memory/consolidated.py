"""Working memory that is consolidated into a long term: XMem and Cutie (arXiv 2207.07115; 2310.12982), with MemoryVLA's merging
of neighbours (arXiv 2508.19236)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vidmem.bounds import bounded
from vidmem.memory import parts
from vidmem.memory.policy import Held, Policy
from vidmem.types import Cue, Entry, Pointer, ReadPlan, Recall, Usage


class Notes(NamedTuple):
    used: dict[int, tuple[float, np.ndarray]]
    """frame -> its share of the attention so far, which fades, and (L, n) float32 its tokens'."""
    summary: tuple[Any, int] | None = None
    """The mean of the pointers of all that left the working memory, and their number."""


@dataclass(frozen=True)
class Consolidated(Policy):
    """Every `stride`th frame is a working memory, and the newest is always one. What leaves the working memory joins the
    long term; there, when it is full, the two neighbours in time that are most alike merge into one, if they are alike
    enough; otherwise the least used gives its most used tokens as prototypes and goes. Of the prototypes the least used go.
    A running mean of the pointers of all that left stands for the object's summary (Cutie's object memory needs a network
    trained for it; networks without pointers have no summary).
    """

    stride: int = bounded(5, 1)
    working: int = bounded(3, 1)  # working memories, the newest included
    keep: int = bounded(2, 1)  # whole memories of the long term
    merge: float = bounded(0.9, -1, 1)  # likeness of neighbours that may become one
    prototypes: int = bounded(128, 1)  # tokens of an entry that was consolidated
    pieces: int = bounded(2, 1)  # entries that left prototypes
    summary: bool = True

    needs = frozenset({"usage"})
    notes = Notes

    @property
    def short(self) -> int:
        return self.working

    @property
    def long(self) -> int:
        return self.keep + self.pieces + 1  # the summary

    def remember(self, held: Held, entry: Entry) -> Held:
        recent = held.recent
        if recent and recent[-1].frame_idx % self.stride:
            recent = recent[:-1]
        recent = (*recent, entry)
        leaving, recent = recent[: -self.working], recent[-self.working :]
        held = held._replace(recent=recent)
        for one in leaving:
            held = self._consolidate(held, one)
        return held

    def _consolidate(self, held: Held, entry: Entry) -> Held:
        used, summary = held.notes or Notes({})
        if self.summary and entry.pointer is not None:
            mean, count = summary or (entry.pointer, 0)
            summary = mean + (entry.pointer - mean) / (count + 1), count + 1
        kept, pool = (*held.kept, entry), held.pool
        if len(kept) > self.keep:
            alike = [a.payload.similarity(b.payload) for a, b in itertools.pairwise(kept)]
            i = int(np.argmax(alike))
            if alike[i] >= self.merge:
                kept = (*kept[:i], kept[i + 1].mixed(kept[i], 0.5), *kept[i + 2 :])
            else:
                least = min(kept[:-1], key=lambda e: used.get(e.frame_idx, (0.0, None))[0])
                kept = tuple(e for e in kept if e is not least)
                pool = (*pool, least.take(self._prototypes(least, used)))
                pool = parts.best(pool, np.array([used.get(e.frame_idx, (0.0, None))[0] for e in pool]), self.pieces)
        alive = {e.frame_idx for part in (held.prompted, held.recent, kept, pool) for e in part}
        used = {f: v for f, v in used.items() if f in alive}
        return held._replace(kept=kept, pool=pool, notes=Notes(used, summary))

    def _prototypes(self, entry: Entry, used: dict) -> np.ndarray:
        total = entry.payload.tokens
        weights = used.get(entry.frame_idx, (0.0, None))[1]
        if weights is None or weights.shape[-1] != total:  # never read: spread evenly
            return np.unique(np.linspace(0, total - 1, min(total, self.prototypes)).astype(int))
        return np.sort(np.argsort(-weights, -1)[..., : self.prototypes], -1)

    def observe(self, held: Held, plan: ReadPlan, usage: Sequence[Usage]) -> Held:
        notes = held.notes or Notes({})
        used = dict(notes.used)
        for recall, u in zip(plan.recalls, usage):
            share, tokens = used.get(recall.entry.frame_idx, (0.0, None))
            more = u.share * u.tokens
            same = tokens is not None and tokens.shape == more.shape
            used[recall.entry.frame_idx] = 0.9 * share + u.share, 0.9 * tokens + more if same else more
        return held._replace(notes=notes._replace(used=used))

    def recall(self, held: Held, t: int, cue: Cue | None) -> list[Recall]:
        return [*parts.anchored((*held.pool, *held.kept)), *parts.ranked(held.recent)]

    def point_to(self, held: Held, t: int) -> list[Pointer]:
        pointers = list(super().point_to(held, t))
        summary = held.notes and held.notes.summary
        if summary is not None and held.kept:
            last = held.kept[-1]
            pointers.append(Pointer(Entry(last.verdict, None, 0, summary[0]), t - last.frame_idx))
        return pointers
