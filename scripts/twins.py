"""Pictures for `scripts/bench_words.py compose`: one object several times on another sequence's frames, in three colours, or left and right.

Paint is what paint does: it takes the colour of the whole object and leaves its light and shadow. What is dark on the object (tyres,
windows, a shadow) stays dark, and an object that is dark all over is painted too: brightness is measured against the object's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

COUNT, SIZE = 24, (854, 480)  # frames; width, height
ROOM = 0.85  # of its share of the frame's width: the most that a twin takes, so that twins do not touch
PAINTS = {"red": (205, 35, 30), "green": (40, 155, 55), "blue": (35, 75, 200)}
BRIGHT = 90  # percentile of an object's brightness that is its paint's own; what is brighter shines


def painted(image: np.ndarray, mask: np.ndarray, paint: Sequence[int]) -> np.ndarray:
    """(H, W, 3) uint8 RGB, and an object's (H, W) bool -> the same with the object painted."""
    import cv2

    light = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    light = light / max(float(np.percentile(light[mask], BRIGHT)), 1.0) if mask.any() else light / 255
    shine = (light - 1).clip(0, 1)[..., None]
    coat = np.asarray(paint, np.float32) * light.clip(0, 1)[..., None]
    return (coat * (1 - shine) + 255 * shine).astype(np.uint8)


def paste(
    canvas: np.ndarray, image: np.ndarray, mask: np.ndarray, x: int, base: int, height: int, width: float
) -> np.ndarray:
    """Put an object on a canvas, its feet on `base` -> its mask there."""
    import cv2

    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    scale = min(height / (rows[-1] + 1 - rows[0]), width / (columns[-1] + 1 - columns[0]))
    size = [max(8, round(n * scale)) for n in (columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0])]
    small, alpha = (cv2.resize(a[window], size, interpolation=cv2.INTER_AREA) for a in (image, mask.astype(np.float32)))
    top, left = base - size[1], x - size[0] // 2
    left = min(max(left, 0), canvas.shape[1] - size[0])
    part = canvas[top:base, left : left + size[0]]
    part[:] = (part * (1 - alpha[..., None]) + small * alpha[..., None]).astype(np.uint8)
    placed = np.zeros(canvas.shape[:2], bool)
    placed[top:base, left : left + size[0]] = alpha > 0.5
    return placed


def in_colours(noun: str, first: int) -> list[tuple[str, tuple[int, int, int] | None]]:
    """Texts and paints of three twins, from the left; first: which colour begins."""
    order = list(PAINTS.items())
    return [(f"{name} {noun}", paint) for name, paint in order[first % 3 :] + order[: first % 3]]


def in_places(noun: str) -> list[tuple[str, tuple[int, int, int] | None]]:
    return [(f"left {noun}", None), (f"{noun} on the right", None)]


def composed(
    frames: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    scene: Sequence[np.ndarray],
    twins: Sequence[tuple[str, tuple[int, int, int] | None]],
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """frames, labels: of the object, which is the greatest label. scene: frames to put it on. -> `COUNT` pictures, each with the mask of
    each text."""
    import cv2

    for t in range(COUNT):
        at = min(2 * t, len(frames) - 1, len(labels) - 1)
        at = at if labels[at].any() else 0
        image, mask = frames[at], labels[at] == labels[at].max()
        canvas = cv2.GaussianBlur(cv2.resize(scene[min(t, len(scene) - 1)], SIZE), (0, 0), 5)
        truth = {}
        for place, (text, paint) in enumerate(twins):
            own, outline = (image, mask) if place % 2 == 0 else (image[:, ::-1], mask[:, ::-1])
            own = np.ascontiguousarray(own) if paint is None else painted(np.ascontiguousarray(own), outline, paint)
            x, room = (place + 1) * SIZE[0] // (len(twins) + 1) + 2 * t - 24, ROOM * SIZE[0] / (len(twins) + 1)
            truth[text] = paste(canvas, own, outline, x, 400 + 10 * place, 220 if paint is None else 190, room)
        yield canvas, truth
