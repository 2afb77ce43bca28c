"""One hypothesis, the mask with the best predicted IoU: what SAM 2 does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vidmem.search.base import Choice, View


@dataclass(frozen=True)
class Greedy:
    """Calling it makes an object's search; it has no numbers and no state."""

    lag: ClassVar[int | None] = 0

    def __call__(self) -> Greedy:
        return self

    def advance(self, view: View) -> list[Choice]:
        parent, candidate = np.unravel_index(int(view.iou.argmax()), view.iou.shape)
        return [Choice(int(parent), int(candidate))]

    def report(self) -> dict[str, float]:
        return {"hypotheses": 1, "switches": 0}

    def check(self, hypotheses: int) -> None:
        if hypotheses != 1:
            raise ValueError(f"{hypotheses} hypotheses, and a greedy search has one")

    def fork(self) -> Greedy:
        return self
