"""The learner seam: one object's own classifier of a frame's cells."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np


class Cells:
    """A frame as a learner sees it: one vector for each cell of a coarse grid. Shared by all objects of a session."""

    def __init__(self, grid: np.ndarray):
        """grid: (h, w, D) float32, see `Network.cells`."""
        self.shape: tuple[int, int] = grid.shape[:2]
        self.vectors = np.ascontiguousarray(grid.reshape(-1, grid.shape[2]), np.float32)

    @cached_property
    def gram(self) -> np.ndarray:
        """(D, D) sum over cells of vector times vector, which all objects of a frame share."""
        return self.vectors.T @ self.vectors

    def cover(self, mask_logits: np.ndarray) -> np.ndarray:
        """(H, W) mask logits -> (h * w,) bool: cells of which more than half is object; of one that is smaller than that, the
        cells that have most of it."""
        import cv2

        mask = (mask_logits > 0).astype(np.float32)
        height, width = self.shape
        share = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA).reshape(-1)
        most = float(share.max())
        return share > 0.5 if most > 0.5 or most == 0 else share == most


class Learner(Protocol):
    """What is known of one object. Immutable: snapshots, undo and forks share it."""

    @property
    def rule(self) -> Any:
        """Its numbers, which a session's state does not hold: the session that reads it has them."""
        ...

    parts: ClassVar[tuple[type, ...]]
    """NamedTuples that its fields are made of, for a session's state."""

    def check(self, dim: int) -> None:
        """Raises `ValueError` where this cannot have been learnt from cells of `dim` numbers; asked of what was read from bytes."""
        ...

    @property
    def doubt(self) -> float:
        """Object logit that an object which was not shown must exceed to be shown again. Below it the frame may be remembered."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        ...

    def prompted(self, cells: Cells, mask_logits: np.ndarray) -> Learner:
        """A person has said where it is. mask_logits (H, W): positive is object."""
        ...

    def presence(self, cells: Cells, mask_logits: np.ndarray, object_logit: float) -> tuple[float, float]:
        """-> how well the mask fits what was learnt (about 1 as in the frames that taught it, 0 as the background), and what
        becomes of the network's object logit with that known."""
        ...

    def after(self, cells: Cells, mask_logits: np.ndarray, object_logit: float, iou: float, tracked: bool) -> Learner:
        """What a tracked frame teaches. object_logit: as `presence` left it; iou: predicted, 0..1; tracked: the status says so."""
        ...
