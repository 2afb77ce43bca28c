"""A whole video through our session equals the official predictor: mask logits within 1e-3."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from official import begin, build, follow, network, pictures, script  # noqa: E402

from vidmem.memory import Recent  # noqa: E402
from vidmem.search import Greedy  # noqa: E402
from vidmem.session import Session  # noqa: E402
from vidmem.types import Frame  # noqa: E402

HIDDEN = {5, 14, 15, 16}


def compare(name: str, size: int, count: int, correct_at: int | None, monkeypatch, objects: int = 3) -> None:
    official, ours = build(name, size, "++model.add_all_frames_to_correct_as_cond=true")
    presence = {t: -3.0 if t in HIDDEN else 3.0 for t in range(count)}
    now, mine_now = script(official.sam_mask_decoder, presence), script(ours.sam_mask_decoder, presence)
    images, unit = pictures(count, size), size // 8
    state = begin(official, images, monkeypatch)
    mask = np.zeros((size, size), bool)
    mask[unit : 4 * unit, 2 * unit : 5 * unit] = True
    asked = {1: {"points": [[3 * unit, 2 * unit]], "labels": [1]}, 2: {"box": [unit, unit, 4 * unit, 6 * unit]}}
    for obj_id in asked:
        official.add_new_points_or_box(state, 0, obj_id, **asked[obj_id])
    if objects > 2:
        official.add_new_mask(state, 0, 3, mask)
        asked[3] = {"mask": mask}
    correction = {"points": [[2 * unit, 2 * unit], [6 * unit, 6 * unit]], "labels": [1, 0]}

    theirs: dict[int, torch.Tensor] = {}
    follow(official, now, monkeypatch)
    for t, _, logits in official.propagate_in_video(state, max_frame_num_to_track=correct_at):
        theirs[t] = logits
    before = theirs.get(correct_at)
    if correct_at:
        _, _, theirs[correct_at] = official.add_new_points_or_box(state, correct_at, 2, **correction)
        for t, _, logits in official.propagate_in_video(state, start_frame_idx=correct_at + 1):
            theirs[t] = logits

    session = Session(network(name, ours), Recent(frames=count), Greedy())
    for obj_id in asked:
        session.add(obj_id, **asked[obj_id])

    def near(result, expected) -> None:
        mine = F.interpolate(torch.from_numpy(result.mask_logits)[:, None], size=(size, size), mode="bilinear")
        assert torch.allclose(mine, expected, rtol=0, atol=1e-3)

    for t, image in enumerate(images):
        mine_now["t"] = t
        result = session.step(Frame(t, None, image))
        near(result, before if t == correct_at else theirs[t])
        if t == correct_at:
            near(session.add(2, **correction), theirs[t])
        if t == 1:
            assert all(0.01 < mask.mean() < 0.99 for mask in result.masks)  # there was something to compare


@pytest.mark.parametrize(("name", "size"), [("sam2.1-tiny", 256), ("sam2-tiny", 128)])
def test_24_frames_three_objects_a_correction_and_absences(name, size, monkeypatch):
    compare(name, size, 24, 10, monkeypatch)


def test_three_frames_at_1024_pixels(monkeypatch):
    """Seconds each: the last reads the prompted frame and a tracked one."""
    compare("sam2.1-tiny", 1024, 3, None, monkeypatch, objects=2)


def test_a_long_stream_holds_a_bounded_number_of_memories_and_its_end_frees_them():
    """The resident memory over 5,000 frames is in `assets/figures/sam2_memory.json`; this is its cause."""
    _, ours = build("sam2.1-tiny", 64)
    net, images = network("sam2.1-tiny", ours), pictures(10, 64)
    session, held = Session(net, Recent(), Greedy()), []
    for obj_id in (1, 2):
        session.add(obj_id, points=[[20 * obj_id, 20]], labels=[1])
    for t in range(120):
        session.step(Frame(t, None, images[t % 10]))
        if t == 60:
            session.add(1, points=[[30, 30]], labels=[1])
        held.append((session.nbytes, len(net._with_keys)))
    assert len(set(held[80:])) == 1  # flat
    assert all(
        s.memory.untyped_storage().nbytes() == s.memory.numel() * 2 for s in net._with_keys
    )  # no views of a batch
    session.close()
    del session
    import gc

    gc.collect()
    assert len(net._with_keys) == 0


def test_undo_and_snapshots_bring_back_the_same_masks():
    _, ours = build("sam2.1-tiny", 64)
    net, images = network("sam2.1-tiny", ours), pictures(30, 64)
    with Session(net, Recent(), Greedy()) as session:
        session.add(1, points=[[20, 20]], labels=[1])
        for t in range(5):
            before = session.step(Frame(t, None, images[t]))
        session.add(1, points=[[40, 40]], labels=[0])
        assert session.undo() and np.array_equal(session.result().mask_logits, before.mask_logits)
        snapshot = session.snapshot()
        first = [session.step(Frame(t, None, images[t])).mask_logits for t in range(5, 25)]
        session.restore(snapshot)
        again = [session.step(Frame(t, None, images[t])).mask_logits for t in range(5, 25)]
    assert np.array_equal(first, again)  # keys that were given up meanwhile are projected again, to the same bits


def test_a_bank_that_recalls_more_frames_than_there_are_codes_is_refused():
    from vidmem.errors import ModelError

    _, ours = build("sam2.1-tiny", 64)
    with Session(network("sam2.1-tiny", ours), Recent(slots=9), Greedy()) as session:
        session.add(1, points=[[20, 20]], labels=[1])
        with pytest.raises(ModelError, match="use slots=7 at most"):
            for t, image in enumerate(pictures(12, 64)):
                session.step(Frame(t, None, image))


@pytest.mark.parametrize("size", [64, 96])
def test_the_four_functions_trace_to_graphs_without_branches_on_data(size):
    """A graph traced on one input gives what the function gives on another."""
    _, ours = build("sam2.1-tiny", size)
    side, rows = size // 16, 2

    def inputs(seed: int) -> dict[str, tuple]:
        torch.manual_seed(seed)
        feature, skip4, skip8 = (
            torch.randn(1, 256, side, side),
            torch.randn(1, 32, 4 * side, 4 * side),
            torch.randn(1, 64, 2 * side, 2 * side),
        )
        return {
            "encode": (torch.randint(0, 255, (1, size, size, 3), dtype=torch.uint8),),
            "attend": (feature, torch.randn(4, rows, 3 * side * side + 20, 256), torch.randn(rows, 3 * side * side + 20, 64)),
            "decode": (torch.randn(rows, 256, side, side), skip4, skip8, size * torch.rand(rows, 3, 2),
                       torch.randint(-1, 4, (rows, 3)), torch.randn(rows, 1, 4 * side, 4 * side), torch.tensor([seed > 0, True])),
            "memorize": (feature, torch.randn(rows, 1, 4 * side, 4 * side), torch.tensor([True, seed > 0]), torch.tensor([seed > 0, False])),
        }  # fmt: skip

    first, second = inputs(0), inputs(1)
    for name, given in first.items():
        function = getattr(ours, name)
        with torch.inference_mode():
            graph = getattr(torch.jit.trace_module(ours, {name: given}, check_trace=False), name)
            for mine, expected in zip(graph(*second[name]), function(*second[name])):
                assert torch.allclose(mine.float(), expected.float(), rtol=0, atol=1e-4)
