"""The memory encoder: a mask and the frame's features to one spatial memory (paper, section 4, "Memory encoder")."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidmem.networks.sam2.common import LayerNorm2d
from vidmem.networks.sam2.config import Sam2Config


class MaskDownSampler(nn.Module):
    """(B, 1, S, S) -> (B, 256, S/16, S/16): four halvings, each with four times the channels."""

    def __init__(self, dim: int):
        super().__init__()
        layers, channels = [], 1
        for _ in range(4):
            layers += [nn.Conv2d(channels, 4 * channels, 3, 2, 1), LayerNorm2d(4 * channels), nn.GELU()]
            channels *= 4
        self.encoder = nn.Sequential(*layers, nn.Conv2d(channels, dim, 1))

    def forward(self, mask: Tensor) -> Tensor:
        return self.encoder(mask)


class ConvNextBlock(nn.Module):
    """Depthwise 7x7, then a pointwise bottleneck (Liu et al. 2022, arXiv 2201.03545)."""

    def __init__(self, dim: int):
        super().__init__()
        self.dwconv, self.norm = nn.Conv2d(dim, dim, 7, padding=3, groups=dim), LayerNorm2d(dim)
        self.pwconv1, self.pwconv2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.gamma, self.activation = nn.Parameter(torch.full((dim,), 1e-6)), nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm(self.dwconv(x)).permute(0, 2, 3, 1)
        inner = self.gamma * self.pwconv2(self.activation(self.pwconv1(inner)))
        return x + inner.permute(0, 3, 1, 2)


class Fuser(nn.Module):
    def __init__(self, dim: int, depth: int = 2):
        super().__init__()
        self.layers = nn.ModuleList(ConvNextBlock(dim) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class MemoryEncoder(nn.Module):
    def __init__(self, config: Sam2Config):
        super().__init__()
        self.mask_downsampler = MaskDownSampler(config.hidden_dim)
        self.pix_feat_proj = nn.Conv2d(config.hidden_dim, config.hidden_dim, 1)
        self.fuser = Fuser(config.hidden_dim)
        self.out_proj = nn.Conv2d(config.hidden_dim, config.memory_dim, 1)

    def forward(self, feature: Tensor, mask: Tensor) -> Tensor:
        """feature (1 or R, 256, h, w), without memory; mask (R, 1, S, S) scaled to -10..10 -> (R, 64, h, w)."""
        return self.out_proj(self.fuser(self.pix_feat_proj(feature) + self.mask_downsampler(mask)))
