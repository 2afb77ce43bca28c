"""A frame with its coordinates on it, for people who pick an object by numbers."""

from __future__ import annotations

import math

import numpy as np

from vidmem.render.overlay import write_text

LINES = 14  # on the longer side, at most
LEAST_SIDE = 1000  # of the longer side: smaller frames are enlarged, so that the numbers can be read
INK = (255, 213, 0)


def grid(image: np.ndarray) -> tuple[np.ndarray, int]:
    """(H, W, 3) uint8 RGB -> the same, enlarged by a whole number where it is small, with a line every so many source pixels, each with
    its number; and that distance, pixels."""
    import cv2

    height, width = image.shape[:2]
    factor = max(1, math.ceil(LEAST_SIDE / max(height, width)))
    step = next(s * 10**n for n in range(6) for s in (1, 2, 5) if max(height, width) / (s * 10**n) <= LINES)
    out = cv2.resize(image, (width * factor, height * factor), interpolation=cv2.INTER_CUBIC)
    lines = out.copy()
    for x in range(step, width, step):
        cv2.line(lines, (x * factor, 0), (x * factor, height * factor), INK, 1)
    for y in range(step, height, step):
        cv2.line(lines, (0, y * factor), (width * factor, y * factor), INK, 1)
    out = cv2.addWeighted(out, 0.35, lines, 0.65, 0)
    letters = max(11, max(out.shape[:2]) // 90)
    for x in range(step, width, step):
        write_text(out, str(x), (x * factor + 2, 0), INK, letters)
    for y in range(step, height, step):
        write_text(out, str(y), (0, y * factor), INK, letters)
    return out, step
