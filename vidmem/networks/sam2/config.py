"""The sizes and versions of SAM 2 (Ravi et al. 2024, arXiv 2408.00714), as numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Sam2Config:
    """One published network. The defaults are what all of them share."""

    embed_dim: int = 96  # channels of the first stage; doubled by each later one
    num_heads: int = 1  # of the first stage; doubled by each later one
    stages: tuple[int, int, int, int] = (1, 2, 7, 2)  # blocks
    global_blocks: tuple[int, ...] = (5, 7, 9)  # blocks that attend over the whole image, not in windows
    windows: tuple[int, int, int, int] = (8, 4, 14, 7)  # tokens a side
    background_size: tuple[int, int] = (7, 7)  # the stored position embedding, before it is interpolated
    image_size: int = 1024  # pixels a side of the network's input
    # 2.0 lacks both.
    occlusion_embedding: bool = True  # a learned vector marks spatial memories of frames without the object
    pointer_time: bool = True  # pointers carry a sine code of their signed distance, through a linear layer

    hidden_dim: int = 256
    memory_dim: int = 64
    memories: int = 7  # temporal codes; the last belongs to prompted frames
    attention_layers: int = 4

    @property
    def grid(self) -> int:
        """Tokens a side of the stride-16 map."""
        return self.image_size // 16

    def at(self, image_size: int) -> Sam2Config:
        """The same network on another input size. Raises `ValueError` unless it is a multiple of 32, from 64 to 4096."""
        if image_size % 32 or not 64 <= image_size <= 4096:
            raise ValueError(
                f"image_size={image_size}; expected a multiple of 32, at least 64 and at most 4096 (it was trained at 1024)"
            )
        return replace(self, image_size=image_size)


_TINY = Sam2Config()
_SMALL = replace(_TINY, stages=(1, 2, 11, 2), global_blocks=(7, 10, 13))
_BASE_PLUS = replace(
    _TINY, embed_dim=112, num_heads=2, stages=(2, 3, 16, 3), global_blocks=(12, 16, 20), background_size=(14, 14)
)
_LARGE = replace(
    _BASE_PLUS,
    embed_dim=144,
    stages=(2, 6, 36, 4),
    global_blocks=(23, 33, 43),
    windows=(8, 4, 16, 8),
    background_size=(7, 7),
)
_SIZES = {"tiny": _TINY, "small": _SMALL, "base-plus": _BASE_PLUS, "large": _LARGE}

CONFIGS: dict[str, Sam2Config] = {f"sam2.1-{size}": config for size, config in _SIZES.items()} | {
    f"sam2-{size}": replace(config, occlusion_embedding=False, pointer_time=False) for size, config in _SIZES.items()
}
"""Name -> network, for instance `sam2.1-tiny` or `sam2-base-plus`."""
