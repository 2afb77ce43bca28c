"""Exported graphs on ONNX Runtime: on the CPU with numpy and no torch; on a GPU with IO binding, so that memories stay there."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vidmem.errors import ModelError, RuntimeMissing
from vidmem.runtime.engine import DeviceEngine, HostEngine, cores, graph_files

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def open_sessions(folder: Path, threads: int | None, provider: str = "cpu") -> dict:
    """The four graphs as sessions on exactly that provider. ONNX Runtime falls back to the CPU with a warning at most; here
    that is a `ModelError`, as is a graph that is missing or cannot be read. Raises `RuntimeMissing` without onnxruntime."""
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise RuntimeMissing("the onnx runtime needs onnxruntime: pip install onnxruntime") from error
    wanted = PROVIDERS[provider]
    if wanted not in ort.get_available_providers():
        raise ModelError(
            f"device {provider!r} was asked for, but this onnxruntime {ort.__version__} has only {', '.join(ort.get_available_providers())}; "
            "pip uninstall onnxruntime, then pip install onnxruntime-gpu (they overwrite each other)"
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or cores()
    # Decoding and writing run beside the network; threads that spin while they wait would take their cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    sessions = {}
    for name, path in graph_files(folder).items():
        try:
            sessions[name] = ort.InferenceSession(str(path), options, providers=[wanted])
        except Exception as error:  # onnxruntime raises many kinds, none of them documented
            raise ModelError(f"{path} cannot be loaded: {error}") from error
        if sessions[name].get_providers()[0] != wanted:
            raise ModelError(f"{path} was to run on {wanted}, and ONNX Runtime chose {sessions[name].get_providers()[0]}; see its log")
    return sessions


class OnnxEngine(HostEngine):
    """Implements `vidmem.runtime.engine.Engine` on the CPU; arrays are numpy. folder: holds the four `.onnx` files. Raises as
    `open_sessions`."""

    name = "onnx"

    def __init__(self, folder: Path, threads: int | None = None):
        self._sessions = open_sessions(folder, threads)
        self._inputs = {name: [node.name for node in session.get_inputs()] for name, session in self._sessions.items()}

    def run(self, graph: str, *arrays) -> tuple:
        return tuple(self._sessions[graph].run(None, dict(zip(self._inputs[graph], arrays, strict=True))))


class OnnxDeviceEngine(DeviceEngine):
    """The same on `device` (`cuda`; `cpu` for tests): inputs and outputs are torch tensors, bound by address and never copied."""

    name = "onnx"

    def __init__(self, folder: Path, device: str = "cuda"):
        try:
            super().__init__(device)
        except ImportError as error:
            raise RuntimeMissing("the onnx runtime on a GPU keeps memories there as torch tensors: pip install torch") from error
        self._sessions = open_sessions(folder, None, self.device.type)

    def run(self, graph: str, *arrays) -> tuple:
        session, torch = self._sessions[graph], self._torch
        binding, kind, number = session.io_binding(), self.device.type, self.device.index or 0
        held = [array.contiguous() for array in arrays]  # by address, so they must live until the run is over
        for node, array in zip(session.get_inputs(), held, strict=True):
            element = np.dtype(str(array.dtype).removeprefix("torch."))
            binding.bind_input(node.name, kind, number, element, tuple(array.shape), array.data_ptr())
        for node in session.get_outputs():
            binding.bind_output(node.name, kind, number)
        if kind == "cuda":
            torch.cuda.current_stream().synchronize()  # what is still being written into the inputs
        session.run_with_iobinding(binding)
        return tuple(torch.from_dlpack(value) for value in binding.get_outputs())
