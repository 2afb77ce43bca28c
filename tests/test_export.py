"""SAM 2 as exported graphs says what it says on PyTorch, on every engine that is installed; a damaged export is refused."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import vidmem  # noqa: E402
from tests.conftest import MODEL, SIZE  # noqa: E402
from tests.exported import engine, follow, same  # noqa: E402
from vidmem.catalogue.export import export_model  # noqa: E402
from vidmem.engines.manifest import Manifest  # noqa: E402
from vidmem.errors import ModelError, OutputError  # noqa: E402
from vidmem.memory import BANKS, Recent  # noqa: E402
from vidmem.search import Greedy  # noqa: E402


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
    assert Manifest.read(fixed).slots == 4 < 7, "which is what the bank recalls"


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
            plan = session._state.tracks[1].best.bank.read(2)
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
    assert not any(
        node.op_type in ("If", "Loop")
        for name in manifest.files
        if name.endswith("onnx")
        for node in onnx.load(folder / name).graph.node
    )


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
    assert {types[name] for name in products} == {wanted}, "products of two terms are spelled out as sums"
    for name in ("encode", "attend", "decode", "memorize"):
        path = tmp_path / f"half/{name}.onnx"
        onnx.checker.check_model(str(path), full_check=True)  # the types of every node's inputs agree
        graph = onnx.load(path).graph
        assert {o.type.tensor_type.elem_type for o in graph.output} == {onnx.TensorProto.FLOAT}, name
        first = next(node for node in graph.node if node.input and node.input[0] == graph.input[0].name)
        assert name != "encode" or first.op_type == "Cast", "TensorRT takes bytes only where they are cast at once"


def test_half_precision_leaves_sums_softmax_and_normalisation_in_float32(weights, tmp_path):
    """Layer normalisation with a half input and a float scale is what TensorRT refuses."""
    import onnx

    export_model(MODEL, tmp_path / "half", to="tensorrt", weights=weights, size=64, precision="fp16")
    seen = set()
    for name in ("encode", "attend", "decode", "memorize"):
        model = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / f"half/{name}.onnx"))
        types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
        types |= {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
        for node in model.graph.node:
            if node.op_type in ("LayerNormalization", "Softmax", "Add", "Erf"):
                kinds = {types.get(i, onnx.TensorProto.FLOAT) for i in node.input} - {onnx.TensorProto.INT64}
                assert kinds <= {onnx.TensorProto.FLOAT}, (name, node.name)
                seen.add(node.op_type)
    assert {"LayerNormalization", "Softmax"} <= seen


def test_half_precision_answers_as_float32_does(weights, fixed, tmp_path, images):
    """ONNX Runtime has float16 on the CPU, slowly; random weights, so a tenth of the greatest logit is close."""
    export_model(MODEL, tmp_path / "half", weights=weights, size=SIZE, objects=2, slots=4, pointers=5, precision="fp16")
    both = [
        follow(engine("onnx", where), images[:3], Recent(slots=3, pointers=3)) for where in (tmp_path / "half", fixed)
    ]
    same(*both, tolerance=0.1)
    assert any(np.abs(a.mask_logits - b.mask_logits).max() > 1e-4 for a, b in zip(*both)), "float16 was written into it"


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
    said = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(said | {"shape": "256x448"}))
    with pytest.raises(ModelError, match="has the shape 256x448; expected two numbers"):
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
    for wrong in (
        {"to": "coreml"},
        {"objects": 0},
        {"precision": "int4"},
        {"size": 100},
        {"to": "openvino", "precision": "fp16"},
    ):
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


@pytest.fixture
def quick(monkeypatch):
    """Exports that write one small file: what becomes of folders is the same."""
    from vidmem.catalogue import export

    def write(family, model, weights, part, to, precision, wish, sms, data):
        (part / "encode.onnx").write_text(f"graph of {wish.slots}")
        manifest = Manifest("nano", 0, "fp32", 18, None, wish.slots, 16, {"encode.onnx": "0" * 64}, {})
        manifest.write(part)
        return manifest

    monkeypatch.setattr(export, "_write", write)
    return monkeypatch


def test_an_export_replaces_an_export_and_nothing_else(quick, tmp_path):
    out, link = tmp_path / "o", tmp_path / "link"
    export_model("nano", out, slots=1)
    link.symlink_to(out)
    export_model("nano", link, slots=2)
    assert link.is_symlink() and (out / "encode.onnx").read_text() == "graph of 2", "what the link leads to is replaced"
    (out / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds notes.txt, which is no part of the export there, and stays"):
        export_model("nano", out, slots=3)
    assert (out / "notes.txt").read_text() == "mine" and (out / "encode.onnx").read_text() == "graph of 2"
    (out / "notes.txt").unlink()
    (out / "manifest.json").write_text("{}")
    with pytest.raises(OutputError, match="holds no export"):
        export_model("nano", out, slots=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "o"], "nothing is left beside it"


def test_what_came_into_the_folder_while_an_export_was_made_stays(quick, tmp_path):
    from vidmem.catalogue import export

    made, out = export._write, tmp_path / "o"
    export_model("nano", out, slots=1)
    quick.setattr(export, "_write", lambda *given: ((out / "late.txt").write_text("mine"), made(*given))[1])
    with pytest.raises(OutputError, match=r"late\.txt"):
        export_model("nano", out, slots=2)
    assert (out / "late.txt").read_text() == "mine" and (out / "encode.onnx").read_text() == "graph of 1"


@pytest.fixture
def no_room():
    """The system takes no file of more than 300 kB, as a disk that is nearly full."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_without_room_for_an_export_is_said_and_keeps_nothing(no_room, tmp_path):
    from vidmem.catalogue.export import _full_disk

    with pytest.raises(OutputError, match="o cannot be written .*free some space"):
        export_model("nano", tmp_path / "o")
    with pytest.raises(OutputError, match="cannot be written"), _full_disk(tmp_path / "part"):
        (tmp_path / "part").mkdir()
        raise RuntimeError("Could not open file")  # as OpenVINO says it
    (tmp_path / "part").rmdir()
    assert list(tmp_path.iterdir()) == []


def test_an_engines_own_error_is_not_taken_for_a_full_disk(tmp_path):
    from vidmem.catalogue.export import _full_disk

    with pytest.raises(RuntimeError, match="no such operator"), _full_disk(tmp_path):
        raise RuntimeError("no such operator")
