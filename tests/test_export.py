"""SAM 2 as exported graphs says what it says on PyTorch, on every engine that is installed; a damaged export is refused."""

import json
import shutil
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import vidmem  # noqa: E402
from vidmem.errors import ModelError, OutputError  # noqa: E402
from vidmem.memory import BANKS, Recent  # noqa: E402
from vidmem.nn.sam2.config import CONFIGS  # noqa: E402
from vidmem.nn.sam2.model import Sam2  # noqa: E402
from vidmem.runtime.export import export_model  # noqa: E402
from vidmem.runtime.manifest import Manifest  # noqa: E402
from vidmem.search import Greedy  # noqa: E402

SIZE, MODEL = 128, "sam2.1-tiny"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights whose every part counts, as an official checkpoint."""
    torch.manual_seed(0)
    model = Sam2(CONFIGS[MODEL].at(SIZE))
    for name, parameter in model.named_parameters():
        if not parameter.any():  # learned vectors that begin as zeros
            torch.nn.init.normal_(parameter, std=0.05)
    model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.data.fill_(3.0)
    path = tmp_path_factory.mktemp("weights") / "random.pt"
    torch.save({"model": model.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def folder(weights, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "open"
    export_model(MODEL, out, weights=weights, size=SIZE)
    return out


@pytest.fixture(scope="module")
def fixed(weights, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "fixed"
    export_model(MODEL, out, weights=weights, size=SIZE, objects=2, slots=4, pointers=5)
    return out


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(1)
    field = np.kron(random.integers(0, 256, (12, 16, 3), np.uint8), np.ones((12, 12, 1), np.uint8))
    return [np.ascontiguousarray(np.roll(field, 4 * t, 1)[:144, :190]) for t in range(9)]


@cache
def engine(name: str, folder, size: int | None = None):
    if name == "openvino":
        pytest.importorskip("openvino")
    return vidmem.load(MODEL, runtime=name, weights=folder, image_size=size, threads=1)


def follow(tracker, images, bank) -> list:
    """Three objects by box, points and mask; a later one, a correction, a frame far off."""
    mask = np.zeros(images[0].shape[:2], bool)
    mask[30:90, 100:160] = True
    results = []
    with tracker.session(bank, Greedy()) as session:
        session.add(1, box=(20, 20, 80, 90))
        session.add(2, points=[[60, 60], [10, 10], [70, 66]], labels=[1, 0, 1])
        session.add(3, mask=mask)
        for t, image in enumerate(images):
            if t == 3:
                session.add(4, points=[[40, 100]], frame_idx=t)
            results.append(session.step(image if t < 6 else 255 - image))
            if t == 5:
                results.append(session.add(1, points=[[30, 30]], labels=[0]))
    return results


def same(mine, theirs, tolerance=1e-3):
    for a, b in zip(mine, theirs, strict=True):
        scale = np.abs(b.mask_logits[b.mask_logits > -1000]).max()
        assert np.abs(a.mask_logits - b.mask_logits).max() <= tolerance * scale
        assert np.abs(a.object_logits - b.object_logits).max() <= tolerance * np.abs(b.object_logits).max()
        assert np.abs(a.scores - b.scores).max() <= tolerance
    assert any(0.02 < r.masks.mean() < 0.98 for r in theirs)


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
@pytest.mark.parametrize("bank", ["recent", "confident", "sparse", "consolidated"])
def test_graphs_follow_as_pytorch_does(runtime, bank, weights, folder, images):
    """Whole memories, weighted keys, a few tokens of each, and merged ones. `sparse` goes by attention, of which graphs
    take a sample: what is computed agrees, not what is kept, so it is compared while that is the same."""
    theirs = engine("pytorch", weights, SIZE)
    policy, count = BANKS[bank](), 3 if bank == "sparse" else len(images)
    same(follow(engine(runtime, folder), images[:count], policy), follow(theirs, images[:count], policy))


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_fixed_shapes_and_hidden_tokens_change_nothing(runtime, weights, fixed, images):
    """Two rows at a time, four memories: three objects and the first frames fill up with what is hidden."""
    theirs = engine("pytorch", weights, SIZE)
    bank = Recent(slots=3, pointers=3, prompts=2)
    same(follow(engine(runtime, fixed), images, bank), follow(theirs, images, bank))


def test_fixed_shapes_leave_out_the_oldest_rather_than_stop(fixed, images):
    tracker = engine("onnx", fixed)
    results = follow(tracker, images, Recent())
    assert len(results) == len(images) + 1 and all(np.isfinite(r.mask_logits).all() for r in results)
    assert Manifest.read(fixed).tokens == 4 * (SIZE // 16) ** 2


def test_a_sample_of_queries_finds_the_tokens_that_all_of_them_find(weights, folder, images):
    """`sparse` keeps the same frames, and tokens that got as much attention, within a tenth."""
    trackers = [engine("onnx", folder), engine("pytorch", weights, SIZE)]
    used = []
    for tracker in trackers:
        with tracker.session(BANKS["sparse"](share=0.2), Greedy()) as session:
            session.add(1, box=(20, 20, 80, 90))
            for image in images[:2]:
                session.step(image)
            network = tracker.network
            features = network.encode(images[2])
            plan = session._tracks[1].best.bank.read(2)
            used.append(network.usage(features, network.attend(features, [plan]), [plan])[0])
    for sampled, whole in zip(*used):
        assert sampled.tokens.shape == whole.tokens.shape and abs(sampled.share - whole.share) < 0.1
        for layer, every in zip(sampled.tokens, whole.tokens):
            count = len(every) // 5
            mine, best = every[np.argsort(-layer)[:count]].sum(), np.sort(every)[-count:].sum()
            assert mine > 0.9 * best


def test_names_are_readable_and_the_manifest_says_what_was_written(folder):
    import onnx

    manifest = Manifest.read(folder)
    assert (manifest.model, manifest.size, manifest.objects, manifest.precision) == (MODEL, SIZE, None, "fp32")
    assert set(manifest.files) == {"encode.onnx", "attend.onnx", "decode.onnx", "memorize.onnx", "constants.npz"}
    graph = onnx.load(folder / "attend.onnx").graph
    assert [i.name for i in graph.input][:4] == ["feature", "keys", "memory", "code"]
    assert not any(node.op_type in ("If", "Loop") for name in manifest.files if name.endswith("onnx") for node in onnx.load(folder / name).graph.node)


@pytest.mark.parametrize("kind", ["fp16", "bf16"])
def test_half_precision_is_written_into_the_graph(kind, weights, tmp_path):
    import onnx

    export_model(MODEL, tmp_path / "half", to="tensorrt", weights=weights, size=64, precision=kind)
    wanted = {"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}[kind]
    graph = onnx.load(tmp_path / "half/attend.onnx").graph
    products = {name for node in graph.node if node.op_type in ("MatMul", "Gemm") for name in node.input}
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    typed = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "half/attend.onnx")).graph.value_info
    types |= {value.name: value.type.tensor_type.elem_type for value in typed}
    kinds = [types[name] for name in products if name in types]
    assert kinds and kinds.count(wanted) > 0.9 * len(kinds)
    assert [o.type.tensor_type.elem_type for o in graph.output] == [onnx.TensorProto.FLOAT] * 2


def test_nano_is_exported_too(tmp_path):
    manifest = export_model("nano", tmp_path / "nano")
    assert manifest.model == "nano" and {"encode.onnx", "memorize.onnx"} <= set(manifest.files)
    image = np.full((48, 64, 3), 90, np.uint8)
    with vidmem.load("nano", runtime="onnx", weights=tmp_path / "nano", threads=1).session() as session:
        session.add(1, box=(8, 8, 40, 40))
        assert session.step(image).masks.shape == (1, 48, 64)


def test_an_export_for_openvino_is_read_from_its_own_files(weights, tmp_path, images):
    pytest.importorskip("openvino")
    export_model(MODEL, tmp_path / "ov", to="openvino", weights=weights, size=SIZE)
    for path in (tmp_path / "ov").glob("*.onnx"):
        path.unlink()
    manifest = Manifest.read(tmp_path / "ov")
    replace(manifest, files={k: v for k, v in manifest.files.items() if not k.endswith("onnx")}).write(tmp_path / "ov")
    assert len(follow(engine("openvino", tmp_path / "ov"), images[:2], Recent())) == 2


# What is refused -----------------------------------------------------------------------------------------------------
def test_damaged_and_foreign_exports_are_refused(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "decode.onnx").write_bytes(b"\0" + (copy / "decode.onnx").read_bytes()[1:])
    with pytest.raises(ModelError, match="decode.onnx is damaged"):
        engine("onnx", copy)
    (copy / "decode.onnx").unlink()
    with pytest.raises(ModelError, match="decode.onnx is missing"):
        engine("onnx", copy)
    (copy / "manifest.json").write_text(json.dumps({"format": 0}))
    with pytest.raises(ModelError, match="another version"):
        engine("onnx", copy)
    with pytest.raises(ModelError, match="holds sam2.1-tiny at 128 pixels"):
        vidmem.load("sam2.1-small", runtime="onnx", weights=folder)
    with pytest.raises(ModelError, match="pytorch runtime does not read"):
        vidmem.load(MODEL, runtime="pytorch", weights=folder)


def test_exports_that_cannot_be_are_refused_and_leave_nothing(weights, tmp_path):
    used = tmp_path / "used"
    used.mkdir()
    (used / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds no export"):
        export_model("nano", used)
    for wrong in ({"to": "coreml"}, {"objects": 0}, {"precision": "int4"}, {"size": 100}, {"to": "openvino", "precision": "fp16"}):
        with pytest.raises(ModelError):
            export_model(MODEL, tmp_path / "out", **({"weights": weights, "size": SIZE} | wrong))
    assert [path.name for path in tmp_path.iterdir()] == ["used"]


def test_a_checkpoint_is_exported_once_into_the_cache(weights, tmp_path, monkeypatch, images):
    monkeypatch.setenv("VIDMEM_CACHE", str(tmp_path))
    for _ in range(2):
        tracker = vidmem.load(MODEL, runtime="onnx", weights=weights, image_size=64, threads=1)
        with tracker.session() as session:
            session.add(1, box=(8, 8, 40, 40))
            session.step(images[0])
        (made,) = (tmp_path / "exports").iterdir()
        when = (made / "manifest.json").stat().st_mtime_ns
        assert when == locals().get("before", when)
        before = when
