"""The frame that a session is at, and how it becomes that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from vidmem.learn import Cells
from vidmem.memory import MemoryBank
from vidmem.networks.base import BACK, Network
from vidmem.session.cuts import CutRule
from vidmem.types import Cue, Frame


@dataclass(frozen=True, eq=False)
class Now:
    """The frame that a session is at."""

    frame_idx: int
    """The source's index."""
    clock: int
    """The banks' time: it counts frames that were stepped, so that dropped frames leave no gaps; falling indices count as rising."""
    size: tuple[int, int]
    pts_seconds: float | None
    features: Any
    """What the network made of the frame; None where the frame is only ever stepped on from."""
    describe: Callable[[Any], np.ndarray]
    """`Network.describe`."""
    see: Callable[[Any], np.ndarray]
    """`Network.cells`."""
    cut: bool = False
    """The first frame of another scene."""
    histogram: np.ndarray | None = None
    past: tuple[Any, ...] = ()
    """Features of up to `BACK` frames before it, the newest first, where the network looks for words."""

    @property
    def back(self) -> tuple[Any, ...]:
        """`past` of the next frame."""
        return tuple(features for features in (self.features, *self.past) if features is not None)[:BACK]

    @cached_property
    def cue(self) -> Cue:
        return Cue(self.describe(self.features), self.cut)

    @cached_property
    def cells(self) -> Cells:
        return Cells(self.see(self.features))

    def cue_for(self, bank: MemoryBank) -> Cue | None:
        """Described only for banks that ask, and once."""
        return self.cue if "cue" in bank.needs else None


def look(network: Network, frame: Frame, before: Now | None, cuts: CutRule | None, reverse: bool) -> Now:
    """Encode a frame and say whether it begins another scene. before: where the session was; cuts, reverse: as `Session` has them."""
    cut, histogram = False, None
    features = network.encode(frame.image)
    if cuts:
        histogram = cuts.histogram(frame.image)
        cut = cuts.is_cut(before.histogram if before else None, histogram)
    clock = before.clock + 1 if before else -frame.index if reverse else frame.index
    past = before.back if before and network.reads_words else ()
    return Now(
        int(frame.index), int(clock), frame.size, frame.pts_seconds, features, network.describe, network.cells, cut, histogram,
        past,
    )  # fmt: skip
