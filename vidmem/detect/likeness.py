"""Does it look like the one we lost: looks of an object, and how alike a new one is, measured by how alike they are among themselves."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

MOST_LOOKS = 8
BINS = 6  # of each colour channel


@dataclass
class Likeness:
    """What an object looked like, at most `MOST_LOOKS` times: the first looks stay, the newest replace each other."""

    looks: list[np.ndarray] = field(default_factory=list)  # (D,) float32 of unit length each

    def add(self, look: np.ndarray) -> None:
        if len(self.looks) >= MOST_LOOKS:
            del self.looks[MOST_LOOKS // 2]
        self.looks.append(look)

    def like(self, look: np.ndarray) -> float:
        """Cosine to the most similar look, over what looks of this object have in common at least: 1 or more is as usual. 1 without
        any look to compare with."""
        if not self.looks:
            return 1.0
        seen = np.stack(self.looks)
        usual = 1.0
        if len(seen) > 1:
            among = seen @ seen.T
            np.fill_diagonal(among, -1)
            usual = float(np.median(among.max(1)))
        return float((seen @ look).max()) / max(usual, 1e-6)


def colours(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """(BINS ** 3,) float32 of unit length: the colours in the middle of a box of a frame, (H, W, 3) uint8; a cosine of two is their
    Bhattacharyya coefficient."""
    x0, y0, x1, y1 = box
    inset = np.array([x1 - x0, y1 - y0]) * 0.15
    left, top = np.floor([x0, y0] + inset).astype(int).clip(0)
    right, bottom = np.ceil([x1, y1] - inset).astype(int)
    part = image[top : max(bottom, top + 1), left : max(right, left + 1)].reshape(-1, 3).astype(np.int64) * BINS // 256
    counts = np.bincount(part @ np.array([BINS * BINS, BINS, 1]), minlength=BINS**3).astype(np.float32)
    return np.sqrt(counts / max(float(counts.sum()), 1.0))
