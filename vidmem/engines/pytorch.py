"""Torch modules as graphs: any device that torch has."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vidmem.engines.base import DeviceEngine
from vidmem.errors import ModelError, RuntimeMissing


def use_torch(what: str, device, threads: int | None = None, also: str = "safetensors") -> None:
    """Before `what` is made on this device, with so many threads of the CPU (None: torch's own number). also: packages that it needs beside
    torch. Raises `RuntimeMissing` without torch, and `ModelError` for a GPU that torch does not see."""
    try:
        import torch
    except ImportError as error:
        raise RuntimeMissing(f"{what} needs torch: pip install torch {also}") from error
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"device {str(device)!r} was asked for, but torch {torch.__version__} sees no GPU; use 'cpu'")
    if threads:
        torch.set_num_threads(threads)


class PytorchEngine(DeviceEngine):
    """Implements `vidmem.engines.base.Engine`; arrays are torch tensors on `device`. Raises `RuntimeMissing` without torch, and
    `ModelError` for a GPU that torch does not see."""

    name = "pytorch"

    def __init__(self, device: str = "cpu", threads: int | None = None):
        use_torch("the pytorch runtime", device, threads)
        super().__init__(device)

    def open(self, model, functions: Callable[..., Mapping[str, Callable]]) -> PytorchEngine:
        """model: a torch module; functions: makes its graphs, as callables by name -> this engine."""
        model = model.eval().to(self.device, memory_format=self._torch.channels_last)
        self._graphs = functions(model)
        return self

    def run(self, graph: str, *arrays) -> tuple:
        with self._torch.inference_mode():
            out = self._graphs[graph](*arrays)
        return out if isinstance(out, tuple) else (out,)
