"""What ReSurgSAM2's original and ours are both given: weights by name, words, pictures, scripted scores. Used by the suite, which compares
with golden tensors, and by `scripts/check_resurgsam2.py`, which makes them."""

from __future__ import annotations

import zlib

import numpy as np
import torch

WORDS = 7
"""Tokens of the text, its begin and end included."""


def randomize(tensors: dict[str, torch.Tensor], seed: int = 0) -> None:
    """Every weight from its own name, so that two modules which order them differently get the same; scaled to keep activations near one."""
    with torch.no_grad():
        for name, weight in tensors.items():
            random = torch.Generator().manual_seed(zlib.crc32(name.encode()) + seed)
            noise = torch.randn(weight.shape, generator=random)
            if name.endswith("pred_obj_score_head.layers.2.bias"):
                weight.fill_(2.0)  # else the object is nowhere, and every mask is empty
            elif name.endswith("_log"):
                weight.copy_(noise.abs())
            elif "grn" in name or "temporal_pos_embed" in name or (name.endswith("gamma") and weight.ndim == 1):
                weight.copy_(0.3 * noise)
            elif weight.ndim > 1:
                weight.copy_(noise / max(10.0, weight[0].numel()) ** 0.5)
            elif "norm" in name and name.endswith("weight"):
                weight.copy_(1 + 0.1 * noise)
            else:
                weight.copy_(0.05 * noise)


def said(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """What a text tower would say: hidden (1, WORDS, 512) and pooled (1, 512)."""
    random = torch.Generator().manual_seed(100 + seed)
    return torch.randn(1, WORDS, 512, generator=random), torch.randn(1, 512, generator=random)


def features(count: int, side: int) -> torch.Tensor:
    """(count, 256, side, side)."""
    return torch.randn(count, 256, side, side, generator=torch.Generator().manual_seed(7))


def pictures(count: int, size: int, seed: int = 0) -> list[np.ndarray]:
    """Smooth noise that drifts; (size, size, 3) uint8."""
    import cv2

    coarse = np.random.default_rng(seed).integers(0, 255, (size // 8, size // 8, 3)).astype(np.uint8)
    large = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return [np.roll(large, 2 * t, 1) for t in range(count)]


def script(decoder, names: torch.Tensor, scores: list[list[tuple[float, float]]]) -> dict:
    """Overwrite what the decoder says of frame `state["t"]`: an object logit, and the IoU of its second alternative, the others' being 0.01.

    names (N, 256): the prompt token of each object, by which a row is known; scores: of each object a pair for each frame. Both decoders take
    it. Random weights give nearly the same scores on every frame.
    """
    state, forward = {"t": 0}, decoder.forward

    def scripted(*args, **kwargs):
        logits, iou, tokens, presence = forward(*args, **kwargs)
        prompt = kwargs["sparse_prompt_embeddings"] if kwargs else args[2]
        whose = torch.cdist(prompt[:, 2], names).argmin(1)  # behind two places without a point
        said = torch.tensor([scores[i][state["t"]] for i in whose.tolist()])
        iou = torch.full_like(iou, 0.01)
        iou[:, iou.shape[1] - 2] = said[:, 1]
        return logits, iou, tokens, said[:, 0].reshape(presence.shape)

    decoder.forward = scripted
    return state
