"""`nano` on PyTorch: any device that torch has."""

from __future__ import annotations

from pathlib import Path

from vidmem.errors import ModelError, RuntimeMissing
from vidmem.runtime.engine import DeviceEngine


class PytorchEngine(DeviceEngine):
    """Implements `vidmem.runtime.engine.Engine`; arrays are torch tensors on `device`.

    weights: a safetensors file whose metadata holds the architecture. Raises `RuntimeMissing` without torch and
    `ModelError` for a file that does not fit.
    """

    name = "pytorch"

    def __init__(self, weights: Path, device: str = "cpu", threads: int | None = None):
        try:
            import torch
        except ImportError as error:
            raise RuntimeMissing("the pytorch runtime needs torch: pip install torch safetensors") from error
        from vidmem.nn.nano.export import Encode
        from vidmem.weights import load_nano

        if device != "cpu" and not torch.cuda.is_available():
            raise ModelError(f"device {device!r} was asked for, but torch {torch.__version__} sees no GPU; use 'cpu'")
        if threads:
            torch.set_num_threads(threads)
        super().__init__(device)
        model = load_nano(weights).eval().to(device, memory_format=torch.channels_last)
        self._graphs = {
            "encode": Encode(model),
            "attend": model.attend,
            "decode": model.decode,
            "memorize": model.memorize,
        }

    def run(self, graph: str, *arrays) -> tuple:
        with self._torch.inference_mode():
            out = self._graphs[graph](*arrays)
        return out if isinstance(out, tuple) else (out,)
