"""When the target of a training clip is away, and what covers it."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from vidmem.training.data import TARGET


class Absence(NamedTuple):
    away: np.ndarray
    """(T,) bool: the target is not to be seen."""
    gone: np.ndarray
    """(T,) how far it is on its way out, 0..1; 1 where it is away."""
    side: np.ndarray
    """(2,) the way (x, y) it takes: (1, 0), (-1, 0), (0, 1) or (0, -1)."""

    def back(self, t: int) -> bool:
        return t > 0 and bool(self.away[t - 1] and not self.away[t])

    @classmethod
    def drawn(cls, rng: np.random.Generator, frames: int, chance: float, gradual: float) -> Absence:
        """Never on frame 0; back for the last frame more often than not. chance: that there is one; gradual: that the target goes, or comes
        back, over some frames."""
        away = np.zeros(frames, bool)
        if frames > 2 and rng.random() < chance:
            first = int(rng.integers(1, frames - 1))
            away[first : first + int(rng.integers(1, frames - first + 1))] = True
        gone = away.astype(float)
        for step in (-1, 1):  # going, coming back
            if away.any() and rng.random() < gradual:
                edge, slow = np.flatnonzero(away)[0 if step < 0 else -1], int(rng.integers(2, 5))
                for i in range(1, slow):
                    if 0 < (t := edge + step * i) < frames:
                        gone[t] = 1 - i / slow
        return cls(away, gone, np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])[rng.integers(4)])


class Panel(NamedTuple):
    """What comes before the target: a texture in a rectangle, or in an ellipse."""

    texture: np.ndarray  # (H, W, 3) uint8
    grow: np.ndarray  # (4,) pixels beyond the target's box
    round: bool

    def lay(self, canvas: np.ndarray, labels: np.ndarray, gone: float, side: np.ndarray) -> None:
        """Over all of the target where gone is 1; before that it comes from `side`."""
        y, x = np.nonzero(labels == TARGET)
        if not len(y):
            return
        low, high = np.array([x.min(), y.min()]) - self.grow[:2], np.array([x.max(), y.max()]) + self.grow[2:]
        axes = (high - low) * (0.72 if self.round else 0.5) + 1
        centre = (low + high) / 2 + side * (1 - gone) * 2 * axes
        panel = np.zeros(labels.shape, np.uint8)
        if self.round:
            cv2.ellipse(panel, tuple(centre.astype(int).tolist()), tuple(axes.astype(int).tolist()), 0, 0, 360, 1, -1)
        else:
            cv2.rectangle(
                panel, tuple((centre - axes).astype(int).tolist()), tuple((centre + axes).astype(int).tolist()), 1, -1
            )
        canvas[panel > 0] = self.texture[panel > 0]
        labels[panel > 0] = 0
