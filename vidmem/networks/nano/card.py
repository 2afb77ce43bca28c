"""`nano`, the embedded model, as a card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vidmem.engines.base import GRAPHS, Engine
from vidmem.engines.manifest import Manifest
from vidmem.errors import ModelError, RuntimeMissing
from vidmem.installed import file_hash, models_folder
from vidmem.memory import BANKS, Policy
from vidmem.networks.family import Family, Wish

NUMBERS = {"slots": 3, "prompts": 3, "pointers": 0, "absent": False}
"""What every bank starts from: there are no pointers, an empty mask as its newest memory would blind the local read, and plain
reads of more memories than it was trained with cost time and find nothing."""
BANK_NUMBERS: dict[str, dict[str, int | float]] = {
    "confident": {"iou": 0.65},
    "recent": {"stride": 5},
    "diverse": {"slots": 5, "iou": 0.8},
    **{name: {"slots": 5} for name in ("anchors", "motion", "keyset", "consolidated", "lagged", "spaced")},
    **{name: {"slots": 6} for name in ("reconstructive", "surprise", "hierarchical")},
}
"""What a bank needs besides: places for its older memories, and predicted IoUs as `nano` gives them (seldom above 0.9)."""
WEIGHTS = "nano.safetensors"


class NanoFamily(Family):
    models = {"nano": "embedded model, 3.6 M parameters, trained by this project; runs on a CPU"}
    embedded = True
    engines = {
        "openvino": ("fp32", "bf16", "int8"), "onnx": ("fp32",), "pytorch": ("fp32",), **dict.fromkeys(("tensorrt", "tensorrt-rtx", "onnx-tensorrt", "nv-tensorrt-rtx"), ()),
    }  # fmt: skip
    open_axes = {"attend": {1: 1, 2: 1}}  # memory tokens

    spared = (".*stem.*", r".*blocks\.[012]/.*", ".*detail.*", ".*skip.*")
    """Of the encoder, what meets the picture itself: in int8 it makes three times the error of all the rest, and is hardly faster."""

    def bank(self, name: str | None = None) -> Policy:
        name = name or "confident"
        return BANKS[name](**NUMBERS | BANK_NUMBERS.get(name, {}))

    def path(self, model: str) -> Path:
        return models_folder() / model

    def fingerprint(self, model: str, weights: Path | None, size: int | None) -> list[str]:
        files = [(weights or self.path(model)) / f"{name}.onnx" for name in GRAPHS]
        missing = [path for path in files if not path.is_file()]
        if missing:
            raise ModelError(f"{missing[0]} is missing; expected four graphs. Run scripts/export_nano.py")
        return [file_hash(path) for path in files]

    def on_torch(self, model, weights, size, device, precision, threads):
        try:
            from vidmem.engines.pytorch import PytorchEngine
            from vidmem.networks.nano.export import functions
            from vidmem.networks.nano.network import NanoNetwork
            from vidmem.networks.nano.weights import load_nano
        except ImportError as error:
            raise RuntimeMissing("the pytorch runtime needs torch: pip install torch safetensors") from error
        engine = PytorchEngine(device, threads)
        return NanoNetwork(engine.open(load_nano((weights or self.path(model)) / WEIGHTS), functions))

    def on_graphs(self, engine: Engine, folder: Path, manifest: Manifest | None):
        from vidmem.networks.nano.network import NanoNetwork

        return NanoNetwork(engine, fixed=manifest if manifest and manifest.objects else None)

    def export(self, model: str, weights: Path | None, folder: Path, wish: Wish) -> Wish:
        from vidmem.networks.nano.export import export, export_fixed
        from vidmem.networks.nano.network import input_size
        from vidmem.networks.nano.weights import load_nano

        network = load_nano((weights or self.path(model)) / WEIGHTS)
        if wish.objects is None:
            export(network, folder)
            return replace(wish, size=0)
        if wish.slots < 2:
            raise ModelError(
                f"slots={wish.slots}; expected 2 or more: nano reads a corrected frame's own guess beside a memory"
            )
        shape = input_size(*wish.frame)
        export_fixed(network, folder, shape, wish.objects, wish.slots)
        return replace(wish, size=0, pointers=0, shape=shape)
