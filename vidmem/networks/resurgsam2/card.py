"""ReSurgSAM2, as a card: SAM 2.1 small at 512 pixels that finds surgical instruments and tissue by their names."""

from __future__ import annotations

from pathlib import Path

from vidmem.engines.base import Engine
from vidmem.engines.manifest import Manifest
from vidmem.engines.pytorch import use_torch
from vidmem.errors import ModelError
from vidmem.memory import BANKS, Policy
from vidmem.networks.family import Family, Wish, file_fingerprint
from vidmem.networks.resurgsam2.checkpoints import FILES, checkpoint_path, how_to_get, load_resurgsam2
from vidmem.networks.resurgsam2.config import SIZE

PUBLISHED = {"absent": True, "likeness": "width", "presence": False}
"""Of the bank `diverse`, as the authors' evaluation has it."""


class ReSurgFamily(Family):
    models = {
        name: f"ReSurgSAM2 of Ref-Endovis{name[-2:]}: surgical instruments by their names, at {SIZE} pixels; its authors publish it"
        for name in FILES
    }
    sizes = True
    engines = {"pytorch": ("fp32", "bf16")}
    open_axes = {}

    def bank(self, name: str | None = None) -> Policy:
        name = name or "diverse"
        return BANKS[name](**PUBLISHED if name == "diverse" else {})

    def path(self, model: str) -> Path:
        return checkpoint_path(model)

    def url(self, model: str) -> str:
        raise ModelError(f"{model} cannot be fetched from here; {how_to_get(model)}")

    def how_to_get(self, model: str) -> str:
        return how_to_get(model)

    def fingerprint(self, model: str, weights: Path | None, size: int | None) -> list[str]:
        return file_fingerprint(weights or self.path(model), size or SIZE)

    def on_torch(self, model, weights, size, device, precision, threads):
        use_torch(model, device, threads, also="transformers")
        from vidmem.networks.resurgsam2.network import ReSurgNetwork
        from vidmem.networks.resurgsam2.text import TextTower, find_tower

        tower = TextTower(find_tower(weights))
        return ReSurgNetwork(model, load_resurgsam2(model, weights, size or SIZE), tower, device, precision)

    def on_graphs(self, engine: Engine, folder: Path, manifest: Manifest | None):
        raise ModelError("ReSurgSAM2 runs on pytorch alone")

    def export(self, model: str, weights: Path | None, folder: Path, wish: Wish) -> Wish:
        raise ModelError(
            f"{model} runs on pytorch alone; only its reading of words is a graph (vidmem.networks.resurgsam2.export.export_refer)"
        )
