"""From what was asked for to a network that runs: which engine, and on which grounds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from vidmem.errors import ModelError, RuntimeMissing
from vidmem.runtime.base import Network
from vidmem.runtime.engine import Engine
from vidmem.runtime.manifest import NAME, Manifest
from vidmem.runtime.verdict import Verdict, gate_key, read_verdict
from vidmem.weights import file_hash, models_folder

RUNTIMES = ("auto", "onnx", "openvino", "pytorch", "tensorrt", "onnx-tensorrt")
GATED = (("openvino", "bf16"), ("openvino", "fp32"), ("onnx", "fp32"), ("pytorch", "bf16"))
"""What there is to try on a CPU. float32 on a named runtime needs no verdict: the test suite holds it to PyTorch's."""
NANO_OPEN = {"attend": {1: 1, 2: 1}}  # axes of memory tokens, which change from frame to frame


@dataclass(frozen=True)
class Request:
    """What `vidmem.load` was asked for, checked only as far as it is used."""

    model: str
    runtime: str = "auto"
    precision: str | None = None
    device: str = "cpu"
    threads: int | None = None
    weights: Path | None = None
    image_size: int | None = None

    @property
    def nano(self) -> bool:
        return self.model == "nano"

    @property
    def exported(self) -> bool:
        """The weights are a folder that `vidmem export` wrote."""
        return self.weights is not None and (self.weights / NAME).is_file()

    def graphs(self) -> str:
        """A hash of what is run: weights and input size."""
        if self.nano:
            folder = self.weights or models_folder() / "nano"
            files = [folder / f"{name}.onnx" for name in ("encode", "attend", "decode", "memorize")]
            missing = [path for path in files if not path.is_file()]
            if missing:
                raise ModelError(f"{missing[0]} is missing; expected four graphs. Run scripts/export_nano.py")
            parts = [file_hash(path) for path in files]
        elif self.exported:
            parts = sorted(Manifest.read(self.weights).files.values())
        else:
            from vidmem.checkpoints import checkpoint_path

            path = self.weights or checkpoint_path(self.model)
            parts = [file_hash(path) if path.is_file() else "none", str(self.image_size or 1024)]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def verdicts(asked: Request) -> list[Verdict]:
    """What the gate has said on this machine, the fastest first: against the reference, which ran in the same minute."""
    graphs = asked.graphs()
    found = [read_verdict(gate_key(graphs, runtime, precision)) for runtime, precision in gated(asked)]
    return sorted((v for v in found if v is not None), key=lambda v: v.ms / v.reference_ms)


def gated(asked: Request) -> list[tuple[str, str]]:
    """What there is to try for a model."""
    return [
        pair
        for pair in GATED
        if not (asked.nano and pair == ("pytorch", "bf16")) and not (asked.exported and pair[0] == "pytorch")
    ]


def open_network(asked: Request) -> tuple[Network, str]:
    """-> the network and, where `auto` chose, why. Raises as `vidmem.load`."""
    if asked.runtime != "auto":
        return named(asked), ""
    if asked.device != "cpu":
        return named(replace(asked, runtime="pytorch")), f"pytorch: the device is {asked.device}"
    problems = []
    for verdict in verdicts(asked):
        if verdict.passed and asked.precision in (None, verdict.precision):
            try:
                return named(
                    replace(asked, runtime=verdict.runtime, precision=verdict.precision)
                ), f"the fastest here: {verdict}"
            except RuntimeMissing as error:
                problems.append(str(error))
    untried = "no engine has been gated here yet (vidmem gate)"
    for runtime in ("onnx", "openvino", "pytorch") if asked.nano or asked.exported else ("pytorch", "onnx", "openvino"):
        try:
            return named(replace(asked, runtime=runtime)), f"{runtime} {asked.precision or 'fp32'}: {untried}"
        except RuntimeMissing as error:
            problems.append(str(error))
    raise RuntimeMissing("; ".join(dict.fromkeys(problems)))


def named(asked: Request, strict: bool = True) -> Network:
    """The network on the runtime that is named. strict: refuse half precision that has not passed on this machine, but for
    PyTorch's, which is nobody's export."""
    precision = asked.precision or "fp32"
    if asked.nano and (asked.image_size is not None or (precision != "fp32" and asked.runtime != "openvino")):
        raise ModelError(
            "nano takes no image_size, and bf16 with the openvino runtime only; the rest is for the SAM 2 models"
        )
    if asked.runtime in ("tensorrt", "onnx-tensorrt"):
        return _on_tensorrt(asked, strict)
    if asked.runtime == "openvino" and asked.device != "cpu":
        raise ModelError(
            f"device {asked.device!r} with the openvino runtime; it runs on the CPU: use runtime='pytorch' or 'onnx'"
        )
    if strict and asked.runtime != "pytorch" and precision != "fp32":
        _refuse_ungated(asked, precision, f"vidmem gate {asked.model}, or use fp32")
    if asked.nano:
        return _nano(asked, precision)
    if asked.runtime == "pytorch":
        return _sam2_on_pytorch(asked, precision)
    return _sam2_graphs(asked, precision)


def _refuse_ungated(asked: Request, precision: str, help: str) -> None:
    verdict = read_verdict(gate_key(asked.graphs(), asked.runtime, precision))
    if verdict is None or not verdict.passed:
        state = "has not passed its gate on this machine" if verdict is None else f"is refused: {verdict}"
        raise ModelError(f"{asked.model} on {asked.runtime} in {precision} {state}; run: {help}")


def _on_tensorrt(asked: Request, strict: bool) -> Network:
    """Every precision is gated there: fused kernels have been wrong in all of them."""
    from vidmem.runtime.sam2_graphs import Sam2Graphs
    from vidmem.runtime.tensorrt import TensorRtEngine

    if asked.nano or not asked.exported:
        raise ModelError(
            f"the {asked.runtime} runtime takes a SAM 2 export: vidmem export MODEL --to tensorrt --out DIR, then --weights DIR"
        )
    manifest = Manifest.read(asked.weights)
    manifest.check(asked.weights)
    if asked.runtime == "tensorrt":
        engine = TensorRtEngine(asked.weights, manifest)
    elif manifest.objects is None:
        raise ModelError(
            f"{asked.weights} has open shapes; TensorRT takes what `vidmem export --to tensorrt --objects N` writes"
        )
    else:
        from vidmem.runtime.onnx import OnnxDeviceEngine

        engine = OnnxDeviceEngine(asked.weights, tensorrt=True)
    if strict:
        _refuse_ungated(
            asked,
            manifest.precision,
            "vidmem doctor --tensorrt DIR [--runtime onnx-tensorrt], where DIR holds the export",
        )
    return Sam2Graphs(asked.weights, engine, manifest)


def _nano(asked: Request, precision: str) -> Network:
    from vidmem.runtime.nano import NanoNetwork

    folder = asked.weights or models_folder() / "nano"
    if asked.runtime == "pytorch":
        from vidmem.runtime.pytorch import PytorchEngine

        return NanoNetwork(PytorchEngine(folder / "nano.safetensors", asked.device, asked.threads))
    return NanoNetwork(_engine(asked, folder, precision, NANO_OPEN))


def _engine(asked: Request, folder: Path, precision: str, open_axes: dict, exact: tuple[str, ...] = ()) -> Engine:
    if asked.runtime == "openvino":
        from vidmem.runtime.openvino import OpenVinoEngine

        return OpenVinoEngine(folder, asked.threads, precision, open_axes, exact)
    from vidmem.runtime.onnx import OnnxDeviceEngine, OnnxEngine

    if precision != "fp32":
        raise ModelError(f"precision={precision!r} with the onnx runtime on a CPU; use fp32, or the openvino runtime")
    return OnnxEngine(folder, asked.threads) if asked.device == "cpu" else OnnxDeviceEngine(folder, asked.device)


def _sam2_on_pytorch(asked: Request, precision: str) -> Network:
    if asked.exported:
        raise ModelError(
            f"{asked.weights} holds an export, which the pytorch runtime does not read; give the .pt or .safetensors file"
        )
    try:
        import torch
    except ImportError as error:
        raise RuntimeMissing(f"{asked.model} needs torch: pip install torch") from error
    from vidmem.checkpoints import load_sam2
    from vidmem.runtime.sam2 import Sam2Network, check_settings

    check_settings(asked.device, precision)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    network = load_sam2(asked.model, asked.weights, asked.image_size or 1024)
    return Sam2Network(asked.model, network, asked.device, precision)


def _sam2_graphs(asked: Request, precision: str) -> Network:
    from vidmem.runtime.sam2_graphs import EXACT, OPEN_AXES, Sam2Graphs

    if asked.exported:
        folder = asked.weights
        manifest = Manifest.read(folder)
        manifest.check(folder)
        if manifest.model != asked.model or asked.image_size not in (None, manifest.size):
            raise ModelError(
                f"{folder} holds {manifest.model} at {manifest.size} pixels, not {asked.model} at {asked.image_size or manifest.size}"
            )
    else:
        from vidmem.runtime.export import exported

        folder = exported(asked.model, asked.weights, asked.image_size or 1024)
        manifest = Manifest.read(folder)
    fixed = manifest.objects is not None
    axes = {"decode": OPEN_AXES["decode"]} if fixed else OPEN_AXES
    return Sam2Graphs(folder, _engine(asked, folder, precision, axes, EXACT), manifest)
