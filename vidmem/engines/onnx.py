"""Exported graphs on ONNX Runtime: on the CPU with numpy and no torch; on a GPU with IO binding, so that memories stay there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from vidmem.engines.base import MOST_POINTS, DeviceEngine, HostEngine, cores, graph_files
from vidmem.errors import ModelError, RuntimeMissing
from vidmem.installed import cache_folder, file_hash

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
RTX = "nv-tensorrt-rtx"  # a plugin: it is registered, and then chosen by its devices instead of its name


def tensorrt_options(path: Path) -> dict[str, str]:
    """Of ONNX Runtime's TensorRT provider: engines and timings kept, and a profile for the axis of points of `decode`."""
    folder = str(cache_folder() / "engines" / f"onnxruntime-{file_hash(path)[:16]}")
    options = {
        "trt_engine_cache_enable": "1", "trt_engine_cache_path": folder, "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": folder, "trt_layer_norm_fp32_fallback": "1",
    }  # fmt: skip
    if path.stem == "decode":
        options |= {f"trt_profile_{name}_shapes": shapes for name, shapes in _points(path).items()}
    return options


def rtx_options(path: Path) -> dict[str, str]:
    """Of ONNX Runtime's provider of TensorRT for RTX: what it compiles on the card is kept, and the profile for points."""
    options = {"nv_runtime_cache_path": str(cache_folder() / "engines" / f"nv-tensorrt-rtx-{file_hash(path)[:16]}")}
    if path.stem == "decode":
        options |= {f"nv_profile_{name}_shapes": shapes for name, shapes in _points(path).items()}
    return options


def _points(path: Path) -> dict[str, str]:
    """Shapes of `decode`'s open inputs: the least, the usual and the most points of one prompt."""
    rows = json.loads((path.parent / "manifest.json").read_text())["objects"]
    most = (("min", 1), ("opt", 3), ("max", MOST_POINTS))
    names = {node: f"{rows}x{{0}}{rest}" for node, rest in (("points", "x2"), ("labels", ""))}
    return {name: ",".join(f"{node}:{shape.format(count)}" for node, shape in names.items()) for name, count in most}


def _rtx_devices(ort) -> list:
    """The cards that the plugin sees, after registering it. Written against its documentation and not run yet: no GPU was at hand."""
    try:
        import onnxruntime_ep_nv_tensorrt_rtx as plugin
    except ImportError as error:
        raise RuntimeMissing(
            f"the {RTX} runtime needs ONNX Runtime's plugin: pip install onnxruntime-ep-nv-tensorrt-rtx-cu12 ({error})"
        ) from error
    name = plugin.get_ep_name()
    if not any(device.ep_name == name for device in ort.get_ep_devices()):
        ort.register_execution_provider_library(name, plugin.get_library_path())
    devices = [device for device in ort.get_ep_devices() if device.ep_name == name]
    if not devices:
        raise ModelError(f"the {RTX} runtime was asked for, and its plugin sees no RTX GPU (Ampere or newer)")
    return devices[:1]


def quiet_onnxruntime():
    """The package `onnxruntime`. Recent versions report to their maker, also on Linux: the import starts a thread and leaves `.ses` in the
    temporary folder. `disable_telemetry_events()` comes too late for that. Who has set the variable has decided. Raises `RuntimeMissing`."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeMissing("the onnx runtime needs onnxruntime: pip install onnxruntime") from error
    return onnxruntime


def open_sessions(folder: Path, threads: int | None, provider: str = "cpu") -> dict:
    """The four graphs as sessions on exactly that provider. ONNX Runtime falls back to the CPU with a warning at most; here
    that is a `ModelError`, as is a graph that is missing or cannot be read. Raises `RuntimeMissing` without onnxruntime."""
    ort = quiet_onnxruntime()
    devices, wanted = (_rtx_devices(ort), None) if provider == RTX else (None, PROVIDERS[provider])
    if wanted and wanted not in ort.get_available_providers():
        raise ModelError(
            f"device {provider!r} was asked for, but this onnxruntime {ort.__version__} has only {', '.join(ort.get_available_providers())}; "
            "pip uninstall onnxruntime, then pip install onnxruntime-gpu (they overwrite each other)"
        )
    sessions = {}
    for name, path in graph_files(folder).items():
        options = session_options(ort, threads or cores())
        try:
            if devices:
                options.add_provider_for_devices(devices, rtx_options(path))
                sessions[name] = ort.InferenceSession(str(path), options)
                wanted = devices[0].ep_name
            else:
                how = [(wanted, tensorrt_options(path)), PROVIDERS["cuda"]] if provider == "tensorrt" else [wanted]
                sessions[name] = ort.InferenceSession(str(path), options, providers=how)
        except Exception as error:  # onnxruntime raises many kinds, none of them documented
            raise ModelError(f"{path} cannot be loaded: {' '.join(str(error).split())[:500]}") from error
        if sessions[name].get_providers()[0] != wanted:
            raise ModelError(
                f"{path} was to run on {wanted}, and ONNX Runtime chose {sessions[name].get_providers()[0]}; see its log"
            )
    return sessions


def session_options(ort, threads: int):
    """How every session runs here."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # Decoding and writing run beside the network; threads that spin while they wait would take their cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


class OnnxEngine(HostEngine):
    """Implements `vidmem.engines.base.Engine` on the CPU; arrays are numpy. folder: holds the four `.onnx` files. Raises as
    `open_sessions`."""

    name = "onnx"

    def __init__(self, folder: Path, threads: int | None = None):
        self.overlaps = (threads or cores()) > 1
        self._sessions = open_sessions(folder, threads)
        self._inputs = {name: [node.name for node in session.get_inputs()] for name, session in self._sessions.items()}

    def run(self, graph: str, *arrays) -> tuple:
        return tuple(self._sessions[graph].run(None, dict(zip(self._inputs[graph], arrays, strict=True))))


class OnnxDeviceEngine(DeviceEngine):
    """The same on `device` (`cuda`; `cpu` for tests): inputs and outputs are torch tensors, bound by address and never copied.
    provider: `tensorrt` or `nv-tensorrt-rtx`, for an export with fixed shapes; None: the device's own."""

    name = "onnx"

    def __init__(self, folder: Path, device: str = "cuda", provider: str | None = None):
        try:
            super().__init__(device)
        except ImportError as error:
            raise RuntimeMissing(
                "the onnx runtime on a GPU keeps memories there as torch tensors: pip install torch"
            ) from error
        self._sessions = open_sessions(folder, None, provider or self.device.type)
        self.name = {None: "onnx", "tensorrt": "onnx-tensorrt", RTX: RTX}[provider]

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
