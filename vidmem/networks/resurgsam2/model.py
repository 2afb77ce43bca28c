"""ReSurgSAM2 as one module whose parameter names are those of the published checkpoints: SAM 2.1 small and what reads words."""

from __future__ import annotations

from torch import Tensor

from vidmem.networks.resurgsam2.config import CONFIG, TEXT_DIM
from vidmem.networks.resurgsam2.fusion import CrossModalFusion
from vidmem.networks.sam2.common import MLP
from vidmem.networks.sam2.config import Sam2Config
from vidmem.networks.sam2.model import Sam2
from vidmem.networks.sam2.prompt_encoder import PromptEncoder


class WordPromptEncoder(PromptEncoder):
    def __init__(self, config: Sam2Config):
        super().__init__(config)
        self.language_fusion_mlp = MLP(config.hidden_dim, 4 * config.hidden_dim, config.hidden_dim, 3)


class ReSurgSam2(Sam2):
    sam_prompt_encoder: WordPromptEncoder

    def __init__(self, config: Sam2Config = CONFIG):
        super().__init__(config)
        dim = config.hidden_dim
        self.sam_prompt_encoder, self.token_projection = WordPromptEncoder(config), MLP(TEXT_DIM, 2048, dim, 3)
        self.cross_modal_fusion = CrossModalFusion(dim)

    def words(self, hidden: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """What CLIP made of a text, hidden (1, T, 512) and pooled (1, 512) -> its sentence (1, T, 256), for `refer`, and its name
        (1, 1, 256), a prompt token for the decoder. Both go through the same projection."""
        name = self.token_projection(pooled)[:, None]
        return self.token_projection(hidden), self.sam_prompt_encoder.language_fusion_mlp(name)

    def refer(self, frames: Tensor, codes: Tensor, sentence: Tensor) -> tuple[Tensor, Tensor]:
        """frames (3, 256, h, w): features, and codes (3,) int64, as `config.arranged` orders them; sentence (1, T, 256) -> what the
        decoder reads (1, 256, h, w), and a prompt token of what is meant (1, 1, 256)."""
        place_code = self.memory_attention.query_code
        fused, meant = self.cross_modal_fusion(frames.flatten(2).transpose(1, 2), codes, place_code, sentence)
        return self.without_memory(fused.transpose(1, 2).unflatten(2, frames.shape[2:])), meant
