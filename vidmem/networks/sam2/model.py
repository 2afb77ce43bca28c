"""SAM 2 and 2.1 as one module whose parameter names are those of the official checkpoints."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidmem.networks.sam2.common import MLP, quarter_turn, sine_time
from vidmem.networks.sam2.config import Sam2Config
from vidmem.networks.sam2.image_encoder import ImageEncoder
from vidmem.networks.sam2.mask_decoder import MaskDecoder
from vidmem.networks.sam2.memory_attention import MemoryAttention
from vidmem.networks.sam2.memory_encoder import MemoryEncoder
from vidmem.networks.sam2.prompt_encoder import PromptEncoder

NO_OBJECT = -1024.0
"""Mask logit everywhere on a frame where the object is believed absent."""
SURE = 10.0
"""Mask logit of a mask that a person gave, and the scale of masks for the memory encoder."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STABLE_BAND, STABLE_SHARE = 0.05, 0.98


class Sam2(nn.Module):
    mean: Tensor
    std: Tensor

    def __init__(self, config: Sam2Config = Sam2Config()):
        super().__init__()
        self.config = config
        dim = config.hidden_dim
        self.image_encoder = ImageEncoder(config)
        self.memory_attention, self.memory_encoder = MemoryAttention(config), MemoryEncoder(config)
        self.sam_prompt_encoder, self.sam_mask_decoder = PromptEncoder(config), MaskDecoder(config)
        self.mask_downsample, self.obj_ptr_proj = nn.Conv2d(1, 1, 4, 4), MLP(dim, dim, dim, 3)
        self.maskmem_tpos_enc = nn.Parameter(torch.zeros(config.memories, 1, 1, config.memory_dim))
        self.no_mem_embed, self.no_mem_pos_enc = (nn.Parameter(torch.zeros(1, 1, dim)) for _ in range(2))
        self.no_obj_ptr = nn.Parameter(torch.zeros(1, dim))
        if config.occlusion_embedding:
            self.no_obj_embed_spatial = nn.Parameter(torch.zeros(1, config.memory_dim))
        if config.pointer_time:
            self.obj_ptr_tpos_proj = nn.Linear(dim, config.memory_dim)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None] * 255, persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None] * 255, persistent=False)

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(1, S, S, 3) uint8 RGB -> feature (1, 256, S/16, S/16), skip4 (1, 32, S/4, S/4), skip8 (1, 64, S/8, S/8)."""
        s4, s8, s16 = self.image_encoder((image.float().permute(0, 3, 1, 2) - self.mean) / self.std)
        return s16, self.sam_mask_decoder.conv_s0(s4), self.sam_mask_decoder.conv_s1(s8)

    def without_memory(self, feature: Tensor) -> Tensor:
        """What the decoder reads on an object's first frame (`directly_add_no_mem_embed`)."""
        return feature + self.no_mem_embed[..., None].transpose(1, 2)

    def gather(
        self,
        keys: list[list[Tensor]],
        memory: list[list[Tensor]],
        codes: list[list[int]],
        pointers: Tensor,
        distances: Tensor,
        places: list[list[Tensor | None]] | None = None,
        scales: list[list[float]] | None = None,
        pointer_scales: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Lay out what R rows recall, S spatial memories and P pointers each, for `attend`.

        keys: of each row and memory (layers, 1, N, 256) of `MemoryAttention.project`; memory: likewise (1, N, 64); codes:
        rows of `maskmem_tpos_enc`; pointers (R, P, 256); distances (R, P), divided by their norm -> keys (layers, R, M + 4 * P,
        256) with temporal codes, memory (R, M + 4 * P, 64); M is the number of spatial tokens, equal in all rows.
        places: for memories of which some tokens are left, their places in each layer (layers, n); such a memory is (layers, n,
        64), and the returned memory (layers, R, M + 4 * P, 64). scales, pointer_scales (R, P): factors on tokens with their
        codes before the projection to keys, as SAM2Long weights them; so the projection's bias is not scaled.
        """
        attention = self.memory_attention
        tokens, times = self._pointer_tokens(pointers, distances)
        pointer_keys = attention.project_pointers(tokens, times)
        if pointer_scales is not None:
            factor, bias = pointer_scales.repeat_interleave(4, 1)[None, ..., None], attention.key_bias()[:, None]
            pointer_keys = factor * (pointer_keys - bias) + bias
        dtype = keys[0][0].dtype
        spatial = sum(one.shape[2] for one in keys[0])
        out = pointer_keys.new_empty(
            *pointer_keys.shape[:2], spatial + pointer_keys.shape[2], pointer_keys.shape[3], dtype=dtype
        )
        out[:, :, spatial:] = pointer_keys
        cos, sin = attention.cos.to(dtype), attention.sin.to(dtype)
        added = attention.time_keys(self.maskmem_tpos_enc[:, 0, 0]).to(dtype)  # (layers, codes, 1, 256)
        turned = quarter_turn(added)
        bias = attention.key_bias().to(dtype)
        for row, (row_keys, row_codes) in enumerate(zip(keys, codes)):
            first = 0
            for slot, (one, code) in enumerate(zip(row_keys, row_codes)):
                place = out[:, row, first : first + one.shape[2]]
                first += one.shape[2]
                at = places and places[row][slot]
                here, turn = (cos, sin) if at is None else (cos[at], sin[at])
                # Rotating the code by each position, and adding it, in two passes without a temporary.
                torch.addcmul(one[:, 0], here, added[:, code], out=place)
                place.addcmul_(turn, turned[:, code])
                if scales and scales[row][slot] != 1:
                    scale = scales[row][slot]
                    place.mul_(scale).add_((1 - scale) * (here * bias + turn * quarter_turn(bias)))
        if places is None or all(at is None for row in places for at in row):
            memories = [
                torch.cat([*(m[0] for m in row), row_tokens.to(row[0].dtype)])
                for row, row_tokens in zip(memory, tokens)
            ]
            return out, torch.stack(memories)
        layers = len(attention.layers)
        rows = [
            torch.cat([*(m.expand(layers, -1, -1) for m in row), row_tokens.to(row[0].dtype).expand(layers, -1, -1)], 1)
            for row, row_tokens in zip(memory, tokens)
        ]
        return out, torch.stack(rows, 1)

    def attend(self, feature: Tensor, keys: Tensor, memory: Tensor, queries: list | None = None) -> Tensor:
        """Condition the frame on what `gather` laid out: feature (1, 256, h, w) -> (R, 256, h, w)."""
        return self.memory_attention(feature, list(keys), memory, queries)

    def _pointer_tokens(self, pointers: Tensor, distances: Tensor) -> tuple[Tensor, Tensor]:
        """A pointer is 4 tokens of 64 channels with one temporal code -> tokens and codes (R, 4P, 64)."""
        dim = self.config.memory_dim
        tokens = pointers.unflatten(-1, (-1, dim)).flatten(1, 2)
        if not self.config.pointer_time:
            return tokens, torch.zeros_like(tokens)
        codes = self.obj_ptr_tpos_proj(sine_time(distances, self.config.hidden_dim))
        return tokens, codes.repeat_interleave(self.config.hidden_dim // dim, 1)

    def decode(
        self,
        conditioned: Tensor,
        skip4: Tensor,
        skip8: Tensor,
        points: Tensor,
        labels: Tensor,
        mask: Tensor,
        given: Tensor,
        extra: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """conditioned (R, 256, h, w), points (R, P, 2) in input pixels, labels (R, P) with -1 for no point, mask (R, 1, 4h,
        4w) logits, given (R,) bool whether there is a mask, extra (R, E, 256) prompt tokens that are no points -> logits (R, 4, 4h, 4w), IoU (R, 4), pointers (R, 4, 256),
        object logit (R,). Number 0 of the four is the single answer; see `single_answer`. Where the object logit is not
        positive, pointers are the learned one for absence; the caller makes the chosen mask `NO_OBJECT`."""
        encoder = self.sam_prompt_encoder
        prompt = encoder.points(points, labels)
        logits, iou, tokens, presence = self.sam_mask_decoder(
            conditioned,
            encoder.image_position(),
            prompt if extra is None else torch.cat([prompt, extra], 1),
            encoder.mask(mask, given),
            skip4,
            skip8,
        )
        pointers = self.mark_absent(self.obj_ptr_proj(tokens), presence > 0)
        return logits, iou, pointers, presence

    def mark_absent(self, pointers: Tensor, present: Tensor) -> Tensor:
        """pointers (R, K, 256), present (R,) bool -> the same with `no_obj_ptr` where the object is absent."""
        return torch.where(present[:, None, None], pointers, self.no_obj_ptr)

    def memorize(self, feature: Tensor, mask_logits: Tensor, present: Tensor, binary: Tensor) -> tuple[Tensor, Tensor]:
        """feature (1, 256, h, w) without memory, mask_logits (R, 1, 4h, 4w), present (R,) bool, binary (R,) bool: rows whose
        mask a person shaped are made 0 or 1 -> memory (R, N, 64) bfloat16, as the official predictor stores it, and its
        keys (layers, R, N, 256)."""
        size = (self.config.image_size,) * 2
        large = F.interpolate(mask_logits, size=size, mode="bilinear", align_corners=False)
        share = torch.where(binary[:, None, None, None], (large > 0).to(large.dtype), large.sigmoid())
        memory = self.memory_encoder(feature, share * 2 * SURE - SURE)
        if self.config.occlusion_embedding:
            memory = memory + (~present)[:, None, None, None] * self.no_obj_embed_spatial[..., None, None]
        memory = memory.flatten(2).transpose(1, 2).to(torch.bfloat16)
        return memory, self.memory_attention.project(memory.to(feature.dtype))


def single_answer(logits: Tensor, iou: Tensor, fallback: bool = True) -> tuple[Tensor, Tensor]:
    """The one mask for a clear prompt: number 0, unless it is unstable and `fallback`; then the best of the others.

    logits (R, 4, h, w), iou (R, 4) -> (R, 1, h, w), (R, 1). Stable means that shifting the threshold by 0.05 either way
    changes the area by less than 2 % (`dynamic_multimask_via_stability`). The pointer stays number 0's.
    """
    first, quality = logits[:, :1], iou[:, :1]
    if not fallback:
        return first, quality
    inner, outer = (first > STABLE_BAND).flatten(2).sum(-1).float(), (first > -STABLE_BAND).flatten(2).sum(-1).float()
    stable = torch.where(outer > 0, inner / outer.clamp(min=1), 1.0) >= STABLE_SHARE
    best = iou[:, 1:].argmax(1)[:, None] + 1
    other = logits.gather(1, best[..., None, None].expand(-1, -1, *logits.shape[2:]))
    return torch.where(stable[..., None, None], first, other), torch.where(stable, quality, iou.gather(1, best))
