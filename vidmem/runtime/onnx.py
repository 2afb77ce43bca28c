"""`nano` on ONNX Runtime; no torch needed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from vidmem.errors import ModelError, RuntimeMissing

GRAPHS = ("encode", "attend", "decode", "memorize")


class OnnxEngine:
    """Implements `vidmem.runtime.nano.Engine`; arrays are numpy.

    folder: holds the four `.onnx` files. Raises `RuntimeMissing` without onnxruntime and `ModelError` when a graph is
    missing or cannot be read.
    """

    name = "onnx"

    def __init__(self, folder: Path, threads: int | None = None):
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise RuntimeMissing("the onnx runtime needs onnxruntime: pip install onnxruntime") from error
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or cores()
        # Decoding and writing run beside the network; threads that spin while they wait would take their cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._sessions, self._inputs = {}, {}
        for name in GRAPHS:
            path = Path(folder) / f"{name}.onnx"
            if not path.is_file():
                raise ModelError(f"{path} is missing; expected the graphs {', '.join(GRAPHS)}. Run scripts/export_nano.py")
            try:
                session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            except Exception as error:  # onnxruntime raises many kinds, none of them documented
                raise ModelError(f"{path} cannot be loaded: {error}") from error
            self._sessions[name] = session
            self._inputs[name] = [node.name for node in session.get_inputs()]

    def run(self, graph: str, *arrays) -> tuple:
        return tuple(self._sessions[graph].run(None, dict(zip(self._inputs[graph], arrays, strict=True))))

    def put(self, array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array)

    def host(self, array: np.ndarray) -> np.ndarray:
        return array

    def cat(self, arrays, axis: int) -> np.ndarray:
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis)


def cores() -> int:
    """Cores that this process may use; only Linux tells them apart from those that there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
