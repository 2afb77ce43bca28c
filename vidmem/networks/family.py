"""A family of models: everything that the rest of vidmem needs to know of its network, its weights and its graphs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vidmem.engines.base import Engine
from vidmem.engines.manifest import Manifest
from vidmem.errors import ModelError
from vidmem.installed import file_hash
from vidmem.memory import BANKS, Policy
from vidmem.networks.base import Network

OPSET = 18  # of every graph


@dataclass(frozen=True)
class Wish:
    """What an export was asked for, or what became of it. size: pixels a side of the input; 0: any. objects: rows of fixed
    shapes, each with `slots` whole memories and `pointers` pointers; None: open. frame: (H, W) of the source's frames, for networks
    whose input follows their shape. shape: (H, W) of the input that was made for it."""

    size: int = 0
    objects: int | None = None
    slots: int = 7
    pointers: int = 16
    frame: tuple[int, int] = (480, 854)
    shape: tuple[int, int] | None = None


def file_fingerprint(path: Path, size: int) -> list[str]:
    """`Family.fingerprint` where the weights are one file. size: pixels a side of the input."""
    return [file_hash(path) if path.is_file() else "none", str(size)]


class Family(ABC):
    """One network under one or several sets of weights. Implementations live in `vidmem/networks/FAMILY/card.py`."""

    models: Mapping[str, str]
    """name -> a line about it."""
    embedded = False
    """Weights and graphs come with vidmem."""
    sizes = False
    """The input has a size that can be chosen, in pixels a side."""
    engines: Mapping[str, tuple[str, ...]]
    """Name of an engine -> the precisions in which the family runs there (empty: as exported). The first is taken where none
    was gated."""
    open_axes: Mapping[str, Mapping[int, int]]
    exact: tuple[str, ...] = ()
    spared: tuple[str, ...] = ()
    """Patterns of the nodes of `encode` that stay in float32 where the rest is in int8."""
    transformer = False
    """`encode` is made of attention: its softmax and layer normalisation are quantised with care."""

    def bank(self, name: str | None = None) -> Policy:
        """The bank of that name (of `vidmem.memory.BANKS`), with numbers that suit; None: the family's own."""
        return BANKS[name or "recent"]()

    def check(self, model: str, engine: str, precision: str, size: int | None) -> None:
        """Raises `ModelError` for what the family does not do."""
        if size is not None and not self.sizes:
            raise ModelError(f"image_size={size}, and {model} takes none: it scales every frame to its own size")
        if engine not in self.engines:
            raise ModelError(f"{model} does not run on {engine}; expected one of {', '.join(self.engines)}")
        if self.engines[engine] and precision not in self.engines[engine]:
            raise ModelError(
                f"{model} on {engine} in {precision}; expected {' or '.join(self.engines[engine])}"
                + "".join(f", or {precision} with the {name} runtime" for name, has in self.engines.items() if precision in has)
            )  # fmt: skip

    @abstractmethod
    def path(self, model: str) -> Path:
        """Where its weights lie, or will lie once they are fetched: a folder of an embedded family, else a file."""

    def url(self, model: str) -> str:
        """Where its weights are published."""
        raise ModelError(f"{model} comes with vidmem; there is nothing to fetch")

    def how_to_get(self, model: str) -> str:
        """What a user does to have its weights."""
        return f"vidmem models get {model}"

    @abstractmethod
    def fingerprint(self, model: str, weights: Path | None, size: int | None) -> list[str]:
        """What is run, as hashes: weights or graphs, and what else they depend on. Exports are not asked about."""

    @abstractmethod
    def on_torch(
        self, model: str, weights: Path | None, size: int | None, device: str, precision: str, threads: int | None
    ) -> Network:
        """The family's modules on PyTorch. Raises `ModelError` for weights that are missing or do not fit."""

    @abstractmethod
    def on_graphs(self, engine: Engine, folder: Path, manifest: Manifest | None) -> Network:
        """The network over four graphs that an engine has opened. manifest: of an export; None: graphs that come with vidmem."""

    @abstractmethod
    def export(self, model: str, weights: Path | None, folder: Path, wish: Wish) -> Wish:
        """Write the four ONNX graphs in float32, and whatever `on_graphs` reads beside them -> what was written. Raises `ModelError`
        for a wish that cannot be had."""
