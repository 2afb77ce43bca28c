"""Boxes of whole objects from the finder's two maps."""

from __future__ import annotations

import numpy as np

CELL = 16  # pixels of the input between cells of the finder's maps
LEAST = 0.05  # of a middle's probability
MOST = 24  # boxes of a frame
ALIKE = 0.6  # IoU of boxes that are one


def boxes_of_maps(middle: np.ndarray, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(h, w) probability of a middle and (4, h, w) distances of the left, top, right and bottom side, in pixels of the input ->
    scores (N,) and boxes (N, 4) in pixels of the input, the best first. Boxes that are one become their weighted mean."""
    h, w = middle.shape
    rows, columns = np.nonzero(middle >= min(LEAST, float(middle.max())))
    order = np.argsort(-middle[rows, columns], kind="stable")[:200]
    rows, columns = rows[order], columns[order]
    scores, (left, top, right, bottom) = middle[rows, columns], distances[:, rows, columns]
    x, y = (columns + 0.5) * CELL, (rows + 0.5) * CELL
    boxes = np.stack([x - left, y - top, x + right, y + bottom], 1).clip(0, [w * CELL, h * CELL] * 2)
    ious = pairwise(boxes, boxes)
    free = np.ones(len(boxes), bool)
    kept_scores: list[np.ndarray] = []
    kept_boxes: list[np.ndarray] = []
    for i in range(len(boxes)):
        if free[i] and len(kept_boxes) < MOST:
            one = free & (ious[i] >= ALIKE)
            weight = scores[one] ** 2
            kept_scores.append(scores[i])
            kept_boxes.append((boxes[one] * weight[:, None]).sum(0) / weight.sum())
            free &= ~one
    return np.array(kept_scores, np.float32), np.array(kept_boxes, np.float32).reshape(-1, 4)


def pairwise(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(N, 4) and (M, 4) boxes -> (N, M) IoU."""
    low, high = np.maximum(one[:, None, :2], other[None, :, :2]), np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = (high - low).clip(0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (one, other)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)
