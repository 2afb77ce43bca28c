"""The mask decoder of `nano`: what the memory says, what the person says and what the image shows, to masks and scores."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidmem.nn.nano.encoder import Residual, conv_bn, upsample2

PROMPT_CHANNELS = 6
"""Positive clicks, negative clicks, inside the box, place in the box across and down, mask so far; see `prompts.py`."""


class MaskDecoder(nn.Module):
    def __init__(self, feature_dim: int, skip_dim: int, conditioned_dim: int, width: int, masks: int):
        super().__init__()
        # A convolution over [image, memory] is the sum of two; the image's part is shared by all rows.
        self.image = nn.Conv2d(feature_dim, width, 3, padding=1)
        self.memory = nn.Conv2d(conditioned_dim, width, 3, padding=1, bias=False)
        self.prompt = nn.Conv2d(PROMPT_CHANNELS, 16, 3, 2, 1)
        self.prompt8 = nn.Conv2d(16, width, 3, padding=1, bias=False)
        self.context = nn.Sequential(conv_bn(width, width, 3, 2), nn.ReLU(), Residual(width, width), Residual(width, width))
        self.stage8 = nn.Sequential(Residual(2 * width, width), Residual(width, width))
        self.up, self.prompt4 = nn.Conv2d(width, skip_dim, 1), nn.Conv2d(PROMPT_CHANNELS, skip_dim, 3, padding=1, bias=False)
        self.stage4 = Residual(skip_dim, skip_dim)
        self.mask = nn.Conv2d(skip_dim, masks, 3, padding=1)
        self.coarse = nn.Conv2d(width, masks, 1)
        self.score = nn.Sequential(nn.Linear(2 * width + 4, 64), nn.ReLU(), nn.Linear(64, masks + 1))

    def forward(self, feature: Tensor, skip: Tensor, conditioned: Tensor, prompt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """feature (1 or R, F, h, w), skip (1 or R, S, 2h, 2w), conditioned (R, D, h, w), prompt (R, 6, 2h, 2w) ->
        mask logits (R, K, 2h, 2w), IoU logits (R, K), object logit (R,)."""
        asked = self.prompt8(F.relu(self.prompt(prompt)))
        x = F.relu(self.image(feature) + self.memory(conditioned) + asked)
        x = self.stage8(torch.cat([x, upsample2(self.context(x))], 1))
        coarse = self.coarse(x)
        fine = self.stage4(F.relu(upsample2(self.up(x)) + skip + self.prompt4(prompt)))
        mask_logits = self.mask(fine) + upsample2(coarse)
        inside = torch.sigmoid(coarse.amax(1, keepdim=True))
        pooled = (x * inside).sum((2, 3)) / (inside.sum((2, 3)) + 1.0)
        half = conditioned.shape[1] // 2
        match = torch.stack([conditioned[:, half - 2], conditioned[:, half - 1], conditioned[:, -2], conditioned[:, -1]], 1)
        scores = self.score(torch.cat([x.mean((2, 3)), pooled, match.amax((2, 3))], 1))
        return mask_logits, scores[:, :-1], scores[:, -1]
