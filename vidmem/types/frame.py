"""What comes in: frames, and what a person says about one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidmem.errors import FrameError


@dataclass(frozen=True, eq=False, repr=False)
class Frame:
    """One decoded frame."""

    index: int
    """Position in decode order, from 0."""
    pts_seconds: float | None
    """Presentation time on the stream's clock, in seconds; None where the source has no clock (a folder of images)."""
    image: np.ndarray
    """(H, W, 3) uint8, RGB, rotation already applied."""

    def __post_init__(self):
        image = self.image
        if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            came = f"{getattr(image, 'dtype', type(image).__name__)} {getattr(image, 'shape', '')}"
            raise FrameError(f"a frame's image is {came}; expected uint8 (H, W, 3) in RGB order")
        if not image.size:
            raise FrameError(
                f"a frame's image is {image.shape[1]}x{image.shape[0]}, without a pixel; expected at least 1x1"
            )
        if isinstance(self.index, bool) or not isinstance(self.index, (int, np.integer)):
            raise FrameError(f"a frame's index is {self.index!r}; expected its place in decode order, an integer")
        pts = self.pts_seconds
        if pts is not None and (
            isinstance(pts, bool) or not isinstance(pts, (int, float, np.number)) or not np.isfinite(pts)
        ):
            raise FrameError(
                f"a frame's pts_seconds is {pts!r}; expected seconds, or None where the source has no clock"
            )

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.image.shape[:2]

    def __repr__(self) -> str:
        at = "" if self.pts_seconds is None else f" at {self.pts_seconds:.3f} s"
        return f"Frame({self.index}{at}, {self.size[1]}x{self.size[0]})"


@dataclass(frozen=True, eq=False, repr=False)
class Prompt:
    """What a person says about one object on one frame. At least one of the three is given."""

    points: np.ndarray | None = None
    """(N, 2) float32, [x, y] in source pixels."""
    labels: np.ndarray | None = None
    """(N,) uint8: 1 on the object, 0 beside it."""
    box: np.ndarray | None = None
    """(4,) float32, x0, y0, x1, y1 in source pixels."""
    mask: np.ndarray | None = None
    """(H, W) bool at source size."""

    @property
    def answer(self) -> np.ndarray | None:
        """A mask alone is what the person wants to see on that frame (SAM 2's `use_mask_input_as_output_without_sam`); with
        points or a box beside it, it is a hint, and this is None."""
        return self.mask if self.points is None and self.box is None else None

    def __repr__(self) -> str:
        parts = [] if self.points is None else [f"{len(self.points)} clicks"]
        parts += [] if self.box is None else [f"box {', '.join(f'{v:g}' for v in self.box)}"]
        parts += [] if self.mask is None else [f"mask of {int(self.mask.sum())} pixels"]
        return f"Prompt({'; '.join(parts)})"
