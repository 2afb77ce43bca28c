"""What people do to the objects of a video, or to everything else: (H, W, 3) uint8 RGB and (H, W) bool -> a new picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

GREEN = (0, 177, 64)  # what chroma keyers are set to


def blur(image: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Everything but the objects out of focus."""
    return _mix(_blurred(image), image, _soft(seen))


def blur_object(image: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The objects alone, with a margin: so that nobody knows them again."""
    return _mix(image, _blurred(image), _covered(seen))


def pixelate(image: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Everything but the objects in squares."""
    return _mix(_squares(image), image, _soft(seen))


def pixelate_object(image: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The objects in squares, with a margin."""
    return _mix(image, _squares(image), _covered(seen))


def spotlight(image: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The objects as they are, everything else dark and grey."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) // 3
    return _mix(np.dstack([grey] * 3), image, _soft(seen))


def green(image: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The objects on a green screen, for a chroma keyer."""
    return _mix(np.full_like(image, GREEN), image, _soft(seen))


EFFECTS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "blur": blur,
    "blur-object": blur_object,
    "pixelate": pixelate,
    "pixelate-object": pixelate_object,
    "spotlight": spotlight,
    "green": green,
}
"""Name -> effect."""


def _soft(seen: np.ndarray) -> np.ndarray:
    """(H, W) uint8, 0..255, with an edge of about a pixel."""
    import cv2

    return cv2.GaussianBlur(seen.astype(np.uint8) * 255, (3, 3), 0)


def _covered(seen: np.ndarray) -> np.ndarray:
    """A margin of a hundredth of the picture: what hides somebody may not end inside the outline."""
    import cv2

    margin = 2 * (min(seen.shape) // 100 + 1) + 1
    return cv2.dilate(seen.astype(np.uint8) * 255, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (margin, margin)))


def _mix(under: np.ndarray, over: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    import cv2

    share = alpha.astype(np.float32) / 255
    return cv2.blendLinear(over, under, share, 1 - share)


def _blurred(image: np.ndarray) -> np.ndarray:
    """Over a twentieth of the shorter side; made small first, which no eye can tell."""
    import cv2

    height, width = image.shape[:2]
    sigma = min(height, width) / 20
    factor = max(1, int(sigma / 4))
    small = cv2.resize(image, (max(1, width // factor), max(1, height // factor)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), max(sigma / factor, 0.5))
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def _squares(image: np.ndarray) -> np.ndarray:
    """Of a twentieth of the shorter side."""
    import cv2

    height, width = image.shape[:2]
    side = max(2, min(height, width) // 20)
    small = cv2.resize(image, (max(1, width // side), max(1, height // side)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
