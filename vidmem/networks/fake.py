"""A network without weights, for tests: ours and yours.

It follows colour. A memory is the mean colour under a mask; a frame's mask is where the colour is near a remembered one.
So objects of one colour are tracked exactly, occlusion is seen, and every step can be checked by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidmem.networks.base import Ask, Memory, Sought, Storage, pooled
from vidmem.render import parse_color
from vidmem.types import Candidates, Chosen, ReadPlan, Usage


@dataclass(frozen=True, eq=False)
class Colour:
    """A memory of `FakeNetwork`; implements `vidmem.types.Payload`. `value` (3,) float32; None: the object was not there."""

    value: np.ndarray | None
    tokens: int = 8  # pretended, so that banks which take tokens can be followed

    @property
    def nbytes(self) -> int:
        return 0 if self.value is None else self.value.nbytes

    def similarity(self, other: Colour, along: str = "tokens") -> float:
        if self.value is None or other.value is None:
            return float(self.value is other.value)
        return float(self.value @ other.value / max(1e-6, np.linalg.norm(self.value) * np.linalg.norm(other.value)))

    def take(self, tokens: np.ndarray) -> Colour:
        return Colour(self.value, tokens.shape[-1])

    def mix(self, other: Colour, weight: float) -> Colour:
        if self.value is None or other.value is None:
            return self
        return Colour((1 - weight) * self.value + weight * other.value)

    def tobytes(self) -> bytes:
        return b"" if self.value is None else self.value.tobytes()


class FakeNetwork:
    """Implements `vidmem.networks.base.Network`. Mask size is a quarter of the frame; K = 2 candidates: the colour's
    region and, with a lower IoU, everything but it. `reads` records the frame indices that each `attend` recalled."""

    name, runtime, overlaps, competes, trust = "fake", "numpy", False, False, None

    def __init__(self, tolerance: float = 30.0, reads_words: bool = False):
        self.tolerance, self.reads_words = tolerance, reads_words
        self.reads: list[list[list[int]]] = []

    @property
    def storage(self) -> Storage:
        return Storage({Colour: {}}, lambda array: array, lambda array: array, lambda colour, whole: None)

    def identity(self) -> str:
        return ""

    def encode(self, image: np.ndarray) -> np.ndarray:
        h, w = max(1, image.shape[0] // 4), max(1, image.shape[1] // 4)
        y, x = (np.arange(h) * image.shape[0]) // h, (np.arange(w) * image.shape[1]) // w
        return image[y[:, None], x].astype(np.float32)

    def attend(self, features: np.ndarray, plans: Sequence[ReadPlan]) -> list[list[np.ndarray]]:
        self.reads.append([[recall.entry.frame_idx for recall in plan.recalls] for plan in plans])
        return [[r.entry.payload.value for r in plan.recalls if r.entry.payload.value is not None] for plan in plans]

    def understand(self, text: str) -> np.ndarray:
        """The text is a colour: `#ff0000`, or a name of `vidmem.render.colors`."""
        return np.array(parse_color(text), np.float32)

    def refer(self, features: np.ndarray, sought: Sequence[Sought | None], conditioned: list) -> list:
        return [[row.words] if row is not None and not read else read for row, read in zip(sought, conditioned)]

    def usage(self, features: np.ndarray, conditioned: list, plans: Sequence[ReadPlan]) -> list[list[Usage]]:
        """Every recall is attended to alike, and its first tokens most."""
        return [
            [Usage(np.linspace(1, 0, r.entry.payload.tokens, dtype=np.float32)[None], 1 / len(plan.recalls)) for r in plan.recalls]
            if plan.watch else [] for plan in plans
        ]  # fmt: skip

    def describe(self, features: np.ndarray) -> np.ndarray:
        return pooled(np.concatenate([features, np.full((*features.shape[:2], 1), 50, np.float32)], -1))

    def cells(self, features: np.ndarray) -> np.ndarray:
        return np.concatenate([features / 255, np.ones((*features.shape[:2], 1), np.float32)], -1)

    def decode(self, features: np.ndarray, conditioned: list, asks: Sequence[Ask | None]) -> Candidates:
        h, w = features.shape[:2]
        logits, visible = np.full((len(asks), 2, h, w), -10, np.float32), np.full(len(asks), -5, np.float32)
        for row, (colours, ask) in enumerate(zip(conditioned, asks)):
            region = self._asked(features, ask) if ask else self._near(features, colours)
            logits[row, 0][region], logits[row, 1][~region] = 10, 10
            visible[row] = 5 if region.any() else -5
        return Candidates(logits, np.tile(np.array([0.9, 0.1], np.float32), (len(asks), 1)), visible)

    def memorize(self, features: np.ndarray, candidates: Candidates, chosen: Sequence[Chosen]) -> list[Memory]:
        masks = [
            candidates.mask_logits[c.row, c.candidate] > 0 if candidates.object_logit[c.row] > 0 else None
            for c in chosen
        ]
        colours = [None if m is None or not m.any() else features[m].mean(0) for m in masks]
        return [Memory(Colour(c), 0 if c is None else c.nbytes) for c in colours]

    def _near(self, features: np.ndarray, colours: list[np.ndarray]) -> np.ndarray:
        near = [np.abs(features - c).max(-1) < self.tolerance for c in colours]
        return np.any(near, axis=0) if near else np.zeros(features.shape[:2], bool)

    def _asked(self, features: np.ndarray, ask: Ask) -> np.ndarray:
        h, w = features.shape[:2]
        scale = np.array([w / ask.size[1], h / ask.size[0]])
        prompt = ask.prompt
        if prompt.mask is not None:
            y, x = (np.arange(h) * ask.size[0]) // h, (np.arange(w) * ask.size[1]) // w
            return prompt.mask[y[:, None], x]
        region = np.zeros((h, w), bool) if ask.mask_logits is None else ask.mask_logits > 0
        if prompt.box is not None:
            x0, y0, x1, y1 = (prompt.box.reshape(2, 2) * scale).round().astype(int).ravel()
            region[:] = False
            region[y0:y1, x0:x1] = True
        if prompt.points is not None and prompt.labels is not None:
            for (x, y), label in zip((prompt.points * scale).astype(int), prompt.labels):
                same = self._near(features, [features[min(y, h - 1), min(x, w - 1)]])
                region = region | same if label else region & ~same
        return region
