"""What is remembered of an object, and what a bank wants to have read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, Self

import numpy as np


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
