"""TensorRT for RTX takes our graphs: its parser and its builder, which need no GPU. All of them: scripts/build_tensorrt.py."""

import numpy as np
import pytest

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from tests.conftest import MODEL  # noqa: E402
from vidmem.catalogue.export import export_model  # noqa: E402
from vidmem.engines.base import GRAPHS  # noqa: E402
from vidmem.engines.cache import EngineCache  # noqa: E402
from vidmem.engines.manifest import Manifest  # noqa: E402
from vidmem.engines.tensorrt_rtx import build, engine_key, find_tensorrt_rtx  # noqa: E402
from vidmem.errors import ModelError, RuntimeMissing  # noqa: E402

try:
    trt = find_tensorrt_rtx()
except RuntimeMissing as missing:
    pytest.skip(str(missing), allow_module_level=True)


def test_nano_is_exported_with_its_engines(tmp_path):
    out = tmp_path / "rtx"
    manifest = export_model("nano", out, to="tensorrt-rtx", precision="fp16", objects=2, frame_size=(64, 64), sms=(89,))
    engines = [name for name in manifest.files if name.endswith(".engine")]
    assert len(engines) == len(GRAPHS) and Manifest.read(out) == manifest
    cache = EngineCache(out)
    for name in GRAPHS:
        key = engine_key(name, out / f"{name}.onnx", trt.__version__, 89)
        assert len(cache.get(key)) > 10_000
        assert cache.get({**key, "capability": "86"}) is None, "an engine is of one capability"


@pytest.mark.parametrize("kind", ["fp32", "bf16"])
def test_nano_is_taken_in_every_precision(kind, tmp_path):
    export_model("nano", tmp_path / "out", to="tensorrt", precision=kind, frame_size=(64, 64))
    assert all(build(trt, tmp_path / f"out/{name}.onnx", 120) for name in GRAPHS)


@pytest.mark.parametrize("kind, graphs", [("fp16", ("decode", "memorize")), ("bf16", ("memorize",))])
def test_what_was_refused_of_sam2_is_taken(kind, graphs, weights, tmp_path):
    """Layer normalisation beside half precision, and points whose number is open."""
    export_model(MODEL, tmp_path / "out", to="tensorrt", weights=weights, size=64, precision=kind, objects=2, slots=2)
    assert all(build(trt, tmp_path / f"out/{name}.onnx", 86) for name in graphs)


def test_what_cannot_be_built_is_refused_with_the_builders_words(tmp_path):
    node = onnx.helper.make_node("LayerNormalization", ["x", "scale"], ["y"])
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT16, [1, 4]) for name in "xy"]
    scale = onnx.numpy_helper.from_array(np.ones(4, np.float32), "scale")
    graph = onnx.helper.make_graph([node], "half", values[:1], values[1:], [scale])
    path = tmp_path / "half.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)]), path)
    with pytest.raises(
        ModelError, match="half.onnx.*must have identical types. `input` type is Half and `scale` type is Float"
    ):
        build(trt, path, 89)
    with pytest.raises(ModelError, match="no engines for SM90; expected one of 75, 80, 86, 89, 120"):
        build(trt, path, 90)
    # `vidmem export` asks this of what it wrote, so that no builder is needed to see it.
    with pytest.raises(onnx.shape_inference.InferenceError, match="inconsistent type"):
        onnx.checker.check_model(str(path), full_check=True)
