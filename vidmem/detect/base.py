"""The detector seam: a text, or whatever else a detector understands, becomes boxes on a frame.

A detector proposes and remembers nothing; `vidmem.detect.watch.Watcher` decides when to ask it and what to believe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from vidmem.errors import PromptError
from vidmem.prompts import check_text
from vidmem.types import Frame, Status

MOST_FINDS = 100  # of one concept in one look


@dataclass(frozen=True)
class Concept:
    """Something that is to be found and then followed."""

    id: int
    """The caller's. With `limit` 1 it is also the object's `obj_id`, where that is free."""
    text: str
    limit: int | None = 1
    """How many objects it may become; None: every one of the kind."""


@dataclass(frozen=True, eq=False)
class Find:
    """A place on a frame that may be what a concept means."""

    concept: int
    score: float
    """0..1, comparable between the looks of one detector, and between detectors only by their thresholds."""
    box: np.ndarray
    """(4,) float32 x0, y0, x1, y1 in source pixels."""
    mask: np.ndarray | None = None
    """(H, W) bool at source size, from detectors that outline."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Why: a share in 0..1 for the word, the colour, the place ... For display."""
    look: np.ndarray | None = None
    """(D,) float32 of unit length: what it looks like, for knowing it again. None: the watcher takes its colours."""


class Prepared(NamedTuple):
    """What a detector made of a text."""

    payload: Any
    """The detector's own."""
    limit: int | None = 1
    """How many objects the text speaks of: "the dog" 1, "two dogs" 2, "dogs" None (all)."""


class Seen(NamedTuple):
    """An object that is followed, on the current frame."""

    obj_id: int
    box: np.ndarray  # (4,) float32 in source pixels; zeros where it is not visible
    mask: np.ndarray  # (H, W) bool
    status: Status


class View(NamedTuple):
    """What a detector may use beside the frame."""

    tracks: tuple[Seen, ...] = ()
    past: tuple[tuple[int, np.ndarray], ...] = ()
    """Frames before this one, the oldest first: index, and the picture shrunk to (h, w, 3) uint8."""


class Detector(Protocol):
    """Finds concepts on single frames."""

    name: str

    def prepare(self, text: str) -> Prepared:
        """Understand a text, once. Raises `PromptError` that names what was not understood, and what to say instead."""
        ...

    def detect(self, frame: Frame, wanted: Sequence[tuple[Concept, Prepared]], view: View) -> list[Find]:
        """Look once, for all concepts together -> finds, each concept's best first, at most `MOST_FINDS` of one, of which no two
        overlap by an IoU over 0.7."""
        ...


class FakeDetector:
    """A detector without weights, for tests: ours and yours. script: frame index -> the finds of that look, of concepts that are asked
    for. `looks` records the frames it was asked about. words: those it knows; None: all."""

    name = "fake"

    def __init__(self, script: Mapping[int, Sequence[Find]] | None = None, words: Sequence[str] | None = None):
        self.script, self.words = dict(script or {}), words
        self.looks: list[int] = []

    def prepare(self, text: str) -> Prepared:
        words = check_text(text).split()
        unknown = [word for word in words if self.words is not None and word not in self.words]
        if unknown and self.words is not None:
            raise PromptError(f"I do not know {unknown[0]!r}; I know {', '.join(self.words)}")
        return Prepared(text, None if words[0] == "every" else 1)

    def detect(self, frame: Frame, wanted: Sequence[tuple[Concept, Prepared]], view: View) -> list[Find]:
        self.looks.append(frame.index)
        asked = {concept.id for concept, _ in wanted}
        return [find for find in self.script.get(frame.index, ()) if find.concept in asked]


def read_concepts(detector: Detector, texts: Sequence[str], first_id: int = 1) -> list[Concept]:
    """Texts in their order -> concepts numbered from `first_id`, as many objects each as its words speak of. Raises as `prepare`."""
    return [Concept(first_id + i, text, detector.prepare(text).limit) for i, text in enumerate(texts)]


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """IoU of two boxes, 0..1."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = float(np.prod((high - low).clip(0)))
    whole = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - shared
    return shared / whole if whole > 0 else 0.0


def distinct(finds: Sequence[Find], most_overlap: float = 0.7) -> list[Find]:
    """The best first, without those that overlap a better one by more than that."""
    kept: list[Find] = []
    for find in sorted(finds, key=lambda find: -find.score):
        if all(overlap(find.box, other.box) <= most_overlap for other in kept):
            kept.append(find)
    return kept[:MOST_FINDS]
