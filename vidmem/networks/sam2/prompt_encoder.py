"""The prompt encoder: clicks and boxes as tokens, masks as a map (Kirillov et al. 2023, arXiv 2304.02643, appendix A)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vidmem.networks.sam2.common import LayerNorm2d, members
from vidmem.networks.sam2.config import Sam2Config

NO_POINT, NEGATIVE, POSITIVE, TOP_LEFT, BOTTOM_RIGHT = -1, 0, 1, 2, 3
"""Labels of a point; a box is its two corners, before any click."""


class RandomFourier(nn.Module):
    """Positions as sines and cosines of random directions, fixed at training."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, dim // 2))

    def forward(self, xy: Tensor) -> Tensor:
        """xy (..., 2) in 0..1 -> (..., dim)."""
        angle = 2 * math.pi * ((2 * xy - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([angle.sin(), angle.cos()], -1)


class PromptEncoder(nn.Module):
    def __init__(self, config: Sam2Config):
        super().__init__()
        dim, self.image_size, self.grid = config.hidden_dim, config.image_size, config.grid
        self.pe_layer = RandomFourier(dim)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, dim) for _ in range(4))
        self.not_a_point_embed, self.no_mask_embed = nn.Embedding(1, dim), nn.Embedding(1, dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, 4, 2, 2), LayerNorm2d(4), nn.GELU(), nn.Conv2d(4, 16, 2, 2), LayerNorm2d(16), nn.GELU(),
            nn.Conv2d(16, dim, 1),
        )  # fmt: skip

    def image_position(self) -> Tensor:
        """(1, 256, h, w): the same code at every token's centre."""
        centre = (torch.arange(self.grid, device=self.no_mask_embed.weight.device) + 0.5) / self.grid
        y, x = torch.meshgrid(centre, centre, indexing="ij")
        return self.pe_layer(torch.stack([x, y], -1)).permute(2, 0, 1)[None]

    def points(self, points: Tensor, labels: Tensor) -> Tensor:
        """points (R, P, 2) in input pixels, labels (R, P) -> tokens (R, P, 256). Unused places have the label -1.

        SAM appends one such place to every prompt without a separate box, and so must the caller.
        """
        code = self.pe_layer((points + 0.5) / self.image_size)
        kinds = torch.cat(
            [self.not_a_point_embed.weight, *(each.weight for each in members(self.point_embeddings, nn.Embedding))]
        )
        return code * (labels >= 0)[..., None] + kinds[labels.long() + 1]

    def mask(self, mask_logits: Tensor, given: Tensor) -> Tensor:
        """mask_logits (R, 1, 4h, 4w); given (R,) bool: where it is False the row has no mask -> (R, 256, h, w)."""
        none = self.no_mask_embed.weight[..., None, None]
        return torch.where(given[:, None, None, None], self.mask_downscaling(mask_logits), none)
