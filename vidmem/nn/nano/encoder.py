"""The image encoder of `nano`: a small residual network with a top-down path, strides 4 to 32."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


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
    """Image to a stride-8 feature map, a stride-4 skip and unit-length matching keys."""

    def __init__(self, widths: tuple[int, int, int, int, int], feature_dim: int, key_dim: int, skip_dim: int):
        super().__init__()
        w2, w4, w8, w16, w32 = widths
        self.stem = conv_bn(3, w2, 3, 2)
        self.stage4 = nn.Sequential(Residual(w2, w4, 2))
        self.stage8 = nn.Sequential(Residual(w4, w8, 2), Residual(w8, w8))
        self.stage16 = nn.Sequential(Residual(w8, w16, 2), Residual(w16, w16), Residual(w16, w16))
        self.stage32 = nn.Sequential(Residual(w16, w32, 2), Residual(w32, w32))
        self.lateral32, self.lateral16 = nn.Conv2d(w32, feature_dim, 1), nn.Conv2d(w16, feature_dim, 1)
        self.lateral8, self.fuse = nn.Conv2d(w8, feature_dim, 1), conv_bn(feature_dim, feature_dim)
        self.skip = nn.Conv2d(w4, skip_dim, 1)
        self.key = nn.Conv2d(feature_dim, key_dim, 3, padding=1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, H, W) in 0..1, H and W multiples of 32 -> feature (B, F, H/8, W/8), skip (B, S, H/4, W/4),
        key (B, Hk, H/8, W/8) of unit length over channels."""
        x4 = self.stage4(F.relu(self.stem((image - 0.45) * 4.0)))
        x8 = self.stage8(x4)
        x16 = self.stage16(x8)
        x32 = self.stage32(x16)
        top = upsample2(self.lateral32(x32)) + self.lateral16(x16)
        feature = F.relu(self.fuse(upsample2(top) + self.lateral8(x8)))
        return feature, self.skip(x4), F.normalize(self.key(feature), dim=1)
