"""What the alternatives that a search did not take say about the mask that it took."""

from __future__ import annotations

import numpy as np


def agreement(mask_logits: np.ndarray, chosen: int) -> float:
    """Evidence of a distractor, as DAM4SAM looks for it (arXiv 2411.17576, section 3.2): mask_logits (K, h, w), the chosen
    one's number -> 0..1.

    Of each alternative, what lies outside the chosen mask is taken, of that the largest connected part, and the box around
    it and the chosen mask; the IoU of this box with the chosen mask's own. The least over the alternatives is returned: 1
    when they add nothing elsewhere, small when one of them reaches for something else. 1 for an empty chosen mask.
    """
    import cv2

    mask = mask_logits[chosen] > 0
    own = _box(mask)
    if own is None:
        return 1.0
    least = 1.0
    for k, logits in enumerate(mask_logits):
        rest = ((logits > 0) & ~mask).astype(np.uint8)
        if k == chosen or not rest.any():
            continue
        _, _, stats, _ = cv2.connectedComponentsWithStats(rest, connectivity=8)
        x, y, w, h = stats[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()), :4]
        joint = (min(own[0], x), min(own[1], y), max(own[2], x + w), max(own[3], y + h))
        area = (own[2] - own[0]) * (own[3] - own[1])  # it lies inside the joint box
        least = min(least, area / ((joint[2] - joint[0]) * (joint[3] - joint[1])))
    return float(least)


def _box(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) if len(rows) else None
