"""The image encoder of `nano`: a pretrained backbone with a top-down path."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidmem.networks.nano.backbone import TAPS, Backbone


def conv_bn(cin: int, cout: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(cin, cout, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(cout))


class Residual(nn.Module):
    """Two 3x3 convolutions with a shortcut; the first may halve the resolution."""

    def __init__(self, cin: int, cout: int, stride: int = 1):
        super().__init__()
        self.conv1, self.conv2 = conv_bn(cin, cout, 3, stride), conv_bn(cout, cout)
        self.shortcut = conv_bn(cin, cout, 1, stride) if stride > 1 or cin != cout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.conv2(F.relu(self.conv1(x))))


def upsample2(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class Encoder(nn.Module):
    """Image to a stride-8 feature map, a stride-4 skip, unit-length matching keys and, at stride 16, unit-length identities."""

    def __init__(self, width: int, feature_dim: int, key_dim: int, identity_dim: int, skip_dim: int):
        super().__init__()
        w4, w8, w16, w32 = TAPS.values()
        self.backbone = Backbone()
        self.lateral32, self.lateral16, self.lateral8 = (nn.Conv2d(w, width, 1) for w in (w32, w16, w8))
        self.smooth16, self.smooth8 = conv_bn(width, width), conv_bn(width, width)
        self.feature, self.key = nn.Conv2d(width, feature_dim, 1), nn.Conv2d(width, key_dim, 3, padding=1)
        self.identity32, self.identity16 = nn.Conv2d(w32, 96, 1), nn.Conv2d(w16, 96, 1)
        self.identity = nn.Conv2d(96, identity_dim, 1)
        self.detail = nn.Sequential(conv_bn(3, 16, 3, 2), nn.ReLU(), conv_bn(16, 24, 3, 2), nn.ReLU())
        self.skip = nn.Conv2d(w4 + 24, skip_dim, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) in 0..1, H and W multiples of 32 -> feature (B, F, H/8, W/8), skip (B, S, H/4, W/4),
        key (B, Hk, H/8, W/8) and identity (B, I, H/16, W/16) of unit length over channels."""
        x4, x8, x16, x32 = self.backbone(image)
        top = F.relu(self.smooth16(upsample2(self.lateral32(x32)) + self.lateral16(x16)))
        top = F.relu(self.smooth8(upsample2(top) + self.lateral8(x8)))
        skip = self.skip(torch.cat([x4, self.detail((image - 0.45) * 4.0)], 1))
        identity = self.identity(F.relu(upsample2(self.identity32(x32)) + self.identity16(x16)))
        return F.relu(self.feature(top)), skip, F.normalize(self.key(top), dim=1), F.normalize(identity, dim=1)
