"""The search seam: which reading of a frame to believe."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np


class Choice(NamedTuple):
    """One surviving hypothesis."""

    parent: int
    """Which of the object's P hypotheses it continues."""
    candidate: int
    """Which of that row's K masks it takes."""


class Search(Protocol):
    """One object's search; it holds whatever it must remember between frames."""

    def advance(self, iou: np.ndarray, object_logit: np.ndarray, prompted: bool) -> list[Choice]:
        """iou (P, K), object_logit (P,) of the object's rows -> survivors, the best first; at least one."""
        ...

    def fork(self) -> Search:
        """An independent copy, for snapshots and undo."""
        ...
