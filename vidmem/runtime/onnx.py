"""Exported graphs on ONNX Runtime; no torch needed."""

from __future__ import annotations

from pathlib import Path

from vidmem.errors import ModelError, RuntimeMissing
from vidmem.runtime.engine import HostEngine, cores, graph_files


class OnnxEngine(HostEngine):
    """Implements `vidmem.runtime.engine.Engine` on the CPU; arrays are numpy.

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
        for name, path in graph_files(folder).items():
            try:
                session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            except Exception as error:  # onnxruntime raises many kinds, none of them documented
                raise ModelError(f"{path} cannot be loaded: {error}") from error
            self._sessions[name] = session
            self._inputs[name] = [node.name for node in session.get_inputs()]

    def run(self, graph: str, *arrays) -> tuple:
        return tuple(self._sessions[graph].run(None, dict(zip(self._inputs[graph], arrays, strict=True))))
