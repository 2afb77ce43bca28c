"""Objects cut out of their pictures, to be laid over others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np

from vidmem.training.data import FEWEST, Reel
from vidmem.training.motions import MotionPath


class Tint(NamedTuple):
    """(3,) float32 each, of the colours."""

    gain: np.ndarray
    offset: np.ndarray


class Sprite(NamedTuple):
    """An object on its own, in one or several poses: crops of equal number."""

    pixels: list[np.ndarray]  # (h, w, 3) uint8
    alphas: list[np.ndarray]  # (h, w) uint8 0/1
    reel: Reel

    @classmethod
    def cut(cls, frames: Iterable[tuple[np.ndarray, np.ndarray]], obj_id: int, reel: Reel) -> Sprite | None:
        """From pictures and their labels, up to the first where too little of the object is seen; None where that is the first."""
        pixels, alphas = [], []
        for image, labels in frames:
            mask = labels == obj_id
            if mask.sum() < FEWEST:
                break
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            window = slice(max(rows[0] - 3, 0), rows[-1] + 4), slice(max(columns[0] - 3, 0), columns[-1] + 4)
            pixels.append(image[window])
            alphas.append(mask[window].astype(np.uint8))
        return cls(pixels, alphas, reel) if pixels else None

    def alike(self, rng) -> Sprite:
        """Another of its kind: mirrored, with a colour of its own."""
        mix = np.eye(3) + rng.uniform(0, 0.4) * (np.roll(np.eye(3), int(rng.integers(1, 3)), 0) - np.eye(3))
        mix = (mix * rng.uniform(0.7, 1.2)).astype(np.float32)
        return Sprite([np.clip(p[:, ::-1] @ mix, 0, 255).astype(np.uint8) for p in self.pixels],
                      [np.ascontiguousarray(a[:, ::-1]) for a in self.alphas], self.reel)  # fmt: skip

    def tint(self, rng: np.random.Generator, canvas: np.ndarray, camouflage: float) -> Tint:
        """Before this canvas. camouflage: the chance that it takes on the canvas's mean colour."""
        gain, offset = rng.uniform(0.8, 1.2, 3), np.zeros(3)
        if rng.random() < camouflage:
            own = self.pixels[0][self.alphas[0] > 0].mean(0) * gain
            offset = (canvas.mean((0, 1)) - own) * rng.uniform(0.5, 1.0)
        return Tint(gain.astype(np.float32), offset.astype(np.float32))

    def draw(
        self,
        canvas: np.ndarray,
        labels: np.ndarray,
        t: int,
        motion: MotionPath,
        label: int,
        tint: Tint | None = None,
        shift: np.ndarray | tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Lay it over the canvas; its pixels take `label` (0: nobody's)."""
        pose = min(t, len(self.pixels) - 1)
        pixels, mask = self.pixels[pose], self.alphas[pose]
        x, y = motion.maps(t, shift)
        alpha = cv2.GaussianBlur(cv2.remap(mask.astype(np.float32), x, y, cv2.INTER_LINEAR), (3, 3), 0)
        rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
        if not len(rows):
            return
        window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        over = cv2.remap(pixels, x[window], y[window], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(
            np.float32
        )
        if tint is not None:
            over = over * tint.gain + tint.offset
        share = alpha[window][..., None]
        canvas[window] = np.clip(canvas[window] * (1 - share) + over * share, 0, 255).astype(np.uint8)
        labels[alpha >= 0.5] = label
