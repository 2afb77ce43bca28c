"""The mask decoder of `nano`: what the memory says, what the person says and what the image shows, to masks and scores."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidmem.networks.nano.encoder import Residual, conv_bn, upsample2

PROMPT_CHANNELS = 6
"""Positive clicks, negative clicks, inside the box, place in the box across and down, mask so far; see `prompts.py`."""


MATCHES = 8
"""Channels of the conditioned map that say how well memories match."""


class MaskDecoder(nn.Module):
    def __init__(self, feature_dim: int, skip_dim: int, conditioned_dim: int, width: int, masks: int):
        super().__init__()
        # A convolution over [image, memory] is the sum of two; the image's part is shared by all rows.
        self.image = nn.Conv2d(feature_dim, width, 3, padding=1)
        self.memory = nn.Conv2d(conditioned_dim, width, 3, padding=1, bias=False)
        self.prompt = nn.Conv2d(PROMPT_CHANNELS, 16, 3, 2, 1)
        self.prompt8 = nn.Conv2d(16, width, 3, padding=1, bias=False)
        self.context = nn.Sequential(
            conv_bn(width, width, 3, 2), nn.ReLU(), Residual(width, width), Residual(width, width)
        )
        self.stage8 = nn.Sequential(Residual(2 * width, width), Residual(width, width))
        # Of both reads: share of object, best match with object, with background; then the two cosines with the descriptors.
        value = (conditioned_dim - 2) // 2
        self.matches = [
            value - 4,
            value - 2,
            value - 1,
            2 * value - 4,
            2 * value - 2,
            2 * value - 1,
            2 * value,
            2 * value + 1,
        ]
        self.up, self.prompt4 = (
            nn.Conv2d(width, skip_dim, 1),
            nn.Conv2d(PROMPT_CHANNELS, skip_dim, 3, padding=1, bias=False),
        )
        self.stage4 = Residual(skip_dim, skip_dim)
        self.mask = nn.Conv2d(skip_dim, masks, 3, padding=1)
        self.coarse = nn.Conv2d(width, masks, 1)
        self.score = nn.Sequential(nn.Linear(2 * width + 4, 64), nn.ReLU(), nn.Linear(64, masks))
        self.presence = nn.Sequential(nn.Linear(2 * width + 2 * MATCHES + 2, 96), nn.ReLU(), nn.Linear(96, 1))

    def forward(
        self, feature: Tensor, skip: Tensor, conditioned: Tensor, prompt: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
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
        match = torch.stack([conditioned[:, i] for i in self.matches], 1)
        known = match[:, [1, 2, 4, 5]]  # how well the best tokens match
        iou_logits = self.score(torch.cat([x.mean((2, 3)), pooled, known.amax((2, 3))], 1))
        return mask_logits, iou_logits, self._presence(x.detach(), coarse.detach(), match.detach(), pooled.detach())

    def _presence(self, x: Tensor, coarse: Tensor, match: Tensor, pooled: Tensor) -> Tensor:
        """Whether the object is there at all -> (R,). Looks at evidence that it does not shape, so that learning to be silent cannot
        cost recall: the decoder's features, and under the mask and anywhere how well the memories match."""
        logit = coarse.amax(1, keepdim=True)
        inside = torch.sigmoid(logit)
        area = inside.sum((2, 3))
        under = (match * inside).sum((2, 3)) / (area + 1.0)
        shape = torch.cat([torch.log1p(area) * 0.2, logit.amax((2, 3)) * 0.1], 1)
        return self.presence(torch.cat([x.mean((2, 3)), pooled, under, match.amax((2, 3)), shape], 1))[:, 0]
