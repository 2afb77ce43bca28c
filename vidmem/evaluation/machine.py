"""What this machine has: for `vidmem doctor`, and beside every figure that is written down."""

from __future__ import annotations

import json
import platform
import tempfile
from pathlib import Path

from vidmem.engines.base import cores
from vidmem.errors import OutputError
from vidmem.installed import version


def check_writable(path: Path | None) -> None:
    """Before any time is spent on a figure. Raises `OutputError` where it could not be written afterwards."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}); choose another file") from error


def write_figure(figure: dict, path: Path | None) -> None:
    """Add what this machine is, and write it as JSON to `path` where there is one."""
    figure = {**figure, "machine": describe()}
    if path is not None:
        path.write_text(json.dumps(figure, indent=1) + "\n")


def describe() -> dict:
    """Processor, cores and the versions of what matters."""
    packages = (
        "vidmem",
        "numpy",
        "onnxruntime",
        "openvino",
        "torch",
        "tensorrt",
        "av",
        "opencv-python-headless",
        "sam2",
        "transformers",
    )
    return {
        "processor": _processor(),
        "cores": cores(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": {name: found for name in packages if (found := version(name))},
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"
