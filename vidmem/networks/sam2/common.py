"""Small layers and fixed position codes that several boxes of the network share."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Kind = TypeVar("Kind", bound=nn.Module)


def members(modules: Iterable[nn.Module], kind: type[Kind]) -> list[Kind]:
    """A list's modules under their own type; torch's `ModuleList` has only `Module`."""
    return [module for module in modules if isinstance(module, kind)]


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of (B, C, h, w)."""

    def __init__(self, channels: int, eps: float = 1e-6):
        super().__init__()
        self.weight, self.bias, self.eps = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels)), eps

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps).permute(
            0, 3, 1, 2
        )


class MLP(nn.Module):
    """`depth` linear layers with an activation between them."""

    def __init__(self, dim: int, hidden: int, out: int, depth: int, activation: nn.Module | None = None):
        super().__init__()
        sizes = [dim] + [hidden] * (depth - 1) + [out]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.activation = activation or nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        *inner, last = self.layers
        for layer in inner:
            x = self.activation(layer(x))
        return last(x)


class Projections(nn.Module):
    """The four linear maps of an attention, whose inner width may be smaller than its outer one."""

    def __init__(self, dim: int, shrink: int = 1, memory_dim: int | None = None):
        super().__init__()
        inner = dim // shrink
        self.q_proj = nn.Linear(dim, inner)
        self.k_proj, self.v_proj = nn.Linear(memory_dim or dim, inner), nn.Linear(memory_dim or dim, inner)
        self.out_proj = nn.Linear(inner, dim)


class Attention(Projections):
    """With several heads."""

    def __init__(self, dim: int, heads: int, shrink: int = 1):
        super().__init__(dim, shrink)
        self.heads = heads

    def _split(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, heads, N, C / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q (B, N, dim), k and v (B, M, dim) -> (B, N, dim)."""
        q, k, v = self._split(self.q_proj(q)), self._split(self.k_proj(k)), self._split(self.v_proj(v))
        out = F.scaled_dot_product_attention(q, k, v)
        return self.out_proj(out.transpose(1, 2).flatten(2))


def sine_grid(dim: int, height: int, width: int, temperature: float = 10000.0) -> Tensor:
    """(1, dim, h, w): half the channels code the row, half the column, each as interleaved sines and cosines."""
    half = dim // 2
    scale = temperature ** (2 * (torch.arange(half) // 2) / half)

    def code(length: int) -> Tensor:
        angle = (torch.arange(1, length + 1) / (length + 1e-6) * 2 * math.pi)[:, None] / scale
        return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], -1).flatten(1)

    rows = code(height)[:, None].expand(-1, width, -1)
    columns = code(width)[None].expand(height, -1, -1)
    return torch.cat([rows, columns], -1).permute(2, 0, 1)[None]


def sine_time(distance: Tensor, dim: int, temperature: float = 10000.0) -> Tensor:
    """distance (...,) -> (..., dim): sines, then cosines."""
    half = dim // 2
    angle = distance[..., None] / temperature ** (2 * (torch.arange(half, device=distance.device) // 2) / half)
    return torch.cat([angle.sin(), angle.cos()], -1)


def rotary_tables(dim: int, height: int, width: int, theta: float = 10000.0) -> tuple[Tensor, Tensor]:
    """Axial rotary position embedding as real numbers: cosines and sines (h*w, dim), each value twice in a row.

    The first half of the channel pairs turns with the column, the second with the row. Complex numbers, as in the
    official code, do not export.
    """
    speed = theta ** -(torch.arange(0, dim, 4)[: dim // 4] / dim)
    cell = torch.arange(height * width)
    angle = torch.cat([torch.outer((cell % width).float(), speed), torch.outer((cell // width).float(), speed)], -1)
    return angle.cos().repeat_interleave(2, -1), angle.sin().repeat_interleave(2, -1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of channels of x (..., N, dim) by its position's angle; computed in float32, returned as x came."""
    return (x * cos + quarter_turn(x) * sin).to(x.dtype)


def quarter_turn(x: Tensor) -> Tensor:
    """Each pair of channels (a, b) -> (-b, a)."""
    return torch.stack([-x[..., 1::2], x[..., 0::2]], -1).flatten(-2)
