"""SAM 2 and 2.1 as exported graphs, on any engine of `vidmem/engines`; no torch needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vidmem.engines.base import Engine
from vidmem.engines.manifest import Manifest
from vidmem.errors import ModelError
from vidmem.networks.base import HIDDEN, Memory, Storage, within
from vidmem.networks.sam2.config import CONFIGS
from vidmem.networks.sam2.host import Sam2Features, Sam2Host
from vidmem.types import Candidates, Chosen, ReadPlan, Usage


@dataclass(eq=False)
class TokenMemory:
    """A spatial memory with its projected keys, arrays of the engine. Implements `vidmem.types.Payload`."""

    engine: Engine
    memory: Any  # (layers or 1, n, 64) float32, rounded to bfloat16
    keys: Any  # (layers, n, 256)
    places: np.ndarray  # (layers or 1, n) int64: where in the frame each token is

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in (self.memory, self.keys, self.places))

    @property
    def tokens(self) -> int:
        return self.keys.shape[1]

    def check(self, whole: TokenMemory) -> None:
        """Raises `ValueError` where these are not some tokens of a memory like the whole one."""
        layers, most, count = len(whole.keys), whole.tokens, self.tokens
        for mine, other, name in ((self.memory, whole.memory, "memory"), (self.keys, whole.keys, "keys")):
            lines = (layers,) if name == "keys" else (1, layers)
            fits = len(mine.shape) == 3 and mine.shape[0] in lines and tuple(mine.shape[1:]) == (count, other.shape[2])
            if not fits or mine.dtype != other.dtype:
                raise ValueError(f"a memory whose {name} have the shape {tuple(mine.shape)}")
        _check_places(self.places, (1, layers), count, most)

    def similarity(self, other: TokenMemory, along: str = "tokens") -> float:
        a, b = (self.engine.host(which.memory[0]) for which in (self, other))
        if along == "width":
            side = math.isqrt(len(a))
            a, b = (x.reshape(side, side, -1).swapaxes(1, 2) for x in (a, b))
            return float(((a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1) + 1e-12)).sum())
        return float(((a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1) + 1e-12)).mean())

    def take(self, tokens: np.ndarray) -> TokenMemory:
        layers, engine = len(self.keys), self.engine
        at = np.broadcast_to(tokens, (layers, tokens.shape[-1])).astype(np.int64)
        pick = lambda array: engine.take_along(engine.expand(array, (layers, *array.shape[1:])), at[..., None], 1)
        places = np.take_along_axis(np.broadcast_to(self.places, (layers, self.places.shape[1])), at, 1)
        return TokenMemory(engine, pick(self.memory), pick(self.keys), places)

    def mix(self, other: TokenMemory, weight: float) -> TokenMemory:
        """Keys are an affine map of the memory, so they mix as it does."""
        memory, keys = (
            (1 - weight) * a + weight * b for a, b in ((self.memory, other.memory), (self.keys, other.keys))
        )
        return TokenMemory(self.engine, memory, keys, self.places)


class Lines(NamedTuple):
    """What one row recalls, a line for each token; see `vidmem.networks.sam2.export.Attend`. The first two are the engine's arrays."""

    keys: Any  # (layers, M, 256)
    memory: Any  # (layers, M, 64)
    code: np.ndarray  # (M,)
    place: np.ndarray  # (layers, M)
    scale: np.ndarray  # (M,)
    pointers: np.ndarray  # (P, 256)
    distances: np.ndarray  # (P,)
    pointer_scale: np.ndarray  # (P,)


class Sam2Graphs(Sam2Host):
    """Implements `vidmem.networks.base.Network`. folder: what `vidmem export` wrote; engine: opened on it."""

    def __init__(self, folder: Path, engine: Engine, manifest: Manifest):
        super().__init__(manifest.model, manifest.size, CONFIGS[manifest.model].memories, True)
        self.engine, self.runtime, self.manifest = engine, engine.name, manifest
        self.overlaps = engine.overlaps
        path = Path(folder) / "constants.npz"
        if not path.is_file():
            raise ModelError(f"{path} is missing; `vidmem export` writes it beside the graphs")
        with np.load(path) as arrays:
            self._constants = {name: arrays[name] for name in arrays.files}
        self.no_pointer = self._constants["no_obj_ptr"][0]
        self.storage = Storage(
            {Sam2Features: {}, TokenMemory: {"engine": engine}}, engine.host, engine.put, TokenMemory.check
        )
        self._no_memory = self.put(self._constants["no_mem_embed"].reshape(1, -1, 1, 1))

    def put(self, array: np.ndarray) -> Any:
        return self.engine.put(array)

    def host(self, array: Any) -> np.ndarray:
        return self.engine.host(array)

    def _encode(self, image) -> tuple:
        return self.engine.run("encode", image)

    def _blank_pointers(self, rows: int) -> np.ndarray:
        return np.zeros((rows, 3, self.no_pointer.shape[0]), np.float32)

    def without_memory(self, feature):
        return feature + self._no_memory

    def _mask_prompt(self, large: np.ndarray):
        """(S, S) bool -> (1, 1, S/4, S/4): a convolution of 4x4 with stride 4."""
        side = self.size // 4
        cells = large.reshape(side, 4, side, 4).astype(np.float32)
        return self.put(
            np.einsum("aibj,ij->ab", cells, self._constants["mask_weight"][0, 0])[None, None]
            + self._constants["mask_bias"]
        )

    def _read(self, features: Sam2Features, plans: list[ReadPlan]) -> tuple:
        """Rows with equally many tokens -> (R, 256, h, w), and of each row the usage, where the plans ask to watch."""
        if self.manifest.objects is None:
            return self._attend(features, plans, None)
        parts = [
            self._attend(features, plans[i : i + self.manifest.objects], self.manifest)
            for i in range(0, len(plans), self.manifest.objects)
        ]
        return self.engine.cat([out for out, _ in parts], 0), [used for _, some in parts for used in some]

    def _attend(self, features: Sam2Features, plans: list[ReadPlan], fixed: Manifest | None) -> tuple:
        """Rows that the graph takes at once; what is missing to its shapes is filled up and hidden."""
        asked, engine = plans, self.engine
        if fixed is not None:
            plans = [_within(plan, fixed) for plan in plans]
        lines = [self._lines(plan) for plan in plans]
        tokens, count = lines[0].code.size, max(1, lines[0].distances.size)  # the same in all rows of an open graph
        rows = len(plans)
        if fixed is not None:
            rows, tokens, count = fixed.objects or rows, _room(fixed), fixed.pointers
        bias = np.full((rows, tokens + 4 * count), HIDDEN, np.float32)
        for row, line in enumerate(lines):
            bias[row, : line.code.size] = bias[row, tokens : tokens + 4 * line.distances.size] = 0

        def filled(name: str, *shape: int) -> np.ndarray:
            """(rows, *shape) of the rows' own arrays, zeros where they end."""
            out = np.zeros((rows, *shape), getattr(lines[0], name).dtype)
            for row, line in enumerate(lines):
                array = getattr(line, name)
                own: tuple[int | slice, ...] = (row, *map(slice, array.shape))
                out[own] = array
            return out

        def filled_device(arrays: list):
            layers, _, channels = arrays[0].shape
            own = engine.stack([engine.pad(array, (layers, tokens, channels)) for array in arrays], 1)
            return engine.pad(own, (layers, rows, tokens, channels))

        keys, memory = filled_device([line.keys for line in lines]), filled_device([line.memory for line in lines])
        code, scale, place = (
            filled("code", tokens),
            filled("scale", tokens),
            filled("place", len(keys), tokens).swapaxes(0, 1),
        )
        pointers, distances, pointer_scale = (
            filled("pointers", count, self.no_pointer.shape[0]),
            filled("distances", count),
            filled("pointer_scale", count),
        )
        put = self.put
        out, usage = self.engine.run(
            "attend",
            features.feature,
            keys,
            memory,
            *map(put, (code, place, scale, pointers, distances, pointer_scale, bias)),
        )
        out = out[: len(plans)]
        if not plans[0].watch:
            return out, []
        usage, used = self.host(usage), []
        for row, (plan, whole) in enumerate(zip(plans, asked)):
            own = dict(
                zip(map(id, plan.recalls), _usage(usage[:, row], [r.entry.payload.tokens for r in plan.recalls]))
            )
            nothing = lambda r: Usage(np.zeros((len(usage), r.entry.payload.tokens), np.float32), 0.0)
            used.append([own.get(id(recall)) or nothing(recall) for recall in whole.recalls])
        return out, used

    def _lines(self, plan: ReadPlan) -> Lines:
        memories, layers = [recall.entry.payload for recall in plan.recalls], len(plan.recalls[0].entry.payload.keys)
        engine, sizes = self.engine, [memory.tokens for memory in memories]
        join = lambda arrays: engine.cat([engine.expand(a, (layers, *a.shape[1:])) for a in arrays], 1)
        return Lines(
            join([m.keys for m in memories]),
            join([m.memory for m in memories]),
            np.repeat([int(recall.tcode) % self.memories for recall in plan.recalls], sizes),
            np.concatenate([np.broadcast_to(m.places, (layers, m.tokens)) for m in memories], 1),
            np.repeat(np.array([recall.key_scale for recall in plan.recalls], np.float32), sizes),
            np.array([p.entry.pointer for p in plan.pointers], np.float32).reshape(-1, self.no_pointer.shape[0]),
            np.array([p.distance / plan.pointer_norm for p in plan.pointers], np.float32),
            np.array([p.key_scale for p in plan.pointers], np.float32),
        )

    def _decode(
        self, features: Sam2Features, images: list, points, labels, masks: list, given, several: bool, extra: list
    ) -> tuple:
        rows, most = len(images), self.manifest.objects or len(images)
        parts = []
        for first in range(0, rows, most):
            own = slice(first, first + most)
            fill = lambda array: (
                np.concatenate([array, np.repeat(array[:1], most - len(array), 0)]) if len(array) < most else array
            )
            image = self.engine.cat(images[own] + images[:1] * (most - len(images[own])), 0)
            mask = self.engine.cat(masks[own] + masks[:1] * (most - len(masks[own])), 0)
            asked = (self.put(fill(array)) for array in (points[own].astype(np.float32), labels[own]))
            out = self.engine.run(
                "decode", image, features.skip4, features.skip8, *asked, mask, self.put(fill(given[own]))
            )
            parts.append([self.host(array)[: len(points[own])] for array in out])
        logits, iou, pointers, presence, one, one_iou = (np.concatenate(part) for part in zip(*parts))
        if several:
            return logits[:, 1:], iou[:, 1:], pointers[:, 1:], presence
        return one, one_iou, np.repeat(pointers[:, :1], 3, 1), presence

    def memorize(self, features: Sam2Features, candidates: Candidates, chosen: Sequence[Chosen]) -> list[Memory]:
        made = []
        most = self.manifest.objects or len(chosen)
        for first in range(0, len(chosen), most):
            some = [*chosen[first : first + most]]
            filled = some + some[:1] * (most - len(some))
            logits = np.stack([candidates.mask_logits[c.row, c.candidate] for c in filled])[:, None]
            present = np.array([bool(candidates.object_logit[c.row] > 0) for c in filled])
            binary = np.array([c.prompted and self.post for c in filled])
            memory, keys = self.engine.run("memorize", features.feature, *map(self.put, (logits, present, binary)))
            places = np.arange(memory.shape[1])[None]
            for i, c in enumerate(some):  # copies, for a view would keep the whole batch
                tokens = TokenMemory(
                    self.engine, self.engine.copy(memory[i : i + 1]), self.engine.copy(keys[:, i]), places
                )
                made.append(Memory(tokens, tokens.nbytes, candidates.pointer[c.row, c.candidate].copy()))
        return made


def _check_places(places: np.ndarray, layers: tuple[int, ...], count: int, most: int) -> None:
    if (
        places.dtype != np.int64
        or places.ndim != 2
        or len(places) not in layers
        or places.shape[1] != count
        or not 1 <= count <= most
    ):
        raise ValueError(f"a memory of {count} tokens whose places have the shape {places.shape}")
    if places.min() < 0 or places.max() >= most:
        raise ValueError(f"a memory with a token outside of {most} places")


def _room(fixed: Manifest) -> int:
    """Memory tokens of a row."""
    return fixed.slots * (fixed.size // 16) ** 2


def _within(plan: ReadPlan, fixed: Manifest) -> ReadPlan:
    """What fits into a graph of fixed shapes; of the pointers the first, which are the prompted ones' and the newest."""
    recalls = within(plan.recalls, _room(fixed))
    if len(recalls) == len(plan.recalls) and len(plan.pointers) <= fixed.pointers:
        return plan
    return replace(plan, recalls=recalls, pointers=plan.pointers[: fixed.pointers])


def _usage(attention: np.ndarray, sizes: list[int]) -> list[Usage]:
    """attention (layers, M) of one row, means over queries -> of each memory its tokens' shares and its own."""
    pieces = np.split(attention[:, : sum(sizes)], np.cumsum(sizes)[:-1], 1)
    return [
        Usage(piece / np.maximum(piece.sum(1, keepdims=True), 1e-12), float(piece.sum(1).mean())) for piece in pieces
    ]
