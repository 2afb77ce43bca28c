"""What is installed here: where vidmem's own files lie, and the versions of packages."""

from __future__ import annotations

import hashlib
import os
from importlib import metadata
from pathlib import Path

from vidmem.errors import ModelError

PACKAGE = Path(__file__).resolve().parent


def models_folder() -> Path:
    """`models/` of a checkout, or the copy inside an installed wheel."""
    for folder in (PACKAGE / "models", PACKAGE.parent / "models"):
        if folder.is_dir() and any(folder.glob("*/encode.onnx")):
            return folder
    raise ModelError(f"no weights found beside {PACKAGE}; reinstall vidmem, or run it from a whole checkout")


def demo_folder() -> Path:
    """Where `demo.mp4` and its masks lie: `assets/` of a checkout, or the copy inside an installed wheel."""
    inside = PACKAGE / "assets"
    return inside if inside.is_dir() else PACKAGE.parent / "assets"


def cache_folder() -> Path:
    """`$VIDMEM_CACHE`, or `vidmem` in the user's cache folder."""
    if own := os.environ.get("VIDMEM_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vidmem"


def file_hash(path: Path) -> str:
    """sha256, hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def version(package: str) -> str | None:
    """Of an installed package; None where it is not installed."""
    try:
        return metadata.version(package)
    except (metadata.PackageNotFoundError, ValueError):
        return None


def own_version() -> str:
    """vidmem's, or `checkout` where it is not installed."""
    return version("vidmem") or "checkout"
