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

from vidmem.networks.sam2.common import Projections, members, rotary_tables, rotate, sine_grid
from vidmem.networks.sam2.config import Sam2Config

BLOCK = 1024
"""Queries and keys whose scores are held at a time: 4 MB in float32, which a processor's cache holds. On two cores this is a
sixth faster than torch's fused attention at 28,736 keys, and a quarter at 7,232 (it must carry 256-channel values)."""


def weighted_mean(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """softmax(q keys^T) values, block by block: q (N, C), keys (M, C), values (M, V) -> (N, V), float32.

    The running maximum and sum of Milakov and Gimelshein 2018 (arXiv 1805.02867), as in flash attention.
    """
    most: Tensor | None = None
    total = read = torch.zeros(())  # until the first block
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


class SelfAttention(Projections):
    """One head with rotary positions."""

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        q, k = rotate(self.q_proj(x), cos, sin), rotate(self.k_proj(x), cos, sin)
        return self.out_proj(F.scaled_dot_product_attention(q[:, None], k[:, None], self.v_proj(x)[:, None])[:, 0])


class CrossAttention(Projections):
    """One head, from the frame's tokens to memory tokens."""

    def forward(self, x: Tensor, keys: Tensor, memory: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x (R, N, C), keys (R, M, C) as `MemoryAttention.project` made them, memory (R, M, 64) -> (R, N, C)."""
        q = self.queries(x, cos, sin)
        read = [
            torch.cat([weighted_mean(block, row_keys, row_memory) for block in row_q.split(BLOCK)])
            for row_q, row_keys, row_memory in zip(q, keys, memory)
        ]
        return self.out_proj(self.v_proj(torch.stack(read)))

    def queries(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        return rotate(self.q_proj(x), cos, sin) * self.q_proj.out_features**-0.5


class Layer(nn.Module):
    def __init__(self, config: Sam2Config):
        super().__init__()
        dim = config.hidden_dim
        self.self_attn, self.cross_attn_image = SelfAttention(dim), CrossAttention(dim, memory_dim=config.memory_dim)
        self.linear1, self.linear2 = nn.Linear(dim, 2048), nn.Linear(2048, dim)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))

    def forward(
        self, x: Tensor, keys: Tensor, memory: Tensor, cos: Tensor, sin: Tensor, queries: list | None = None
    ) -> Tensor:
        """queries: a list that takes the queries of the cross-attention, for `attention_shares`."""
        x = x + self.self_attn(self.norm1(x), cos, sin)
        if queries is not None:
            queries.append(self.cross_attn_image.queries(self.norm2(x).expand(keys.shape[0], -1, -1), cos, sin))
        # Until here nothing depends on the memories in the first layer: one row serves all.
        x = x + self.cross_attn_image(self.norm2(x).expand(keys.shape[0], -1, -1), keys, memory, cos, sin)
        # Row by row: the inner layer of five rows is 42 MB at 512 pixels, and beyond 32 MB every allocation is a new mapping.
        return torch.cat([row + self.linear2(F.relu(self.linear1(self.norm3(row)))) for row in x.split(1)])


class MemoryAttention(nn.Module):
    cos: Tensor
    sin: Tensor
    query_code: Tensor
    memory_code: Tensor

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

    def _key_maps(self) -> list[nn.Linear]:
        """What makes the keys, of each layer."""
        return [layer.cross_attn_image.k_proj for layer in members(self.layers, Layer)]

    def project(self, memory: Tensor) -> Tensor:
        """Spatial memories (R, N, 64) -> their keys without temporal code (layers, R, N, 256), rotated."""
        coded = memory + self.memory_code
        return torch.stack([rotate(key(coded), self.cos, self.sin) for key in self._key_maps()])

    def project_some(self, memory: Tensor, places: Tensor) -> Tensor:
        """The same for each layer's own tokens: memory (layers, n, 64), places (layers, n) in the frame -> (layers, 1, n, 256)."""
        keys = [
            rotate(key(tokens + self.memory_code[0, at]), self.cos[at], self.sin[at])
            for key, tokens, at in zip(self._key_maps(), memory, places)
        ]
        return torch.stack(keys)[:, None]

    def key_bias(self) -> Tensor:
        """(layers, 1, 256): what a key holds besides its token."""
        return torch.stack([key.bias[None] for key in self._key_maps()])

    def project_pointers(self, tokens: Tensor, codes: Tensor) -> Tensor:
        """Pointer tokens and their temporal codes, both (R, P, 64) -> keys (layers, R, P, 256); those are not rotated."""
        return torch.stack([key(tokens + codes) for key in self._key_maps()])

    def time_keys(self, codes: Tensor) -> Tensor:
        """Temporal codes (K, 64) -> what each adds to a memory's keys (layers, K, 1, 256), before rotation."""
        return torch.stack([F.linear(codes, key.weight)[:, None] for key in self._key_maps()])

    def forward(self, feature: Tensor, keys: list[Tensor], memory: Tensor, queries: list | None = None) -> Tensor:
        """feature (1, 256, h, w), keys: of each layer (R, M, 256), memory (R, M, 64), or (layers, R, M, 64) where each layer
        reads other tokens -> (R, 256, h, w). queries: a list that takes each layer's (R, N, 256)."""
        x = _tokens(feature) + 0.1 * self.query_code
        for number, (layer, layer_keys) in enumerate(zip(self.layers, keys)):
            x = layer(x, layer_keys, memory if memory.ndim == 3 else memory[number], self.cos, self.sin, queries)
        return self.norm(x).transpose(1, 2).unflatten(2, feature.shape[-2:])


def attention_shares(queries: Tensor, keys: Tensor, sizes: list[int]) -> tuple[list[Tensor], list[float]]:
    """How one layer's queries (N, C) of one row attend to pieces of its keys (M, C), the first `sizes` of them -> of each
    piece the share of its own attention that each token gets (n,), and the piece's share of all; means over queries."""
    tokens, shares = [queries.new_zeros(())] * len(sizes), [0.0] * len(sizes)
    for some in queries.split(BLOCK // 4):
        pieces = (some @ keys.T).float().softmax(-1).split([*sizes, keys.shape[0] - sum(sizes)], -1)
        for i, piece in enumerate(pieces[: len(sizes)]):
            total = piece.sum(-1, keepdim=True)
            tokens[i] = tokens[i] + (piece / total.clamp(min=1e-12)).sum(0) / len(queries)
            shares[i] += float(total.sum()) / len(queries)
    return tokens, shares


def _tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)
