"""The gate lets through what gives the same masks and nothing else; `auto` believes its verdicts and no others."""

import json

import numpy as np
import pytest

import vidmem
from vidmem.catalogue import choose
from vidmem.catalogue.verdict import GateVerdict, gate_key, read_verdict, write_verdict
from vidmem.cli.main import main
from vidmem.errors import ModelError, RuntimeMissing
from vidmem.evaluation.bench import bench, boxes, load_images, spread
from vidmem.evaluation.gate import GateClip, error, gate, mask_iou
from vidmem.memory import Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.search import Greedy
from vidmem.types import Frame

GOOD = GateVerdict("openvino", "bf16", "onnx fp32", 0.995, 0.991, {"encode": 0.01, "decode": 0.02}, 150, 10.0, 30.0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDMEM_CACHE", str(tmp_path / "cache"))


def changed(**what) -> GateVerdict:
    import dataclasses

    return dataclasses.replace(GOOD, **what)


# Verdicts ------------------------------------------------------------------------------------------------------------
def test_a_verdict_passes_by_masks_and_in_float32_also_by_stages():
    assert GOOD.passed
    assert not changed(iou=0.9899).passed and not changed(worst_clip_iou=0.98).passed
    assert not changed(iou=float("nan")).passed
    assert not changed(precision="fp32").passed, "2 % in a stage is no float32"
    assert changed(precision="fp32", stages={"encode": 1e-4}).passed
    assert "FAILED" in str(changed(iou=0.5)) and "passed" in str(GOOD)


def test_a_verdict_counts_for_exactly_its_engine_graphs_and_machine(monkeypatch):
    key = gate_key("abc", "openvino", "bf16")
    assert read_verdict(key) is None
    path = write_verdict(key, GOOD)
    assert read_verdict(key) == GOOD
    for other in (
        gate_key("abd", "openvino", "bf16"),
        gate_key("abc", "onnx", "bf16"),
        gate_key("abc", "openvino", "fp32"),
        {**key, "processor": "x"},
        {**key, "engine": "1"},
    ):
        assert read_verdict(other) is None
    assert not list(path.parent.glob("*.part"))
    for broken in ("", "{", "[]", json.dumps({"key": key}), json.dumps({"key": key, "verdict": {"iou": 1}})):
        path.write_text(broken)
        assert read_verdict(key) is None


# The gate ------------------------------------------------------------------------------------------------------------
class Shifted(FakeNetwork):
    """Rounds as half precision would, or worse."""

    def __init__(self, shift: float):
        super().__init__()
        self.shift = shift

    def decode(self, features, conditioned, asks):
        out = super().decode(features, conditioned, asks)
        return (
            out._replace(mask_logits=out.mask_logits - self.shift)
            if hasattr(out, "_replace")
            else type(out)(out.mask_logits - self.shift, out.iou, out.object_logit, out.pointer)
        )


def clips() -> list[GateClip]:
    images = []
    for t in range(6):
        image = np.full((48, 64, 3), 30, np.uint8)
        image[10:30, 4 + 3 * t : 30 + 3 * t] = (200, 60, 60)
        images.append(Frame(t, None, image))
    return [GateClip(images, (4, 10, 30, 30)), GateClip(images[2:], (10, 10, 36, 30))]


def test_equal_networks_pass_and_a_shifted_one_fails():
    said = []
    verdict = gate(
        FakeNetwork(),
        FakeNetwork(),
        Recent(),
        Greedy(),
        clips(),
        "fp32",
        lambda done, total: said.append((done, total)),
    )
    assert verdict.passed and verdict.iou == 1 and max(verdict.stages.values()) == 0 and verdict.frames == 10
    assert said[-1] == (10, 10) and verdict.ms > 0
    wrong = gate(Shifted(1e3), FakeNetwork(), Recent(), Greedy(), clips(), "fp32")
    assert not wrong.passed and wrong.iou < 0.5 and wrong.stages["decode"] > 1e-3


def test_the_measures():
    one, none = np.ones((4, 4), bool), np.zeros((4, 4), bool)
    assert mask_iou(none, none) == 1 and mask_iou(one, none) == 0 and mask_iou(one, one) == 1
    a = np.array([1.0, -4.0], np.float32)
    assert error({"x": (a, [a])}, {"x": (a, [a])}) == 0 and error(a * 1.01, a) == pytest.approx(0.01, rel=1e-4)
    assert error(a, np.array([1.0], np.float32)) == np.inf and error(a * np.nan, a) == np.inf


# What auto takes -----------------------------------------------------------------------------------------------------
def nano(**what) -> choose.Request:
    return choose.Request("nano", **what)


def test_auto_takes_the_fastest_that_passed_here_and_says_why():
    pytest.importorskip("openvino")
    assert (
        vidmem.load("nano", threads=1).why
        == "openvino, fp32, the default; `vidmem gate nano` tries which engine is the fastest here"
    )
    missing = lambda asked: (
        (_ for _ in ()).throw(RuntimeMissing("no openvino")) if asked.runtime == "openvino" else asked
    )
    assert default(missing).startswith("onnx, fp32, the default"), "where the first choice is not installed"
    graphs = nano().graphs()
    write_verdict(gate_key(graphs, "openvino", "fp32"), changed(precision="fp32", stages={"encode": 0.0}, ms=20.0))
    tracker = vidmem.load("nano", threads=1)
    assert tracker.network.runtime == "openvino" and tracker.why.startswith("openvino, fp32, the fastest here: 20 ms")
    write_verdict(gate_key(graphs, "openvino", "bf16"), changed(iou=0.6))
    assert "fp32" in vidmem.load("nano", threads=1).why, "a failed verdict is not taken, however fast"
    write_verdict(gate_key(graphs, "openvino", "bf16"), changed(iou=0.999))
    assert "bf16" in choose.open_network(nano(threads=1))[1] if "BF16" in capabilities() else True


def default(named) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose, "named", named)
        return choose.open_network(nano())[1]


def capabilities() -> list[str]:
    import openvino

    return openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def test_half_precision_is_refused_until_it_has_passed():
    pytest.importorskip("openvino")
    with pytest.raises(ModelError, match="has not passed its gate on this machine; run: vidmem gate nano"):
        vidmem.load("nano", runtime="openvino", precision="bf16")
    write_verdict(gate_key(nano().graphs(), "openvino", "bf16"), changed(iou=0.5))
    with pytest.raises(ModelError, match="is refused: .*FAILED"):
        vidmem.load("nano", runtime="openvino", precision="bf16")


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"runtime": "openvino", "device": "cuda"}, "runs on the CPU: use runtime='onnx' or 'pytorch'"),
        ({"runtime": "onnx", "precision": "bf16"}, "with the onnx runtime; expected 'fp32'"),
        ({"runtime": "nothing"}, "choose from: auto, onnx, openvino"),
    ],
)
def test_what_an_engine_cannot_do_is_refused(wrong, message):
    with pytest.raises(ModelError, match=message):
        vidmem.load("nano", **wrong)


def test_the_command_gates_keeps_its_verdicts_and_names_what_auto_takes(capsys):
    pytest.importorskip("torch")
    assert main(["gate", "nano", "--runtime", "onnx", "--threads", "1", "--frames", "2"]) == 0
    out = capsys.readouterr().out
    assert "onnx fp32 passed the gate" in out and "auto takes: onnx, fp32, the fastest here" in out
    assert main(["gate", "nano", "--video", "x.mp4"]) == 2
    assert "--video and --box go together" in capsys.readouterr().err


# The bench -----------------------------------------------------------------------------------------------------------
def test_spread_and_boxes():
    assert spread([1.0] * 99 + [100.0])["p50"] == 1 and spread([2.0, 2.0])["jitter"] == 1
    for count in (1, 5, 20):
        every = np.array(boxes(count, 480, 854))
        assert every.shape == (count, 4) and (every[:, 2:] > every[:, :2]).all()
        assert every.min() >= 0 and every[:, 2].max() <= 854 and every[:, 3].max() <= 480


def test_bench_counts_every_stage_of_the_frames_after_the_warm_up():
    tracker = vidmem.catalogue.tracker.Tracker(FakeNetwork(), Recent(), Greedy())
    figure = bench(tracker, load_images(None, (48, 64), 5), objects=3, frames=7, warm=4)
    assert set(figure["ms"]) == {"encode", "attend", "decode", "memorize", "network", "step"}
    assert (
        figure["objects"] == 3
        and figure["memory_bytes"] > 0
        and figure["ms"]["step"]["p50"] >= figure["ms"]["network"]["p50"] > 0
    )


def test_the_command_benches_and_ends_with_json(capsys, tmp_path):
    assert (
        main(
            [
                "bench",
                "--runtime",
                "onnx",
                "--threads",
                "1",
                "--frames",
                "2",
                "--warm",
                "1",
                "--size",
                "64,48",
                "--json",
                str(tmp_path / "b.json"),
            ]
        )
        == 0
    )
    last = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert last["runtime"] == "onnx" and last["size"] == [48, 64]
    assert json.loads((tmp_path / "b.json").read_text())["machine"]["cores"] >= 1


# In the background ---------------------------------------------------------------------------------------------------
def said(*argv):
    from vidmem.cli.main import build_parser

    return build_parser().parse_args(["track", "clip.mp4", "--box", "1,2,3,4", "--out", "o", *argv])


@pytest.fixture
def started(monkeypatch):
    """What would have been run."""
    pytest.importorskip("openvino")
    from vidmem.cli import background

    seen = []
    monkeypatch.setattr(background.subprocess, "Popen", lambda command, **how: seen.append((command, how)) or "begun")
    monkeypatch.delenv("VIDMEM_GATE", raising=False)
    return seen


def test_the_first_job_tries_the_engines_once_and_says_so_in_one_line(started, capsys):
    from vidmem.cli.background import LINE, gate_once

    assert gate_once(said()) == "begun" and gate_once(said()) is None, "once"
    (command, how), *others = started
    assert command[-3:] == ["vidmem", "gate", "nano"] and how["start_new_session"] and not others
    assert capsys.readouterr().out.splitlines() == [LINE]


@pytest.mark.parametrize(
    "why", ["--no-gate", "--runtime onnx", "--precision bf16", "--device cuda", "environment", "verdicts", "cache"]
)
def test_nothing_is_tried_where_somebody_chose_or_it_is_known(started, monkeypatch, tmp_path, why):
    from vidmem.cli.background import gate_once

    if why == "environment":
        monkeypatch.setenv("VIDMEM_GATE", "0")
    elif why == "cache":
        (tmp_path / "file").write_text("no folder")
        monkeypatch.setenv("VIDMEM_CACHE", str(tmp_path / "file"))
    elif why == "verdicts":
        for pair in choose.gated(nano()):
            write_verdict(choose.verdict_key(nano(), *pair), changed(runtime=pair[0], precision=pair[1]))
    assert gate_once(said(*why.split()) if why.startswith("--") else said()) is None and not started


def test_the_process_itself_leaves_verdicts_that_auto_takes(monkeypatch, tmp_path):
    """The command that is started, run to its end on few frames."""
    pytest.importorskip("openvino")
    from vidmem.cli import background

    monkeypatch.delenv("VIDMEM_GATE", raising=False)
    popen = background.subprocess.Popen
    monkeypatch.setattr(
        background.subprocess, "Popen",
        lambda command, **how: popen([*command, "--frames", "2", "--threads", "1", "--runtime", "openvino", "--precision", "fp32"], **how),
    )  # fmt: skip
    assert background.gate_once(said()).wait(timeout=300) == 0
    assert vidmem.load("nano", threads=1).why.startswith("openvino, fp32, the fastest here")


def test_fewer_bits_must_gain_something():
    pytest.importorskip("openvino")
    fp32, bf16 = changed(precision="fp32", stages={"encode": 0.0}, ms=20.0), changed(ms=19.5)
    for verdict in (fp32, bf16):
        write_verdict(choose.verdict_key(nano(), "openvino", verdict.precision), verdict)
    assert [v.precision for v in choose.verdicts(nano())] == ["fp32", "bf16"]
    write_verdict(choose.verdict_key(nano(), "openvino", "bf16"), changed(ms=15.0))
    assert [v.precision for v in choose.verdicts(nano())] == ["bf16", "fp32"]
