"""The Mamba layers of CSTMamba: along the sequence, against it, and through time at each place (Liu et al. 2025, arXiv 2505.08581)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidmem.networks.resurgsam2.scan import selective_scan

STATES, WIDTH, RANK = 16, 4, 16
"""States of a channel, places that the convolution sees, channels from which a step's length is made."""
WAYS = ("", "_b", "_s")
"""Suffixes of the checkpoint's names: forward, backward, and time fastest."""


class Mamba(nn.Module):
    """Three scans of one sequence, each with its own numbers; their mean is projected once."""

    def __init__(self, dim: int):
        super().__init__()
        inner = 2 * dim
        self.in_proj, self.out_proj = nn.Linear(dim, 2 * inner, bias=False), nn.Linear(inner, dim, bias=False)
        for way in WAYS:
            self.add_module(f"conv1d{way}", nn.Conv1d(inner, inner, WIDTH, groups=inner, padding=WIDTH - 1))
            self.add_module(f"x_proj{way}", nn.Linear(inner, RANK + 2 * STATES, bias=False))
            self.add_module(f"dt_proj{way}", nn.Linear(RANK, inner))
            steps = torch.arange(1, STATES + 1).float().log().repeat(inner, 1)
            self.register_parameter(f"A{way}_log", nn.Parameter(steps))
            self.register_parameter(f"D{way}", nn.Parameter(torch.ones(inner)))

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """x (B, L, dim), the newest frame first, each row by row -> the same shape."""
        rows, length = int(x.shape[0]), int(x.shape[1])  # numbers in a traced graph too
        xz = self.in_proj(x)
        by_place = xz.unflatten(1, (frames, -1)).transpose(1, 2).flatten(1, 2)
        inputs = [
            self._inputs(way, sequence) for way, sequence in zip(WAYS, (xz, xz.flip(1), by_place))
        ]  # of each way u, dt, A, B, C, the gate and D u
        u, dt, b, c = (torch.cat([one[i] for one in inputs]).transpose(0, 1) for i in (0, 1, 3, 4))
        a = torch.cat([one[2].expand(rows, -1, -1) for one in inputs])
        scanned = selective_scan(u, dt, a, b, c).transpose(0, 1).split(rows)
        forward, backward, through_time = ((y + one[6]) * F.silu(one[5].float()) for y, one in zip(scanned, inputs))
        through_time = through_time.unflatten(1, (length // frames, frames)).transpose(1, 2).flatten(1, 2)
        return self.out_proj((forward + backward.flip(1) + through_time).to(xz.dtype) / 3)

    def _inputs(self, way: str, xz: Tensor) -> tuple[Tensor, ...]:
        x, gate = xz.chunk(2, -1)
        convolve, log = getattr(self, f"conv1d{way}"), getattr(self, f"A{way}_log")
        u = F.silu(convolve(x.transpose(1, 2))[..., : x.shape[1]]).transpose(1, 2)
        length, b, c = getattr(self, f"x_proj{way}")(u).split([RANK, STATES, STATES], -1)
        dt = F.softplus(getattr(self, f"dt_proj{way}")(length).float())
        return u, dt, -log.float().exp()[None], b, c, gate, getattr(self, f"D{way}") * u


class ResponseNorm(nn.Module):
    """The original's global response normalisation as it runs there: on (B, L, C) its norm is one number for each sample, over tokens and
    channels together, and its mean over channels is that number again; so it is nearly `x + gamma x + beta`."""

    def __init__(self, channels: int):
        super().__init__()
        self.gamma, self.beta = (nn.Parameter(torch.zeros(1, 1, channels)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        norm = x.float().square().sum((1, 2), keepdim=True).sqrt()
        return self.gamma * (x * (norm / (norm + 1e-6)).to(x.dtype)) + self.beta + x


class DepthwiseConv(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """x (B, frames * side * side, dim), each frame as a picture of its own."""
        side = math.isqrt(int(x.shape[1]) // frames)
        maps = x.unflatten(1, (frames, side, side)).flatten(0, 1).permute(0, 3, 1, 2)
        return self.dwconv(maps).permute(0, 2, 3, 1).reshape(x.shape)


class PictureMLP(nn.Module):
    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.dwconv, self.norm, self.grn = DepthwiseConv(dim), nn.LayerNorm(dim), ResponseNorm(hidden)
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        return self.fc2(self.grn(F.gelu(self.fc1(self.norm(self.dwconv(x, frames))))))


class MambaLayer(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.mamba, self.mlp = Mamba(dim), PictureMLP(dim, 4 * dim)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        x = x + self.mamba(self.norm1(x), frames)
        return x + self.mlp(self.norm2(x), frames)
