"""One hypothesis, the mask with the best predicted IoU: what SAM 2 does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidmem.search.base import Choice


@dataclass(frozen=True)
class Greedy:
    """Calling it makes an object's search; it has no numbers and no state."""

    def __call__(self) -> Greedy:
        return self

    def advance(self, iou: np.ndarray, object_logit: np.ndarray, prompted: bool) -> list[Choice]:
        parent, candidate = np.unravel_index(int(iou.argmax()), iou.shape)
        return [Choice(int(parent), int(candidate))]

    def fork(self) -> Greedy:
        return self
