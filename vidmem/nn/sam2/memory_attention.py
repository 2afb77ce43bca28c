"""Memory attention: the current frame reads its memories (paper, section 4, "Memory attention").

What does not change between reads is done once. A memory's keys are projected and rotated when it is written; its temporal
code, which differs from read to read, is one vector that is projected and rotated into them (both maps are linear).
Values need no projection of their own: attention weights add up to one, so projecting the weighted mean of the raw memory
equals the weighted mean of projected memories, and the product with the weights has 64 columns instead of 256.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidmem.nn.sam2.common import Attention, rotary_tables, rotate, sine_grid
from vidmem.nn.sam2.config import Sam2Config

BLOCK = 1024
"""Queries and keys whose scores are held at a time: 4 MB in float32, which a processor's cache holds. On two cores this is a
sixth faster than torch's fused attention at 28,736 keys, and a quarter at 7,232 (it must carry 256-channel values)."""


def weighted_mean(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """softmax(q keys^T) values, block by block: q (N, C), keys (M, C), values (M, V) -> (N, V), float32.

    The running maximum and sum of Milakov and Gimelshein 2018 (arXiv 1805.02867), as in flash attention.
    """
    most = total = read = None
    for some_keys, some_values in zip(keys.split(BLOCK), values.split(BLOCK)):
        scores = (q @ some_keys.T).float()
        most_here = scores.amax(-1, keepdim=True)
        new = most_here if most is None else torch.maximum(most, most_here)
        weights = (scores - new).exp()
        part, sum_here = weights @ some_values, weights.sum(-1, keepdim=True)
        if most is None:
            total, read = sum_here, part.float()
        else:
            shrink = (most - new).exp()
            total, read = total * shrink + sum_here, read * shrink + part
        most = new
    return read / total


class SelfAttention(Attention):
    """One head with rotary positions."""

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        q, k = rotate(self.q_proj(x), cos, sin), rotate(self.k_proj(x), cos, sin)
        return self.out_proj(F.scaled_dot_product_attention(q[:, None], k[:, None], self.v_proj(x)[:, None])[:, 0])


class CrossAttention(Attention):
    """One head, from the frame's tokens to memory tokens."""

    def forward(self, x: Tensor, keys: Tensor, memory: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x (R, N, C), keys (R, M, C) as `MemoryAttention.project` made them, memory (R, M, 64) -> (R, N, C)."""
        q = rotate(self.q_proj(x), cos, sin) * keys.shape[-1] ** -0.5
        read = [
            torch.cat([weighted_mean(block, row_keys, row_memory) for block in row_q.split(BLOCK)])
            for row_q, row_keys, row_memory in zip(q, keys, memory)
        ]
        return self.out_proj(self.v_proj(torch.stack(read)))


class Layer(nn.Module):
    def __init__(self, config: Sam2Config):
        super().__init__()
        dim = config.hidden_dim
        self.self_attn, self.cross_attn_image = SelfAttention(dim, 1), CrossAttention(dim, 1, 1, config.memory_dim)
        self.linear1, self.linear2 = nn.Linear(dim, 2048), nn.Linear(2048, dim)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))

    def forward(self, x: Tensor, keys: Tensor, memory: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.norm1(x), cos, sin)
        # Until here nothing depends on the memories in the first layer: one row serves all.
        x = x + self.cross_attn_image(self.norm2(x).expand(keys.shape[0], -1, -1), keys, memory, cos, sin)
        # Row by row: the inner layer of five rows is 42 MB at 512 pixels, and beyond 32 MB every allocation is a new mapping.
        return torch.cat([row + self.linear2(F.relu(self.linear1(self.norm3(row)))) for row in x.split(1)])


class MemoryAttention(nn.Module):
    def __init__(self, config: Sam2Config):
        super().__init__()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.attention_layers))
        self.norm = nn.LayerNorm(config.hidden_dim)
        side = config.grid
        cos, sin = rotary_tables(config.hidden_dim, side, side)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.register_buffer("query_code", _tokens(sine_grid(config.hidden_dim, side, side)), persistent=False)
        self.register_buffer("memory_code", _tokens(sine_grid(config.memory_dim, side, side)), persistent=False)

    def project(self, memory: Tensor) -> Tensor:
        """Spatial memories (R, N, 64) -> their keys without temporal code (layers, R, N, 256), rotated."""
        coded = memory + self.memory_code
        return torch.stack([rotate(layer.cross_attn_image.k_proj(coded), self.cos, self.sin) for layer in self.layers])

    def project_pointers(self, tokens: Tensor, codes: Tensor) -> Tensor:
        """Pointer tokens and their temporal codes, both (R, P, 64) -> keys (layers, R, P, 256); those are not rotated."""
        return torch.stack([layer.cross_attn_image.k_proj(tokens + codes) for layer in self.layers])

    def time_keys(self, codes: Tensor) -> Tensor:
        """Temporal codes (K, 64) -> what each adds to a memory's keys (layers, K, 1, 256), before rotation."""
        return torch.stack([F.linear(codes, layer.cross_attn_image.k_proj.weight)[:, None] for layer in self.layers])

    def forward(self, feature: Tensor, keys: list[Tensor], memory: Tensor) -> Tensor:
        """feature (1, 256, h, w), keys: of each layer (R, M, 256), memory (R, M, 64) -> (R, 256, h, w)."""
        x = _tokens(feature) + 0.1 * self.query_code
        for layer, layer_keys in zip(self.layers, keys):
            x = layer(x, layer_keys, memory, self.cos, self.sin)
        return self.norm(x).transpose(1, 2).unflatten(2, feature.shape[-2:])


def _tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)
