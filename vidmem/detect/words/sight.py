"""How a frame is shown to the network: its size, crops of it, and features of a region."""

from __future__ import annotations

import numpy as np

STRIDE = 32  # the deep map's; both sides of an input are multiples of it
AREA = 288 * 512  # pixels of a frame's input, whatever its shape
CROP = 224  # pixels a side of a crop: what ImageNet's classifier was trained on
MARGIN = 0.15  # of a box's side, shown around it on either side


def input_size(height: int, width: int, area: int = AREA) -> tuple[int, int]:
    """The network's (H, W) for a frame: its shape, about `area` pixels, multiples of 32, at most 4 times as long as `area`'s square."""
    scale, most = (area / (height * width)) ** 0.5, int(4 * area**0.5) // STRIDE
    return tuple(min(most, max(2, round(side * scale / STRIDE))) * STRIDE for side in (height, width))


def shrink(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 -> (h, w, 3) uint8 of that (h, w)."""
    import cv2

    how = cv2.INTER_AREA if size[0] < image.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(image, size[::-1], interpolation=how)


def window(box: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The part of a frame of (H, W) around a box, as square as the frame allows -> x0, y0, x1, y1."""
    height, width = size
    x0, y0, x1, y1 = (float(v) for v in box)
    side = max(x1 - x0, y1 - y0, 16) * (1 + 2 * MARGIN)
    spans = []
    for low, high, most in ((x0, x1, width), (y0, y1, height)):
        length = min(side, most)
        start = min(max((low + high - length) / 2, 0), most - length)
        spans.append((int(start), max(int(start) + 1, round(start + length))))
    return spans[0][0], spans[1][0], spans[0][1], spans[1][1]


def crop(image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A box of a frame in source pixels -> (CROP, CROP, 3) uint8, and where the box lies in it, in 0..1."""
    x0, y0, x1, y1 = window(box, image.shape[:2])
    inside = (np.asarray(box, np.float32) - [x0, y0, x0, y0]) / [x1 - x0, y1 - y0, x1 - x0, y1 - y0]
    return shrink(image[y0:y1, x0:x1], (CROP, CROP)), inside.clip(0, 1)


def region_mean(features: np.ndarray, box: np.ndarray) -> np.ndarray:
    """(C, h, w) and a box in 0..1 of the map -> (C,) the mean of the cells that it covers, each by its share."""
    spans = []
    for low, high, count in ((box[0], box[2], features.shape[2]), (box[1], box[3], features.shape[1])):
        edges = np.arange(count + 1) / count
        share = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
        spans.append(share.clip(0).astype(np.float32))
    across, down = spans
    weight = down[:, None] * across
    return (features * weight).sum((1, 2)) / max(float(weight.sum()), 1e-9)
