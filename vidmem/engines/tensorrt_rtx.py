"""Exported graphs on TensorRT for RTX: small engines that are built ahead of time, on any machine, for a GPU that is only named.

`build` needs no GPU; it has been run on every graph (docs/engines.md). `TensorRtRtxEngine` is written against the documented interface
of 1.7 and **not run yet**: no GPU was at hand. An engine runs on every card of the compute capability that it was built for, so unlike
TensorRT's it can be made once and shipped; the rest of the compilation (a second or so) happens on the card and is kept beside it.
"""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path

from vidmem.engines.base import MOST_POINTS, DeviceEngine, graph_files
from vidmem.engines.cache import EngineCache
from vidmem.engines.tensorrt import Graph
from vidmem.errors import ModelError, RuntimeMissing
from vidmem.installed import cache_folder, file_hash

MODULES = ("tensorrt_rtx", "tensorrt_rtx_bindings")  # with NVIDIA's metapackage, and without


def find_tensorrt_rtx(names=MODULES):
    """Its Python module. Raises `RuntimeMissing` where it is not installed."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise RuntimeMissing(
        "TensorRT for RTX is not installed: pip install tensorrt-rtx-cu12-libs tensorrt-rtx-cu12-bindings"
    )


def capabilities(trt) -> list[int]:
    """What it builds for: 75 is Turing, 80 and 86 Ampere, 89 Ada, 120 Blackwell."""
    return sorted(int(name[2:]) for name in trt.ComputeCapability.__members__ if name.startswith("SM"))


def build(trt, path: Path, sm: int) -> bytes:
    """The engine of a graph for a compute capability, for instance 89; no GPU is needed. trt: as `find_tensorrt_rtx` gives it.

    Raises `ModelError` for a capability that it does not know, or a graph that it refuses, with what it says."""
    if sm not in capabilities(trt):
        known = ", ".join(map(str, capabilities(trt)))
        raise ModelError(f"TensorRT for RTX {trt.__version__} has no engines for SM{sm}; expected one of {known}")
    log = _logger(trt)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(path)):
        problems = [str(parser.get_error(i)) for i in range(parser.num_errors)]
        raise ModelError(f"TensorRT for RTX {trt.__version__} does not take {path}: {_line(problems)}")
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{sm}"), 0)
    profile = builder.create_optimization_profile()
    for tensor in (network.get_input(i) for i in range(network.num_inputs)):  # only the number of points is open
        shapes = [tuple(n if have < 0 else have for have in tensor.shape) for n in (1, 3, MOST_POINTS)]
        profile.set_shape(tensor.name, *shapes)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ModelError(
            f"TensorRT for RTX {trt.__version__} builds no engine of {path} for SM{sm}: {_line(log.errors)}"
        )
    return bytes(plan)


def _line(problems: list[str]) -> str:
    return " ".join("; ".join(problems).split())


def _logger(trt):
    """Keeps what went wrong, for the message, and prints nothing."""

    class Log(trt.ILogger):
        def __init__(self):
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message)

    return Log()


def engine_key(graph: str, path: Path, version: str, sm: int) -> dict[str, str]:
    """What an engine is found by: everything that it depends on. Shapes and precision are the graph's own."""
    return {"graph": graph, "onnx": file_hash(path), "tensorrt-rtx": version, "capability": str(sm), "points": str(MOST_POINTS)}  # fmt: skip


def build_all(folder: Path, sms: tuple[int, ...]) -> None:
    """Put the engines of an export's graphs beside them, one of each for every capability."""
    trt, cache = find_tensorrt_rtx(), EngineCache(folder)
    for name, path in graph_files(folder).items():
        for sm in sms:
            cache.put(engine_key(name, path, trt.__version__, sm), build(trt, path, sm))


class TensorRtRtxEngine(DeviceEngine):
    """Implements `vidmem.engines.base.Engine`; arrays are torch tensors on the GPU. Not run yet.

    folder: an export with fixed shapes; engines that lie beside the graphs are taken, others are built into the cache. Raises
    `RuntimeMissing` without tensorrt-rtx or torch with CUDA, `ModelError` for a GPU or a graph that it does not take.
    """

    name = "tensorrt-rtx"

    def __init__(self, folder: Path, device: int = 0, cache: EngineCache | None = None):
        trt = find_tensorrt_rtx()
        try:
            import torch
        except ImportError as error:
            raise RuntimeMissing("the tensorrt-rtx runtime needs torch with CUDA: pip install torch") from error
        if not torch.cuda.is_available():
            raise ModelError(f"the tensorrt-rtx runtime was asked for, but torch {torch.__version__} sees no GPU")
        super().__init__(f"cuda:{device}")
        major, minor = torch.cuda.get_device_capability(device)
        self._trt, self._runtime = trt, trt.Runtime(trt.Logger(trt.Logger.WARNING))
        shipped, cache = EngineCache(folder), cache or EngineCache(cache_folder() / "engines")
        self._graphs = {}
        for name, path in graph_files(folder).items():
            key = engine_key(name, path, trt.__version__, 10 * major + minor)
            engine = self._load(key, path, shipped, cache)
            self._graphs[name] = Graph(trt, self.device, engine, partial(self._context, engine))

    def _load(self, key: dict, path: Path, shipped: EngineCache, cache: EngineCache):
        sm = int(key["capability"])
        for _ in range(2):  # an engine from the cache that does not load is built again
            plan = shipped.get(key) or cache.obtain(key, lambda: build(self._trt, path, sm))
            engine = self._runtime.deserialize_cuda_engine(plan)
            if engine is not None:
                return engine
            shipped = cache
            cache.drop(key)
        raise ModelError(f"TensorRT for RTX {self._trt.__version__} cannot load the engine that it built of {path}")

    def _context(self, engine):
        """Kernels are compiled before the first run, so that recording it as a CUDA graph meets no compiler."""
        config = engine.create_runtime_config()
        config.dynamic_shapes_kernel_specialization_strategy = self._trt.DynamicShapesKernelSpecializationStrategy.EAGER
        return engine.create_execution_context(config)

    def run(self, graph: str, *arrays) -> tuple:
        return self._graphs[graph](arrays)
