"""SAM 2 and 2.1 on PyTorch."""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from vidmem.networks.base import Memory, Storage
from vidmem.networks.sam2.host import Sam2Features, Sam2Host
from vidmem.networks.sam2.recorded import Recorded
from vidmem.types import Candidates, Chosen, ReadPlan, Usage

IDLE = 8  # reads after which a memory that took no part gives up its keys


@dataclass(eq=False)
class Spatial:
    """A spatial memory and its keys, projected when it is written.

    Keys are 32 times as large as the memory. A memory that `IDLE` reads have passed by gives them up, and has them projected
    again should it ever be recalled: snapshots and whole videos can keep memories without keeping keys.
    """

    memory: Any  # (1, N, 64) bfloat16; (layers, n, 64) where tokens were taken
    keys: Any  # (layers, 1, N, 256), or None
    places: Any = None  # (layers, n) int64: where the taken tokens were; None: all, in order
    idle: int = 0  # reads of other memories since its own last

    @property
    def nbytes(self) -> int:
        """Bytes it holds now; a bank's count is the one at writing, keys included."""
        return sum(t.numel() * t.element_size() for t in (self.memory, self.keys, self.places) if t is not None)

    @property
    def tokens(self) -> int:
        return self.memory.shape[1]

    def similarity(self, other: Spatial, along: str = "tokens") -> float:
        if (
            along == "width"
        ):  # in bfloat16, as ReSurgSAM2's code: sums of a thousand come in steps of 8, and equals are frequent
            from torch import cosine_similarity

            side = math.isqrt(self.tokens)
            one, two = (memory.transpose(1, 2).unflatten(2, (side, side)) for memory in (self.memory, other.memory))
            return float(cosine_similarity(one, two, dim=-1).sum())
        a, b = self.memory[0].float(), other.memory[0].float()
        return float(((a * b).sum(-1) / (a.square().sum(-1) * b.square().sum(-1) + 1e-12).sqrt()).mean())

    def take(self, tokens: np.ndarray) -> Spatial:
        import torch

        whole = self.places is None
        layers = (
            self.places.shape[0]
            if not whole
            else tokens.shape[0]
            if tokens.ndim == 2
            else 4
            if self.keys is None
            else len(self.keys)
        )
        at = torch.as_tensor(
            np.broadcast_to(tokens, (layers, tokens.shape[-1])).copy(), device=self.memory.device
        ).long()
        memory = self.memory.expand(layers, -1, -1).gather(1, at[..., None].expand(-1, -1, self.memory.shape[2]))
        keys = self.keys
        if keys is not None:
            keys = keys.gather(2, at[:, None, :, None].expand(-1, 1, -1, keys.shape[3]))
        return Spatial(memory, keys, at if whole else self.places.gather(1, at))

    def mix(self, other: Spatial, weight: float) -> Spatial:
        mixed = (1 - weight) * self.memory.float() + weight * other.memory.float()
        return Spatial(mixed.to(self.memory.dtype), None)


class Sam2Network(Sam2Host):
    """Implements `vidmem.networks.base.Network`.

    model: a loaded `vidmem.networks.sam2.model.Sam2`. device: as torch names it. precision: `fp32` or `bf16` (autocast). post:
    what the official `apply_postprocessing` switches on: masks that a person shaped are remembered as 0 and 1, and an
    unstable single mask falls back to the best alternative. (Its hole filling needs a CUDA extension and is left out.)
    """

    runtime, overlaps = "pytorch", False

    def __init__(self, name: str, model, device="cpu", precision: str = "fp32", post: bool = True):
        import torch

        super().__init__(name, model.config.image_size, model.config.memories, post)
        self._torch, self.precision = torch, precision
        self.device = torch.device(device)
        self.model = model.eval().requires_grad_(False).to(self.device)
        self.no_pointer = self.model.no_obj_ptr[0]
        model = self.model  # recorded on a GPU; on a CPU these are the functions themselves
        self._encode_graph, self._decode_graph, self._memorize_graph = map(
            Recorded, (model.encode, model.decode, model.memorize)
        )
        self._attend_graph = Recorded(lambda feature, keys, memory: model.attend(feature, keys, memory))
        # Not a state of any video: which memories, whoever owns them, hold keys at present.
        self._with_keys: weakref.WeakSet[Spatial] = weakref.WeakSet()
        self.storage = Storage({Sam2Features: {}, Spatial: {}}, self._save, self._load, self._adopt)

    def attend(self, features: Sam2Features, plans: Sequence[ReadPlan]) -> list:
        rows = super().attend(features, plans)
        self._forget_keys({id(recall.entry.payload) for plan in plans for recall in plan.recalls})
        return rows

    def _forget_keys(self, used: set[int]) -> None:
        for spatial in list(self._with_keys):
            spatial.idle = 0 if id(spatial) in used else spatial.idle + 1
            if spatial.idle > IDLE:
                spatial.keys = None
                self._with_keys.discard(spatial)

    def _keys(self, spatial: Spatial):
        keys = spatial.keys
        if keys is None:
            attention, memory = self.model.memory_attention, spatial.memory.float()
            whole = spatial.places is None
            (keys,) = (
                self._run(attention.project, memory)
                if whole
                else self._run(attention.project_some, memory, spatial.places)
            )
            spatial.keys, spatial.idle = keys, 0
            self._with_keys.add(spatial)
        return keys

    def _read(self, features: Sam2Features, plans: list[ReadPlan]) -> tuple[Any, list[list[Usage]]]:
        """Rows with equally many tokens -> (R, 256, h, w), and of each row the usage, where the plans ask to watch."""
        torch, config = self._torch, self.model.config
        recalled = [[recall.entry.payload for recall in plan.recalls] for plan in plans]
        codes = [[int(r.tcode) for r in plan.recalls] for plan in plans]
        codes = [[code % config.memories for code in row] for row in codes]  # -1 is the last
        none = torch.zeros(0, config.hidden_dim, device=self.device)
        pointers = torch.stack(
            [torch.stack([p.entry.pointer for p in plan.pointers]) if plan.pointers else none for plan in plans]
        )
        distances = [[p.distance / plan.pointer_norm for p in plan.pointers] for plan in plans]
        distances = torch.tensor(distances, dtype=torch.float32, device=self.device)
        scales = [[r.key_scale for r in plan.recalls] for plan in plans]
        pointer_scales = None
        if any(p.key_scale != 1 for plan in plans for p in plan.pointers):
            pointer_scales = torch.tensor([[p.key_scale for p in plan.pointers] for plan in plans], device=self.device)
        keys, memory = self._run(
            self.model.gather, [[self._keys(s) for s in row] for row in recalled], [[s.memory.float() for s in row] for row in recalled],
            codes, pointers, distances, [[s.places for s in row] for row in recalled], scales, pointer_scales,
        )  # fmt: skip
        if not plans[0].watch:
            return self._run(self._attend_graph, features.feature, keys, memory)[0], []
        queries: list = []
        (out,) = self._run(self.model.attend, features.feature, keys, memory, queries)
        return out, [
            self._usage(queries, keys, row, [s.tokens for s in spatials]) for row, spatials in enumerate(recalled)
        ]

    def _usage(self, queries: list, keys, row: int, sizes: list[int]) -> list[Usage]:
        from vidmem.networks.sam2.memory_attention import attention_shares

        layers = [attention_shares(q[row], k[row], sizes) for q, k in zip(queries, keys)]
        used = []
        for i in range(len(sizes)):
            tokens = np.stack([tokens[i].float().cpu().numpy() for tokens, _ in layers])
            used.append(Usage(tokens, float(np.mean([shares[i] for _, shares in layers]))))
        return used

    def _encode(self, image) -> tuple:
        return self._run(self._encode_graph, image)

    def _blank_pointers(self, rows: int):
        return self.put(np.zeros((rows, 3, self.no_pointer.shape[0]), np.float32))

    def without_memory(self, feature):
        return self.model.without_memory(feature)

    def _mask_prompt(self, large: np.ndarray):
        """(S, S) bool -> (1, 1, S/4, S/4), what the decoder takes for a mask that is the answer."""
        return self._run(self.model.mask_downsample, self.put(large[None, None].astype(np.float32)))[0]

    def _decode(
        self, features: Sam2Features, images: list, points, labels, masks: list, given, several: bool, extra: list
    ) -> tuple:
        """extra: of each row its tokens beside the points, or nothing at all -> mask logits (R, K, 4h, 4w), IoU (R, K), object logit (R,) on the
        host, and pointers (R, 3, 256); K is 3, or 1."""
        from vidmem.networks.sam2.model import single_answer

        cat = self._torch.cat
        logits, iou, pointers, presence = self._run(
            self._decode_graph,
            cat(images),
            features.skip4,
            features.skip8,
            self.put(points),
            self.put(labels),
            cat(masks),
            self.put(given),
            *([cat(extra)] if extra else []),
        )
        if several:
            logits, iou, pointers = logits[:, 1:], iou[:, 1:], pointers[:, 1:]
        else:
            logits, iou = single_answer(logits, iou, self.post)
            pointers = pointers[:, :1].expand(-1, 3, -1)
        return self.host(logits), self.host(iou), pointers.float(), self.host(presence)

    def memorize(self, features: Sam2Features, candidates: Candidates, chosen: Sequence[Chosen]) -> list[Memory]:
        torch = self._torch
        logits = np.stack([candidates.mask_logits[c.row, c.candidate] for c in chosen])[:, None]
        present = torch.tensor([bool(candidates.object_logit[c.row] > 0) for c in chosen], device=self.device)
        binary = torch.tensor([c.prompted and self.post for c in chosen], device=self.device)
        memory, keys = self._run(self._memorize_graph, features.feature, self.put(logits), present, binary)
        # Copies, for a view would keep the whole batch.
        spatials = [Spatial(memory[i : i + 1].clone(), keys[:, i : i + 1].clone()) for i in range(len(chosen))]
        self._with_keys.update(spatials)
        return [Memory(s, s.nbytes, candidates.pointer[c.row, c.candidate].clone()) for s, c in zip(spatials, chosen)]

    def _run(self, function, *tensors) -> tuple:
        torch = self._torch
        # Without its cache of cast weights on a GPU: it is emptied at the end, and a recorded graph would go on reading it.
        half = torch.autocast(self.device.type, torch.bfloat16, cache_enabled=self.device.type == "cpu")
        half = half if self.precision == "bf16" else nullcontext()
        with torch.inference_mode(), half:  # in fp32 a caller's own autocast applies
            out = function(*tensors)
        return out if isinstance(out, tuple) else (out,)

    def _save(self, tensor) -> np.ndarray:
        """numpy has no bfloat16: its bits are written."""
        tensor = tensor.view(self._torch.int16) if tensor.dtype == self._torch.bfloat16 else tensor
        return tensor.cpu().numpy() if self._torch.is_tensor(tensor) else tensor

    def _load(self, array: np.ndarray):
        tensor = self.put(array)
        return tensor.view(self._torch.bfloat16) if tensor.dtype == self._torch.int16 else tensor

    def _adopt(self, spatial: Spatial, whole: Spatial) -> None:
        """Raises `ValueError` where it is not like the whole one, which has its keys."""
        layers, most, count = len(whole.keys), whole.tokens, spatial.tokens
        memory, keys, places = spatial.memory, spatial.keys, spatial.places
        rows = 1 if places is None else layers
        fits = (
            1 <= count <= most
            and tuple(memory.shape) == (rows, count, whole.memory.shape[2])
            and memory.dtype == whole.memory.dtype
        )
        if keys is not None:
            fits = (
                fits and tuple(keys.shape) == (layers, 1, count, whole.keys.shape[3]) and keys.dtype == whole.keys.dtype
            )
        if places is not None:
            whole_numbers = tuple(places.shape) == (layers, count) and places.dtype == self._torch.int64
            fits = fits and whole_numbers and int(places.min()) >= 0 and int(places.max()) < most
        if not fits or spatial.idle < 0:
            raise ValueError(f"a memory of the shape {tuple(memory.shape)}")
        if keys is not None:
            self._with_keys.add(spatial)

    def put(self, array: np.ndarray):
        return self._torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def host(self, tensor) -> np.ndarray:
        return tensor.float().cpu().numpy()
