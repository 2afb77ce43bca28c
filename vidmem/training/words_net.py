"""The network behind `words`: an ImageNet classifier that is read cell by cell and crop by crop, and a head that draws boxes.

The classifier is linear after average pooling, so it can be asked at every cell of the feature map (class activation maps, Zhou et
al. 2016, arXiv 1512.04150). The finder is class-agnostic and anchor-free (FCOS, Tian et al. 2019, arXiv 1904.01355, one level):
each cell says whether the middle of a whole object is here, and how far its four sides are away.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidmem.networks.nano.backbone import CLASSES, HEAD, TAPS, Backbone, SameConv

FINE, DEEP = TAPS[10], TAPS[15]  # channels of the maps of strides 16 and 32
UNIT = 64.0  # pixels of the input: the distance that the finder's 0 stands for


class Finder(nn.Module):
    """Where whole objects are, whatever they are."""

    def __init__(self, width: int = 96, layers: int = 3):
        super().__init__()
        self.fine, self.deep = nn.Conv2d(FINE, width, 1), nn.Conv2d(DEEP, width, 1)
        self.tower = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(layers))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(layers))
        self.out = nn.Conv2d(width, 5, 1)
        assert self.out.bias is not None
        nn.init.constant_(self.out.bias, 0)
        self.out.bias.data[0] = -4  # most cells are no middle

    def forward(self, fine: Tensor, deep: Tensor) -> tuple[Tensor, Tensor]:
        """(B, FINE, h, w) and (B, DEEP, h/2, w/2) -> middle logits (B, 1, h, w), and log distances of the left, top, right and
        bottom side from the cell's middle in `UNIT` (B, 4, h, w)."""
        x = self.fine(fine) + F.interpolate(self.deep(deep), scale_factor=2.0, mode="nearest")
        for conv, norm in zip(self.tower, self.norms):
            x = F.relu(norm(conv(F.relu(x)))) + x
        out = self.out(F.relu(x))
        return out[:, :1], out[:, 1:].clamp(-4, 4)


class WordsModel(nn.Module):
    """A picture to what is asked of it: features for names, and boxes."""

    def __init__(self):
        super().__init__()
        self.backbone = Backbone()
        self.head = SameConv(DEEP, HEAD, 1)
        self.finder = Finder()

    def maps(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, H, W, 3) uint8 RGB, sides multiples of 32 -> maps of strides 16 and 32, and features (B, HEAD, H/32, W/32)."""
        _, _, fine, deep = self.backbone(image.to(torch.float32).permute(0, 3, 1, 2) / 255)
        return fine, deep, self.head(deep)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-> features, middle probability (B, 1, H/16, W/16), distances in pixels of the input (B, 4, H/16, W/16)."""
        fine, deep, features = self.maps(image)
        middle, distances = self.finder(fine, deep)
        return features, middle.sigmoid(), distances.exp() * UNIT

    def load_imagenet(self, tensors: dict[str, Tensor]) -> None:
        """Take the published checkpoint's backbone and head."""
        self.backbone.load_imagenet(tensors)
        state = self.head.state_dict()
        state["0.weight"] = tensors["_conv_head.weight"]
        state |= {f"1.{k[len('_bn1.') :]}": v for k, v in tensors.items() if k.startswith("_bn1.")}
        self.head.load_state_dict(state)


class Name(nn.Module):
    """Features of a cell, a region or a crop to what it is."""

    def __init__(self):
        super().__init__()
        self.classes, self.person = nn.Linear(HEAD, CLASSES), nn.Linear(HEAD, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(M, HEAD) -> logits of ImageNet's classes (M, CLASSES), and of a person (M, 1), who is none of them."""
        return self.classes(features), self.person(features)
