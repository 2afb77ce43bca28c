"""Which colour an object has."""

from __future__ import annotations

import re

import numpy as np

from vidmem.errors import PromptError

NAMED = {
    "red": "#ff3030", "orange": "#ff8800", "yellow": "#ffd500", "green": "#20c040", "cyan": "#00d8e8", "blue": "#2f6bff",
    "purple": "#9040ff", "pink": "#ff5fb0", "white": "#ffffff", "black": "#000000", "gray": "#808080", "grey": "#808080",
}  # fmt: skip


def _palette() -> np.ndarray:
    """The PASCAL VOC colour map, which DAVIS uses: bit k of the index spreads over the channels' high bits."""
    index = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((index >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return palette


PALETTE = _palette()
"""(256, 3) uint8 RGB."""


def color(obj_id: int) -> tuple[int, int, int]:
    """An object's colour in overlays: bright, rare in nature, and far from its neighbours' by the golden angle."""
    hue = (0.5 + (obj_id - 1) * 0.618034) % 1.0 * 6
    red, green, blue = (np.clip(abs((hue + shift) % 6 - 3) - 1, 0, 1) for shift in (0, 4, 2))
    return int(255 * (0.15 + 0.85 * red)), int(255 * (0.15 + 0.85 * green)), int(255 * (0.15 + 0.85 * blue))


def parse_color(text) -> tuple[int, int, int]:
    """`#ff8800`, `#f80` or a word such as `orange` -> RGB, 0..255. Raises `PromptError` for anything else."""
    code = NAMED.get(text.strip().lower(), text.strip()) if isinstance(text, str) else ""
    if re.fullmatch(r"#[0-9a-fA-F]{3}", code):
        code = "#" + "".join(2 * digit for digit in code[1:])
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", code):
        raise PromptError(f"color is {str(text)[:40]!r}; expected #ff8800, #f80 or one of: {', '.join(NAMED)}")
    red, green, blue = (int(code[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


def readable_on(rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    """Black or white letters, whichever can be read on this colour (ITU-R BT.601 luma)."""
    return (0, 0, 0) if 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] > 110 else (255, 255, 255)
