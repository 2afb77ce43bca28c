"""Weights from anywhere: they run nothing, read nothing beside themselves, and take no more memory than they have bytes."""

import json
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import vidmem  # noqa: E402
from vidmem.engines.manifest import Manifest  # noqa: E402
from vidmem.errors import ModelError  # noqa: E402
from vidmem.installed import models_folder  # noqa: E402
from vidmem.networks.nano.model import NanoConfig  # noqa: E402
from vidmem.networks.nano.weights import load_nano  # noqa: E402
from vidmem.networks.sam2.checkpoints import load_sam2  # noqa: E402


def safetensors(header, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def nano(config) -> bytes:
    return safetensors(
        {"__metadata__": {"model": "nano", "config": config if isinstance(config, str) else json.dumps(config)}}
    )


GOOD = json.loads(json.dumps(NanoConfig().to_dict()))


@pytest.mark.parametrize("data", [
    struct.pack("<Q", 1 << 60) + b"{}", struct.pack("<Q", 1 << 27) + b"{", safetensors(b"[" * 100_000),
    safetensors({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 8]}}, bytes(8)), safetensors({"a": {"dtype": "F32", "shape": [1 << 62, 1 << 62, 0], "data_offsets": [0, 0]}}),
    nano("[1"), nano("[" * 100_000), nano([1]), nano({}), nano(GOOD | {"more": 1}), nano(GOOD | {"widths": [16, 32, 56, 96, 200_000]}), nano(GOOD | {"widths": [16]}),
    nano(GOOD | {"masks": 10**9}), nano(GOOD | {"feature_dim": "64"}), nano(GOOD | {"key_dim": -1}), nano(GOOD),
])  # fmt: skip
def test_a_header_that_promises_too_much_or_nonsense_is_refused(tmp_path, data):
    (tmp_path / "a.safetensors").write_bytes(data)
    for load in (load_nano, lambda path: load_sam2("sam2.1-tiny", path, 64)):
        with pytest.raises(ModelError, match="a.safetensors"):
            load(tmp_path / "a.safetensors")


def test_a_tensor_of_another_shape_than_the_architecture_says_is_named(tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(models_folder() / "nano/nano.safetensors", "pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    first = next(iter(tensors))
    save_file(tensors | {first: torch.zeros(1, dtype=torch.float16)}, tmp_path / "a.safetensors", metadata)
    with pytest.raises(ModelError, match=f"of another shape .*{first}"):
        load_nano(tmp_path / "a.safetensors")


def test_an_archive_that_grows_when_it_is_read_is_refused_before_it_is_read(tmp_path):
    import resource

    torch.save({"model": {"a": torch.zeros(10)}}, tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for entry in plain.infolist():
            bomb.writestr(entry.filename, bytes(1 << 28) if entry.filename.endswith("data/0") else plain.read(entry))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(
        ModelError, match=r"bomb.pt is not a whole checkpoint of tensors: its \d+ bytes would grow to 268\d+"
    ):
        load_sam2("sam2.1-tiny", tmp_path / "bomb.pt", 64)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
@pytest.mark.parametrize("where", ["up", "absolute"])
def test_a_graph_reads_no_file_outside_its_folder(tmp_path, runtime, where):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip(runtime if runtime == "openvino" else "onnxruntime")
    folder = shutil.copytree(models_folder() / "nano", tmp_path / "weights")
    model = onnx.load(folder / "encode.onnx")
    tensor = max(model.graph.initializer, key=lambda t: len(t.raw_data))
    (tmp_path / "secret.bin").write_bytes(tensor.raw_data)
    place = "../secret.bin" if where == "up" else str(tmp_path / "secret.bin")
    for key, value in (("location", place), ("offset", "0"), ("length", str(len(tensor.raw_data)))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    (folder / "encode.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="encode.onnx cannot be loaded") as said:
        vidmem.load("nano", weights=folder, runtime=runtime)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "a\0b"])
def test_an_exports_list_names_its_own_files_alone(tmp_path, name):
    Manifest("sam2.1-tiny", 64, "fp32", 18, None, 7, 16, {name: "00"}, {}).write(tmp_path)
    with pytest.raises(ModelError, match="a file in .*manifest.json is called"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"threads": 10**6}, {"threads": 0}, {"model": "sam2.1-tiny", "image_size": 32 * 10**6}]
)
def test_numbers_of_a_model_have_bounds(wrong, tmp_path):
    with pytest.raises(ModelError, match="expected"):
        vidmem.load(**{"model": "nano", "weights": Path(tmp_path) if "image_size" in wrong else None, **wrong})


def test_the_shipped_weights_still_load():
    assert load_nano(models_folder() / "nano/nano.safetensors").config == NanoConfig()
    with vidmem.load("nano", threads=1).session() as session:
        session.add(1, box=(8, 8, 24, 24))
        assert session.step(np.zeros((64, 64, 3), np.uint8)).masks.shape == (1, 64, 64)
