"""The image encoder: the trunk and a feature pyramid (paper, section 4, "Image encoder")."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vidmem.networks.sam2.config import Sam2Config
from vidmem.networks.sam2.hiera import Hiera


class Neck(nn.Module):
    """Brings every map to `hidden_dim` channels; only stride 16 also sees the coarser map."""

    def __init__(self, config: Sam2Config):
        super().__init__()
        channels = [config.embed_dim * 2**stage for stage in (3, 2, 1, 0)]
        self.convs = nn.ModuleList(_Lateral(c, config.hidden_dim) for c in channels)

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        s4, s8, s16, s32 = (conv(x) for conv, x in zip(reversed(self.convs), maps))
        return s4, s8, s16 + F.interpolate(s32, scale_factor=2.0, mode="nearest")


class _Lateral(nn.Module):
    def __init__(self, channels: int, out: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class ImageEncoder(nn.Module):
    def __init__(self, config: Sam2Config):
        super().__init__()
        self.trunk, self.neck = Hiera(config), Neck(config)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, S, S) normalised -> maps of 256 channels at strides 4, 8 and 16."""
        return self.neck(self.trunk(image))
