"""What runs exported graphs: the seam between a network's rules (`nano.py`, `sam2_graphs.py`) and whoever does the arithmetic."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vidmem.errors import ModelError

GRAPHS = ("encode", "attend", "decode", "memorize")
MOST_POINTS = 64  # of one prompt, corrections included: the only open axis of a graph with fixed shapes


class Engine(Protocol):
    """Runs graphs by name. Arrays between calls are its own (numpy's, or a device's); `host` and `put` cross the border, and
    the rest is what a network does with arrays that it does not look into."""

    name: str
    together: int
    """Rows that are best read at a time."""
    overlaps: bool
    """As `vidmem.networks.base.Network`'s."""

    def run(self, graph: str, *arrays) -> tuple:
        """graph: one of `GRAPHS`; its inputs in the graph's order -> its outputs in the graph's order."""
        ...

    def put(self, array: np.ndarray) -> Any: ...

    def host(self, array: Any) -> np.ndarray: ...

    def cat(self, arrays: Sequence, axis: int) -> Any: ...

    def stack(self, arrays: Sequence, axis: int) -> Any: ...

    def expand(self, array: Any, shape: tuple[int, ...]) -> Any: ...

    def pad(self, array: Any, shape: tuple[int, ...]) -> Any:
        """Zeros at the end of each axis, up to that shape."""
        ...

    def take_along(self, array: Any, index: np.ndarray, axis: int) -> Any:
        """As `numpy.take_along_axis`; the index comes from the host."""
        ...

    def copy(self, array: Any) -> Any: ...


class HostEngine:
    """The part of an engine whose arrays are numpy's."""

    overlaps = True  # but for engines with one thread, whose users mean one
    together = 5  # the scores of more fall out of a processor's cache: with 20 rows a sixth slower on OpenVINO, as fast on ONNX Runtime

    def put(self, array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array)

    def host(self, array: np.ndarray) -> np.ndarray:
        return array

    def cat(self, arrays: Sequence[np.ndarray], axis: int) -> np.ndarray:
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis)

    def stack(self, arrays: Sequence[np.ndarray], axis: int) -> np.ndarray:
        return np.expand_dims(arrays[0], axis) if len(arrays) == 1 else np.stack(arrays, axis)

    def expand(self, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        return np.broadcast_to(array, shape)

    def pad(self, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        if tuple(array.shape) == tuple(shape):
            return array
        return np.pad(array, [(0, n - have) for n, have in zip(shape, array.shape)])

    def take_along(self, array: np.ndarray, index: np.ndarray, axis: int) -> np.ndarray:
        return np.take_along_axis(array, index, axis)

    def copy(self, array: np.ndarray) -> np.ndarray:
        return array.copy()


class DeviceEngine:
    """The part of an engine whose arrays are torch's, on one device: memories never visit the host."""

    together = 64
    overlaps = (
        False  # torch's thread pools spin against each other on a CPU; on a GPU launches are ahead of the work anyway
    )

    def __init__(self, device: str):
        import torch

        self._torch, self.device = torch, torch.device(device)

    def put(self, array: np.ndarray):
        return self._torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def host(self, array) -> np.ndarray:
        return array if isinstance(array, np.ndarray) else array.float().cpu().numpy()

    def cat(self, arrays: Sequence, axis: int):
        return arrays[0] if len(arrays) == 1 else self._torch.cat(list(arrays), axis)

    def stack(self, arrays: Sequence, axis: int):
        return self._torch.stack(list(arrays), axis)

    def expand(self, array, shape: tuple[int, ...]):
        return array.expand(shape)

    def pad(self, array, shape: tuple[int, ...]):
        if tuple(array.shape) == tuple(shape):
            return array
        out = array.new_zeros(shape)
        out[tuple(slice(n) for n in array.shape)] = array
        return out

    def take_along(self, array, index: np.ndarray, axis: int):
        return self._torch.take_along_dim(array, self.put(index), axis)

    def copy(self, array):
        return array.clone()


def graph_files(folder: Path, suffix: str = ".onnx") -> dict[str, Path]:
    """The four graphs of a folder. Raises `ModelError` for one that is missing."""
    paths = {name: Path(folder) / f"{name}{suffix}" for name in GRAPHS}
    for path in paths.values():
        if not path.is_file():
            raise ModelError(
                f"{path} is missing; expected the graphs {', '.join(GRAPHS)}, which `vidmem export` writes"
            )
    return paths


def cores() -> int:
    """Cores that this process may use; only Linux tells them apart from those that there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
