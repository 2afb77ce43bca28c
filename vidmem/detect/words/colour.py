"""How much of a region has a colour, as people name colours."""

from __future__ import annotations

import numpy as np

from vidmem.detect.words.everyday import HUES

HALF, EDGE = 9.0, 5.0  # of OpenCV's 180 hues: a colour's half width, and how softly it ends
LEAST = 0.05  # no colour rules a region out alone


def balanced(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB -> the same in HSV, float32 (hue 0..180, others 0..255), under light that is grey on the average (grey world),
    half way: a meadow is green."""
    import cv2

    means = image.reshape(-1, 3).mean(0) + 1
    gains = ((means.mean() / means) ** 0.5).clip(0.7, 1.4)
    return cv2.cvtColor((image * gains).clip(0, 255).astype(np.uint8), cv2.COLOR_RGB2HSV).astype(np.float32)


def membership(hsv: np.ndarray, colour: str) -> np.ndarray:
    """(H, W) 0..1: how much each pixel of `balanced` has the colour, a name of `HUES` or `GREYS`."""
    hue, saturation, value = hsv[..., 0], hsv[..., 1], hsv[..., 2]
    grey = _below(saturation, 60, 25)
    if colour == "black":
        return _below(value, 75, 20) * (1 - 0.5 * _above(saturation, 180, 40) * _above(value, 50, 10))
    if colour == "white":
        return _above(value, 165, 20) * _below(saturation, 55, 20)
    if colour == "grey":
        return grey * _above(value, 55, 15) * _below(value, 205, 20)
    coloured = _above(saturation, 70, 20) * _above(value, 50, 15)
    if colour == "brown":
        return _hue(hue, 13, 10) * _above(saturation, 45, 15) * _below(value, 165, 20) * _above(value, 35, 10)
    if colour == "pink":  # also pale red
        pale = _hue(hue, 175, 10) * _above(saturation, 35, 10) * _below(saturation, 150, 20) * _above(value, 150, 20)
        return np.maximum(pale, _hue(hue, HUES["pink"], HALF) * _above(saturation, 50, 15) * _above(value, 90, 20))
    if colour == "green":
        return coloured * _hue(hue, HUES["green"], 22)
    if colour in ("blue", "purple"):
        return coloured * _hue(hue, HUES[colour], 14)
    if colour == "orange":
        return coloured * _hue(hue, HUES["orange"], 7) * _above(value, 130, 20)
    return coloured * _hue(hue, HUES[colour], HALF)


def share(hsv: np.ndarray, colour: str, box: np.ndarray) -> float:
    """0..1: whether a box of a frame, in pixels of `hsv`, has the colour. A third of the middle of the box is enough; what the
    whole frame has, too, says little."""
    h, w = hsv.shape[:2]
    x0, y0, x1, y1 = box
    left, right, top, bottom = (
        int(v)
        for v in np.rint([x0 + 0.15 * (x1 - x0), x1 - 0.15 * (x1 - x0), y0 + 0.1 * (y1 - y0), y1 - 0.1 * (y1 - y0)])
    )
    top, left = min(max(top, 0), h - 1), min(max(left, 0), w - 1)
    part = hsv[top : max(bottom, top + 1), left : max(right, left + 1)]
    rows, columns = (np.linspace(-1, 1, n) for n in part.shape[:2])
    inside = rows[:, None] ** 2 + columns**2 <= 1.2
    own = float(membership(part, colour)[inside].mean())
    frame = float(membership(hsv[::4, ::4], colour).mean())
    told = own * (0.5 + 0.5 * own / (own + frame + 1e-6))
    return float(np.clip(told / 0.3, LEAST, 1))


def _hue(hue: np.ndarray, middle: float, half: float) -> np.ndarray:
    away = np.abs((hue - middle + 90) % 180 - 90)
    return _below(away, half, EDGE)


def _below(x: np.ndarray, edge: float, soft: float) -> np.ndarray:
    return ((edge + soft - x) / (2 * soft)).clip(0, 1)


def _above(x: np.ndarray, edge: float, soft: float) -> np.ndarray:
    return 1 - _below(x, edge, soft)
