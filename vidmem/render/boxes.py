"""The boxes around masks."""

from __future__ import annotations

import numpy as np


def mask_boxes(masks: np.ndarray) -> np.ndarray:
    """(N, H, W) bool -> (N, 4) float32 x0, y0, x1, y1, the last two exclusive; zeros for an empty mask."""
    import cv2

    boxes = np.zeros((len(masks), 4), np.float32)
    for box, mask in zip(boxes, masks):
        x, y, w, h = cv2.boundingRect(mask.view(np.uint8))
        box[:] = x, y, x + w, y + h
    return boxes
