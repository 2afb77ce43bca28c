"""SAM 2 and 2.1 behind the network seam, on PyTorch.

What the official code decides with branches in its modules is decided here, on the host, from prompts and plans; the
modules stay free of branches on data. Rows that have the same number of tokens are one batch.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vidmem.errors import ModelError
from vidmem.runtime.base import Ask, Memory, pooled
from vidmem.types import Candidates, Chosen, Prompt, ReadPlan, Usage

IDLE = 8  # reads after which a memory that took no part gives up its keys
CLAMP = 32.0  # of a mask that is handed back to the decoder with a correction, as in the official predictor


class Features(NamedTuple):
    """One encoded frame; torch tensors."""

    feature: Any  # (1, 256, h, w)
    skip4: Any  # (1, 32, 4h, 4w)
    skip8: Any  # (1, 64, 2h, 2w)


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

    def similarity(self, other: Spatial) -> float:
        a, b = self.memory[0].float(), other.memory[0].float()
        return float(((a * b).sum(-1) / (a.square().sum(-1) * b.square().sum(-1) + 1e-12).sqrt()).mean())

    def take(self, tokens: np.ndarray) -> Spatial:
        import torch

        whole = self.places is None
        layers = self.places.shape[0] if not whole else tokens.shape[0] if tokens.ndim == 2 else 4 if self.keys is None else len(self.keys)
        at = torch.as_tensor(np.broadcast_to(tokens, (layers, tokens.shape[-1])).copy(), device=self.memory.device).long()
        memory = self.memory.expand(layers, -1, -1).gather(1, at[..., None].expand(-1, -1, self.memory.shape[2]))
        keys = self.keys
        if keys is not None:
            keys = keys.gather(2, at[:, None, :, None].expand(-1, 1, -1, keys.shape[3]))
        return Spatial(memory, keys, at if whole else self.places.gather(1, at))

    def mix(self, other: Spatial, weight: float) -> Spatial:
        mixed = (1 - weight) * self.memory.float() + weight * other.memory.float()
        return Spatial(mixed.to(self.memory.dtype), None)


class Read(NamedTuple):
    """What one row read."""

    conditioned: Any  # (1, 256, h, w)
    used: list[Usage]  # of each recall, where the plan asked to watch


class Question(NamedTuple):
    """One row's input to the decoder."""

    image: Any  # (1, 256, h, w)
    points: np.ndarray  # (P, 2) input pixels, the places without a point included
    labels: np.ndarray  # (P,)
    mask: Any | None  # (1, 1, 4h, 4w) logits
    several: bool  # three alternatives are asked for, not one answer


class Sam2Network:
    """Implements `vidmem.runtime.base.Network`.

    model: a loaded `vidmem.nn.sam2.model.Sam2`. device: as torch names it. precision: `fp32` or `bf16` (autocast). post:
    what the official `apply_postprocessing` switches on: masks that a person shaped are remembered as 0 and 1, and an
    unstable single mask falls back to the best alternative. (Its hole filling needs a CUDA extension and is left out.)
    """

    runtime = "pytorch"

    def __init__(self, name: str, model, device="cpu", precision: str = "fp32", post: bool = True):
        import torch

        check_settings(device, precision)
        self._torch, self.name, self.precision, self.post = torch, name, precision, post
        self.device = torch.device(device)
        self.model = model.eval().requires_grad_(False).to(self.device)
        self.size = model.config.image_size
        # Not a state of any video: which memories, whoever owns them, hold keys at present.
        self._with_keys: weakref.WeakSet[Spatial] = weakref.WeakSet()

    def encode(self, image: np.ndarray) -> Features:
        from PIL import Image

        if image.shape[:2] != (self.size, self.size):  # the official loader's filter, for the same pixels
            image = np.asarray(Image.fromarray(image).resize((self.size, self.size), Image.Resampling.BICUBIC))
        return Features(*self._run(self.model.encode, self._put(np.array(image[None]))))

    def attend(self, features: Features, plans: Sequence[ReadPlan]) -> list:
        """-> for each row its `Read`, or None where there is nothing to read."""
        rows: list = [None] * len(plans)
        groups: dict[tuple, list[int]] = {}
        for row, plan in enumerate(plans):
            if plan.recalls:
                tokens = sum(recall.entry.payload.tokens for recall in plan.recalls)
                groups.setdefault((tokens, len(plan.pointers), plan.watch), []).append(row)
        for members in groups.values():
            out, used = self._read(features, [plans[row] for row in members])
            for i, row in enumerate(members):
                rows[row] = Read(out[i : i + 1], used[i] if used else [])
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
            (keys,) = self._run(attention.project, memory) if whole else self._run(attention.project_some, memory, spatial.places)
            spatial.keys, spatial.idle = keys, 0
            self._with_keys.add(spatial)
        return keys

    def _read(self, features: Features, plans: list[ReadPlan]) -> tuple[Any, list[list[Usage]]]:
        """Rows with equally many tokens -> (R, 256, h, w), and of each row the usage, where the plans ask to watch."""
        torch, config = self._torch, self.model.config
        recalled = [[recall.entry.payload for recall in plan.recalls] for plan in plans]
        codes = [[int(r.tcode) for r in plan.recalls] for plan in plans]
        if max(map(max, codes)) > config.memories - 2:
            most = f"{config.memories - 1} tracked frames, and the bank recalls more: use slots={config.memories} at most"
            raise ModelError(f"{self.name} has temporal codes for {most}")
        codes = [[code % config.memories for code in row] for row in codes]  # -1 is the last
        none = torch.zeros(0, config.hidden_dim, device=self.device)
        pointers = torch.stack([torch.stack([p.entry.pointer for p in plan.pointers]) if plan.pointers else none for plan in plans])
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
        queries: list | None = [] if plans[0].watch else None
        (out,) = self._run(self.model.attend, features.feature, keys, memory, queries)
        if queries is None:
            return out, []
        return out, [self._usage(queries, keys, row, [s.tokens for s in spatials]) for row, spatials in enumerate(recalled)]

    def _usage(self, queries: list, keys, row: int, sizes: list[int]) -> list[Usage]:
        from vidmem.nn.sam2.memory_attention import attention_shares

        layers = [attention_shares(q[row], k[row], sizes) for q, k in zip(queries, keys)]
        used = []
        for i in range(len(sizes)):
            tokens = np.stack([tokens[i].float().cpu().numpy() for tokens, _ in layers])
            used.append(Usage(tokens, float(np.mean([shares[i] for _, shares in layers]))))
        return used

    def usage(self, features: Features, conditioned: list, plans: Sequence[ReadPlan]) -> list[list[Usage]]:
        return [[] if read is None else read.used for read in conditioned]

    def describe(self, features: Features) -> np.ndarray:
        return pooled(features.feature[0].float().permute(1, 2, 0).cpu().numpy())

    def decode(self, features: Features, conditioned: list, asks: Sequence[Ask | None]) -> Candidates:
        torch, side = self._torch, self.size // 4
        logits, iou = np.full((len(asks), 3, side, side), -CLAMP, np.float32), np.zeros((len(asks), 3), np.float32)
        presence = np.full(len(asks), -CLAMP, np.float32)
        pointers = torch.zeros(len(asks), 3, self.model.config.hidden_dim, device=self.device)
        maps = [read and read.conditioned for read in conditioned]
        questions = {row: self._question(features, maps[row], ask) for row, ask in enumerate(asks)}
        groups: dict[tuple[int, bool], list[int]] = {}
        for row, question in questions.items():
            if question is not None:
                groups.setdefault((len(question.labels), question.several), []).append(row)
        for rows in groups.values():
            answer = self._answer(features, [questions[row] for row in rows])
            logits[rows], iou[rows], pointers[rows], presence[rows] = answer
        for row, ask in enumerate(asks):
            if ask is not None and _is_answer(ask.prompt):
                mask = self._large(ask.prompt.mask)
                present = bool(mask.any())
                logits[row], iou[row], presence[row] = self._small(mask), (1, 0, 0), 10.0 if present else -10.0
                if not present:
                    pointers[row] = self.model.no_obj_ptr
        return Candidates(logits, iou, presence, pointers)

    def _question(self, features: Features, conditioned, ask: Ask | None) -> Question | None:
        model, empty = self.model, (np.zeros((0, 2), np.float32), np.zeros(0, np.int64))
        if ask is None:
            points, labels = _padded(*empty)
            return None if conditioned is None else Question(conditioned, points, labels, None, True)
        if _is_answer(ask.prompt):  # a pass for the pointer alone
            (mask,) = self._run(model.mask_downsample, self._large(ask.prompt.mask).float())
            return Question(features.feature, *_padded(*empty), mask, False)
        image = model.without_memory(features.feature) if ask.fresh or conditioned is None else conditioned
        points, labels = self._points(ask)
        mask = None
        if ask.prompt.mask is not None:
            mask = self._put(self._small(self._large(ask.prompt.mask))[None, None])
        elif ask.mask_logits is not None:
            mask = self._put(ask.mask_logits.clip(-CLAMP, CLAMP)[None, None])
        return Question(image, *_padded(points, labels), mask, len(labels) <= 1)

    def _points(self, ask: Ask) -> tuple[np.ndarray, np.ndarray]:
        """A box is its two corners, before the clicks."""
        points, labels = [], []
        if ask.prompt.box is not None:
            points, labels = list(ask.prompt.box.reshape(2, 2)), [2, 3]
        if ask.prompt.points is not None:
            points, labels = points + list(ask.prompt.points), labels + ask.prompt.labels.tolist()
        scale = np.array([ask.size[1], ask.size[0]], np.float32)
        return np.array(points, np.float32).reshape(-1, 2) / scale * self.size, np.array(labels, np.int64)

    def _answer(self, features: Features, questions: list[Question]) -> tuple:
        """Questions with equally many points -> mask logits (R, 3, 4h, 4w), IoU (R, 3), pointers (R, 3, 256), object logit.

        A single answer fills all three places, and its IoU only the first, so that it is the one chosen.
        """
        from vidmem.nn.sam2.model import NO_OBJECT, single_answer

        torch, side = self._torch, self.size // 4
        given = [q.mask is not None for q in questions]
        blank = torch.zeros(1, 1, side, side, device=self.device)
        logits, iou, pointers, presence = self._run(
            self.model.decode,
            torch.cat([q.image for q in questions]), features.skip4, features.skip8,
            self._put(np.stack([q.points for q in questions])), self._put(np.stack([q.labels for q in questions])),
            torch.cat([blank if q.mask is None else q.mask for q in questions]), torch.tensor(given, device=self.device),
        )  # fmt: skip
        if questions[0].several:
            logits, iou, pointers = logits[:, 1:], iou[:, 1:], pointers[:, 1:]
        else:
            logits, first = single_answer(logits, iou, self.post)
            logits, pointers = logits.expand(-1, 3, -1, -1), pointers[:, :1].expand(-1, 3, -1)
            iou = torch.cat([first, torch.zeros_like(first).expand(-1, 2)], 1)
        logits = torch.where((presence > 0)[:, None, None, None], logits, NO_OBJECT)
        return logits.float().cpu().numpy(), iou.float().cpu().numpy(), pointers.float(), presence.float().cpu().numpy()

    def memorize(self, features: Features, candidates: Candidates, chosen: Sequence[Chosen]) -> list[Memory]:
        torch = self._torch
        logits = np.stack([candidates.mask_logits[c.row, c.candidate] for c in chosen])[:, None]
        present = torch.tensor([bool(candidates.object_logit[c.row] > 0) for c in chosen], device=self.device)
        binary = torch.tensor([c.prompted and self.post for c in chosen], device=self.device)
        memory, keys = self._run(self.model.memorize, features.feature, self._put(logits), present, binary)
        # Copies, for a view would keep the whole batch.
        spatials = [Spatial(memory[i : i + 1].clone(), keys[:, i : i + 1].clone()) for i in range(len(chosen))]
        self._with_keys.update(spatials)
        return [Memory(s, s.nbytes, candidates.pointer[c.row, c.candidate].clone()) for s, c in zip(spatials, chosen)]

    # Small parts -----------------------------------------------------------------------------------------------------
    def _run(self, function, *tensors) -> tuple:
        torch = self._torch
        half = torch.autocast(self.device.type, torch.bfloat16) if self.precision == "bf16" else nullcontext()
        with torch.inference_mode(), half:  # in fp32 a caller's own autocast applies
            out = function(*tensors)
        return out if isinstance(out, tuple) else (out,)

    def _put(self, array: np.ndarray):
        return self._torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def _large(self, mask: np.ndarray):
        """(H, W) bool -> (1, 1, S, S) bool at the network's size."""
        mask = self._put(mask[None, None].astype(np.float32))
        if mask.shape[2:] == (self.size, self.size):
            return mask > 0
        return self._resize(mask, self.size) >= 0.5

    def _small(self, mask) -> np.ndarray:
        """(1, 1, S, S) bool -> (S/4, S/4) float32 logits of a mask that is certain."""
        from vidmem.nn.sam2.model import SURE

        return self._resize(mask.float() * 2 * SURE - SURE, self.size // 4)[0, 0].cpu().numpy()

    def _resize(self, mask, side: int):
        resize = self._torch.nn.functional.interpolate
        return resize(mask, size=(side, side), mode="bilinear", align_corners=False, antialias=True)


def check_settings(device, precision: str) -> None:
    """Raises `ModelError` for a precision that there is not, or a GPU that torch does not see."""
    import torch

    if precision not in ("fp32", "bf16"):
        raise ModelError(f"precision={precision!r}; expected 'fp32' or 'bf16'")
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"device {str(device)!r} was asked for, but torch {torch.__version__} sees no GPU; use 'cpu'")


def _is_answer(prompt: Prompt) -> bool:
    """A mask alone is the frame's answer (`use_mask_input_as_output_without_sam`)."""
    return prompt.mask is not None and prompt.points is None and prompt.box is None


def _padded(points: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """With the place without a point that SAM appends; a row without any point has two of them."""
    more = 1 if len(labels) else 2
    return np.concatenate([points, np.zeros((more, 2), np.float32)]), np.concatenate([labels, np.full(more, -1)])
