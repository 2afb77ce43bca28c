"""nano with fixed shapes says what its open graphs say: rows and memories are filled up, and what fills them is hidden."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import vidmem
from tests.test_runtimes import BOX, DEMO
from vidmem.catalogue.export import export_model
from vidmem.engines.manifest import Manifest
from vidmem.errors import ModelError
from vidmem.evaluation.gate import mask_iou
from vidmem.networks.base import within
from vidmem.types import Entry, Recall, Verdict


@pytest.fixture(scope="module")
def frames():
    with vidmem.open_video(DEMO, end=9) as video:
        return list(video)


@pytest.fixture(scope="module")
def fixed(tmp_path_factory, frames):
    """For TensorRT, but float32 graphs run anywhere."""
    out = tmp_path_factory.mktemp("nano") / "fixed"
    export_model("nano", out, to="tensorrt", objects=2, frame_size=frames[0].size)
    return out


def follow(frames, runtime="onnx", folder=None, bank="confident") -> list:
    """Three objects, which are two batches and one filler; a click and a mask; a correction, which reads its own guess as well."""
    return steps(vidmem.load("nano", runtime=runtime, weights=folder, bank=bank, threads=1), frames)


def steps(tracker, frames) -> list:
    results, mask = [], np.zeros(frames[0].size, bool)
    mask[10:60, 20:90] = True
    with tracker.session() as session:
        session.add(1, box=BOX)
        session.add(2, points=[[300, 120]], labels=[1])
        for t, frame in enumerate(frames):
            if t == 3:
                session.add(3, mask=mask, frame_idx=frame.index)
            results.append(session.step(frame))
            if t == 5:
                results.append(session.add(1, points=[[120, 200]], labels=[1]))
    return results


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
@pytest.mark.parametrize("bank", ["confident", "recent", "sparse"])
def test_fixed_graphs_say_what_open_ones_say(runtime, bank, frames, fixed):
    pytest.importorskip({"onnx": "onnxruntime"}.get(runtime, runtime))
    for mine, theirs in zip(follow(frames, runtime, fixed, bank), follow(frames, bank=bank), strict=True):
        # Sums in another order, which each frame's memory carries on: as between engines, see test_runtimes.
        assert np.abs(mine.mask_logits - theirs.mask_logits).max() < 2e-3
        assert np.abs(mine.scores - theirs.scores).max() < 1e-3 and mine.status == theirs.status
        assert mine.masks.any()


def test_memories_that_stay_on_a_device_say_the_same(frames, fixed):
    """As on a GPU: torch tensors, bound by address."""
    from vidmem.engines.onnx import OnnxDeviceEngine
    from vidmem.networks.nano.network import NanoNetwork

    tracker = vidmem.load("nano", runtime="onnx", weights=fixed, threads=1)
    network = NanoNetwork(OnnxDeviceEngine(fixed, "cpu"), fixed=Manifest.read(fixed))
    for mine, theirs in zip(
        steps(replace(tracker, network=network), frames), follow(frames, folder=fixed), strict=True
    ):
        assert np.abs(mine.mask_logits - theirs.mask_logits).max() < 2e-3


def test_hidden_places_do_not_move_a_single_read(frames, fixed, tmp_path):
    """The same graph, with places for more memories."""
    export_model("nano", tmp_path / "more", to="tensorrt", objects=2, slots=12, frame_size=frames[0].size)
    for mine, theirs in zip(
        follow(frames[:4], folder=tmp_path / "more"), follow(frames[:4], folder=fixed), strict=True
    ):
        assert np.abs(mine.mask_logits - theirs.mask_logits).max() < 1e-3


def test_frames_of_another_shape_are_refused(fixed):
    with vidmem.load("nano", runtime="onnx", weights=fixed, threads=1).session() as session:
        session.add(1, points=[[30, 30]], labels=[1])
        with pytest.raises(
            ModelError, match=r"a frame of 200x300 needs an input of 288x416, .* export again with --frame-size 200,300"
        ):
            session.step(np.zeros((300, 200, 3), np.uint8))


def test_the_manifest_says_which_shape_was_made(fixed, tmp_path):
    manifest = Manifest.read(fixed)
    assert (manifest.objects, manifest.slots, manifest.precision) == (2, 7, "fp32")
    assert manifest.shape == (256, 448)
    with pytest.raises(ModelError, match="slots=1; expected 2 or more"):
        export_model("nano", tmp_path / "one", to="tensorrt", slots=1)
    with pytest.raises(ModelError, match="frame_size="):
        export_model("nano", tmp_path / "none", to="tensorrt", frame_size=(0, 854))


class Some:
    tokens, nbytes = 10, 0


def test_what_does_not_fit_is_left_out_from_the_oldest_on():
    entries = [Entry(Verdict(t, 1.0, 5.0, 0.1, t in (0, 3)), Some(), 0) for t in range(6)]
    recalls = [Recall(entry, -1) for entry in entries]
    kept = lambda room: [recall.entry.frame_idx for recall in within(recalls, room)]
    assert kept(60) == [0, 1, 2, 3, 4, 5] and kept(59) == [0, 2, 3, 4, 5] and kept(30) == [0, 3, 5] and kept(10) == [5]


def test_half_precision_finds_the_same_object(frames, tmp_path):
    """ONNX Runtime has float16 on the CPU, slowly; what is compared is the rounding that is written into the graphs."""
    export_model("nano", tmp_path / "half", to="tensorrt", precision="fp16", objects=2, frame_size=frames[0].size)
    both = [follow(frames[:6], folder=tmp_path / "half"), follow(frames[:6])]
    assert min(mask_iou(a.masks[0], b.masks[0]) for a, b in zip(*both)) > 0.98
    logits = [np.abs(a.mask_logits - b.mask_logits).max() for a, b in zip(*both)]
    assert max(logits) > 1e-3, "float16 was written into these graphs"
