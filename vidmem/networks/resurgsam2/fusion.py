"""CSTMamba: the words read three frames, and the frames read the words (Liu et al. 2025, arXiv 2505.08581, "Cross-modal spatial-temporal Mamba")."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidmem.networks.resurgsam2.config import FRAMES
from vidmem.networks.resurgsam2.mamba import MambaLayer
from vidmem.networks.sam2.mask_decoder import TwoWayBlock, TwoWayTransformer


class FusionBlock(TwoWayBlock):
    """SAM's two-way block, and the picture's own Mamba layers before the tokens read it."""

    def __init__(self, dim: int, first: bool):
        super().__init__(dim, first)
        self.mamba_layers = nn.ModuleList(MambaLayer(dim) for _ in range(2))

    def forward(self, tokens: Tensor, image: Tensor, token_code: Tensor, image_code: Tensor) -> tuple[Tensor, Tensor]:
        for layer in self.mamba_layers:
            image = layer(image, FRAMES)
        return super().forward(tokens, image, token_code, image_code)


class FusionTransformer(TwoWayTransformer):
    def __init__(self, dim: int):
        super().__init__(dim)
        self.layers = nn.ModuleList([FusionBlock(dim, True), FusionBlock(dim, False)])


class CrossModalFusion(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.cls_token, self.transformer = nn.Embedding(1, dim), FusionTransformer(dim)
        self.temporal_pos_embed = nn.Parameter(torch.zeros(1, FRAMES, dim))

    def forward(self, frames: Tensor, codes: Tensor, place_code: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """frames (FRAMES, N, dim): tokens of each frame, as `config.arranged` orders them; codes (FRAMES,) int64: which temporal code each
        has; place_code (1, N, dim); words (1, T, dim) of a sentence -> the current frame's tokens (1, N, dim), which have read the
        words, and a token of what is meant (1, 1, dim)."""
        tokens = torch.cat([self.cls_token.weight[None], words], 1)
        code = (place_code + self.temporal_pos_embed[0, codes][:, None]).flatten(0, 1)[None]
        tokens, image = self.transformer(frames.flatten(0, 1)[None], code, tokens)
        return image[:, : frames.shape[1]], tokens[:, :1]
