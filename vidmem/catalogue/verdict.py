"""What the numeric gate said of an engine here, kept beside the cache of weights; `vidmem.evaluation.gate` makes it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from vidmem.engines import ENGINES
from vidmem.installed import cache_folder, own_version, version

LEAST_IOU = 0.99
MOST_ERROR = 1e-3  # of a stage in float32, relative to the greatest value


@dataclass(frozen=True)
class GateVerdict:
    """One engine against the reference in float32, on the same frames, each with its own memory."""

    runtime: str
    precision: str
    reference: str
    iou: float
    """Mean over objects and frames; 1 where both masks are empty."""
    worst_clip_iou: float
    stages: dict[str, float]
    """encode, attend, decode, memorize -> the greatest error over the greatest value, on a clip's first two frames."""
    frames: int
    ms: float
    """Median of a step here, the encoder included, one object."""
    reference_ms: float

    @property
    def passed(self) -> bool:
        exact = self.precision != "fp32" or max(self.stages.values()) <= MOST_ERROR
        return exact and min(self.iou, self.worst_clip_iou) >= LEAST_IOU

    def __str__(self) -> str:
        stages = ", ".join(f"{name} {error:.1e}" for name, error in self.stages.items())
        return (f"{self.runtime} {self.precision} {'passed' if self.passed else 'FAILED'} the gate: IoU {self.iou:.4f} with {self.reference} over "
                f"{self.frames} frames (worst clip {self.worst_clip_iou:.4f}), {self.ms:.0f} ms against {self.reference_ms:.0f}; {stages}")  # fmt: skip


def gate_key(graphs: str, runtime: str, precision: str) -> dict[str, str]:
    """Whatever a verdict depends on. graphs: a hash of the weights or graphs, with the input size."""
    return {"graphs": graphs, "runtime": runtime, "precision": precision, "engine": version(ENGINES[runtime].package) or "none",
            "processor": _processor(), "vidmem": own_version()}  # fmt: skip


def read_verdict(key: dict[str, str]) -> GateVerdict | None:
    """The verdict on exactly this engine, graphs and processor; None where there is none, or it cannot be read."""
    try:
        kept = json.loads(_path(key).read_text())
        return GateVerdict(**kept["verdict"]) if kept["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_verdict(key: dict[str, str], verdict: GateVerdict) -> Path:
    """Under a temporary name first, so that a reader never sees half of it."""
    path = _path(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps({"key": key, "verdict": dataclasses.asdict(verdict)}, indent=1) + "\n")
    part.replace(path)
    return path


def _path(key: dict[str, str]) -> Path:
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]
    return cache_folder() / "gates" / f"{name}.json"


def _processor() -> str:
    """Also what it can: the same name may stand for other instructions on a rented machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        found = {line.split(":")[0].strip(): line.split(":", 1)[1].strip() for line in lines if ":" in line}
        return f"{found.get('model name', '')} {hashlib.sha256(found.get('flags', '').encode()).hexdigest()[:8]}"
    except OSError:
        return platform.processor() or platform.machine()
