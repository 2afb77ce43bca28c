"""The sizes of ReSurgSAM2 (Liu et al., MICCAI 2025, arXiv 2505.08581), and which frames its words look at."""

from __future__ import annotations

from vidmem.networks.base import BACK
from vidmem.networks.sam2.config import CONFIGS, Sam2Config

SIZE = 512  # pixels a side, as trained
CONFIG: Sam2Config = CONFIGS["sam2.1-small"].at(SIZE)
TEXT_DIM = 512  # channels of CLIP's text tower
FRAMES = 1 + BACK
"""The current one and two before it; where there are fewer, the current one stands in."""


def arranged(seen: int) -> tuple[list[int], list[int]]:
    """How `FRAMES` places are filled where `seen` frames (0, 1, 2 or more) were looked at before this one -> which frame stands in each
    place (0: the current one, 1: the one before it, 2) and its temporal code.

    As in the original, copies of the current frame come before real ones, and the code of a real one counts real ones only: with one
    earlier frame the code 1 stands twice.
    """
    real = min(seen, FRAMES - 1)
    copies = FRAMES - 1 - real
    return [0] * (1 + copies) + list(range(1, 1 + real)), [0, *range(1, 1 + copies), *range(1, 1 + real)]
