"""Masks without stray blobs: parts that hang on neither the object's last mask nor a prompt are dropped, small holes are filled."""

from __future__ import annotations

import numpy as np

from vidmem.types import Prompt

HOLE = 8  # cells of the network's mask; larger holes are seen through
STILL = 0.3  # of the last mask's area: so much must go on where it was before anything elsewhere is called stray
PART = 0.1  # of the largest part: so large is another part of an object that was in parts
REACH = 0.25  # of the square root of the area: so far an object may move or grow in one frame
ACROSS = 1.0  # of the same: so far away a large part may come out from behind something


def clean(logits: np.ndarray, last: np.ndarray | None, prompt: Prompt | None, scale: tuple[float, float]) -> np.ndarray:
    """logits (h, w) of the chosen mask -> the same, or a copy in which stray parts are negative and small holes positive.

    last: (h, w) the object's logits on the frame before; None where it was not seen. prompt: what a person said on this frame, in
    source pixels; scale: cells a pixel, (x, y). A click beside the object removes the part that it hits.
    """
    import cv2

    mask = (logits > 0).astype(np.uint8)
    if not mask.any() or (prompt is not None and prompt.is_answer):
        return logits
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    kept = np.ones(count, bool)
    kept[0] = False
    if prompt is not None:
        kept = _asked_for(parts, stats, prompt, scale)
    elif count > 2 and last is not None:
        kept = _going_on(parts, stats, last)
    wanted = kept[parts]
    holes = _small_holes(wanted)
    if kept[1:].all() and not holes.any():
        return logits
    logits = logits.copy()
    stray = (mask > 0) & ~wanted
    logits[stray] = -logits[stray]
    logits[holes] = np.maximum(-logits[holes], 1e-3)
    return logits


def _asked_for(parts: np.ndarray, stats: np.ndarray, prompt: Prompt, scale: tuple[float, float]) -> np.ndarray:
    """(count,) bool: parts that a click or the box touches, without those that only a click beside the object hits. Where
    nothing is touched, all stay: the person may mean a place between two parts."""
    import cv2

    height, width = parts.shape
    on, beside = np.zeros(len(stats), bool), np.zeros(len(stats), bool)
    if prompt.points is not None and prompt.labels is not None:
        for (x, y), label in zip(prompt.points * np.array(scale), prompt.labels):
            hit = parts[min(max(int(y), 0), height - 1), min(max(int(x), 0), width - 1)]
            (on if label else beside)[hit] = True
    if prompt.box is not None:
        x0, y0, x1, y1 = (prompt.box * np.tile(scale, 2)).round().astype(int).tolist()
        inside = np.zeros((height, width), np.uint8)
        cv2.rectangle(inside, (x0, y0), (max(x1 - 1, x0), max(y1 - 1, y0)), 1, -1)
        on[np.unique(parts[inside > 0])] = True
    on[0] = beside[0] = False
    kept = on if on.any() else np.arange(len(stats)) > 0
    return kept & ~(beside & ~on)


def _going_on(parts: np.ndarray, stats: np.ndarray, last: np.ndarray) -> np.ndarray:
    """(count,) bool: parts near the last mask; all, where too little of it goes on or it was in parts itself."""
    import cv2

    every = np.arange(len(stats)) > 0
    before = (last > 0).astype(np.uint8)
    area = int(before.sum())
    if not area:
        return every
    areas = np.sort(cv2.connectedComponentsWithStats(before, connectivity=8)[2][1:, cv2.CC_STAT_AREA])
    if len(areas) > 1 and areas[-2] >= PART * areas[-1]:
        return every
    kept = np.zeros(len(stats), bool)
    kept[_near(parts, before, REACH)] = True
    large = stats[:, cv2.CC_STAT_AREA] >= PART * area
    around = _near(parts, before, ACROSS)
    kept[around] |= large[around]
    kept[0] = False
    return kept if stats[kept, cv2.CC_STAT_AREA].sum() >= STILL * area else every


def _near(parts: np.ndarray, before: np.ndarray, reach: float) -> np.ndarray:
    """Numbers of the parts that lie within `reach` of the square root of the last mask's area."""
    import cv2

    cells = 1 + int(reach * float(before.sum()) ** 0.5)
    return np.unique(parts[cv2.dilate(before, np.ones((2 * cells + 1, 2 * cells + 1), np.uint8)) > 0])


def _small_holes(mask: np.ndarray) -> np.ndarray:
    """(h, w) bool -> (h, w) bool: background of at most `HOLE` cells that the mask encloses."""
    import cv2

    count, parts, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] <= HOLE
    small[0] = False
    if not small.any():
        return np.zeros_like(mask)
    edge = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    small[edge] = False
    return small[parts]
