"""The four functions of SAM 2 as ONNX graphs, with every constant of the input size computed beforehand.

Memory attention takes what a row recalls as plain arrays, one line for each token: its projected key, its memory, its temporal
code, its place in its frame, a factor, and a bias that hides it. So rows of any make-up (whole memories, a few tokens of some,
pointers or none) go through one graph, and engines with fixed shapes fill up with hidden tokens.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vidmem.networks.family import OPSET
from vidmem.networks.sam2.common import members, quarter_turn
from vidmem.networks.sam2.config import Sam2Config
from vidmem.networks.sam2.memory_attention import Layer
from vidmem.networks.sam2.model import Sam2, single_answer

QUERIES = 512
"""Queries whose scores exist at a time, so that they are not written to main memory: 59 MB in float32 at 28,736 keys."""
SAMPLE = 4
"""Every fourth query down and across says how a frame attended to its memories (`usage`)."""
INPUTS = {
    "encode": ("image",),
    "attend": (
        "feature", "keys", "memory", "code", "place", "scale", "pointers", "distances", "pointer_scale", "bias",
    ),
    "decode": ("conditioned", "skip4", "skip8", "points", "labels", "mask", "given"),
    "memorize": ("feature", "mask_logits", "present", "binary"),
}  # fmt: skip
OUTPUTS = {
    "encode": ("feature", "skip4", "skip8"),
    "attend": ("conditioned", "usage"),
    "decode": ("mask_logits", "iou", "pointers", "object_logit", "single_logits", "single_iou"),
    "memorize": ("memory", "keys"),
}


class Encode(nn.Module):
    def __init__(self, model: Sam2):
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `Sam2.encode`."""
        feature, skip4, skip8 = self.model.encode(image)
        return feature.float(), skip4.float(), skip8.float()  # whatever the products are in, borders are float32


class Attend(nn.Module):
    times: Tensor
    turned: Tensor
    key_bias: Tensor

    def __init__(self, model: Sam2):
        super().__init__()
        self.model, attention = model, model.memory_attention
        times = attention.time_keys(model.maskmem_tpos_enc[:, 0, 0])[:, :, 0]  # (layers, codes, 256)
        self.register_buffer("times", times.detach())
        self.register_buffer("turned", quarter_turn(times).detach())
        self.register_buffer("key_bias", attention.key_bias().detach())  # (layers, 1, 256)

    def forward(
        self,
        feature: Tensor,
        keys: Tensor,
        memory: Tensor,
        code: Tensor,
        place: Tensor,
        scale: Tensor,
        pointers: Tensor,
        distances: Tensor,
        pointer_scale: Tensor,
        bias: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """feature (1, 256, h, w), keys (layers, R, M, 256) and memory (layers, R, M, 64) of M spatial tokens, code (R, M) int64
        rows of `maskmem_tpos_enc`, place (layers, R, M) int64 in the frame, scale (R, M) key factors, pointers (R, P, 256),
        distances (R, P), pointer_scale (R, P), bias (R, M + 4 P) added to the scores: 0, or very negative for tokens that are
        not there -> conditioned (R, 256, h, w), and the mean attention (layers, R, M + 4 P) of a sample of queries."""  # fmt: skip
        model, attention = self.model, self.model.memory_attention
        tokens, codes = model._pointer_tokens(pointers, distances)
        pointer_keys = _scaled(
            attention.project_pointers(tokens, codes), pointer_scale.repeat_interleave(4, 1), self.key_bias[:, None]
        )
        x = feature.flatten(2).transpose(1, 2) + 0.1 * attention.query_code
        total = model.config.grid**2
        blocks = [min(QUERIES, total - first) for first in range(0, total, QUERIES)]
        usage = []
        for number, layer in enumerate(members(attention.layers, Layer)):
            cos, sin = attention.cos[place[number]], attention.sin[place[number]]
            free = cos * self.key_bias[number] + sin * quarter_turn(self.key_bias[number])
            spatial = keys[number] + cos * self.times[number][code] + sin * self.turned[number][code]
            whole = torch.cat([_scaled(spatial, scale, free), pointer_keys[number]], 1)
            values = torch.cat([memory[number], tokens], 1)
            x = x + layer.self_attn(layer.norm1(x), attention.cos, attention.sin)
            cross = layer.cross_attn_image
            q = cross.queries(layer.norm2(x).expand(keys.shape[1], -1, -1), attention.cos, attention.sin)
            keys_across, shift = whole.transpose(1, 2), bias[:, None]
            read = [(some @ keys_across + shift).softmax(-1) @ values for some in q.split(blocks, 1)]
            x = x + cross.out_proj(cross.v_proj(torch.cat(read, 1)))
            x = x + layer.linear2(torch.relu(layer.linear1(layer.norm3(x))))
            usage.append((sample(q, model.config.grid) @ keys_across + shift).softmax(-1).mean(1))
        return attention.norm(x).transpose(1, 2).unflatten(2, feature.shape[-2:]), torch.stack(usage)


def sample(queries: Tensor, side: int) -> Tensor:
    """(R, side * side, C) -> every `SAMPLE`th down and across, (R, n, C)."""
    grid = queries.unflatten(1, (side, side))
    return grid[:, SAMPLE // 2 :: SAMPLE, SAMPLE // 2 :: SAMPLE].flatten(1, 2)


def _scaled(keys: Tensor, factor: Tensor, free: Tensor) -> Tensor:
    """A factor on tokens before their projection: the projection's own bias (`free`) is not scaled."""
    return free + factor[..., None] * (keys - free)


class Decode(nn.Module):
    def __init__(self, model: Sam2):
        super().__init__()
        self.model = model

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        """As `Sam2.decode`, and the one answer of `single_answer`."""
        logits, iou, pointers, presence = (out.float() for out in self.model.decode(*arrays))
        return logits, iou, pointers, presence, *single_answer(logits, iou)


class Memorize(nn.Module):
    def __init__(self, model: Sam2):
        super().__init__()
        self.model = model

    def forward(self, *arrays: Tensor) -> tuple[Tensor, Tensor]:
        """As `Sam2.memorize`; the memory in float32, rounded to bfloat16."""
        memory, keys = self.model.memorize(*arrays)
        return memory.float(), keys.float()


MODULES = {"encode": Encode, "attend": Attend, "decode": Decode, "memorize": Memorize}


def constants(model: Sam2) -> dict[str, np.ndarray]:
    """What the host does itself: an object's first frame, and a mask that is the answer."""
    down = model.mask_downsample
    assert down.bias is not None
    tensors = {
        "no_mem_embed": model.no_mem_embed,
        "no_obj_ptr": model.no_obj_ptr,
        "mask_weight": down.weight,
        "mask_bias": down.bias,
    }
    return {name: tensor.detach().float().numpy() for name, tensor in tensors.items()}


def example(
    config: Sam2Config, graph: str, rows: int, tokens: int, pointers: int, points: int = 3
) -> tuple[Tensor, ...]:
    """Inputs of a graph, of these sizes."""
    g, layers, total = config.grid, config.attention_layers, tokens + 4 * pointers
    random = torch.Generator().manual_seed(0)
    rand = lambda *shape: torch.rand(*shape, generator=random)
    feature, zeros = rand(1, 256, g, g), lambda *shape: torch.zeros(shape, dtype=torch.int64)
    if graph == "encode":
        return (torch.zeros(1, config.image_size, config.image_size, 3, dtype=torch.uint8),)
    if graph == "attend":
        return (
            feature, rand(layers, rows, tokens, 256), rand(layers, rows, tokens, 64), zeros(rows, tokens),
            zeros(layers, rows, tokens), torch.ones(rows, tokens), rand(rows, pointers, 256), rand(rows, pointers),
            torch.ones(rows, pointers), torch.zeros(rows, total),
        )  # fmt: skip
    if graph == "decode":
        return (
            rand(rows, 256, g, g), rand(1, 32, 4 * g, 4 * g), rand(1, 64, 2 * g, 2 * g), rand(rows, points, 2),
            zeros(rows, points), rand(rows, 1, 4 * g, 4 * g), torch.zeros(rows, dtype=torch.bool),
        )  # fmt: skip
    return feature, rand(rows, 1, 4 * g, 4 * g), torch.ones(rows, dtype=torch.bool), torch.zeros(rows, dtype=torch.bool)


AXES = {
    "encode": {},
    "attend": {
        "keys": {1: "rows", 2: "tokens"}, "memory": {1: "rows", 2: "tokens"}, "code": {0: "rows", 1: "tokens"},
        "place": {1: "rows", 2: "tokens"}, "scale": {0: "rows", 1: "tokens"}, "pointers": {0: "rows", 1: "count"},
        "distances": {0: "rows", 1: "count"}, "pointer_scale": {0: "rows", 1: "count"}, "bias": {0: "rows", 1: "total"},
        "conditioned": {0: "rows"}, "usage": {1: "rows", 2: "total"},
    },
    "decode": {
        "conditioned": {0: "rows"}, "points": {0: "rows", 1: "points"}, "labels": {0: "rows", 1: "points"}, "mask": {0: "rows"},
        "given": {0: "rows"}, **{name: {0: "rows"} for name in OUTPUTS["decode"]},
    },
    "memorize": {
        "mask_logits": {0: "rows"}, "present": {0: "rows"}, "binary": {0: "rows"}, "memory": {0: "rows"}, "keys": {1: "rows"},
    },
}  # fmt: skip
"""Which axes an export leaves open; one for fixed shapes leaves `points` alone open."""


def export(model: Sam2, folder: Path, objects: int | None = None, slots: int = 7, pointers: int = 16) -> None:
    """Write encode, attend, decode and memorize.onnx and constants.npz.

    objects: None leaves rows, tokens and pointers open; a number fixes them: that many rows, `slots` whole memories and
    `pointers` pointers each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config, model = model.config, model.eval().requires_grad_(False)
    trunk = model.image_encoder.trunk
    first = config.image_size // 4
    code = trunk.position(first, first).detach()  # its interpolation leaves odd nodes in a graph
    vars(trunk)["position"] = lambda height, width: code
    try:
        for name, module in MODULES.items():
            tokens = slots * config.grid**2 if objects else 48
            arrays = example(config, name, objects or 2, tokens, pointers if objects else 3)
            axes = AXES[name]
            if objects:
                axes = {k: {i: a for i, a in v.items() if a == "points"} for k, v in axes.items()}
            torch.onnx.export(
                module(model), arrays, str(folder / f"{name}.onnx"), input_names=INPUTS[name], output_names=OUTPUTS[name],
                dynamic_axes={k: v for k, v in axes.items() if v}, opset_version=OPSET, dynamo=False,
            )  # fmt: skip
    finally:
        del trunk.position
    np.savez(folder / "constants.npz", allow_pickle=False, **constants(model))
