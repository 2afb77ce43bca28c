"""SAM 2 and 2.1, as a card."""

from __future__ import annotations

from pathlib import Path

from vidmem.engines.base import Engine
from vidmem.engines.manifest import Manifest
from vidmem.engines.pytorch import use_torch
from vidmem.errors import ModelError
from vidmem.networks.family import Family, Wish, file_fingerprint
from vidmem.networks.sam2.config import CONFIGS

SIZE = 1024  # pixels a side, as trained


def _about(name: str) -> str:
    version, size = name.split("-", 1)
    return f"Meta's {version.upper().replace('SAM', 'SAM ')}, {size}, at {SIZE} pixels; fetch it first"


class Sam2Family(Family):
    models = {name: _about(name) for name in CONFIGS}
    sizes = True
    engines = {
        "pytorch": ("fp32", "bf16"), "onnx": ("fp32",), "openvino": ("fp32", "bf16", "int8"), **dict.fromkeys(("tensorrt", "tensorrt-rtx", "onnx-tensorrt", "nv-tensorrt-rtx"), ()),
    }  # fmt: skip
    open_axes = {
        "attend": {1: 2, 2: 2, 3: 1, 4: 2, 5: 1, 6: 1, 7: 1, 8: 1, 9: 1},
        "decode": {3: 1, 4: 1},
    }  # tokens, pointers, points
    transformer = True
    exact = ("decode", "memorize")  # on OpenVINO always: together a thirtieth of the time

    def path(self, model: str) -> Path:
        from vidmem.networks.sam2.checkpoints import checkpoint_path

        return checkpoint_path(model)

    def url(self, model: str) -> str:
        from vidmem.networks.sam2.checkpoints import checkpoint_url

        return checkpoint_url(model)

    def fingerprint(self, model: str, weights: Path | None, size: int | None) -> list[str]:
        return file_fingerprint(weights or self.path(model), size or SIZE)

    def on_torch(self, model, weights, size, device, precision, threads):
        use_torch(model, device, threads)
        from vidmem.networks.sam2.checkpoints import load_sam2
        from vidmem.networks.sam2.eager import Sam2Network

        return Sam2Network(model, load_sam2(model, weights, size or SIZE), device, precision)

    def on_graphs(self, engine: Engine, folder: Path, manifest: Manifest | None):
        from vidmem.networks.sam2.graphs import Sam2Graphs

        if manifest is None:
            raise ModelError(f"{folder} holds no export; write one with vidmem export MODEL --out DIR")
        return Sam2Graphs(folder, engine, manifest)

    def export(self, model: str, weights: Path | None, folder: Path, wish: Wish) -> Wish:
        from vidmem.networks.sam2.checkpoints import load_sam2
        from vidmem.networks.sam2.export import export

        export(load_sam2(model, weights, wish.size), folder, wish.objects, wish.slots, wish.pointers)
        return wish
