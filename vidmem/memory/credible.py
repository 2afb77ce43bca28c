"""ReSurgSAM2's credible initial frame selection: which of the frames that look right an object begins with (Liu et al., MICCAI 2025, arXiv
2505.08581, section 2.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from vidmem.bounds import bounded, check
from vidmem.memory.base import MemoryBank
from vidmem.memory.policy import Bank, Held, Policy
from vidmem.types import Cue, Entry, ReadPlan, Usage, Verdict


@dataclass(frozen=True)
class CredibleRule:
    """`frames` credible ones in a row; the object begins with the one of the highest predicted IoU, of equals the newest.

    The original keeps a queue: a credible frame is pushed, one without the object drops the oldest, one whose mask is unsure changes nothing;
    when it is full and without a gap the choice is made. That moment is the same.
    """

    frames: int = bounded(5, 1, 64)
    presence: float = bounded(0.9, 0, 1)  # sigmoid of the object logit above which the object is there
    iou: float = bounded(0.7, 0, 1)  # predicted IoU above which the mask is believed

    def __post_init__(self):
        check(self)

    def credible(self, verdict: Verdict) -> bool:
        return 1 / (1 + math.exp(-max(verdict.object_logit, -500.0))) > self.presence and verdict.iou > self.iou


@dataclass(eq=False)
class CredibleStart:
    """Implements `vidmem.memory.base.MemoryBank` around any bank: it stays empty, and nothing is recalled, until a frame is chosen or a person
    prompts one; that is the bank's first prompted frame, and from then on the bank is alone."""

    bank: MemoryBank
    rule: CredibleRule = CredibleRule()
    run: tuple[Entry, ...] = ()  # credible frames in a row, the newest first
    began: int | None = None  # the frame that it began with

    @property
    def policy(self) -> Policy:
        return cast(Bank, self.bank).policy

    @property
    def held(self) -> Held:
        return cast(Bank, self.bank).held

    @property
    def needs(self) -> frozenset[str]:
        return self.bank.needs

    @property
    def capacity(self) -> int:
        return max(self.bank.capacity, self.rule.frames)

    @property
    def nbytes(self) -> int:
        return sum(entry.held for entry in self.entries())

    def entries(self) -> tuple[Entry, ...]:
        return tuple(self.bank.entries()) if self.began is not None else self.run[::-1]

    def read(self, t: int, cue: Cue | None = None) -> ReadPlan:
        return self.bank.read(t, cue)

    def observe(self, plan: ReadPlan, usage: Sequence[Usage]) -> None:
        self.bank.observe(plan, usage)

    def wants(self, verdict: Verdict) -> bool:
        if self.began is not None:
            return self.bank.wants(verdict)
        return verdict.prompted or self.rule.credible(verdict)

    def write(self, entry: Entry) -> None:
        if self.began is not None or entry.prompted:
            self._begin(entry)
            return
        earlier = tuple(e for e in self.run if e.frame_idx < entry.frame_idx)
        in_a_row = earlier and earlier[0].frame_idx == entry.frame_idx - 1
        self.run = (entry, *(earlier if in_a_row else ()))[: self.rule.frames]
        if len(self.run) == self.rule.frames:
            best = max(self.run, key=lambda e: e.verdict.iou)
            self._begin(replace(best, verdict=replace(best.verdict, prompted=True)))

    def fork(self) -> CredibleStart:
        return CredibleStart(self.bank.fork(), self.rule, self.run, self.began)

    def _begin(self, entry: Entry) -> None:
        self.bank.write(entry)
        if self.began is None:
            self.run, self.began = (), entry.frame_idx
