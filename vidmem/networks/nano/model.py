"""`nano`, the embedded model: the four functions of the network seam as one torch module."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import torch
from torch import Tensor, nn

from vidmem.networks.nano.decoder import MaskDecoder
from vidmem.networks.nano.encoder import Encoder
from vidmem.networks.nano.memory import MemoryAttention, MemoryEncoder

MOST_CHANNELS = 1024  # of any width: a file may ask for no more than some hundred megabytes


@dataclass(frozen=True)
class NanoConfig:
    """The architecture; written into the weight file's metadata."""

    width: int = 96  # of the top-down path
    feature_dim: int = 64  # of the stride-8 map
    key_dim: int = 48  # of the matching keys
    identity_dim: int = 32  # of the descriptors
    skip_dim: int = 24  # of the stride-4 skip
    value_dim: int = 24  # of a memory value, without the mask channel
    decoder_width: int = 48
    masks: int = 3  # candidates K

    @property
    def conditioned_dim(self) -> int:
        return 2 * (self.value_dim + 4) + 2

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> NanoConfig:
        """Raises `ValueError` for what is no architecture of ours; nothing of that size exists yet."""
        names = {f.name for f in fields(cls)}
        if not isinstance(values, dict) or set(values) != names:
            raise ValueError(f"expected {', '.join(sorted(names))}")
        for name, width in values.items():
            if type(width) is not int or not 1 <= width <= MOST_CHANNELS:
                raise ValueError(f"{name} holds {str(width)[:40]}; expected an integer from 1 to {MOST_CHANNELS}")
        return cls(**values)


class Nano(nn.Module):
    def __init__(self, config: NanoConfig = NanoConfig()):
        super().__init__()
        self.config = c = config
        self.encoder = Encoder(c.width, c.feature_dim, c.key_dim, c.identity_dim, c.skip_dim)
        self.memory_encoder = MemoryEncoder(c.feature_dim, c.value_dim)
        self.memory_attention = MemoryAttention()
        self.mask_decoder = MaskDecoder(c.feature_dim, c.skip_dim, c.conditioned_dim, c.decoder_width, c.masks)

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.encoder(image)

    def attend(
        self, key: Tensor, coarse: Tensor, long_key: Tensor, long_value: Tensor, new_key: Tensor, new_value: Tensor,
        hidden: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        return self.memory_attention(key, coarse, long_key, long_value, new_key, new_value, hidden)

    def decode(
        self, feature: Tensor, skip: Tensor, conditioned: Tensor, prompt: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `MaskDecoder.forward`, with the IoU as 0..1."""
        mask_logits, iou_logits, object_logit = self.mask_decoder(feature, skip, conditioned, prompt)
        return mask_logits, torch.sigmoid(iou_logits), object_logit

    def memorize(self, feature: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return self.memory_encoder(feature, mask)
