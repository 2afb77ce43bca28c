"""Exported graphs on OpenVINO: the fastest engine here on CPUs with AVX-512, the more so in bfloat16."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vidmem.engines.base import GRAPHS, HostEngine, cores, graph_files
from vidmem.errors import ModelError, RuntimeMissing

SHAPES = 24  # compiled graphs kept, one for each combination of graph and input shapes; the one not used longest goes
Axes = Mapping[str, Mapping[int, int]]
HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
INT8 = "encode.int8.xml"
"""Beside the four graphs: `encode` in int8, where it was made. Its products say in which type they are."""


def quiet_openvino():
    """The package `openvino`. Its import sends an event to its maker, through Google, and keeps a number of this machine in the home, unless
    somebody declined; it does neither where `openvino_telemetry` cannot be imported. Raises `RuntimeMissing` without openvino."""
    reports = "openvino_telemetry"
    hidden = "openvino" not in sys.modules and reports not in sys.modules
    if hidden:
        sys.modules[reports] = None  # as the import system spells a module that must not be found
    try:
        import openvino
    except ImportError as error:
        raise RuntimeMissing("the openvino runtime needs openvino: pip install openvino") from error
    finally:
        if hidden:
            del sys.modules[reports]
    return openvino


def settings(threads: int) -> dict[str, Any]:
    """How every graph runs here: one at a time, as soon as it can, on cores that others may use, too."""
    return {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}


class OpenVinoEngine(HostEngine):
    """Implements `vidmem.engines.base.Engine` on the CPU; arrays are numpy.

    folder: holds the four graphs in float32, as `.xml` or `.onnx`. precision: `fp32`; `bf16` where the processor has it: products in
    bfloat16, inputs and outputs in float32; `int8`: `encode` from a file of its own, the others in float32. open_axes: graph -> input number -> the axis whose length changes from frame to frame.
    exact: graphs that stay in float32. Raises `RuntimeMissing` without openvino, and `ModelError` when a graph is missing
    or cannot be read or the processor lacks the precision.
    """

    name = "openvino"

    def __init__(
        self, folder: Path, threads: int | None = None, precision: str = "fp32", open_axes: Axes | None = None,
        exact: tuple[str, ...] = (),
    ):  # fmt: skip
        core = quiet_openvino().Core()
        capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and precision.upper() not in capabilities:
            raise ModelError(
                f"precision={precision!r}, and OpenVINO says that this processor has {', '.join(capabilities)}; use fp32"
            )
        self.overlaps = (threads or cores()) > 1
        self._settings = settings(threads or cores())
        self._hints = {name: HINTS["fp32" if name in exact else precision] for name in GRAPHS}
        self.precision, self._core, self._models, self._open = precision, core, {}, open_axes or {}
        self._requests: OrderedDict[tuple, Any] = OrderedDict()  # -> request, and the lock of whoever uses it
        self._lock = threading.Lock()
        own = (Path(folder) / "encode.xml").is_file()  # an export for OpenVINO, which is read faster
        paths = graph_files(folder, ".xml" if own else ".onnx")
        if precision == "int8":
            paths["encode"] = Path(folder) / INT8
            if not paths["encode"].is_file():
                raise ModelError(
                    f"{paths['encode']} is missing; `vidmem export MODEL --to openvino --precision int8 --data VIDEOS --out DIR` writes it"
                )
        for name, path in paths.items():
            try:
                self._models[name] = core.read_model(str(path))
            except RuntimeError as error:
                raise ModelError(f"{path} cannot be loaded: {' '.join(str(error).split())[:500]}") from error

    def run(self, graph: str, *arrays) -> tuple:
        request, busy = self._request(graph, arrays)
        with busy:  # one at a time; other graphs, and this one for other shapes, run beside it
            outputs = request.infer(list(arrays), share_inputs=True, share_outputs=True)
            return tuple(
                np.array(outputs[i]) for i in range(len(outputs))
            )  # copies: the next call writes into the same buffers

    def _request(self, graph: str, arrays):
        """Compiled for these shapes but for the open axes: that is faster, and with a dynamic number of rows OpenVINO 2026.4
        fuses the sum of one image's map and R rows' maps into a kernel that only fits one row."""
        shapes = [list(array.shape) for array in arrays]
        for number, axis in self._open.get(graph, {}).items():
            shapes[number][axis] = -1
        key = (graph, *map(tuple, shapes))
        with self._lock:
            return self._compiled(key, graph, shapes)

    def _compiled(self, key: tuple, graph: str, shapes: list) -> tuple:
        if key not in self._requests:
            if len(self._requests) >= SHAPES:
                self._requests.popitem(last=False)
            model = self._models[graph].clone()
            model.reshape(dict(enumerate(shapes)))
            settings = self._settings | {"INFERENCE_PRECISION_HINT": self._hints[graph]}
            self._requests[key] = (
                self._core.compile_model(model, "CPU", settings).create_infer_request(),
                threading.Lock(),
            )
        self._requests.move_to_end(key)
        return self._requests[key]
