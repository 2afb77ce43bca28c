"""Efficient-SAM2's sparse memory retrieval (ICLR 2026, arXiv 2602.08224)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidmem.bounds import bounded
from vidmem.memory.policy import Held, Policy
from vidmem.types import ReadPlan, Usage


@dataclass(frozen=True)
class Sparse(Policy):
    """SAM 2's window, of whose older frames a few tokens are left: those that got most attention, layer by layer, when the
    frame was first read as the newest. Prompted frames and the newest stay whole. The other tokens are let go at once, so
    memory shrinks with the reading.
    """

    absent: bool = True
    share: float = bounded(0.05, 0.001, 1)  # tokens that stay

    needs = frozenset({"usage"})

    def observe(self, held: Held, plan: ReadPlan, usage: Sequence[Usage]) -> Held:
        if not held.recent or held.recent[-1].frame_idx != plan.recalls[-1].entry.frame_idx:
            return held
        newest, used = held.recent[-1], usage[-1].tokens
        count = max(1, int(self.share * newest.payload.tokens))
        if used.shape[-1] <= count:
            return held
        tokens = np.sort(np.argpartition(-used, count - 1, axis=-1)[..., :count], -1)
        return held._replace(recent=(*held.recent[:-1], newest.take(tokens)))
