"""The network seam: four functions, whatever computes them.

Arrays between them belong to the runtime (torch tensors, numpy arrays, device buffers); the core hands them on unread.
What the core reads (scores, and once a frame the mask logits) comes to the host as numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from vidmem.networks.trust import Trust
from vidmem.types import Candidates, Chosen, Payload, Prompt, ReadPlan, Recall, Usage

HIDDEN = -30000.0  # added to the score of a token that is not there, in graphs of fixed shapes; float16 holds it
BACK = 2  # earlier frames whose features a network may look at while it looks for words
GRID = 4  # cells a side of the pooled frame that `describe` returns


def pooled(grid: np.ndarray) -> np.ndarray:
    """(h, w, C) float32 -> (GRID * GRID * C,) of unit length: the mean of each cell."""
    rows, columns = (np.arange(GRID) * side // GRID for side in grid.shape[:2])
    cells = np.add.reduceat(np.add.reduceat(grid, rows, 0), columns, 1)
    flat = cells.reshape(-1).astype(np.float32)
    return flat / max(float(np.linalg.norm(flat)), 1e-6)


def within(recalls: Sequence[Recall], room: int) -> tuple[Recall, ...]:
    """What fits into a graph that holds `room` memory tokens, in order: the last recall, the prompted ones, then the others from the
    newest back. A stream must not end because someone corrected it often."""
    last, kept = len(recalls) - 1, set()
    for i in sorted(range(last + 1), key=lambda i: (i != last, not recalls[i].entry.prompted, -i)):
        if recalls[i].entry.payload.tokens <= room:
            room -= recalls[i].entry.payload.tokens
            kept.add(i)
    return tuple(recalls[i] for i in sorted(kept))


class Ask(NamedTuple):
    """A prompt on its way to the network."""

    prompt: Prompt
    size: tuple[int, int]
    """(H, W) of the source frame: the prompt's coordinates are pixels of it."""
    mask_logits: np.ndarray | None = None
    """(h, w) the object's mask so far on this frame, when the prompt corrects it."""
    fresh: bool = True
    """The frame had not been tracked before its first prompt, so the prompt speaks for itself: SAM 2 then reads no memory."""


class Sought(NamedTuple):
    """An object that is known by words."""

    words: Any
    """What `Network.understand` made of them."""
    past: tuple[Any, ...] = ()
    """Features of up to `BACK` frames before this one on which the same words were looked for, the newest first."""
    placed: bool = False
    """A person says on this frame where it is."""


class Memory(NamedTuple):
    """What `memorize` makes of one row."""

    payload: Payload
    """Read back by the same network's `attend`; nobody else looks inside."""
    nbytes: int
    pointer: Any = None
    """The object pointer, for networks that have them."""


@dataclass(frozen=True)
class Storage:
    """How what a network makes is written, and read back bit for bit: for a session's bytes (see `vidmem.session.state`)."""

    kinds: Mapping[type, Mapping[str, Any]]
    """Its features' class and its payloads': dataclasses or NamedTuples, fields that hold its arrays of the type `Any` -> the fields that
    are not written, with their values."""
    save: Callable[[Any], np.ndarray]
    """Of one array."""
    load: Callable[[np.ndarray], Any]
    adopt: Callable[[Any, Any], None]
    """(a payload that was read back, one that the network just made): takes it for its own. Raises `ValueError` where they are not alike."""


class Network(Protocol):
    """A video segmentation network without any state of a video.

    Rows (one object under one hypothesis each) are the batch of `attend`, `decode` and `memorize`; R may be 0.
    """

    name: str
    runtime: str
    overlaps: bool
    """`encode` may run in one thread while the other functions run in another, and that gains time."""
    competes: bool
    """Objects of one session compete for pixels (see `vidmem.session.competition`); SAM 2's, as published, do not."""

    trust: Trust | None
    """What its predicted IoU is worth; None: what it says is passed on, as published."""

    reads_words: bool
    """It finds objects by their words itself, and so has `understand` and `refer`; other networks have neither."""

    identity: Callable[[], str]
    """-> a hash of the weights, and the precision; empty where nobody knows. Whoever loads a network sets it."""

    @property
    def storage(self) -> Storage: ...

    def encode(self, image: np.ndarray) -> Any:
        """(H, W, 3) uint8 RGB -> features of the frame, once for all objects."""
        ...

    def attend(self, features: Any, plans: Sequence[ReadPlan]) -> Any:
        """What each row's memories say about this frame. A plan may be empty (an object's first frame)."""
        ...

    def understand(self, text: str) -> Any:
        """A text, once for each object. Raises `PromptError` for one that it cannot take."""
        ...

    def refer(self, features: Any, sought: Sequence[Sought | None], conditioned: Any) -> Any:
        """What the words of each row say about this frame, put to what `attend` gave: rows without words (None) stay as they are, those
        without a memory are looked for."""
        ...

    def usage(self, features: Any, conditioned: Any, plans: Sequence[ReadPlan]) -> list[list[Usage]]:
        """How the frame attended to each recall of each plan, after `attend`; an empty list for plans without `watch`."""
        ...

    def describe(self, features: Any) -> np.ndarray:
        """(D,) float32 of unit length: what the frame looks like, pooled to `GRID` x `GRID` cells. Asked at most once a
        frame, and only where a bank recalls by content."""
        ...

    def cells(self, features: Any) -> np.ndarray:
        """(h, w, D) float32: what each cell of the frame looks like, for learners; the last number is 1. Asked at most once a
        frame, and only where there is a learner."""
        ...

    def decode(self, features: Any, conditioned: Any, asks: Sequence[Ask | None]) -> Candidates:
        """Candidate masks and scores of each row; a row whose `Ask` is None is only tracked."""
        ...

    def memorize(self, features: Any, candidates: Candidates, chosen: Sequence[Chosen]) -> list[Memory]:
        """candidates as `decode` gave them, and which of them to remember -> one memory for each chosen one."""
        ...
