"""What a network's predicted IoU is worth: corrected by what came of it on video that the network was not trained on.

The network scores a mask before anybody looks at its shape, and promises too much where the mask lies in pieces, which is how it looks
when a look-alike or the background is taken along. Two numbers tell right masks from wrong ones better than its score alone:
a logistic regression on that score and on the share of the largest piece (Platt 1999; `scripts/bench_scores.py` fits it).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Trust(NamedTuple):
    """Weights of the regression, on natural logarithms of odds."""

    bias: float
    score: float
    """Of the odds of the network's predicted IoU."""
    whole: float
    """Of `whole`."""

    def __call__(self, iou: float, mask_logits: np.ndarray) -> float:
        """The network's predicted IoU (0..1) and the mask (h, w) that it is about -> the IoU to be expected, 0..1."""
        z = self.bias + self.score * odds(iou) + self.whole * whole(mask_logits)
        return float(1 / (1 + np.exp(-z)))


def odds(iou: float | np.ndarray):
    """Logarithm of the odds, finite at 0 and 1."""
    return np.log((iou + 0.01) / (1.01 - iou))


def whole(mask_logits: np.ndarray) -> float:
    """(h, w) -> the share of the mask that its largest piece has, 1 for an empty mask."""
    import cv2

    mask = (mask_logits > 0).astype(np.uint8)
    area = int(mask.sum())
    if not area:
        return 1.0
    stats = cv2.connectedComponentsWithStats(mask, connectivity=8)[2]
    return float(stats[1:, cv2.CC_STAT_AREA].max()) / area
