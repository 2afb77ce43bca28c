"""Where to look: the part of a frame around a small object that the network is shown at full resolution.

Moved seldom and resized in steps, so that what was remembered stays comparable. What a person says is carried into it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from vidmem.bounds import bounded, check
from vidmem.render import mask_boxes
from vidmem.types import Prompt

VIEW = 1024  # pixels of the longer side of what the network is shown; frames that are smaller stay as they are
STEP = 2**0.5  # between one size of window and the next


@dataclass(frozen=True)
class ZoomRule:
    """How a window follows its object."""

    times: float = bounded(3.0, 1.5, 16.0)
    """Window against object, by the longer share."""
    margin: float = bounded(0.15, 0.0, 0.4)
    """Of the window: nearer to its border than this, the object takes the window along."""
    least: int = bounded(224, 32)
    """Pixels of a window's longer side. A network gains nothing from fewer, which are only blown up."""
    patience: int = bounded(1, 1)
    """Frames without the object after which the window grows by a step; after the whole frame it is as small as at first again."""

    def __post_init__(self):
        check(self)


class Window(NamedTuple):
    """A rectangle of source pixels."""

    x: int
    y: int
    width: int
    height: int

    def crop(self, image: np.ndarray) -> np.ndarray:
        """A view of (H, W, ...)."""
        return image[self.y : self.y + self.height, self.x : self.x + self.width]

    def holds(self, box) -> bool:
        x0, y0, x1, y1 = box
        return bool(x0 >= self.x and y0 >= self.y and x1 <= self.x + self.width and y1 <= self.y + self.height)


def whole(size: tuple[int, int]) -> Window:
    """size: (H, W) of a frame."""
    return Window(0, 0, size[1], size[0])


def around(box, size: tuple[int, int], rule: ZoomRule, shrink: int | None = None) -> Window:
    """The window for a box x0, y0, x1, y1 in a frame of size (H, W), of the frame's shape and inside it. shrink: how many steps smaller than the frame; None: as `steps` says."""
    height, width = size
    k = steps(box, size, rule) if shrink is None else shrink
    if k <= 0:
        return whole(size)
    w, h = max(1, round(width / STEP**k)), max(1, round(height / STEP**k))
    x, y = (box[0] + box[2] - w) / 2, (box[1] + box[3] - h) / 2
    return Window(int(min(max(round(x), 0), width - w)), int(min(max(round(y), 0), height - h)), w, h)


def steps(box, size: tuple[int, int], rule: ZoomRule) -> int:
    """How many steps smaller than the frame the window for a box is; 0: the whole frame."""
    height, width = size
    share = max((box[2] - box[0]) / width, (box[3] - box[1]) / height, 1e-6) * rule.times
    share = max(share, rule.least / max(height, width))
    return max(0, int(np.floor(np.log(1 / share) / np.log(STEP) + 1e-6)))


@dataclass(frozen=True, eq=False)
class Gaze:
    """Where one object is looked for."""

    window: Window
    shrink: int
    """Steps by which the window is smaller than the frame when the object is seen."""
    box: tuple[float, ...] | None = None
    """x0, y0, x1, y1 where it was seen last."""
    velocity: tuple[float, float] = (0.0, 0.0)
    """Source pixels a frame."""
    missed: int = 0
    """Frames since it was seen."""

    @classmethod
    def on(cls, box, size: tuple[int, int], rule: ZoomRule) -> Gaze:
        k = steps(box, size, rule)
        return cls(around(box, size, rule, k), k, tuple(map(float, box)))

    def next(self, size: tuple[int, int], rule: ZoomRule) -> Gaze:
        """Where to look on the next frame."""
        if self.box is None:
            return replace(self, window=whole(size), shrink=0)
        if self.missed:
            if self.missed % rule.patience:
                return self
            wider = self.missed // rule.patience % (self.shrink + 1)  # at last the whole frame, then from the beginning
            return replace(self, window=around(self.box, size, rule, self.shrink - wider))
        ahead = np.array(self.box) + np.tile(self.velocity, 2)
        ideal = steps(ahead, size, rule)
        # A size is kept until the object has clearly outgrown it, or shrunk: at a limit it would go to and fro.
        shrink = ideal if abs(ideal - self.shrink) > 1 or ideal < self.shrink else self.shrink
        if shrink == self.shrink and not self._near(ahead, size, rule):
            return self
        return replace(self, window=around(ahead, size, rule, shrink), shrink=shrink)

    def after(self, box) -> Gaze:
        """box: where it was seen on this frame; None: it was not."""
        if box is None:
            return replace(self, missed=self.missed + 1, velocity=(0.0, 0.0))
        velocity = (0.0, 0.0)
        if self.box is not None and not self.missed:
            way = (np.array(box[:2]) + box[2:] - self.box[:2] - self.box[2:]) / 2
            velocity = tuple((0.5 * np.array(self.velocity) + 0.5 * way).tolist())
        return replace(self, box=tuple(map(float, box)), velocity=velocity, missed=0)

    def _near(self, box, size: tuple[int, int], rule: ZoomRule) -> bool:
        """Too near a border of the window that is not the frame's."""
        (height, width), window = size, self.window
        gaps = (
            (box[0] - window.x, window.width, window.x > 0),
            (window.x + window.width - box[2], window.width, window.x + window.width < width),
            (box[1] - window.y, window.height, window.y > 0),
            (window.y + window.height - box[3], window.height, window.y + window.height < height),
        )
        return any(inner and gap < rule.margin * side for gap, side, inner in gaps)


def view_of(size: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of a frame -> of what the network is shown."""
    scale = min(1.0, VIEW / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def extent_of(prompt: Prompt) -> tuple[float, ...] | None:
    """x0, y0, x1, y1 of a box or mask; None for clicks alone."""
    if prompt.box is not None:
        return holding(tuple(prompt.box.tolist()), prompt)
    if prompt.mask is not None:
        return holding(tuple(mask_boxes(prompt.mask[None])[0].tolist()), prompt)
    return None


def holding(box: tuple[float, ...] | None, prompt: Prompt) -> tuple[float, ...]:
    """The box, and the clicks besides; None: the clicks alone."""
    if prompt.points is None:
        assert box is not None  # a prompt says one of them
        return box
    low, high = prompt.points.min(0).tolist(), prompt.points.max(0).tolist()
    if box is None:
        return (*low, *high)
    return min(box[0], low[0]), min(box[1], low[1]), max(box[2], high[0]), max(box[3], high[1])


def in_view(prompt: Prompt, window: Window, size: tuple[int, int]) -> Prompt:
    """A prompt in source pixels -> in pixels of the view of a window."""
    import cv2

    height, width = view_of(size)
    scale = np.array([width / window.width, height / window.height], np.float32)
    points = None if prompt.points is None else np.clip((prompt.points - window[:2]) * scale, 0, [width, height])
    box = None if prompt.box is None else (prompt.box - np.tile(window[:2], 2)) * np.tile(scale, 2)
    mask = None
    if prompt.mask is not None:
        part = window.crop(prompt.mask).astype(np.float32)
        mask = cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR) >= 0.5
        mask = mask if mask.any() else cv2.resize(part, (width, height), interpolation=cv2.INTER_NEAREST) > 0
    return Prompt(points, prompt.labels, box, mask)
