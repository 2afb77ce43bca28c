"""A person's prompt as maps that `nano` can read; numpy alone, so that every runtime shares it."""

from __future__ import annotations

import numpy as np

CLICK_SIGMA = 2.5  # mask cells (4 model pixels each)


def prompt_maps(
    shape: tuple[int, int],
    points: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    box: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Prompt maps and the *guess* that they amount to.

    shape: (h, w) of the maps, the network's mask size. points (N, 2) and box (4,) in cells of that size, [x, y];
    mask: (h, w) in 0..1, the object so far, on a correction.

    Returns maps (6, h, w) float32 (channels as `decoder.PROMPT_CHANNELS` says) and guess (h, w) float32: 1 surely object,
    0 surely background, 0.5 unknown. The frame reads its own guess as a memory, so that cells which look like the
    outside of a box are recognised as background: the idea of GrabCut, with learned features.
    """
    height, width = shape
    maps = np.zeros((6, height, width), np.float32)
    x, y = np.arange(width, dtype=np.float32)[None] + 0.5, np.arange(height, dtype=np.float32)[:, None] + 0.5
    guess = np.full(shape, 0.5, np.float32)
    if box is not None:
        x0, y0, x1, y1 = (float(v) for v in box)
        u, v = (2 * x - x0 - x1) / max(x1 - x0, 1.0), (2 * y - y0 - y1) / max(y1 - y0, 1.0)
        inside = (np.abs(u) <= 1) & (np.abs(v) <= 1)
        maps[2] = inside
        maps[3], maps[4] = inside * u, inside * v
        guess = (inside * (0.5 + 0.4 * np.clip(1 - u * u - v * v, 0, 1))).astype(np.float32)
    if mask is not None:
        maps[5] = mask
        guess = np.array(mask, np.float32)
    if points is not None and labels is not None:
        for (px, py), label in zip(points, labels):
            bump = np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * CLICK_SIGMA**2))
            channel = 0 if label else 1
            maps[channel] = np.maximum(maps[channel], bump)
            guess += ((1.0 if label else 0.0) - guess) * bump
    return maps, guess
