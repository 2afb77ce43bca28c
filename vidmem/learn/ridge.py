"""Class-balanced ridge regression on the network's own features, in closed form.

Every cell of a frame is an example: 1 on the object, 0 beside it, each class of equal weight in all, so that small objects
count (the hinge of FRTM, Robinson et al. 2020, arXiv 2003.00908, with kappa = 1/2). What all frames so far say fits into a
D x D matrix and a vector, whatever their number; nothing is forgotten but what is meant to decay. Where a network asks "what
in the memory looks like this cell", the learner asks "which of this video's own things is this": two judges that fail on
different frames (LTMU, Dai et al. 2020, arXiv 2004.00305, has a verifier for the same reason).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np

from vidmem.bounds import bounded, check
from vidmem.learn.base import Cells

BLIND = 0.2  # level under which an object does not stand out even where it was learnt, so that the learner has no say
LEAST = 0.1  # that a level or a top may be: they are divided by
QUIET = 0.6  # of `top`: while the map stays below, a frame called absent is learnt as background
SELDOM = 8  # frames from one that is learnt as background to the next


@dataclass(frozen=True)
class Ridge:
    """Which of this video's things is the object: ridge regression on the network's features, beside the network.

    The numbers; calling it makes an object's learner. Defaults were chosen on stories composed from training videos."""

    prompt_weight: float = bounded(0.8, 0, 1)  # of what a person said, against what was tracked since
    rate: float = bounded(0.02, 0, 1)  # share of each tracked frame that is learnt
    absent_rate: float = bounded(0.02, 0, 1)  # likewise of frames on which the object is believed absent
    shrink: float = bounded(0.01, 1e-6, 10)  # ridge, in units of the mean eigenvalue
    every: int = bounded(2, 1)  # tracked frames from one that is learnt to the next
    iou: float = bounded(0.65, 0, 1)  # predicted IoU from which a frame teaches
    network: float = bounded(0.145, 0, 10)  # weight of the network's object logit in presence
    learnt: float = bounded(3.5, 0, 100)  # weight of how well the mask fits
    bias: float = bounded(-1.3, -100, 100)
    doubt: float = bounded(1.4, 0, 100)  # object logit that it must exceed to be shown again

    def __post_init__(self):
        check(self)

    def __call__(self) -> Learnt:
        return Learnt(self)


class Sums(NamedTuple):
    """Second moments of cells, and their sum where the label is 1; classes weigh a half each."""

    square: np.ndarray  # (D, D)
    label: np.ndarray  # (D,)

    def mixed(self, other: Sums, share: float) -> Sums:
        return Sums(*((1 - share) * a + share * b for a, b in zip(self, other)))


def sums(cells: Cells, on: np.ndarray) -> Sums:
    """on: (N,) bool. The background's part is the frame's gram, shared by all objects, less the object's."""
    own = cells.vectors[on]
    square, count = own.T @ own, max(1, len(own))
    one, zero = 0.5 / count, 0.5 / max(1, len(on) - len(own))
    return Sums(one * square + zero * (cells.gram - square), one * own.sum(0))


@dataclass(frozen=True, eq=False)
class Learnt:
    """Implements `vidmem.learn.Learner`."""

    parts: ClassVar[tuple[type, ...]] = (Sums,)

    rule: Ridge
    said: Sums | None = None
    """Mean over the frames that a person prompted."""
    prompts: int = 0
    followed: Sums | None = None
    """Decaying mean over tracked frames."""
    beside: np.ndarray | None = None
    """(D, D) likewise over frames without the object."""
    weights: np.ndarray | None = None
    """(D,) the solution."""
    level: float = 1.0
    """How well masks of this object fit: mean over frames that taught it."""
    top: float = 1.0
    """The map's maximum on them."""
    since: int = 0
    """Frames since one was learnt."""

    def check(self, dim: int) -> None:
        squares = [self.said and self.said.square, self.followed and self.followed.square, self.beside]
        vectors = [self.said and self.said.label, self.followed and self.followed.label, self.weights]
        for arrays, shape in ((squares, (dim, dim)), (vectors, (dim,))):
            for array in arrays:
                if array is not None and (
                    array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all()
                ):
                    raise ValueError(f"a learner with {array.dtype} {array.shape} in the place of float32 {shape}")
        if (
            (self.said is None) != (self.weights is None)
            or min(self.level, self.top) < LEAST
            or min(self.since, self.prompts) < 0
        ):
            raise ValueError("a learner that learnt nothing, or too little")

    @property
    def doubt(self) -> float:
        return self.rule.doubt if self.judges else 0.0

    @property
    def judges(self) -> bool:
        """Something was learnt, and the object stands out where it was."""
        return self.weights is not None and self.level >= BLIND

    @property
    def nbytes(self) -> int:
        arrays = [*(self.said or ()), *(self.followed or ()), self.beside, self.weights]
        return sum(array.nbytes for array in arrays if array is not None)

    def map(self, cells: Cells) -> np.ndarray:
        """(N,) float32, about 1 on the object and 0 beside it; zeros before anything was learnt."""
        return np.zeros(len(cells.vectors), np.float32) if self.weights is None else cells.vectors @ self.weights

    def prompted(self, cells: Cells, mask_logits: np.ndarray) -> Learnt:
        on = cells.cover(mask_logits)
        if not on.any():
            return self
        new = sums(cells, on)
        said = new if self.said is None else self.said.mixed(new, 1 / (self.prompts + 1))
        learnt = replace(self, prompts=self.prompts + 1, since=0)._solved(said)
        level, top = max(LEAST, learnt.contrast(cells, on)), max(LEAST, float(learnt.map(cells).max()))
        return replace(learnt, level=level, top=top)

    def contrast(self, cells: Cells, on: np.ndarray) -> float:
        """Mean of the map on these cells less its mean on a ring around them; 0 where there is nothing to judge."""
        import cv2

        if not on.any():
            return 0.0
        grid = on.reshape(cells.shape).astype(np.uint8)
        ring = (cv2.dilate(grid, np.ones((5, 5), np.uint8)) - grid).reshape(-1) > 0
        values = self.map(cells)
        return float(values[on].mean() - (values[ring].mean() if ring.any() else 0.0))

    def presence(self, cells: Cells, mask_logits: np.ndarray, object_logit: float) -> tuple[float, float]:
        rule, fits = self.rule, self.contrast(cells, cells.cover(mask_logits)) / self.level
        if not self.judges:
            return fits, object_logit
        return fits, rule.network * object_logit + rule.learnt * fits + rule.bias

    def after(self, cells: Cells, mask_logits: np.ndarray, object_logit: float, iou: float, tracked: bool) -> Learnt:
        said = self.said
        if said is None:
            return self
        if object_logit > 0 and tracked and iou > self.rule.iou:
            if self.since + 1 < self.rule.every:
                return replace(self, since=self.since + 1)
            on = cells.cover(mask_logits)
            return self._followed(said, cells, on) if on.any() else self
        if object_logit <= 0 and float(self.map(cells).max()) < QUIET * self.top:
            if self.since + 1 < SELDOM:
                return replace(self, since=self.since + 1)
            square = cells.gram * (0.5 / len(cells.vectors))
            rate = self.rule.absent_rate
            beside = rate * square if self.beside is None else (1 - rate) * self.beside + rate * square
            return replace(self, beside=beside, since=0)._solved(said)
        return self

    def _followed(self, said: Sums, cells: Cells, on: np.ndarray) -> Learnt:
        new, values = sums(cells, on), self.map(cells)
        level = 0.97 * self.level + 0.03 * max(LEAST, self.contrast(cells, on))
        top = 0.97 * self.top + 0.03 * max(LEAST, float(values.max()))
        followed = new if self.followed is None else self.followed.mixed(new, self.rule.rate)
        return replace(self, followed=followed, level=level, top=top, since=0)._solved(said)

    def _solved(self, said: Sums) -> Learnt:
        square, label = said if self.followed is None else said.mixed(self.followed, 1 - self.rule.prompt_weight)
        if self.beside is not None:
            square = square + self.beside
        ridge = self.rule.shrink * float(np.trace(square)) / len(square)
        solution = np.linalg.solve(square.astype(np.float64) + ridge * np.eye(len(square)), label)
        return replace(self, said=said, weights=solution.astype(np.float32))
