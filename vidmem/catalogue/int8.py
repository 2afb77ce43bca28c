"""Post-training quantisation of `encode` (NNCF; Krishnamoorthi 2018, arXiv 1806.08342): the encoder in 8 bits, beside the one in float32.

Only `encode`: with `decode` or `attend` in 8 bits masks are lost (docs/engines.md). What the gate follows is never what was calibrated on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vidmem.engines.base import HostEngine
from vidmem.engines.manifest import Manifest
from vidmem.engines.openvino import INT8, quiet_openvino
from vidmem.errors import ModelError, RuntimeMissing, SourceError
from vidmem.installed import demo_folder, file_hash
from vidmem.networks.family import Family

FRAMES = 300  # that are looked at, as NNCF does by default
FEWEST = 30
VIDEOS = {".mp4", ".mkv", ".mov", ".avi", ".webm"}
MOST_VIDEOS = 10_000  # of a folder


def find_nncf():
    """The package `nncf`. Raises `RuntimeMissing`; said before anything is written."""
    quiet_openvino()
    try:
        import nncf
    except ImportError as error:
        raise RuntimeMissing(
            f"an encoder in int8 is made with nncf: pip install 'vidmem[export,int8]' ({error})"
        ) from error
    return nncf


def calibration_videos(data: Path) -> list[Path]:
    """Every video below a folder. Raises `SourceError` where there is none, or the gate's own clip is among them."""
    files = (path for path in Path(data).rglob("*") if path.suffix.lower() in VIDEOS and path.is_file())
    found = sorted(itertools.islice(files, MOST_VIDEOS))
    if not found:
        raise SourceError(
            f"{data} holds no video ({', '.join(sorted(VIDEOS))}); give a folder with some to calibrate on"
        )
    own = demo_folder() / "demo.mp4"
    gates = file_hash(own) if own.is_file() else ""
    for path in found:
        if file_hash(path) == gates:
            raise SourceError(f"{path} is the clip that the gate follows; calibrate on other videos")
    return found


def calibration_frames(videos: list[Path]) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8 RGB, about `FRAMES` of them, spread over all videos."""
    from vidmem.video import open_video

    each = -(-FRAMES // len(videos))
    for path in videos[:: max(1, len(videos) // FRAMES)]:
        with open_video(path) as video:
            count = sum(1 for _ in video)
        with open_video(path) as video:
            wanted = set(np.linspace(0, count - 1, each).astype(int).tolist())
            yield from (frame.image for frame in video if frame.index in wanted)


class _Inputs(HostEngine):
    """An engine that answers nothing: it keeps what a network would run `encode` on, so that every family scales frames its own way."""

    name = "calibration"

    class Kept(Exception):
        pass

    def run(self, graph: str, *arrays) -> tuple:
        raise self.Kept(*arrays)


def quantise(family: Family, folder: Path, manifest: Manifest | None, data: Path) -> None:
    """Write `encode.int8.xml` and `.bin` beside `encode.onnx` in `folder`, whose graphs are open. Raises `SourceError` for a folder
    without enough frames."""
    nncf, openvino = find_nncf(), quiet_openvino()
    network = family.on_graphs(_Inputs(), folder, manifest)
    inputs = []
    for image in itertools.islice(calibration_frames(calibration_videos(data)), FRAMES):
        try:
            network.encode(image)
        except _Inputs.Kept as kept:
            inputs.append(kept.args[0])
    if len(inputs) < FEWEST:
        raise SourceError(f"{data} holds {len(inputs)} frames; expected {FEWEST} or more to calibrate on")
    model = openvino.Core().read_model(str(folder / "encode.onnx"))
    small = nncf.quantize(
        model,
        nncf.Dataset(inputs),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(inputs),
        model_type=nncf.ModelType.TRANSFORMER if family.transformer else None,
        ignored_scope=nncf.IgnoredScope(patterns=list(family.spared), validate=False),
    )
    try:
        openvino.save_model(small, str(folder / INT8))
    except RuntimeError as error:
        raise ModelError(f"{folder / INT8} cannot be written: {' '.join(str(error).split())[:300]}") from error
