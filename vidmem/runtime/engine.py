"""What runs exported graphs: the seam between a network's rules (`nano.py`, `sam2_graphs.py`) and whoever does the arithmetic."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vidmem.errors import ModelError

GRAPHS = ("encode", "attend", "decode", "memorize")


class Engine(Protocol):
    """Runs graphs by name. Arrays between calls are its own; `host` and `put` cross the border."""

    name: str

    def run(self, graph: str, *arrays) -> tuple:
        """graph: one of `GRAPHS`; its inputs in the graph's order -> its outputs in the graph's order."""
        ...

    def put(self, array: np.ndarray) -> Any: ...

    def host(self, array: Any) -> np.ndarray: ...

    def cat(self, arrays: Sequence, axis: int) -> Any: ...


class HostEngine:
    """The part of an engine whose arrays are numpy's."""

    def put(self, array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array)

    def host(self, array: np.ndarray) -> np.ndarray:
        return array

    def cat(self, arrays: Sequence[np.ndarray], axis: int) -> np.ndarray:
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis)


def graph_files(folder: Path, suffix: str = ".onnx") -> dict[str, Path]:
    """The four graphs of a folder. Raises `ModelError` for one that is missing."""
    paths = {name: Path(folder) / f"{name}{suffix}" for name in GRAPHS}
    for path in paths.values():
        if not path.is_file():
            raise ModelError(f"{path} is missing; expected the graphs {', '.join(GRAPHS)}, which `vidmem export` writes")
    return paths


def cores() -> int:
    """Cores that this process may use; only Linux tells them apart from those that there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
