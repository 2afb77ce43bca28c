"""Both runtimes of `nano` say the same, rows do not see each other, and weights that do not fit are refused."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

import vidmem
from vidmem.errors import ModelError, PromptError
from vidmem.networks.base import Ask
from vidmem.types import Chosen, Entry, Prompt, ReadPlan, Recall, Verdict

ROOT = Path(__file__).resolve().parents[1]
NANO, DEMO, BOX = ROOT / "models/nano", ROOT / "assets/demo.mp4", (43, 154, 201, 255)

pytestmark = pytest.mark.skipif(
    not (NANO / "encode.onnx").is_file() or not DEMO.is_file(), reason="no nano weights, or no demo clip"
)


@pytest.fixture(scope="module")
def frames():
    with vidmem.open_video(DEMO, end=6) as video:
        return list(video)


@cache
def load(runtime: str):
    """Loading takes longer than a test."""
    pytest.importorskip({"pytorch": "torch", "onnx": "onnxruntime"}[runtime])
    return vidmem.load("nano", runtime=runtime, threads=1)


@pytest.fixture(params=["onnx", "pytorch"])
def tracker(request):
    return load(request.param)


def run(tracker, frames) -> list:
    with tracker.session() as session:
        session.add(1, box=BOX)
        return [session.step(frame) for frame in frames]


def test_onnx_and_pytorch_agree(frames):
    both = [run(load(name), frames) for name in ("onnx", "pytorch")]
    for onnx, torch in zip(*both):
        # The same float32 graph with sums in another order: about 1e-5 a frame on logits of +-10, and each frame's memory
        # carries it on. 2e-3 is far below what moves a mask's edge by a pixel.
        assert np.abs(onnx.mask_logits - torch.mask_logits).max() < 2e-3
        assert (onnx.masks == torch.masks).mean() >= 0.999  # a logit near 0 may fall on either side
        assert np.abs(onnx.scores - torch.scores).max() < 1e-3 and onnx.status == torch.status
        assert onnx.masks.any()


def test_the_same_frames_give_the_same_masks_bit_for_bit(tracker, frames):
    for first, again in zip(run(tracker, frames[:2]), run(tracker, frames[:2])):
        assert np.array_equal(first.mask_logits, again.mask_logits) and np.array_equal(first.masks, again.masks)


def test_two_rows_say_what_each_says_alone(tracker, frames):
    """1e-4: engines choose other kernels for other batch sizes, which add in another order."""
    network = tracker.network
    features = network.encode(frames[0].image)
    asks = [Ask(Prompt(box=np.array(b, np.float32)), frames[0].size) for b in (BOX, (300, 60, 420, 200))]
    first = network.decode(features, network.attend(features, [ReadPlan()] * 2), asks)
    memories = network.memorize(features, first, [Chosen(0, 0, True), Chosen(1, 0, True)])
    plans = [ReadPlan((Recall(Entry(Verdict(0, 1.0, 5.0, 0.1, True), m.payload, m.nbytes), -1),)) for m in memories]
    features = network.encode(frames[1].image)
    together = network.decode(features, network.attend(features, plans), [None, None])
    for row in range(2):
        alone = network.decode(features, network.attend(features, plans[row : row + 1]), [None])
        assert np.abs(alone.mask_logits[0] - together.mask_logits[row]).max() < 1e-4
        assert np.abs(alone.iou[0] - together.iou[row]).max() < 1e-4
        assert abs(alone.object_logit[0] - together.object_logit[row]) < 1e-4


def test_no_rows_and_rows_without_memory_are_fine(tracker, frames):
    network = tracker.network
    features = network.encode(frames[0].image)
    none = network.decode(features, network.attend(features, []), [])
    assert len(none.mask_logits) == len(none.iou) == len(none.object_logit) == 0
    blank = network.decode(features, network.attend(features, [ReadPlan()]), [None])
    assert blank.object_logit[0] < 0 and (blank.mask_logits < 0).all()


@pytest.mark.parametrize("size", [(37, 51), (720, 64), (16, 400)])
def test_frames_of_any_shape_are_tracked(tracker, size):
    with tracker.session() as session:
        session.add(1, points=[[size[1] / 2, size[0] / 2]])
        for _ in range(2):
            result = session.step(np.full((*size, 3), 90, np.uint8))
    assert result.masks.shape == (1, *size) and np.isfinite(result.mask_logits).all()


def test_a_mask_prompt_comes_back_exactly_and_a_click_beside_the_frame_is_refused(tracker, frames):
    mask = np.zeros(frames[0].size, bool)
    mask[154:255, 43:201] = True
    with tracker.session() as session:
        session.add(1, mask=mask)
        assert np.array_equal(session.step(frames[0]).masks[0], mask)
        with pytest.raises(PromptError, match="outside"):
            session.add(1, points=[[9000, 3]])


# Weights ------------------------------------------------------------------------------------------------------------
def test_onnx_weights_that_are_missing_or_cut_off_are_refused(tmp_path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(ModelError, match="encode.onnx is missing"):
        vidmem.load("nano", runtime="onnx", weights=tmp_path)
    for graph in NANO.glob("*.onnx"):
        (tmp_path / graph.name).write_bytes(graph.read_bytes()[: 5000 if graph.stem == "encode" else None])
    with pytest.raises(ModelError, match="encode.onnx cannot be loaded"):
        vidmem.load("nano", runtime="onnx", weights=tmp_path)


def test_pytorch_weights_that_are_missing_cut_off_or_of_another_model_are_refused(tmp_path):
    pytest.importorskip("torch")
    from safetensors import safe_open
    from safetensors.numpy import save_file

    path = tmp_path / "nano.safetensors"
    with pytest.raises(ModelError, match="nano.safetensors"):
        vidmem.load("nano", runtime="pytorch", weights=tmp_path)
    for size in (0, 100, 50_000):
        path.write_bytes((NANO / "nano.safetensors").read_bytes()[:size])
        with pytest.raises(ModelError, match="nano.safetensors"):
            vidmem.load("nano", runtime="pytorch", weights=tmp_path)
    with safe_open(NANO / "nano.safetensors", "np") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}
    save_file(tensors, path, {**metadata, "model": "giant"})
    with pytest.raises(ModelError, match="giant"):
        vidmem.load("nano", runtime="pytorch", weights=tmp_path)
    save_file(dict(list(tensors.items())[1:]), path, metadata)
    with pytest.raises(ModelError, match="nano.safetensors"):
        vidmem.load("nano", runtime="pytorch", weights=tmp_path)


@pytest.mark.parametrize("what", ["model", "runtime", "bank", "search"])
def test_unknown_names_are_refused_with_the_names_there_are(what):
    with pytest.raises(ModelError, match=f"no {what} 'none'; choose from: "):
        vidmem.load(**{"model": "nano", what: "none"})


def test_rows_that_remember_the_same_frame_are_read_at_once_and_others_beside_them(tracker, frames):
    """Keys belong to the frame: rows that share them share their scores. 1e-4: as above."""
    network, calls = tracker.network, []
    seen = [network.encode(frame.image) for frame in frames[:3]]
    shapes = network.engine.run

    def counting(graph, *arrays):
        if graph == "attend":
            calls.append((arrays[2].shape[0], arrays[4].shape[0], arrays[5].shape[0]))  # long keys, new keys, rows
        return shapes(graph, *arrays)

    def remember(frame_idx, row):
        share = np.zeros((1, 1, *seen[frame_idx].mask_size), np.float32)
        share[:, :, 10 * row : 10 * row + 20, 10:40] = 1
        (tokens,) = network._memorize(seen[frame_idx], share)
        return Recall(Entry(Verdict(frame_idx, 1.0, 5.0, 0.1, True), tokens, tokens.nbytes), -1)

    past = [(0, 1), (1,), (0, 1), (0,), (0,)]  # frames that each row remembers
    plans = [ReadPlan(tuple(remember(t, row) for t in frame_idxs)) for row, frame_idxs in enumerate(past)]
    network.engine.run = counting
    try:
        together = network.attend(seen[2], plans).maps
        assert sum(rows for *_, rows in calls) == len(past) and sorted(calls) == [(1, 1, 2), (3, 1, 3)]
        alone = [network.attend(seen[2], [plan]).maps[0] for plan in plans]
    finally:
        del network.engine.run
    for row, read in enumerate(alone):
        assert np.abs(network.engine.host(read) - network.engine.host(together[row])).max() < 1e-4
