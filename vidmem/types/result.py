"""What comes out: masks and what the session believes of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import numpy as np


class Status(StrEnum):
    """What the session believes about an object on a frame."""

    TRACKED = "tracking"
    AMBIGUOUS = "ambiguous"
    """It is seen, and so is another object of the session in the same place: one of the two is wrong."""
    OCCLUDED = "occluded"
    LOST = "lost"


class Event(NamedTuple):
    """Something that a watcher did or saw on a frame (see `vidmem.detect.watch`)."""

    kind: str
    """`found`: an object began; `refound`: a lost one is followed again; `candidate`: it fits, but nobody but a person may say so;
    `given_up`: nothing fits, or nothing more is allowed."""
    concept: int
    obj_id: int | None
    """The object; None where none was touched."""
    score: float
    box: tuple[float, ...] | None
    """x0, y0, x1, y1 in source pixels."""
    why: str


def resize_logits(mask_logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w) float32 -> (H, W) float32, bilinear with half-pixel centres."""
    import cv2

    return cv2.resize(np.asarray(mask_logits, np.float32), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


@dataclass(frozen=True, eq=False, repr=False)
class FrameResult:
    """What one `Session.step` says: N objects in ascending order of `obj_id`; N may be 0. Arrays cannot be written to, for the session
    shows the same result again; copy what you want to change."""

    frame_idx: int
    pts_seconds: float | None
    size: tuple[int, int]
    """(H, W) of the source frame in pixels."""
    obj_ids: np.ndarray
    """(N,) int64."""
    masks: np.ndarray
    """(N, H, W) bool at source size. Objects are independent: masks may overlap; see `label_map`."""
    boxes: np.ndarray
    """(N, 4) float32, x0, y0, x1, y1 in source pixels around each mask, x1 and y1 exclusive; zeros if the mask is empty."""
    scores: np.ndarray
    """(N,) float32: predicted IoU of each mask, 0..1."""
    object_logits: np.ndarray
    """(N,) float32: presence; positive means visible."""
    status: tuple[Status, ...]
    """(N,)"""
    mask_logits: np.ndarray
    """(N, h, w) float32 at the network's mask size."""
    windows: np.ndarray | None = None
    """(N, 4) int64, x, y, width, height: the source pixels that each of `mask_logits` covers, where objects were looked at
    closely (see `vidmem.session.zoomed`); None: the whole frame."""
    timings: dict[str, float] = field(default_factory=dict)
    """Milliseconds per stage."""
    rivals: tuple[int | None, ...] = ()
    """(N,) `obj_id` of the other object where the status is ambiguous, else None."""
    search: tuple[dict[str, float], ...] = ()
    """(N,) what each object's search did: `hypotheses` alive, `switches` of the best branch so far, and its own."""
    cut: bool = False
    """Event: the frame is the first of another scene (see `vidmem.session.cuts`)."""
    events: tuple[Event, ...] = ()
    """What a watcher did on this frame."""
    seen: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """(N,) float32: how well each mask fits what the object's learner knows, 1 as on the frames that taught it, 0 as the background;
    NaN without a learner and on prompted frames (see `vidmem.learn`)."""

    def __post_init__(self):
        every = (self.obj_ids, self.masks, self.boxes, self.scores, self.object_logits, self.mask_logits, self.seen)
        for array in every:
            array.setflags(write=False)

    def label_map(self) -> np.ndarray:
        """(H, W) uint16: 0 background, else `obj_id`; where masks overlap, the object with the greater logit wins."""
        labels, claimed, disputed = np.zeros(self.size, np.uint16), np.zeros(self.size, bool), np.zeros(self.size, bool)
        for obj_id, mask in zip(self.obj_ids, self.masks):
            disputed |= claimed & mask
            claimed |= mask
            np.copyto(labels, obj_id, where=mask, casting="unsafe")
        if disputed.any():  # seldom, and of few pixels: only those who claim some are looked at again
            rows = [row for row, mask in enumerate(self.masks) if (mask & disputed).any()]
            logits = np.stack([self._over_frame(row)[disputed] for row in rows])
            logits[~self.masks[rows][:, disputed]] = -np.inf
            labels[disputed] = self.obj_ids[rows][logits.argmax(0)]
        return labels

    def _over_frame(self, i: int) -> np.ndarray:
        """(H, W) float32: one object's logits at source size."""
        if self.windows is None:
            return resize_logits(self.mask_logits[i], self.size)
        x, y, width, height = self.windows[i].tolist()
        logits = np.full(self.size, -np.inf, np.float32)
        logits[y : y + height, x : x + width] = resize_logits(self.mask_logits[i], (height, width))
        return logits

    def __repr__(self) -> str:
        parts = [f"{o} {s.value} {100 * p:.0f}%" for o, s, p in zip(self.obj_ids, self.status, self.scores)]
        return f"FrameResult({self.frame_idx}, {self.size[1]}x{self.size[0]}: {', '.join(parts) or 'no objects'})"

    def plot(self, frame=None, **look):
        """-> `PIL.Image` of the objects, which notebooks show: over `frame` (`Frame` or (H, W, 3) uint8 RGB), or on black. look: of
        `vidmem.Look`, such as opacity=0.3, labels=False, effect="blur". Raises `FrameError` for a frame of another size."""
        from vidmem.render.show import plot

        return plot(
            self, np.zeros((*self.size, 3), np.uint8) if frame is None else getattr(frame, "image", frame), look
        )

    def _repr_html_(self) -> str:
        from vidmem.render.show import html

        return html(self)

    def to_supervision(self):
        """`supervision.Detections` with `tracker_id` = `obj_id`; objects without a mask are left out.

        Raises `RuntimeMissing` when supervision is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            from vidmem.errors import RuntimeMissing

            raise RuntimeMissing("to_supervision() needs supervision: pip install supervision") from error
        seen = self.masks.any(axis=(1, 2))
        return supervision.Detections(
            xyxy=self.boxes[seen], mask=self.masks[seen], confidence=self.scores[seen], tracker_id=self.obj_ids[seen]
        )
