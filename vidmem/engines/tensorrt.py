"""Exported graphs on TensorRT 10 or 11; memories stay on the GPU as torch tensors.

Written against the Python API of 10.16 and 11.4 (every name used here is in both bindings) and not run yet: no GPU was at hand.
Graphs are typed (`vidmem export --to tensorrt --precision fp16`), for TensorRT 11 has no precision flags any more.

With VIDMEM_TENSORRT_COMPATIBLE=1 engines are built for every later TensorRT of the same major version, somewhat slower; a machine
that has only the lean runtime (`tensorrt_lean`, a tenth of the size, no builder) runs those out of a cache built elsewhere.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vidmem.engines.base import MOST_POINTS, DeviceEngine, graph_files
from vidmem.engines.cache import EngineCache
from vidmem.engines.manifest import Manifest
from vidmem.errors import ModelError, RuntimeMissing
from vidmem.installed import cache_folder, file_hash, own_version

LEVEL = 3  # builder optimization level, TensorRT's default
WORKSPACE = 4 << 30  # bytes


def find_tensorrt(names=("tensorrt", "tensorrt_lean")):
    """-> the module, and whether engines are version-compatible ones. Raises `RuntimeMissing` where none can be imported."""
    for name in names:
        try:
            return importlib.import_module(name), name == "tensorrt_lean" or os.environ.get(
                "VIDMEM_TENSORRT_COMPATIBLE"
            ) == "1"
        except ImportError:
            continue
    raise RuntimeMissing(
        "the tensorrt runtime needs tensorrt, or tensorrt_lean with engines built elsewhere: pip install tensorrt"
    )


def machine_version(version: str, compatible: bool) -> str:
    """What an engine is bound to: exactly one TensorRT, or all of its major version."""
    return f"{version.split('.')[0]}, compatible" if compatible else version


def machine_key(tensorrt: str, device: int = 0) -> dict[str, str]:
    """What an engine and its timings depend on besides the graph. tensorrt: its version."""
    import torch

    major, minor = torch.cuda.get_device_capability(device)
    return {"tensorrt": tensorrt, "cuda": str(torch.version.cuda), "driver": _driver(), "gpu": torch.cuda.get_device_name(device),
            "capability": f"{major}.{minor}"}  # fmt: skip


def engine_key(
    graph: str, sha256: str, manifest: Manifest, machine: dict[str, str], level: int = LEVEL
) -> dict[str, str]:
    """graph: its name; sha256: of its ONNX file."""
    shapes = f"size {manifest.size}, objects {manifest.objects}, slots {manifest.slots}, pointers {manifest.pointers}, points {MOST_POINTS}"
    return {
        "graph": graph,
        "onnx": sha256,
        "precision": manifest.precision,
        "shapes": shapes,
        "level": str(level),
        "vidmem": own_version(),
        **machine,
    }


def _driver() -> str:
    try:
        return Path("/proc/driver/nvidia/version").read_text().split("Kernel Module")[1].split()[0].split(".")[0]
    except (OSError, IndexError):
        return "unknown"


class TensorRtEngine(DeviceEngine):
    """Implements `vidmem.engines.base.Engine`; arrays are torch tensors on the GPU.

    folder: an export with fixed shapes. cache: where built engines are kept; None: vidmem's own. Raises `RuntimeMissing` without
    tensorrt or torch with CUDA, `ModelError` for an export that is open, or a graph that TensorRT refuses.
    """

    name = "tensorrt"

    def __init__(self, folder: Path, manifest: Manifest, device: int = 0, cache: EngineCache | None = None):
        tensorrt, self._compatible = find_tensorrt()
        try:
            import torch
        except ImportError as error:
            raise RuntimeMissing("the tensorrt runtime needs torch with CUDA: pip install torch") from error
        if not torch.cuda.is_available():
            raise ModelError(f"the tensorrt runtime was asked for, but torch {torch.__version__} sees no GPU")
        if manifest.objects is None:
            raise ModelError(
                f"{folder} has open shapes; TensorRT takes what `vidmem export --to tensorrt --objects N` writes"
            )
        super().__init__(f"cuda:{device}")
        self._trt, self._logger = tensorrt, tensorrt.Logger(tensorrt.Logger.WARNING)
        cache = cache or EngineCache(cache_folder() / "engines")
        machine = machine_key(machine_version(tensorrt.__version__, self._compatible), device)
        runtime = tensorrt.Runtime(self._logger)
        self._graphs = {}
        for name, path in graph_files(folder).items():
            key = engine_key(name, file_hash(path), manifest, machine)
            self._graphs[name] = Graph(tensorrt, self.device, self._load(runtime, cache, key, path, machine))

    def _load(self, runtime, cache: EngineCache, key: dict, path: Path, machine: dict):
        """Twice at most: an engine from the cache that does not load is built again."""
        for _ in range(2):
            engine = runtime.deserialize_cuda_engine(cache.obtain(key, lambda: self._build(path, cache, machine)))
            if engine is not None:
                return engine
            cache.drop(key)
        raise ModelError(f"TensorRT {self._trt.__version__} cannot load the engine that it built of {path}")

    def _build(self, path: Path, cache: EngineCache, machine: dict) -> bytes:
        trt = self._trt
        if not hasattr(trt, "Builder"):
            raise RuntimeMissing(
                f"there is no engine of {path.name} for this machine in {cache.folder}, and the lean runtime builds none; build it where tensorrt "
                "is installed, with the same GPU and driver: VIDMEM_TENSORRT_COMPATIBLE=1 vidmem doctor --tensorrt DIR, and copy that folder"
            )
        builder = trt.Builder(self._logger)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, self._logger)
        if not parser.parse_from_file(str(path)):
            problems = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
            raise ModelError(f"TensorRT {trt.__version__} does not take {path}: {problems}")
        config = builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE)
        config.builder_optimization_level = LEVEL
        if self._compatible:
            config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
            config.set_flag(trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)  # it is installed where the engine goes
        timing = config.create_timing_cache(cache.timing(machine))
        config.set_timing_cache(timing, False)
        profile, inputs = (
            builder.create_optimization_profile(),
            [network.get_input(i) for i in range(network.num_inputs)],
        )
        for tensor in inputs:  # only the number of points is open
            shapes = [tuple(n if have < 0 else have for have in tensor.shape) for n in (1, 3, MOST_POINTS)]
            profile.set_shape(tensor.name, *shapes)
        config.add_optimization_profile(profile)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise ModelError(f"TensorRT {trt.__version__} could not build an engine of {path}; its log says why")
        cache.keep_timing(machine, bytes(config.get_timing_cache().serialize()))
        return bytes(plan)

    def run(self, graph: str, *arrays) -> tuple:
        return self._graphs[graph](arrays)


class Graph:
    """One built graph: fixed buffers, and its launches recorded as a CUDA graph for each shape of its inputs. trt: the module that
    loaded `engine`; context: makes an execution context; None: the engine's plain one."""

    def __init__(self, trt, device, engine, context: Callable[[], Any] | None = None):
        import torch

        self._torch, self._device, self._context = torch, device, context or engine.create_execution_context
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        inward = {name: engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names}
        self._inputs, self._outputs = [n for n in names if inward[n]], [n for n in names if not inward[n]]
        kinds = {"FLOAT": torch.float32, "HALF": torch.float16, "BF16": torch.bfloat16, "INT64": torch.int64, "INT32": torch.int32,
                 "BOOL": torch.bool, "UINT8": torch.uint8}  # fmt: skip
        self._kinds = {name: kinds[engine.get_tensor_dtype(name).name] for name in names}
        self._lock = threading.Lock()
        self._recorded: dict[
            tuple, tuple
        ] = {}  # shapes -> (CUDA graph with its context), inputs, outputs; points alone vary

    def __call__(self, arrays) -> tuple:
        shapes = tuple(tuple(array.shape) for array in arrays)
        if shapes not in self._recorded:
            self._recorded[shapes] = self._record(shapes)
        (recorded, _), inputs, outputs = self._recorded[shapes]
        with self._lock:
            for buffer, array in zip(inputs, arrays, strict=True):
                buffer.copy_(array)
            recorded.replay()
            return tuple(out.clone() for out in outputs)  # the next replay writes into the same buffers

    def _record(self, shapes: tuple) -> tuple:
        torch, context = self._torch, self._context()
        buffers = {}
        for name, shape in zip(self._inputs, shapes, strict=True):
            context.set_input_shape(name, shape)
            buffers[name] = torch.zeros(shape, dtype=self._kinds[name], device=self._device)
        for name in self._outputs:
            buffers[name] = torch.empty(
                tuple(context.get_tensor_shape(name)), dtype=self._kinds[name], device=self._device
            )
        for name, buffer in buffers.items():
            context.set_tensor_address(name, buffer.data_ptr())
        stream = torch.cuda.Stream(self._device)
        with torch.cuda.stream(stream):  # once outside a recording, for what TensorRT sets up on its first run
            context.execute_async_v3(stream.cuda_stream)
        stream.synchronize()
        recorded = torch.cuda.CUDAGraph()
        with torch.cuda.graph(recorded, stream=stream):
            context.execute_async_v3(stream.cuda_stream)
        return (recorded, context), [buffers[name] for name in self._inputs], [buffers[name] for name in self._outputs]
