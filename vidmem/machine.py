"""What this machine has: for `vidmem doctor`, and beside every figure that is written down."""

from __future__ import annotations

import importlib
import json
import platform
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from vidmem.errors import OutputError
from vidmem.runtime.engine import cores

REQUIRED = {"numpy": "numpy", "cv2": "opencv-python-headless", "av": "av", "PIL": "pillow", "tqdm": "tqdm"}
OPTIONAL = {"torch": "torch", "supervision": "supervision"}


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
        "versions": {name: version for name in packages if (version := _version(name))},
    }


def check(say: Callable[[str], None]) -> int:
    """Say what works, line by line, by trying it; returns 0 when a video can be tracked, else 1."""
    import numpy as np

    from vidmem.tracker import MODELS, load

    here, usable = describe(), False
    say(
        f"vidmem {_version('vidmem') or '(not installed, run from a checkout)'}, Python {here['python']}, {here['system']}"
    )
    say(f"{here['processor']}, {here['cores']} cores")
    for table, needed in ((REQUIRED, True), (OPTIONAL, False)):
        for module, package in table.items():
            try:
                importlib.import_module(module)
                say(f"ok       {module} {_version(package) or _version(module) or ''}")
            except ImportError as error:
                say(f"{'MISSING' if needed else 'without':8s} {module}: pip install {package} ({error})")
    for model in (name for name, card in MODELS.items() if card.embedded):
        for runtime in ("onnx", "openvino", "pytorch"):  # TensorRT has a check of its own
            try:
                tracker = load(model, runtime=runtime)
                with tracker.session() as session:
                    session.add(1, box=(16, 16, 48, 48))
                    session.step(np.zeros((64, 64, 3), np.uint8))
                say(f"ok       {model} runs on {runtime}")
                usable = True
            except Exception as error:  # the doctor reports whatever is wrong
                say(f"without  {model} on {runtime}: {error}")
    both = _version("onnxruntime") and _version("onnxruntime-gpu")
    if both:
        say("WRONG    onnxruntime and onnxruntime-gpu overwrite each other: pip uninstall both, then install one")
    say("a video can be tracked" if usable else "no runtime works: pip install onnxruntime")
    return 0 if usable and not both else 1


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except (metadata.PackageNotFoundError, ValueError):
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"
