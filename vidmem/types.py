"""What crosses a module border: frozen data, each shape and unit written once, under its field.

Public coordinates are source pixels, (x, y), origin at the top left corner. Frame indices count decoded frames from 0.
`numpy` is the only package that this module needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple, Protocol, Self

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


class Status(StrEnum):
    """What the session believes about an object on a frame."""

    TRACKED = "tracking"
    AMBIGUOUS = "ambiguous"
    """It is seen, and so is another object of the session in the same place: one of the two is wrong."""
    OCCLUDED = "occluded"
    LOST = "lost"


class Candidates(NamedTuple):
    """What `Network.decode` returns for R rows (a row is one object under one hypothesis)."""

    mask_logits: np.ndarray
    """(R, K, h, w) float32 on the host, at the network's mask size: the frame's one large copy. Positive is object."""
    iou: np.ndarray
    """(R, K) float32 on the host: predicted IoU of each of the K masks, 0..1."""
    object_logit: np.ndarray
    """(R,) float32 on the host: presence; positive means visible."""
    pointer: Any = None
    """(R, K, C) object pointers for networks that have them; belongs to the runtime."""


class Chosen(NamedTuple):
    """One candidate that a search believes, for `Network.memorize`."""

    row: int
    candidate: int
    prompted: bool
    """A person's prompt shaped this mask."""


@dataclass(frozen=True)
class Verdict:
    """What a search decided about one row on one frame; banks look at it before anything is memorized."""

    frame_idx: int
    """The banks' clock: the first frame's index (minus it in a reversed session), then one more for each frame that was stepped."""
    iou: float
    """Predicted IoU of the chosen mask, 0..1."""
    object_logit: float
    area: float
    """Chosen mask's share of the frame, 0..1, measured at the network's mask size; 0 where the object is not visible."""
    prompted: bool = False
    """A person's prompt shaped this mask."""
    corrected: bool = False
    """The prompt corrected a mask that had been tracked on this frame."""
    tracked: bool = True
    """The session's status says `tracking`; a lost object that is seen again for the first time is visible, not tracked."""
    cut: bool = False
    """The frame is the first of another scene."""
    distractor: float | None = None
    """How far the alternative masks lie from the chosen one, 0 (elsewhere) .. 1 (the same place): see
    `vidmem.session.distractors.agreement`. None where the bank does not ask for it."""
    motion: float | None = None
    """IoU of the chosen mask's box with the box that a search predicted from the motion; None where none did."""
    source_idx: int | None = None
    """The source's index of the frame, which has gaps where a live source dropped some."""

    @property
    def visible(self) -> bool:
        """Whether the network believes that the object is in the frame."""
        return self.object_logit > 0

    @property
    def present(self) -> bool:
        """What banks mean by "not absent": the network sees the object and the status agrees, or a person said so."""
        return self.prompted or (self.visible and self.tracked)


class Payload(Protocol):
    """A spatial memory. Banks compare, thin and merge them without looking inside; only the network reads them."""

    @property
    def nbytes(self) -> int: ...

    @property
    def tokens(self) -> int:
        """How many tokens it has now."""
        ...

    def similarity(self, other: Self, along: str = "tokens") -> float:
        """Mean over tokens of the cosine of both, whole, at the same place; along="width": the sum over a square map's rows and channels."""
        ...

    def take(self, tokens: np.ndarray) -> Self:
        """The memory of some of its tokens: tokens (L, n) int, for each of the network's L attention layers, or (n,)."""
        ...

    def mix(self, other: Self, weight: float) -> Self:
        """(1 - weight) * self + weight * other, token by token; both whole."""
        ...


class Usage(NamedTuple):
    """How the current frame attended to one recalled entry, for `MemoryBank.observe`."""

    tokens: np.ndarray
    """(L, n) float32: of each attention layer, the share of the entry's attention that each token got, mean over queries."""
    share: float
    """The entry's share of all attention, mean over queries and layers, 0..1."""


class Cue(NamedTuple):
    """What the current frame looks like, for banks that recall by content."""

    frame: np.ndarray
    """(D,) float32 of unit length: the encoded frame, pooled. See `Network.describe`."""
    cut: bool = False
    """The frame is the first of another scene."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One remembered frame of one object. Immutable: forked banks and snapshots share it."""

    verdict: Verdict
    payload: Any
    """What a `Recall` of this entry reads: the spatial memory that `memorize` returned; only that network looks inside."""
    nbytes: int
    """Bytes the payload holds."""
    pointer: Any = None
    """What a `Pointer` to this entry reads, for networks that have pointers; a kilobyte."""
    descriptor: np.ndarray | None = None
    """`Cue.frame` of the frame it was made on, where the bank asks for it; drop it, and it counts no more in `held`."""

    @property
    def held(self) -> int:
        """Bytes that it keeps alive: the payload's and the descriptor's."""
        return self.nbytes + (0 if self.descriptor is None else self.descriptor.nbytes)

    @property
    def frame_idx(self) -> int:
        return self.verdict.frame_idx

    @property
    def prompted(self) -> bool:
        return self.verdict.prompted

    @cached_property
    def pointer_only(self) -> Entry:
        """The same without its spatial memory, for a bank that will only point to it; one object, so that forks share it."""
        return Entry(self.verdict, None, 0, self.pointer)

    def take(self, tokens: np.ndarray) -> Entry:
        """The same with some of its tokens; see `Payload.take`."""
        payload = self.payload.take(tokens)
        return Entry(self.verdict, payload, payload.nbytes, self.pointer, self.descriptor)

    def mixed(self, older: Entry, weight: float) -> Entry:
        """This entry with `older` mixed in: payload, pointer and descriptor by weight; it keeps its own verdict."""
        payload = self.payload.mix(older.payload, weight)
        pointer = self.pointer if self.pointer is None else (1 - weight) * self.pointer + weight * older.pointer
        descriptor = self.descriptor
        if descriptor is not None and older.descriptor is not None:
            descriptor = (1 - weight) * descriptor + weight * older.descriptor
            descriptor = descriptor / max(float(np.linalg.norm(descriptor)), 1e-6)
        size = max(payload.nbytes, self.nbytes)  # what the network adds to a memory at its first read counts from now
        return Entry(self.verdict, payload, size, pointer, descriptor)


class Recall(NamedTuple):
    """One entry of a `ReadPlan`."""

    entry: Entry
    tcode: float
    """Temporal code: 0 = newest slot, 1, 2 ... older, -1 = prompted frame (SAM 2 gives those its last code)."""
    key_scale: float = 1.0
    """Factor on its keys; SAM2Long weights confident frames up a little and others down."""


class Pointer(NamedTuple):
    """One object pointer of a `ReadPlan`."""

    entry: Entry
    distance: float
    """Frames between it and the frame being read, signed: positive is the past."""
    key_scale: float = 1.0
    """As `Recall.key_scale`."""


@dataclass(frozen=True)
class ReadPlan:
    """What a bank wants the network to read for one frame, in order."""

    recalls: tuple[Recall, ...] = ()
    pointers: tuple[Pointer, ...] = ()
    pointer_norm: int = 15
    """Divisor of the pointers' distances (SAM 2's `max_obj_ptrs_in_encoder - 1`)."""
    watch: bool = False
    """The bank wants to know how the recalled entries were attended to; see `MemoryBank.observe`."""


class Remembered(NamedTuple):
    """One entry of an object's memory, for people who want to see it; see `Session.memories`."""

    frame_idx: int | None
    """`Verdict.source_idx` of the frame that it was made on."""
    verdict: Verdict
    prompted: bool
    """A person's prompt shaped its mask."""
    whole: bool
    """It has a spatial memory, not a pointer alone."""
    read: bool
    """The next frame would read it."""


def resize_logits(mask_logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w) float32 -> (H, W) float32, bilinear with half-pixel centres."""
    import cv2

    return cv2.resize(np.asarray(mask_logits, np.float32), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


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
            logits = np.stack([resize_logits(self.mask_logits[row], self.size)[disputed] for row in rows])
            logits[~self.masks[rows][:, disputed]] = -np.inf
            labels[disputed] = self.obj_ids[rows][logits.argmax(0)]
        return labels

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
