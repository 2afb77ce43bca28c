"""Hiera, the image trunk: a hierarchical vision transformer with attention in windows (Ryali et al. 2023, 2306.00989)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidmem.networks.sam2.common import MLP
from vidmem.networks.sam2.config import Sam2Config


def to_windows(x: Tensor, side: int) -> Tensor:
    """(B, h, w, C) -> (B * windows, side, side, C); zeros fill the lower and right edge."""
    height, width = x.shape[1:3]
    x = F.pad(
        x, (0, 0, 0, (side - width % side) % side, 0, (side - height % side) % side)
    )  # exporters round -width % side wrongly
    return x.unflatten(2, (-1, side)).unflatten(1, (-1, side)).transpose(2, 3).flatten(0, 2)


def from_windows(windows: Tensor, side: int, height: int, width: int) -> Tensor:
    """The inverse of `to_windows`: (B * windows, side, side, C) -> (B, height, width, C)."""
    down, across = (height + side - 1) // side, (width + side - 1) // side
    x = windows.unflatten(0, (-1, down, across)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
    return x[:, :height, :width]


class WindowAttention(nn.Module):
    """Self-attention of a map; at a change of stage the queries are pooled 2x2, and so the result is a quarter."""

    def __init__(self, dim: int, dim_out: int, heads: int, pool: bool):
        super().__init__()
        self.heads, self.pool = heads, pool
        self.qkv, self.proj = nn.Linear(dim, 3 * dim_out), nn.Linear(dim_out, dim_out)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        if self.pool:
            q = pool2(q)
        height, width = q.shape[1:3]
        q, k, v = (t.flatten(1, 2).unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.proj(out.unflatten(1, (height, width)))


def pool2(x: Tensor) -> Tensor:
    """(B, h, w, C) -> (B, h/2, w/2, C), the maximum of each 2x2."""
    return F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


class Block(nn.Module):
    def __init__(self, dim: int, dim_out: int, heads: int, window: int, pool: bool):
        super().__init__()
        self.window, self.pool = window, pool
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim_out, eps=1e-6)
        self.attn = WindowAttention(dim, dim_out, heads, pool)
        self.mlp = MLP(dim_out, 4 * dim_out, dim_out, 2, nn.GELU())
        if dim != dim_out:
            self.proj = nn.Linear(dim, dim_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, dim) -> (B, h, w, dim_out), or half the sides where the block pools."""
        normed = self.norm1(x)
        shortcut = self.proj(normed) if hasattr(self, "proj") else x
        if self.pool:
            shortcut = pool2(shortcut)
        height, width = shortcut.shape[1:3]
        if self.window:
            attended = self.attn(to_windows(normed, self.window))
            attended = from_windows(attended, self.window // 2 if self.pool else self.window, height, width)
        else:
            attended = self.attn(normed)
        x = shortcut + attended
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, 7, 4, 3)

    def forward(self, image: Tensor) -> Tensor:
        return self.proj(image).permute(0, 2, 3, 1)


class Hiera(nn.Module):
    def __init__(self, config: Sam2Config):
        super().__init__()
        dim, heads = config.embed_dim, config.num_heads
        self.patch_embed = PatchEmbed(dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, dim, *config.background_size))
        self.pos_embed_window = nn.Parameter(torch.zeros(1, dim, config.windows[0], config.windows[0]))
        self.blocks, self.ends = nn.ModuleList(), []
        for stage, depth in enumerate(config.stages):
            for i in range(depth):
                pool = stage > 0 and i == 0
                # The first block of a stage still cuts its windows before pooling, with the stage's before it.
                window = config.windows[stage - 1 if pool else stage]
                number = len(self.blocks)
                out = dim * 2 if pool else dim
                heads = heads * 2 if pool else heads
                self.blocks.append(Block(dim, out, heads, 0 if number in config.global_blocks else window, pool))
                dim = out
            self.ends.append(len(self.blocks) - 1)

    def position(self, height: int, width: int) -> Tensor:
        """(1, h, w, dim): a smooth part for the whole map and a part that repeats in every window."""
        smooth = F.interpolate(self.pos_embed, size=(height, width), mode="bicubic")
        side = self.pos_embed_window.shape[-1]
        return (smooth + self.pos_embed_window.tile(1, 1, height // side, width // side)).permute(0, 2, 3, 1)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, S, S) normalised -> four maps (B, C, S/4, S/4) ... (B, 8C, S/32, S/32)."""
        x = self.patch_embed(image)
        x = x + self.position(*x.shape[1:3])
        maps = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self.ends:
                maps.append(x.permute(0, 3, 1, 2))
        return maps
