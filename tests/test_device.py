"""Engines whose arrays are a device's: the rules around TensorRT, without it. The cache of built engines."""

import multiprocessing
import os
import sys
import time
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.conftest import MODEL, SIZE  # noqa: E402
from tests.exported import follow, same  # noqa: E402
from vidmem.catalogue.export import export_model  # noqa: E402
from vidmem.catalogue.tracker import Tracker, load  # noqa: E402
from vidmem.cli.doctor import gpu_engines  # noqa: E402
from vidmem.cli.main import main  # noqa: E402
from vidmem.engines.base import DeviceEngine, HostEngine  # noqa: E402
from vidmem.engines.cache import EngineCache  # noqa: E402
from vidmem.engines.manifest import Manifest  # noqa: E402
from vidmem.errors import ModelError, RuntimeMissing  # noqa: E402
from vidmem.installed import version  # noqa: E402
from vidmem.memory import BANKS, Recent  # noqa: E402
from vidmem.networks.sam2.graphs import Sam2Graphs  # noqa: E402
from vidmem.search import Greedy  # noqa: E402


class ModuleEngine(DeviceEngine):
    """Runs the modules that exports are made of, and notes what kinds of arrays came."""

    name = "modules"

    def __init__(self, weights):
        from vidmem.networks.sam2.checkpoints import load_sam2
        from vidmem.networks.sam2.export import MODULES

        super().__init__("cpu")
        model = load_sam2(MODEL, weights, SIZE)
        self.modules = {name: module(model.eval()) for name, module in MODULES.items()}

    def run(self, graph: str, *arrays) -> tuple:
        assert all(isinstance(array, torch.Tensor) for array in arrays), "an array came from the host without `put`"
        with torch.inference_mode():
            return self.modules[graph](*arrays)


@pytest.mark.parametrize("bank", ["recent", "sparse", "consolidated"])
def test_memories_stay_on_the_device_and_say_the_same(bank, weights, fixed, images):
    network = Sam2Graphs(fixed, ModuleEngine(weights), replace(Manifest.read(fixed), objects=None))
    torch.set_num_threads(1)
    policy, count = BANKS[bank](), 3 if bank == "sparse" else 7
    theirs = load(MODEL, runtime="pytorch", weights=weights, image_size=SIZE, threads=1)
    same(follow(Tracker(network, policy, Greedy()), images[:count], policy), follow(theirs, images[:count], policy))
    with Tracker(network, policy, Greedy()).session() as session:
        session.add(1, box=(20, 20, 80, 90))
        session.step(images[0])
        payload = session._state.tracks[1].best.bank.entries()[0].payload
        assert isinstance(payload.keys, torch.Tensor) and payload.nbytes == session.nbytes


def test_bound_arrays_say_what_copied_ones_say(weights, fixed, images):
    """ONNX Runtime with IO binding, as on a GPU, on the CPU; and on its results as they are handed from graph to graph."""
    from vidmem.engines.onnx import OnnxDeviceEngine

    manifest, bank = Manifest.read(fixed), Recent(slots=3, pointers=3, prompts=2)
    bound = Tracker(Sam2Graphs(fixed, OnnxDeviceEngine(fixed, "cpu"), manifest), bank, Greedy())
    same(
        follow(bound, images[:6], bank),
        follow(load(MODEL, runtime="onnx", weights=fixed, threads=1), images[:6], bank),
        1e-4,
    )


def test_host_and_device_arrays_are_handled_alike():
    random = np.random.default_rng(0)
    a, b = random.random((2, 3, 4), np.float32), random.random((2, 1, 4), np.float32)
    at = random.integers(0, 3, (2, 2, 1))
    host, device = HostEngine(), DeviceEngine("cpu")
    for do in (
        lambda e: e.cat([e.put(a), e.put(b)], 1), lambda e: e.stack([e.put(a), e.put(a)], 1), lambda e: e.stack([e.put(a)], 0),
        lambda e: e.expand(e.put(b), (2, 3, 4)), lambda e: e.pad(e.put(a), (3, 5, 4)), lambda e: e.take_along(e.put(a), at, 1),
        lambda e: e.copy(e.put(a)[1:]),
    ):  # fmt: skip
        assert np.array_equal(host.host(do(host)), device.host(do(device)))


# CUDA graphs -------------------------------------------------------------------------------------------------------
def test_what_is_called_again_is_recorded_and_what_is_not_used_is_forgotten():
    from vidmem.networks.sam2.recorded import AFTER, MOST, Recorded

    made, ran = [], []

    def function(*tensors):
        ran.append(1)
        return tensors[0] * 2

    def record(function, tensors):
        made.append(tensors[0].shape)
        return lambda *given: given[0] * 2

    recorded = Recorded(function, record)
    for t in range(AFTER + 5):
        x = torch.full((2, 3), float(t))
        assert torch.equal(recorded(x), x * 2)
    assert made == [(2, 3)] and len(ran) == AFTER
    for n in range(4, 4 + MOST):  # shapes that come once, as a memory that grows
        recorded(torch.zeros(n))
    assert made == [(2, 3)]
    for _ in range(AFTER + 1):
        recorded(torch.zeros(2, 3))
    assert made == [(2, 3), (2, 3)], "it was forgotten, and is recorded again when it comes back"
    recorded(torch.zeros(2, 3, dtype=torch.float64))
    assert len(made) == 2, "another type is another graph"


def test_on_a_cpu_nothing_is_recorded():
    from vidmem.networks.sam2.recorded import Recorded

    ran = []
    recorded = Recorded(lambda x: ran.append(1) or x)
    for _ in range(9):
        recorded(torch.zeros(2))
    assert len(ran) == 9


def test_onnx_runtimes_tensorrt_gets_a_profile_for_points(fixed, tmp_path, monkeypatch):
    from vidmem.engines.onnx import tensorrt_options

    monkeypatch.setenv("VIDMEM_CACHE", str(tmp_path))
    options = tensorrt_options(fixed / "decode.onnx")
    assert options["trt_profile_max_shapes"] == "points:2x64x2,labels:2x64" and options[
        "trt_engine_cache_path"
    ].startswith(str(tmp_path))
    assert not any(name.startswith("trt_profile") for name in tensorrt_options(fixed / "attend.onnx"))
    with pytest.raises(ModelError, match="'tensorrt' was asked for, but this onnxruntime"):
        load(MODEL, runtime="onnx-tensorrt", weights=fixed)


# The cache of engines ------------------------------------------------------------------------------------------------
KEY = {"graph": "attend", "onnx": "ab12", "gpu": "X", "tensorrt": "11.4"}


def test_an_engine_is_found_by_exactly_its_key_and_only_whole(tmp_path):
    cache = EngineCache(tmp_path)
    assert cache.get(KEY) is None
    path = cache.put(KEY, b"plan\nwith\nlines" * 100)
    assert cache.get(KEY) == b"plan\nwith\nlines" * 100
    assert all(cache.get({**KEY, name: "other"}) is None for name in KEY)
    whole = path.read_bytes()
    for damaged in (
        whole[:-1],
        whole[:40],
        b"",
        whole.replace(b"with", b"w1th", 1),
        b"\xff" + whole,
        whole.replace(b'"X"', b'"Y"'),
    ):
        path.write_bytes(damaged)
        assert cache.get(KEY) is None, damaged[:60]
    assert cache.obtain(KEY, lambda: b"new") == b"new" == cache.get(KEY), "what is damaged is built again"
    cache.drop(KEY)
    cache.drop(KEY)
    assert cache.get(KEY) is None
    assert not [p for p in tmp_path.iterdir() if p.suffix == ".part"]


def test_a_build_that_fails_leaves_nothing_and_the_next_one_is_tried(tmp_path):
    cache = EngineCache(tmp_path)

    def fail() -> bytes:
        raise ModelError("no")

    with pytest.raises(ModelError):
        cache.obtain(KEY, fail)
    assert cache.get(KEY) is None and cache.obtain(KEY, lambda: b"x") == b"x"


def obtain(folder: str, log: str) -> None:
    def build() -> bytes:
        with open(log, "a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.3)
        return b"engine" * 1000

    assert EngineCache(folder).obtain(KEY, build) == b"engine" * 1000


@pytest.mark.skipif(os.name == "nt", reason="no flock")
def test_of_four_processes_one_builds(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=obtain, args=(str(tmp_path / "engines"), str(tmp_path / "log"))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len((tmp_path / "log").read_text().splitlines()) == 1


def test_timings_belong_to_a_machine(tmp_path):
    cache = EngineCache(tmp_path)
    assert cache.timing({"gpu": "X"}) == b""
    cache.keep_timing({"gpu": "X"}, b"1")
    assert cache.timing({"gpu": "X"}) == b"1" and cache.timing({"gpu": "Y"}) == b""


# Asking for a GPU ----------------------------------------------------------------------------------------------------
def test_tensorrt_without_a_gpu_is_an_error_and_never_a_cpu(fixed, weights, capsys):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises((RuntimeMissing, ModelError), match="tensorrt"):
        load(MODEL, runtime="tensorrt", weights=fixed)
    for runtime in ("tensorrt", "tensorrt-rtx", "onnx-tensorrt", "nv-tensorrt-rtx"):
        with pytest.raises(ModelError, match=f"the {runtime} runtime takes an export: vidmem export nano"):
            load("nano", runtime=runtime)
    with pytest.raises((RuntimeMissing, ModelError), match="tensorrt-rtx|TensorRT for RTX"):
        load(MODEL, runtime="tensorrt-rtx", weights=fixed)
    with pytest.raises(RuntimeMissing, match="pip install onnxruntime-ep-nv-tensorrt-rtx-cu12"):
        load(MODEL, runtime="nv-tensorrt-rtx", weights=fixed)
    assert main(["doctor", "--tensorrt", str(fixed), "--weights", str(weights)]) in (1, 2)
    assert "tensorrt" in capsys.readouterr().err
    with pytest.raises(ModelError, match="'cuda' was asked for, but this onnxruntime"):
        load("nano", runtime="onnx", device="cuda")
    with pytest.raises(ModelError, match="sees no GPU"):
        load(MODEL, runtime="pytorch", device="cuda", weights=weights)


def test_the_doctor_says_what_each_engine_for_gpus_would_need():
    lines = dict(zip(("tensorrt", "tensorrt-rtx", "onnx-tensorrt", "nv-tensorrt-rtx"), gpu_engines(), strict=True))
    for name, line in lines.items():
        assert name in line and (("a GPU" in line) or torch.cuda.is_available())
    if version("onnxruntime-gpu") is None:
        assert "pip install onnxruntime-gpu tensorrt" in lines["onnx-tensorrt"]


def test_engines_for_rtx_are_asked_for_with_a_capability(tmp_path):
    for wrong in ({"to": "tensorrt-rtx"}, {"to": "tensorrt", "sms": (89,)}):
        with pytest.raises(ModelError, match="--to tensorrt-rtx and --sm 89"):
            export_model("nano", tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()


def test_onnx_runtimes_rtx_provider_gets_a_profile_for_points(fixed, tmp_path, monkeypatch):
    from vidmem.engines.onnx import rtx_options

    monkeypatch.setenv("VIDMEM_CACHE", str(tmp_path))
    options = rtx_options(fixed / "decode.onnx")
    assert options["nv_profile_opt_shapes"] == "points:2x3x2,labels:2x3"
    assert options["nv_runtime_cache_path"].startswith(str(tmp_path))
    assert set(rtx_options(fixed / "attend.onnx")) == {"nv_runtime_cache_path"}


def test_the_key_names_everything_an_engine_depends_on(fixed):
    from vidmem.engines.tensorrt import engine_key

    manifest, machine = (
        Manifest.read(fixed),
        {"tensorrt": "11.4.0", "cuda": "13.0", "driver": "580", "gpu": "H200", "capability": "9.0"},
    )
    base = engine_key("attend", "ab", manifest, machine)
    assert set(base) == {"graph", "onnx", "precision", "shapes", "level", "vidmem", *machine}
    others = [
        engine_key("decode", "ab", manifest, machine),
        engine_key("attend", "cd", manifest, machine),
        engine_key("attend", "ab", manifest, machine, 5),
    ]
    others += [
        engine_key("attend", "ab", replace(manifest, **{name: 3}), machine)
        for name in ("size", "objects", "slots", "pointers")
    ]
    others += [engine_key("attend", "ab", manifest, {**machine, name: "-"}) for name in machine]
    assert all(other != base for other in others)


def test_engines_for_the_lean_runtime_are_bound_to_a_major_version_only(tmp_path, monkeypatch):
    """Stand-ins for NVIDIA's modules: which is taken, and what a machine without a builder says."""
    from vidmem.engines.tensorrt import TensorRtEngine, find_tensorrt, machine_version

    with pytest.raises(RuntimeMissing, match="pip install tensorrt"):
        find_tensorrt(("no_such_tensorrt",))
    monkeypatch.setitem(sys.modules, "tensorrt_lean", lean := ModuleType("tensorrt_lean"))
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert find_tensorrt() == (lean, True)
    monkeypatch.setitem(sys.modules, "tensorrt", full := ModuleType("tensorrt"))
    assert find_tensorrt() == (full, False)
    monkeypatch.setenv("VIDMEM_TENSORRT_COMPATIBLE", "1")
    assert find_tensorrt() == (full, True)
    assert machine_version("11.4.0", True) == machine_version("11.9.1", True) != machine_version("10.16.1", True)
    assert machine_version("11.4.0", False) not in (machine_version("11.4.0", True), machine_version("11.4.1", False))
    engine = object.__new__(TensorRtEngine)
    engine._trt, engine._compatible = lean, True
    with pytest.raises(RuntimeMissing, match=r"the lean runtime builds none; build it where tensorrt is installed"):
        engine._build(tmp_path / "attend.onnx", EngineCache(tmp_path), {})


def test_a_session_of_fixed_graphs_is_bounded_whatever_the_bank_recalls(fixed, weights, images):
    """Three corrected frames and ten memories in a graph that holds four."""
    network = Sam2Graphs(fixed, ModuleEngine(weights), Manifest.read(fixed))
    with Tracker(network, Recent(prompts=4), Greedy()).session() as session:
        session.add(1, box=(20, 20, 80, 90))
        for t, image in enumerate(images[:7]):
            result = session.step(image)
            if t in (2, 4):
                session.add(1, points=[[30, 30]], labels=[1])
    assert np.isfinite(result.mask_logits).all()
