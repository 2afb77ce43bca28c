"""`nano` behind the network seam, whatever engine runs its four graphs: see `vidmem.networks.nano.model.Nano` for their arguments.
`encode` takes (1, H, W, 3) uint8 RGB here, and returns its key map also as tokens (1, N, C), and with identities (1, N/4, C + I).

What is the same for every engine stands here: the input size, prompts as maps, plans as token arrays, rows as batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from vidmem.engines.base import Engine
from vidmem.engines.manifest import Manifest
from vidmem.errors import ModelError
from vidmem.networks.base import HIDDEN, Ask, Memory, Storage, pooled, within
from vidmem.networks.nano.prompts import prompt_maps
from vidmem.networks.trust import Trust
from vidmem.types import Candidates, Chosen, ReadPlan, Usage

STRIDE = 32  # the encoder's; both sides of its input are multiples of it
AREA = 256 * 448  # model pixels of a frame, whatever its shape; memory and time follow from it
SURE = 10.0  # logit of a mask that a person gave, as in SAM 2
TEMPERATURE = 20.8
"""Of the long read, as trained; `usage` needs it outside the graphs. A test holds it to the weights."""
TRUST = Trust(-3.182, 0.775, 3.061)
"""Fitted by `scripts/bench_scores.py`; to be fitted again with new weights."""


class NanoFeatures(NamedTuple):
    """One encoded frame; arrays of the engine."""

    feature: Any  # (1, F, h, w)
    skip: Any  # (1, S, 2h, 2w)
    key: Any  # (1, C, h, w)
    tokens: Any  # (1, N, C)
    coarse_tokens: Any  # (1, N/4, C + I): keys and identities

    @property
    def mask_size(self) -> tuple[int, int]:
        return tuple(self.skip.shape[-2:])


class Tokens(NamedTuple):
    """What one memory is made of; arrays of the engine. Implements `vidmem.types.Payload`: its tokens are the long read's,
    and a memory of some of them cannot serve the local read any more."""

    new_key: Any  # (1, N, C); None where tokens were taken
    new_value: Any  # (1, N, V + 1); likewise
    long_key: Any  # (1, N/4, C + I)
    long_value: Any  # (1, N/4, V + 1)

    @property
    def nbytes(self) -> int:
        return sum(4 * array.shape[1] * array.shape[2] for array in self if array is not None)

    @property
    def tokens(self) -> int:
        return self.long_key.shape[1]

    def similarity(self, other: Tokens, along: str = "tokens") -> float:
        """Of the long read's keys and values together."""
        if along != "tokens":
            raise ModelError(
                f"likeness={along!r} is for memories that are square maps, as SAM 2's; nano takes likeness=tokens"
            )
        dot, one, two = (
            (a.long_key * b.long_key).sum(-1) + (a.long_value * b.long_value).sum(-1)
            for a, b in ((self, other), (self, self), (other, other))
        )
        return float((dot / (one * two + 1e-12) ** 0.5).mean())

    def take(self, tokens: np.ndarray) -> Tokens:
        tokens = tokens.reshape(-1)  # one layer
        return Tokens(None, None, self.long_key[:, tokens], self.long_value[:, tokens])

    def mix(self, other: Tokens, weight: float) -> Tokens:
        return Tokens(*((1 - weight) * a + weight * b for a, b in zip(self, other)))


@dataclass
class Conditioned:
    """What the memories say, and the memories, because a prompted row reads them again beside its own guess."""

    memories: list[tuple[list[Tokens], Tokens | None]]  # of each row: the long read's, the local read's
    maps: dict[int, Any] = field(default_factory=dict)  # row -> (1, D, h, w); rows without memory are missing


def input_size(height: int, width: int, area: int = AREA) -> tuple[int, int]:
    """The network's (H, W) for a frame: its shape, about `area` pixels, multiples of 32. The longest strips are squeezed to that area."""
    scale, most = (area / (height * width)) ** 0.5, max(2, area // (2 * STRIDE * STRIDE))
    return tuple(min(most, max(2, round(side * scale / STRIDE))) * STRIDE for side in (height, width))


class NanoNetwork:
    """Implements `vidmem.networks.base.Network`. fixed: of an export with fixed shapes; rows and memories are filled up to them with
    zeros, which a bias hides."""

    name, competes, reads_words, identity, trust = "nano", True, False, staticmethod(str), TRUST

    def __init__(self, engine: Engine, area: int = AREA, fixed: Manifest | None = None):
        self.engine, self.area, self.runtime, self.fixed = engine, area, engine.name, fixed
        self.overlaps = engine.overlaps
        self.storage = Storage({NanoFeatures: {}, Tokens: {}}, engine.host, engine.put, _check_tokens)

    def encode(self, image: np.ndarray) -> NanoFeatures:
        import cv2

        height, width = input_size(image.shape[0], image.shape[1], self.area)
        if self.fixed and (height, width) != self.fixed.shape:
            came, made = f"{image.shape[1]}x{image.shape[0]}", "x".join(map(str, (self.fixed.shape or ())[::-1]))
            raise ModelError(
                f"a frame of {came} needs an input of {width}x{height}, and this export takes {made} alone; export again with "
                f"--frame-size {came.replace('x', ',')}, or use the graphs that come with vidmem"
            )
        shrinks = height < image.shape[0]
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        return NanoFeatures(*self.engine.run("encode", self.engine.put(small[None])))

    def attend(self, features: NanoFeatures, plans: Sequence[ReadPlan]) -> Conditioned:
        memories = [self._arrange(plan) for plan in plans]
        whole = {row: (long, new) for row, (long, new) in enumerate(memories) if new is not None}
        return Conditioned(memories, self._read(features, whole))

    def usage(self, features: NanoFeatures, conditioned: Conditioned, plans: Sequence[ReadPlan]) -> list[list[Usage]]:
        """As the long read would attend to every recall, at its own resolution: a quarter of the frame's cells ask."""
        dim = features.key.shape[1]
        query = self.engine.host(features.coarse_tokens)[0, :, :dim] * TEMPERATURE
        used: list[list[Usage]] = []
        for plan in plans:
            keys = [self.engine.host(r.entry.payload.long_key)[0] for r in plan.recalls] if plan.watch else []
            if not keys:
                used.append([])
                continue
            scores = query @ np.concatenate(keys)[:, :dim].T
            weights = np.exp(scores - scores.max(1, keepdims=True))
            weights /= weights.sum(1, keepdims=True)
            parts = np.split(weights, np.cumsum([len(key) for key in keys])[:-1], 1)
            own = [(part / np.maximum(part.sum(1, keepdims=True), 1e-12)).mean(0)[None] for part in parts]
            used.append([Usage(tokens, float(part.sum(1).mean())) for tokens, part in zip(own, parts)])
        return used

    def describe(self, features: NanoFeatures) -> np.ndarray:
        height, width = (side // 2 for side in features.key.shape[-2:])
        return pooled(self.engine.host(features.coarse_tokens)[0].reshape(height, width, -1))

    def cells(self, features: NanoFeatures) -> np.ndarray:
        """Keys, and identities at twice their resolution."""
        import cv2

        key = self.engine.host(features.key)[0].transpose(1, 2, 0)
        height, width, dim = key.shape
        identity = self.engine.host(features.coarse_tokens)[0, :, dim:].reshape(height // 2, width // 2, -1)
        identity = cv2.resize(identity, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.concatenate([key, identity, np.ones((height, width, 1), np.float32)], -1)

    def decode(self, features: NanoFeatures, conditioned: Conditioned, asks: Sequence[Ask | None]) -> Candidates:
        shape = features.mask_size
        maps = np.zeros((len(asks), 6, *shape), np.float32)
        guesses = {}
        for row, ask in enumerate(asks):
            if ask is not None:
                maps[row], guesses[row] = self._maps(ask, shape)
        read = dict(conditioned.maps)
        if guesses:
            read |= self._read(features, self._with_guess(features, conditioned, guesses))
        rows = sorted(read)
        masks = np.full((len(asks), 1, *shape), -SURE, np.float32)
        iou, present = np.zeros((len(asks), 1), np.float32), np.full(len(asks), -SURE, np.float32)
        if rows:
            batch = self.engine.cat([read[row] for row in rows], 0)
            decoded = self._run("decode", (features.feature, features.skip), (batch, self.engine.put(maps[rows])))
            logits, scores, presence = (self.engine.host(array) for array in decoded)
            masks, iou = np.repeat(masks, logits.shape[1], 1), np.repeat(iou, logits.shape[1], 1)
            masks[rows], iou[rows], present[rows] = logits, scores, presence
        for row, ask in enumerate(asks):
            if ask is None:
                continue
            prompt = ask.prompt
            if prompt.answer is not None:
                masks[row], iou[row], present[row] = SURE * (2 * _shrink(prompt.answer, shape) - 1), 1, SURE
            elif prompt.box is not None or (prompt.labels is not None and prompt.labels.any()):
                present[row] = max(present[row], 0.1)  # someone points at it: it is there
        return Candidates(masks, iou, present)

    def memorize(self, features: NanoFeatures, candidates: Candidates, chosen: Sequence[Chosen]) -> list[Memory]:
        share = np.stack([_sigmoid(candidates.mask_logits[c.row, c.candidate]) for c in chosen])[:, None]
        share[[candidates.object_logit[c.row] <= 0 for c in chosen]] = 0
        return [Memory(tokens, tokens.nbytes) for tokens in self._memorize(features, share)]

    def _memorize(self, features: NanoFeatures, share: np.ndarray) -> list[Tokens]:
        """share (R, 1, h, w) in 0..1 -> the tokens of each row."""
        made, copy = self._run("memorize", (features.feature,), (self.engine.put(share),)), self.engine.copy
        return [  # copies, for a view would keep the whole batch
            Tokens(features.tokens, copy(values), features.coarse_tokens, copy(coarse))
            for values, coarse in ([array[row : row + 1] for array in made] for row in range(len(share)))
        ]

    def _run(self, graph: str, shared: tuple, rows: tuple) -> list:
        """A graph whose last inputs hold a line for each row: all at once, or as many as fixed shapes take."""
        engine, count = self.engine, len(rows[0])
        most, parts = (self.fixed and self.fixed.objects) or count, []
        for first in range(0, count, most):
            some = [array[first : first + most] for array in rows]
            out = engine.run(graph, *shared, *(engine.pad(array, (most, *array.shape[1:])) for array in some))
            parts.append([array[: len(some[0])] for array in out])
        return [engine.cat(part, 0) for part in zip(*parts)]

    def _arrange(self, plan: ReadPlan) -> tuple[list[Tokens], Tokens | None]:
        """The newest whole entry serves the local read, all others the long one; a single entry serves both."""
        if not plan.recalls:
            return [], None
        recalls = sorted(plan.recalls, key=lambda recall: recall.entry.frame_idx)
        if self.fixed:  # one place is for a corrected frame's own guess
            height, width = self.fixed.shape or (0, 0)
            recalls = [*within(recalls, (self.fixed.slots - 1) * height * width // 256)]
        newest = next(r.entry.payload for r in reversed(recalls) if r.entry.payload.new_key is not None)
        return [_scaled(r.entry.payload, r.key_scale) for r in recalls if r.entry.payload is not newest] or [
            newest
        ], newest

    def _with_guess(self, features: NanoFeatures, conditioned: Conditioned, guesses: dict[int, np.ndarray]) -> dict:
        """The memories of prompted rows with the frame's own guess as the newest of them."""
        memories = {}
        for row, own in zip(guesses, self._memorize(features, np.stack(list(guesses.values()))[:, None])):
            long, new = conditioned.memories[row]
            past = [*long, new] if new is not None and new is not long[-1] else long
            memories[row] = ([*past, own], own)
        return memories

    def _read(self, features: NanoFeatures, memories: dict[int, tuple[list[Tokens], Tokens]]) -> dict[int, Any]:
        """Rows with the same number of tokens are one batch. Those whose newest memory is of one frame share its keys, and the
        scores with them: twenty objects are then read in a quarter of the time."""
        if self.fixed:
            return self._read_fixed(features, memories, self.fixed.slots)
        batches: dict[tuple, list[int]] = {}
        for row, (long, new) in memories.items():
            batches.setdefault((sum(tokens.tokens for tokens in long), id(new.new_key)), []).append(row)
        alone: dict[int, list[int]] = {}
        for count, key in [batch for batch, rows in batches.items() if len(rows) == 1]:
            alone.setdefault(count, []).extend(batches.pop((count, key)))
        most = self.engine.together
        read: dict[int, Any] = {}
        for rows in [
            *batches.values(),
            *(some[i : i + most] for some in alone.values() for i in range(0, len(some), most)),
        ]:
            older = self._beside([memories[r][0] for r in rows], "long_key", "long_value")
            newest = self._beside([[memories[r][1]] for r in rows], "new_key", "new_value")
            (out,) = self.engine.run("attend", features.key, features.coarse_tokens, *older, *newest)
            read |= {row: out[i : i + 1] for i, row in enumerate(rows)}
        return read

    def _read_fixed(
        self, features: NanoFeatures, memories: dict[int, tuple[list[Tokens], Tokens]], slots: int
    ) -> dict[int, Any]:
        """Rows of any make-up together."""
        if not memories:
            return {}
        engine, total = self.engine, slots * features.coarse_tokens.shape[1]
        hidden = np.full((len(memories), total), HIDDEN, np.float32)
        columns: tuple[list, list, list, list] = [], [], [], []
        long_keys, long_values, new_keys, new_values = columns
        for line, (long, new) in zip(hidden, memories.values()):
            line[: sum(tokens.tokens for tokens in long)] = 0
            for arrays, name in ((long_keys, "long_key"), (long_values, "long_value")):
                whole = engine.cat([getattr(tokens, name) for tokens in long], 1)
                arrays.append(engine.pad(whole, (1, total, whole.shape[2])))
            new_keys.append(new.new_key)
            new_values.append(new.new_value)
        rows = [engine.cat(arrays, 0) for arrays in columns]
        (out,) = self._run("attend", (features.key, features.coarse_tokens), (*rows, engine.put(hidden)))
        return {row: out[i : i + 1] for i, row in enumerate(memories)}

    def _beside(self, memories: list[list[Tokens]], key: str, value: str) -> tuple[Any, Any]:
        """The memories of each row -> keys (R, N, C), or (1, N, C) where all rows remember the same frames, and values (R, N, V + 1)."""
        cat = self.engine.cat
        keys, values = ([[getattr(tokens, name) for tokens in some] for some in memories] for name in (key, value))
        shared = len({tuple(map(id, some)) for some in keys}) == 1
        return tuple(cat([cat(some, 1) for some in rows], 0) for rows in (keys[:1] if shared else keys, values))

    def _maps(self, ask: Ask, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """A prompt in source pixels -> `prompt_maps` in mask cells."""
        prompt, scale = ask.prompt, np.array([shape[1] / ask.size[1], shape[0] / ask.size[0]], np.float32)
        so_far = None
        if prompt.mask is not None:
            so_far = _shrink(prompt.mask, shape)
        elif ask.mask_logits is not None and prompt.box is None:
            so_far = _sigmoid(ask.mask_logits)
        return prompt_maps(
            shape,
            None if prompt.points is None else prompt.points * scale,
            prompt.labels,
            None if prompt.box is None else prompt.box * np.tile(scale, 2),
            so_far,
        )


def _check_tokens(tokens: Tokens, whole: Tokens) -> None:
    """Raises `ValueError` for tokens of other widths than the whole ones, or more of them."""
    count = tokens.tokens
    for mine, other, name in zip(tokens, whole, whole._fields):
        if mine is None and name.startswith("new"):
            continue
        most = other.shape[1] if name.startswith("new") else count
        fits = len(mine.shape) == 3 and tuple(mine.shape) == (1, most, other.shape[2]) and mine.dtype == other.dtype
        if not fits or not 1 <= count <= whole.tokens:
            raise ValueError(f"a memory whose {name} has the shape {tuple(mine.shape)}")
    if (tokens.new_key is None) != (tokens.new_value is None):
        raise ValueError("a memory with keys or values alone")


def _scaled(tokens: Tokens, scale: float) -> Tokens:
    return tokens if scale == 1 else tokens._replace(long_key=tokens.long_key * np.float32(scale))


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    """float32; clipped, so that nothing overflows."""
    return (1 / (1 + np.exp(-logits.clip(-30, 30)))).astype(np.float32)


def _shrink(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) bool -> (h, w) float32: the share of each cell that is object."""
    import cv2

    return cv2.resize(mask.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA)
