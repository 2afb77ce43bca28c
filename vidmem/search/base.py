"""The search seam: which reading of a frame to believe."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np


class View(NamedTuple):
    """What a search sees of one object's P hypotheses on one frame."""

    iou: np.ndarray
    """(P, K) float32: predicted IoU of each candidate."""
    object_logit: np.ndarray
    """(P,) float32: presence; positive means visible."""
    prompted: bool = False
    """A person spoke on this frame."""
    cut: bool = False
    """The frame is the first of another scene."""
    boxes: Callable[[], np.ndarray] | None = None
    """-> (P, K, 4) x0, y0, x1, y1 of the candidates at the network's mask size, zeros where empty; costs time."""


class Choice(NamedTuple):
    """One surviving hypothesis."""

    parent: int
    """Which of the object's P hypotheses it continues."""
    candidate: int
    """Which of that row's K masks it takes."""
    motion: float | None = None
    """IoU of its box with the one that the motion predicted, where the search has such."""


class Search(Protocol):
    """One object's search; it holds whatever it must remember between frames."""

    lag: int | None
    """Later frames that may still change an answer: 0 none, L that many, None all of them."""

    def advance(self, view: View) -> list[Choice]:
        """-> distinct survivors, the best first; at least one. They are the hypotheses of the next frame's view."""
        ...

    def report(self) -> dict[str, float]:
        """What it did so far: `hypotheses` alive, `switches` of the best branch, and what else it counts."""
        ...

    def check(self, hypotheses: int) -> None:
        """Raises `ValueError` where its fields, read back from somewhere, are not those of a search with so many hypotheses."""
        ...

    def fork(self) -> Search:
        """An independent copy, for snapshots and undo."""
        ...
