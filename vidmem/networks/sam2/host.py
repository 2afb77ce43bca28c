"""What the official code of SAM 2 decides with branches in its modules, decided on the host from prompts and plans, whoever
computes: which rows go together, what is asked of the decoder, and what a mask that is the answer means. Rows that have the
same number of tokens are one batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vidmem.errors import ModelError
from vidmem.networks.base import Ask, pooled
from vidmem.types import Candidates, ReadPlan, Usage

CLAMP = 32.0  # of a mask that is handed back to the decoder with a correction, as in the official predictor
SURE = 10.0  # mask logit of a mask that a person gave
NO_OBJECT = -1024.0  # mask logit everywhere on a frame where the object is believed absent


class Sam2Features(NamedTuple):
    """One encoded frame; arrays of whoever computes."""

    feature: Any  # (1, 256, h, w)
    skip4: Any  # (1, 32, 4h, 4w)
    skip8: Any  # (1, 64, 2h, 2w)


class Read(NamedTuple):
    """What one row read."""

    conditioned: Any  # (1, 256, h, w); None: nothing to read yet
    used: list[Usage]  # of each recall, where the plan asked to watch
    extra: Any = None  # (1, E, 256) prompt tokens that are no points, of networks that have them


class Question(NamedTuple):
    """One row's input to the decoder."""

    image: Any  # (1, 256, h, w)
    points: np.ndarray  # (P, 2) input pixels, the places without a point included
    labels: np.ndarray  # (P,)
    mask: Any | None  # (1, 1, 4h, 4w) logits
    several: bool  # three alternatives are asked for, not one answer
    extra: Any = None  # as `Read.extra`


class Sam2Host(ABC):
    """The part of `vidmem.networks.base.Network` that does not depend on who computes; see `Sam2Network` and `Sam2Graphs`.

    A subclass has the abstract ones, `memorize`, and `no_pointer`."""

    runtime: str
    overlaps: bool
    competes = False  # as published: masks of different objects may overlap
    trust = None
    reads_words = False
    no_pointer: Any  # (256,), wherever its pointers are
    identity = staticmethod(str)

    def __init__(self, name: str, size: int, memories: int, post: bool):
        self.name, self.size, self.memories, self.post = name, size, memories, post

    @abstractmethod
    def put(self, array: np.ndarray) -> Any:
        """From the host to whoever computes."""

    @abstractmethod
    def host(self, array: Any) -> np.ndarray: ...

    @abstractmethod
    def _encode(self, image: Any) -> tuple: ...

    @abstractmethod
    def _read(self, features: Sam2Features, plans: list[ReadPlan]) -> tuple[Any, list[list[Usage]]]:
        """Rows with equally many tokens -> (R, 256, h, w), and of each row the usage, where the plans ask to watch."""

    @abstractmethod
    def _decode(
        self,
        features: Sam2Features,
        images: list,
        points: np.ndarray,
        labels: np.ndarray,
        masks: list,
        given: np.ndarray,
        several: bool,
        extra: list,
    ) -> tuple:
        """extra: of each row its tokens beside the points, or nothing at all -> mask logits (R, K, 4h, 4w), IoU (R, K), object logit (R,) on the host, and pointers (R, 3, 256); K is 3, or 1."""

    @abstractmethod
    def _mask_prompt(self, large: np.ndarray) -> Any:
        """(S, S) bool -> (1, 1, S/4, S/4), what the decoder takes for a mask that is the answer."""

    @abstractmethod
    def without_memory(self, feature: Any) -> Any: ...

    @abstractmethod
    def _blank_pointers(self, rows: int) -> Any:
        """(rows, 3, 256), wherever its pointers are."""

    def encode(self, image: np.ndarray) -> Sam2Features:
        from PIL import Image

        if image.shape[:2] != (self.size, self.size):  # the official loader's filter, for the same pixels
            image = np.asarray(Image.fromarray(image).resize((self.size, self.size), Image.Resampling.BICUBIC))
        return Sam2Features(*self._encode(self.put(np.array(image[None]))))

    def describe(self, features: Sam2Features) -> np.ndarray:
        return pooled(self.host(features.feature)[0].transpose(1, 2, 0))

    def cells(self, features: Sam2Features) -> np.ndarray:
        grid = self.host(features.feature)[0].transpose(1, 2, 0)
        grid = grid / np.maximum(np.linalg.norm(grid, axis=-1, keepdims=True), 1e-6)
        return np.concatenate([grid, np.ones((*grid.shape[:2], 1), np.float32)], -1)

    def attend(self, features: Sam2Features, plans: Sequence[ReadPlan]) -> list:
        """-> for each row its `Read`, or None where there is nothing to read."""
        rows: list = [None] * len(plans)
        groups: dict[tuple, list[int]] = {}
        for row, plan in enumerate(plans):
            if plan.recalls:
                tokens = sum(recall.entry.payload.tokens for recall in plan.recalls)
                groups.setdefault((tokens, len(plan.pointers), plan.watch), []).append(row)
        for members in groups.values():
            self._check_codes([plans[row] for row in members])
            out, used = self._read(features, [plans[row] for row in members])
            for i, row in enumerate(members):
                rows[row] = Read(out[i : i + 1], used[i] if used else [])
        return rows

    def _check_codes(self, plans: list[ReadPlan]) -> None:
        if max(int(recall.tcode) for plan in plans for recall in plan.recalls) > self.memories - 2:
            most = f"{self.memories - 1} tracked frames, and the bank recalls more: use slots={self.memories} at most"
            raise ModelError(f"{self.name} has temporal codes for {most}")

    def usage(self, features: Sam2Features, conditioned: list, plans: Sequence[ReadPlan]) -> list[list[Usage]]:
        return [[] if read is None else read.used for read in conditioned]

    def decode(self, features: Sam2Features, conditioned: list, asks: Sequence[Ask | None]) -> Candidates:
        side = self.size // 4
        logits, iou = np.full((len(asks), 3, side, side), -CLAMP, np.float32), np.zeros((len(asks), 3), np.float32)
        presence = np.full(len(asks), -CLAMP, np.float32)
        pointers = self._blank_pointers(len(asks))
        questions: dict[int, Question] = {}
        groups: dict[tuple[int, bool, int], list[int]] = {}
        for row, ask in enumerate(asks):
            question = self._question(features, conditioned[row], ask)
            if question is not None:
                questions[row] = question
                more = 0 if question.extra is None else question.extra.shape[1]
                groups.setdefault((len(question.labels), question.several, more), []).append(row)
        for rows in groups.values():
            answer = self._answer(features, [questions[row] for row in rows])
            logits[rows], iou[rows], pointers[rows], presence[rows] = answer
        for row, ask in enumerate(asks):
            if ask is not None and ask.prompt.answer is not None:
                mask = self._large(ask.prompt.answer)
                present = bool(mask.any())
                logits[row], iou[row], presence[row] = self._small(mask), (1, 0, 0), 10.0 if present else -10.0
                if not present:
                    pointers[row] = self.no_pointer
        return Candidates(logits, iou, presence, pointers)

    def _question(self, features: Sam2Features, read: Read | None, ask: Ask | None) -> Question | None:
        conditioned, extra = (None, None) if read is None else (read.conditioned, read.extra)
        empty = np.zeros((0, 2), np.float32), np.zeros(0, np.int64)
        if ask is None:
            points, labels = _padded(*empty)
            return None if conditioned is None else Question(conditioned, points, labels, None, True, extra)
        if ask.prompt.answer is not None:  # a pass for the pointer alone
            return Question(
                features.feature, *_padded(*empty), self._mask_prompt(self._large(ask.prompt.answer)), False
            )
        image = self.without_memory(features.feature) if ask.fresh or conditioned is None else conditioned
        points, labels = self._points(ask)
        mask = None
        if ask.prompt.mask is not None:
            mask = self.put(self._small(self._large(ask.prompt.mask))[None, None])
        elif ask.mask_logits is not None:
            mask = self.put(ask.mask_logits.clip(-CLAMP, CLAMP)[None, None])
        return Question(image, *_padded(points, labels), mask, len(labels) <= 1, extra)

    def _points(self, ask: Ask) -> tuple[np.ndarray, np.ndarray]:
        """A box is its two corners, before the clicks."""
        points: list[np.ndarray] = []
        labels: list[int] = []
        if ask.prompt.box is not None:
            points, labels = list(ask.prompt.box.reshape(2, 2)), [2, 3]
        if ask.prompt.points is not None and ask.prompt.labels is not None:
            points, labels = points + list(ask.prompt.points), labels + ask.prompt.labels.tolist()
        scale = np.array([ask.size[1], ask.size[0]], np.float32)
        return np.array(points, np.float32).reshape(-1, 2) / scale * self.size, np.array(labels, np.int64)

    def _answer(self, features: Sam2Features, questions: list[Question]) -> tuple:
        """Questions with equally many points -> mask logits (R, 3, 4h, 4w), IoU (R, 3), pointers (R, 3, 256), object logit.

        A single answer fills all three places, and its IoU only the first, so that it is the one chosen.
        """
        side, several = self.size // 4, questions[0].several
        blank = self.put(np.zeros((1, 1, side, side), np.float32))
        logits, iou, pointers, presence = self._decode(
            features, [q.image for q in questions], np.stack([q.points for q in questions]), np.stack([q.labels for q in questions]),
            [blank if q.mask is None else q.mask for q in questions], np.array([q.mask is not None for q in questions]), several,
            [] if questions[0].extra is None else [q.extra for q in questions],
        )  # fmt: skip
        if not several:
            logits, iou = np.repeat(logits, 3, 1), np.concatenate([iou, np.zeros((len(iou), 2), np.float32)], 1)
        return np.where((presence > 0)[:, None, None, None], logits, np.float32(NO_OBJECT)), iou, pointers, presence

    def _large(self, mask: np.ndarray) -> np.ndarray:
        """(H, W) bool -> (S, S) bool at the network's size."""
        return mask if mask.shape == (self.size, self.size) else self._resize(mask, self.size) >= 0.5

    def _small(self, mask: np.ndarray) -> np.ndarray:
        """(S, S) bool -> (S/4, S/4) float32 logits of a mask that is certain."""
        return self._resize(mask, self.size // 4) * 2 * SURE - SURE

    def _resize(self, mask: np.ndarray, side: int) -> np.ndarray:
        """Bilinear, with a filter where it shrinks, as torch's `antialias=True`, which follows Pillow."""
        from PIL import Image

        return np.asarray(Image.fromarray(mask.astype(np.float32)).resize((side, side), Image.Resampling.BILINEAR))


def _padded(points: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """With the place without a point that SAM appends; a row without any point has two of them."""
    more = 1 if len(labels) else 2
    return np.concatenate([points, np.zeros((more, 2), np.float32)]), np.concatenate([labels, np.full(more, -1)])
