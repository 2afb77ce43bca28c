"""ReSurgSAM2's published weights: what the files are called, and how they are read. Nothing is unpickled unsafely."""

from __future__ import annotations

from pathlib import Path

from vidmem.errors import ModelError
from vidmem.installed import cache_folder
from vidmem.networks.sam2.checkpoints import load_strictly

FILES = {"resurgsam2-17": "sam2.1_hiera_s_ref17.pth", "resurgsam2-18": "sam2.1_hiera_s_ref18.pth"}
"""Of Ref-Endovis17 and 18. They hold no text tower: that is CLIP's own, see `text.py`."""
PAGE = "https://github.com/jinlab-imvr/ReSurgSAM2"


def checkpoint_path(name: str) -> Path:
    return cache_folder() / FILES[name]


def how_to_get(name: str) -> str:
    return f"take {FILES[name]} from where {PAGE} says, and name it with --weights FILE"


def load_resurgsam2(name: str, path: Path | None, image_size: int):
    """-> `vidmem.networks.resurgsam2.model.ReSurgSam2`, float32, on the CPU.

    name: a key of `FILES`. path: the published `.pth`, or a safetensors file with its names; None: the one in the cache. image_size: pixels a
    side. Raises `ModelError` when the file is missing, cut off or unsafe, has other names or shapes, or the size cannot be.
    """
    from vidmem.networks.resurgsam2.config import CONFIG
    from vidmem.networks.resurgsam2.model import ReSurgSam2

    try:
        config = CONFIG.at(image_size)
    except ValueError as error:
        raise ModelError(str(error).replace("1024)", f"{CONFIG.image_size})")) from None
    help = "expected the published .pth, or a .safetensors file" if path is not None else how_to_get(name)
    return load_strictly(name, checkpoint_path(name) if path is None else Path(path), lambda: ReSurgSam2(config), help)
