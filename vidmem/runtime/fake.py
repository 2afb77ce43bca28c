"""A network without weights, for tests: ours and yours.

It follows colour. A memory is the mean colour under a mask; a frame's mask is where the colour is near a remembered one.
So objects of one colour are tracked exactly, occlusion is seen, and every step can be checked by hand.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vidmem.runtime.base import Ask, Memory
from vidmem.types import Candidates, Chosen, ReadPlan


class FakeNetwork:
    """Implements `vidmem.runtime.base.Network`. Mask size is a quarter of the frame; K = 2 candidates: the colour's
    region and, with a lower IoU, everything but it. `reads` records the frame indices that each `attend` recalled."""

    name, runtime = "fake", "numpy"

    def __init__(self, tolerance: float = 30.0):
        self.tolerance = tolerance
        self.reads: list[list[list[int]]] = []

    def encode(self, image: np.ndarray) -> np.ndarray:
        h, w = max(1, image.shape[0] // 4), max(1, image.shape[1] // 4)
        y, x = (np.arange(h) * image.shape[0]) // h, (np.arange(w) * image.shape[1]) // w
        return image[y[:, None], x].astype(np.float32)

    def attend(self, features: np.ndarray, plans: Sequence[ReadPlan]) -> list[list[np.ndarray]]:
        self.reads.append([[recall.entry.frame_idx for recall in plan.recalls] for plan in plans])
        return [[r.entry.payload for r in plan.recalls if r.entry.payload is not None] for plan in plans]

    def decode(self, features: np.ndarray, conditioned: list, asks: Sequence[Ask | None]) -> Candidates:
        h, w = features.shape[:2]
        logits, visible = np.full((len(asks), 2, h, w), -10, np.float32), np.full(len(asks), -5, np.float32)
        for row, (colours, ask) in enumerate(zip(conditioned, asks)):
            region = self._asked(features, ask) if ask else self._near(features, colours)
            logits[row, 0][region], logits[row, 1][~region] = 10, 10
            visible[row] = 5 if region.any() else -5
        return Candidates(logits, np.tile(np.array([0.9, 0.1], np.float32), (len(asks), 1)), visible)

    def memorize(self, features: np.ndarray, candidates: Candidates, chosen: Sequence[Chosen]) -> list[Memory]:
        masks = [candidates.mask_logits[c.row, c.candidate] > 0 if candidates.object_logit[c.row] > 0 else None for c in chosen]
        colours = [None if m is None or not m.any() else features[m].mean(0) for m in masks]
        return [Memory(c, 0 if c is None else c.nbytes) for c in colours]

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
        if prompt.points is not None:
            for (x, y), label in zip((prompt.points * scale).astype(int), prompt.labels):
                same = self._near(features, [features[min(y, h - 1), min(x, w - 1)]])
                region = region | same if label else region & ~same
        return region
