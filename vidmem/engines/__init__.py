"""ENGINES: whoever does the arithmetic of a network's graphs. A new engine is one file here and one line in the table.

An engine knows no network and no weights' layout: it gets `Graphs`, and runs them by name. Its library is imported when one is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from vidmem.engines.base import Engine
from vidmem.engines.manifest import Manifest
from vidmem.errors import ModelError


@dataclass(frozen=True)
class Graphs:
    """What an engine is given to run."""

    folder: Path
    """Holds the four graphs of `vidmem.engines.base.GRAPHS`."""
    manifest: Manifest | None = None
    """What an export says of itself; None: graphs that come with vidmem, open and in float32."""
    precision: str = "fp32"
    open_axes: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    """graph -> number of an input -> its axis whose length changes from frame to frame."""
    exact: tuple[str, ...] = ()
    """Graphs that stay in float32 whatever the precision."""


@dataclass(frozen=True)
class EngineCard:
    """What there is to know of an engine before it is made."""

    package: str
    """Its name on PyPI; the installed version is part of every verdict."""
    make: Callable[[Graphs, str, int | None], Engine] | None
    """(graphs, device, threads) -> the engine. None: it runs torch modules, which a family gives itself."""
    precisions: tuple[str, ...] = ("fp32",)
    """What it can be asked for. Empty: the precision is written into the graphs."""
    tried: tuple[str, ...] = ("fp32",)
    """What `vidmem gate` tries on a CPU."""
    trusted: tuple[str, ...] = ("fp32",)
    """What needs no verdict: the test suite holds it to PyTorch."""
    devices: tuple[str, ...] = ("cpu", "cuda")
    fixed: bool = False
    """It takes graphs of fixed shapes alone."""
    gate: str = "vidmem gate {model}, or use fp32"
    """How a verdict is got."""
    install: str = ""
    """What `pip install` needs, where that is not the package's name alone."""
    export: str = "--to tensorrt"
    """How graphs of fixed shapes are written for it."""

    def check(self, name: str, device: str, precision: str | None) -> None:
        """Raises `ModelError` for a device or a precision that it does not have."""
        known = sorted({kind for card in ENGINES.values() for kind in card.devices})
        if device.split(":")[0] not in known:
            raise ModelError(f"there is no device {device!r}; choose from: {', '.join(known)} (or cuda:0, cuda:1 ...)")
        if device.split(":")[0] not in self.devices:
            where = " and ".join("the CPU" if d == "cpu" else d for d in self.devices)
            others = [n for n, card in ENGINES.items() if device.split(":")[0] in card.devices and not card.fixed]
            raise ModelError(
                f"device {device!r} with the {name} runtime; it runs on {where}: use runtime="
                + (" or ".join(map(repr, others)) or "'auto' with device 'cpu'")
            )
        if precision is not None and self.precisions and precision not in self.precisions:
            raise ModelError(
                f"precision={precision!r} with the {name} runtime; expected {' or '.join(map(repr, self.precisions))}"
            )


def _onnx(graphs: Graphs, device: str, threads: int | None) -> Engine:
    from vidmem.engines.onnx import OnnxDeviceEngine, OnnxEngine

    return OnnxEngine(graphs.folder, threads) if device == "cpu" else OnnxDeviceEngine(graphs.folder, device)


def _openvino(graphs: Graphs, device: str, threads: int | None) -> Engine:
    from vidmem.engines.openvino import OpenVinoEngine

    return OpenVinoEngine(graphs.folder, threads, graphs.precision, graphs.open_axes, graphs.exact)


def _tensorrt(graphs: Graphs, device: str, threads: int | None) -> Engine:
    from vidmem.engines.tensorrt import TensorRtEngine

    if graphs.manifest is None:
        raise ModelError(f"{graphs.folder} is no export: TensorRT takes what `vidmem export` wrote, with its manifest")
    return TensorRtEngine(graphs.folder, graphs.manifest)


def _tensorrt_rtx(graphs: Graphs, device: str, threads: int | None) -> Engine:
    from vidmem.engines.tensorrt_rtx import TensorRtRtxEngine

    return TensorRtRtxEngine(graphs.folder)


def _onnx_tensorrt(graphs: Graphs, device: str, threads: int | None) -> Engine:
    from vidmem.engines.onnx import OnnxDeviceEngine

    return OnnxDeviceEngine(graphs.folder, provider="tensorrt")


def _onnx_tensorrt_rtx(graphs: Graphs, device: str, threads: int | None) -> Engine:
    from vidmem.engines.onnx import OnnxDeviceEngine

    return OnnxDeviceEngine(graphs.folder, provider="nv-tensorrt-rtx")


# Every precision of TensorRT is gated: fused kernels have been wrong in all of them.
_BUILT = EngineCard(
    "tensorrt", _tensorrt, (), (), (), fixed=True, gate="vidmem doctor --tensorrt DIR --runtime {runtime}, where DIR holds the export",
)  # fmt: skip
_RTX = "tensorrt-rtx-cu12-libs tensorrt-rtx-cu12-bindings"
ENGINES = {
    "onnx": EngineCard("onnxruntime", _onnx),
    "openvino": EngineCard("openvino", _openvino, ("fp32", "bf16", "int8"), ("bf16", "int8", "fp32"), devices=("cpu",)),
    "pytorch": EngineCard("torch", None, ("fp32", "bf16"), ("bf16",), ("fp32", "bf16")),
    "tensorrt": _BUILT,
    "tensorrt-rtx": replace(
        _BUILT,
        package="tensorrt-rtx-cu12-bindings",
        make=_tensorrt_rtx,
        install=_RTX,
        export="--to tensorrt-rtx --sm 89",
    ),
    "onnx-tensorrt": replace(
        _BUILT, package="onnxruntime-gpu", make=_onnx_tensorrt, install="onnxruntime-gpu tensorrt"
    ),
    "nv-tensorrt-rtx": replace(_BUILT, package="onnxruntime-ep-nv-tensorrt-rtx-cu12", make=_onnx_tensorrt_rtx),
}
