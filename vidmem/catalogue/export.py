"""`vidmem export`: a model's four graphs, with a manifest, in one folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from vidmem.catalogue.choose import FAMILY_OF, pick
from vidmem.catalogue.int8 import calibration_videos, find_nncf, quantise
from vidmem.engines.manifest import NAME, Manifest
from vidmem.engines.tensorrt_rtx import build_all, find_tensorrt_rtx
from vidmem.errors import ModelError, OutputError, RuntimeMissing
from vidmem.installed import cache_folder, file_hash
from vidmem.names import shown
from vidmem.networks.family import OPSET, Wish
from vidmem.networks.halves import KINDS, OPSET_BF16, halve

TARGETS = ("onnx", "openvino", "tensorrt", "tensorrt-rtx")
PRECISIONS = ("fp32", *KINDS, "int8")
FRAME = Wish().frame
MOST_SIDE = 65536  # of a frame, in pixels
SIZE = 1024  # pixels a side of a network whose input has a size
PROBE = 1 << 20  # bytes that a disk with room takes


def export_model(
    model: str, out: Path, *, to: str = "onnx", weights: Path | None = None, size: int | None = None, objects: int | None = None,
    slots: int = 7, pointers: int = 16, precision: str = "fp32", frame_size: tuple[int, int] = FRAME,
    sms: Sequence[int] = (), data: Path | None = None,
) -> Manifest:  # fmt: skip
    """Write `encode`, `attend`, `decode` and `memorize` of a model to the folder `out`, whole or not at all.

    to: `onnx`; `openvino` adds its own files, which load faster; `tensorrt` is ONNX with fixed shapes, from which the engines
    are built where they run; `tensorrt-rtx` adds the engines, one for each compute capability of `sms` (75, 80, 86, 89, 120), and
    needs no GPU. weights, size, for SAM 2: as `vidmem.load` takes them. objects: rows of fixed graphs, which also have
    `slots` whole memories and `pointers` pointers with a mask; None: open. frame_size: (H, W) of the frames that fixed graphs of
    `nano` are for. precision: of the products, written into the graph (`fp16` and `bf16` for TensorRT; on CPUs leave `fp32` and
    let OpenVINO use bf16); `int8`, to `openvino` alone: the encoder once more, in 8 bits, calibrated on the videos below `data`. Raises `ModelError` for what does not fit, `OutputError` for a folder that is in use, `RuntimeMissing` without torch or onnx.
    """
    family = pick(FAMILY_OF, "model", model)
    if to not in TARGETS or precision not in PRECISIONS:
        raise ModelError(
            f"to={to!r}, precision={precision!r}; expected one of {', '.join(TARGETS)} and one of {', '.join(PRECISIONS)}"
        )
    if not all(1 <= side <= MOST_SIDE for side in frame_size):
        raise ModelError(
            f"frame_size={frame_size}; expected the frames' height and width, from 1 to {MOST_SIDE} pixels"
        )
    if objects is not None and objects < 1:
        raise ModelError(f"objects={objects}; expected 1 or more, or none for graphs that take any number")
    if to.startswith("tensorrt") and objects is None:
        objects = 1
    if (to == "tensorrt-rtx") != bool(sms):
        raise ModelError(
            f"to={to!r} with sms={tuple(sms)}; --to tensorrt-rtx and --sm 89 (of the GPU it is for) go together"
        )
    if sms:
        find_tensorrt_rtx()  # said before anything is written
    if (precision == "int8") != (data is not None) or (precision == "int8" and (to, objects) != ("openvino", None)):
        raise ModelError(
            f"precision={precision!r} with data={data}, to={to!r}; --precision int8, --data FOLDER and --to openvino go together, without --objects"
        )
    if data is not None:
        find_nncf()
        calibration_videos(data)
    if to == "openvino" and precision not in ("fp32", "int8"):
        raise ModelError(
            "graphs for OpenVINO hold float32; choose bf16 when they are loaded: --runtime openvino --precision bf16"
        )
    try:
        import onnx  # noqa: F401  here, so that nothing is begun without them
        import torch  # noqa: F401
    except ImportError as error:
        raise RuntimeMissing(f"an export needs torch and onnx: pip install 'vidmem[export]' ({error})") from error
    out = Path(out).resolve()  # a link stays, and what it leads to is replaced
    _check_replaceable(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise OutputError(f"{out} cannot be written ({error.strerror}); choose another folder") from error
    try:
        height, width = map(int, frame_size)
        wish = Wish(size or SIZE if family.sizes else 0, objects, slots, pointers, (height, width))
        manifest = _write(family, model, weights, part, to, precision, wish, sms, data)
        _check_replaceable(out)  # an export takes minutes, in which somebody may have put something there
        old = part.with_name(f"{part.name}-old")
        if out.exists():
            out.rename(old)
        part.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"{out} cannot be written ({error.strerror or error}); free some space, or choose another folder"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return manifest


def _check_replaceable(out: Path) -> None:
    """Raises `OutputError` unless there is nothing at `out`, or an export of ours and no file besides."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        ours = {NAME, *Manifest.read(out).files}
    except ModelError as error:
        raise OutputError(f"{out} is there and holds no export; choose another folder") from error
    foreign = sorted(path.name for path in out.iterdir() if path.name not in ours)
    if foreign:
        raise OutputError(
            f"{out} holds {shown(foreign[0])}, which is no part of the export there, and stays; choose another folder, or move it away"
        )


def _write(family, model, weights, part, to, precision, wish: Wish, sms: Sequence[int], data: Path | None) -> Manifest:
    """The files of an export and its manifest, into the empty folder `part`."""
    import onnx

    with _full_disk(part):
        made = family.export(model, weights, part, wish)
        for path in part.glob("*.onnx"):
            if precision in KINDS:
                halve(path, precision)
            onnx.checker.check_model(str(path), full_check=True)  # types too
        if to == "openvino":
            _to_openvino(part)
        if sms:
            build_all(part, tuple(sms))
        files = {path.name: file_hash(path) for path in sorted(part.iterdir())}
        versions = {
            name: metadata.version(name) for name in ("torch", "onnx", *(["openvino"] if to == "openvino" else []))
        }
        manifest = Manifest(
            model, made.size, precision, OPSET_BF16 if precision == "bf16" else OPSET, made.objects, made.slots, made.pointers,
            files, versions, made.shape,
        )  # fmt: skip
        if data is not None:
            manifest.write(part)  # a network over the graphs reads it
            quantise(family, part, manifest, data)
            manifest.files.update({path.name: file_hash(path) for path in part.glob("encode.int8.*")})
        manifest.write(part)
    return manifest


@contextmanager
def _full_disk(folder: Path):
    """torch and OpenVINO tell of a disk that cannot be written in words of their own, as a `RuntimeError`. So the disk itself is asked."""
    try:
        yield
    except RuntimeError:
        try:
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(bytes(PROBE))
        except OSError as error:
            raise OutputError(
                f"{folder.parent} cannot be written ({error.strerror}); free some space, or choose another folder"
            ) from error
        raise


def _to_openvino(folder: Path) -> None:
    from vidmem.engines.openvino import quiet_openvino

    openvino = quiet_openvino()
    for path in sorted(folder.glob("*.onnx")):
        openvino.save_model(
            openvino.Core().read_model(str(path)), str(path.with_suffix(".xml")), compress_to_fp16=False
        )


def exported(model: str, weights: Path | None, size: int | None) -> Path:
    """The folder with open graphs of these weights in the cache; exports them when they are not there yet."""
    family = pick(FAMILY_OF, "model", model)
    path = family.path(model) if weights is None else Path(weights)
    size = size or SIZE
    if not path.is_file():
        family.on_torch(model, weights, size, "cpu", "fp32", None)  # says what is missing
    folder = cache_folder() / "exports" / f"{model}-{size}-{file_hash(path)[:16]}"
    try:
        Manifest.read(folder).check(folder)
    except ModelError:
        shutil.rmtree(folder, ignore_errors=True)
        export_model(model, folder, weights=weights, size=size)
    return folder
