"""The mask decoder: a two-way transformer between a few tokens and the image (SAM, appendix A; SAM 2, section 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidmem.networks.sam2.common import MLP, Attention, LayerNorm2d
from vidmem.networks.sam2.config import Sam2Config

MASKS = 4
"""Mask tokens: the first answers alone where the prompt is clear, the other three are alternatives."""


class TwoWayBlock(nn.Module):
    """Tokens attend to themselves, then to the image; then the image attends to the tokens."""

    def __init__(self, dim: int, first: bool):
        super().__init__()
        self.first = first
        self.self_attn = Attention(dim, 8)
        self.cross_attn_token_to_image, self.cross_attn_image_to_token = Attention(dim, 8, 2), Attention(dim, 8, 2)
        self.mlp = MLP(dim, 2048, dim, 2)
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(dim) for _ in range(4))

    def forward(self, tokens: Tensor, image: Tensor, token_code: Tensor, image_code: Tensor) -> tuple[Tensor, Tensor]:
        if self.first:  # the tokens are their own code still
            tokens = self.norm1(self.self_attn(tokens, tokens, tokens))
        else:
            coded = tokens + token_code
            tokens = self.norm1(tokens + self.self_attn(coded, coded, tokens))
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_code, image + image_code, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(image + image_code, tokens + token_code, tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.layers = nn.ModuleList([TwoWayBlock(dim, True), TwoWayBlock(dim, False)])
        self.final_attn_token_to_image, self.norm_final_attn = Attention(dim, 8, 2), nn.LayerNorm(dim)

    def forward(self, image: Tensor, image_code: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """image (R, N, C), image_code (1, N, C), tokens (R, T, C) -> tokens, image."""
        code = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, code, image_code)
        tokens = tokens + self.final_attn_token_to_image(tokens + code, image + image_code, image)
        return self.norm_final_attn(tokens), image


class MaskDecoder(nn.Module):
    def __init__(self, config: Sam2Config):
        super().__init__()
        dim = config.hidden_dim
        self.transformer = TwoWayTransformer(dim)
        self.iou_token, self.mask_tokens = nn.Embedding(1, dim), nn.Embedding(MASKS, dim)
        self.obj_score_token = nn.Embedding(1, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, 2, 2), LayerNorm2d(dim // 4), nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, 2, 2), nn.GELU(),
        )  # fmt: skip
        self.conv_s0, self.conv_s1 = nn.Conv2d(dim, dim // 8, 1), nn.Conv2d(dim, dim // 4, 1)
        self.output_hypernetworks_mlps = nn.ModuleList(MLP(dim, dim, dim // 8, 3) for _ in range(MASKS))
        self.iou_prediction_head, self.pred_obj_score_head = MLP(dim, dim, MASKS, 3), MLP(dim, dim, 1, 3)

    def forward(
        self, image: Tensor, image_code: Tensor, prompt: Tensor, dense: Tensor, skip4: Tensor, skip8: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """image (R, 256, h, w), image_code (1, 256, h, w), prompt (R, P, 256), dense (R, 256, h, w), skip4 (1 or R, 32,
        4h, 4w), skip8 (1 or R, 64, 2h, 2w) -> mask logits (R, 4, 4h, 4w), IoU (R, 4) in 0..1, mask tokens (R, 4, 256),
        object logit (R,)."""
        height, width = image.shape[-2:]
        own = torch.cat([self.obj_score_token.weight, self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own.expand(prompt.shape[0], -1, -1), prompt], 1)
        tokens, image = self.transformer(
            (image + dense).flatten(2).transpose(1, 2), image_code.flatten(2).transpose(1, 2), tokens
        )
        presence, quality, masks = tokens[:, 0], tokens[:, 1], tokens[:, 2 : 2 + MASKS]
        up1, norm, act1, up2, act2 = self.output_upscaling
        fine = act1(norm(up1(image.transpose(1, 2).unflatten(2, (height, width))) + skip8))
        fine = act2(up2(fine) + skip4)
        weights = torch.stack([mlp(masks[:, i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], 1)
        mask_logits = (weights @ fine.flatten(2)).unflatten(2, fine.shape[-2:])
        iou = self.iou_prediction_head(quality).sigmoid()
        return mask_logits, iou, masks, self.pred_obj_score_head(presence)[:, 0]
