"""What every family does on every engine: the tests run over FAMILIES and ENGINES, so that a new one of either is held to it at once."""

import itertools
from functools import cache
from importlib import import_module, util

import numpy as np
import pytest

import vidmem
from tests.conftest import MODEL, SIZE
from vidmem.engines import ENGINES
from vidmem.errors import ModelError, RuntimeMissing
from vidmem.installed import models_folder
from vidmem.memory import BANKS
from vidmem.networks import FAMILIES
from vidmem.networks.base import Ask
from vidmem.types import Chosen, Entry, Frame, Pointer, Prompt, ReadPlan, Recall, Verdict

pytest.importorskip("torch")
PAIRS = list(itertools.product(FAMILIES, ENGINES))
OWN = [(family, engine) for family, engine in PAIRS if engine in FAMILIES[family].engines]
HERE = [(family, engine) for family, engine in OWN if "cpu" in ENGINES[engine].devices and not ENGINES[engine].fixed]
MODULES = {"onnx": "onnxruntime", "openvino": "openvino", "pytorch": "torch"}
BOX = (20, 20, 80, 90)


def model_of(family: str) -> str:
    return MODEL if MODEL in FAMILIES[family].models else next(iter(FAMILIES[family].models))


@cache
def opened(family: str, engine: str, checkpoints, folder) -> vidmem.Tracker:
    """Embedded weights, or the random ones of `conftest.py`: as a checkpoint for torch modules, as an export for graphs."""
    import_module(MODULES[engine])
    model = model_of(family)
    if FAMILIES[family].embedded:
        if not (models_folder() / model).is_dir():
            pytest.skip(f"no weights of {model}")
        return vidmem.load(model, runtime=engine, threads=1)
    if ENGINES[engine].make is None:
        return vidmem.load(model, runtime=engine, weights=checkpoints(family), image_size=SIZE, threads=1)
    return vidmem.load(model, runtime=engine, weights=folder, threads=1)


@pytest.fixture(params=HERE, ids="-".join)
def tracker(request, checkpoints, folder):
    family, engine = request.param
    if util.find_spec(MODULES[engine]) is None:
        pytest.skip(f"no {MODULES[engine]}")
    return opened(family, engine, checkpoints, folder)


@pytest.fixture
def reference(request, tracker, checkpoints, folder):
    """The same family as torch modules."""
    return opened(request.node.callspec.params["tracker"][0], "pytorch", checkpoints, folder)


def ask(shape: tuple[int, int], **prompt) -> Ask:
    return Ask(Prompt(**{name: np.asarray(value, np.float32) for name, value in prompt.items() if name != "mask"},
                      mask=prompt.get("mask")), shape)  # fmt: skip


@pytest.mark.parametrize(("family", "engine"), PAIRS)
def test_a_family_names_known_engines_and_refuses_the_others_in_one_line(family, engine):
    card, own = ENGINES[engine], FAMILIES[family].engines
    assert set(own) <= set(ENGINES)
    if engine not in own:
        with pytest.raises(ModelError, match=f"does not run on {engine}; expected one of"):
            FAMILIES[family].check(model_of(family), engine, "fp32", None)
        return
    assert set(own[engine]) <= set(card.precisions), "a family's precisions are the engine's"
    FAMILIES[family].check(model_of(family), engine, own[engine][0] if own[engine] else "fp32", None)
    if card.precisions:
        with pytest.raises(ModelError, match="precision='fp7'"):
            card.check(engine, card.devices[0], "fp7")
    with pytest.raises(ModelError, match="there is no device 'abacus'"):
        card.check(engine, "abacus", None)


@pytest.mark.parametrize(("family", "engine"), [pair for pair in OWN if ENGINES[pair[1]].fixed])
def test_an_engine_of_fixed_shapes_asks_for_an_export(family, engine):
    with pytest.raises((ModelError, RuntimeMissing)) as refused:
        vidmem.load(model_of(family), runtime=engine, device="cuda")
    assert "vidmem export" in str(refused.value) and "\n" not in str(refused.value)


def test_the_four_functions_keep_their_shapes(tracker, images):
    network, image = tracker.network, images[0]
    shape = image.shape[:2]
    features = network.encode(image)
    frame = network.describe(features)
    assert frame.dtype == np.float32 and np.linalg.norm(frame) == pytest.approx(1, abs=1e-5)
    asks = [ask(shape, box=BOX), ask(shape, points=[[60, 60], [10, 10]], labels=[1, 0])]
    candidates = network.decode(features, network.attend(features, [ReadPlan()] * 2), asks)
    rows, count, height, width = candidates.mask_logits.shape
    assert rows == 2 and candidates.iou.shape == (2, count) and candidates.object_logit.shape == (2,)
    for array in (candidates.mask_logits, candidates.iou, candidates.object_logit):
        assert isinstance(array, np.ndarray) and array.dtype == np.float32 and np.isfinite(array).all()
    memories = network.memorize(features, candidates, [Chosen(row, 0, True) for row in range(2)])
    assert len(memories) == 2 and all(m.nbytes == m.payload.nbytes > 0 and m.payload.tokens > 0 for m in memories)
    assert memories[0].payload.similarity(memories[0].payload) == pytest.approx(1, abs=1e-3)
    entries = [Entry(Verdict(0, 1.0, 5.0, 0.1, True), m.payload, m.nbytes, m.pointer) for m in memories]
    plans = [ReadPlan((Recall(e, -1),), () if e.pointer is None else (Pointer(e, 1),), watch=True) for e in entries]
    conditioned = network.attend(features, plans)
    used = network.usage(features, conditioned, plans)
    assert [len(row) for row in used] == [1, 1] and all(0 < row[0].share <= 1.001 for row in used)
    assert used[0][0].tokens.shape[-1] == memories[0].payload.tokens
    again = network.decode(features, conditioned, [None, None])
    assert again.mask_logits.shape == (2, again.iou.shape[1], height, width)


def test_no_rows_are_fine(tracker, images):
    network = tracker.network
    features = network.encode(images[0])
    none = network.decode(features, network.attend(features, []), [])
    assert len(none.mask_logits) == len(none.iou) == len(none.object_logit) == 0


def test_a_mask_alone_is_the_answer_and_with_a_box_it_is_a_hint(tracker, images):
    mask = np.zeros(images[0].shape[:2], bool)
    mask[30:90, 100:160] = True
    results = {}
    for name, beside in (("alone", {}), ("hint", {"box": (20, 20, 80, 90)})):
        with tracker.session() as session:
            session.add(1, mask=mask, **beside)
            results[name] = session.step(images[0])
    assert np.array_equal(results["alone"].masks[0], mask)
    assert not np.array_equal(results["hint"].masks[0], mask)


def story(tracker, images) -> list:
    """Two objects, one of them late, a correction, an undo and a snapshot."""
    with tracker.session() as session:
        session.add(1, box=BOX)
        results = [session.step(Frame(t, None, image)) for t, image in enumerate(images[:3])]
        results.append(session.add(2, points=[[60, 60]], labels=[1]))
        results.append(session.add(1, points=[[30, 30]], labels=[0]))
        assert session.undo()
        before = session.snapshot()
        results.append(session.step(Frame(3, None, images[3])))
        session.restore(before)
        again = session.step(Frame(3, None, images[3]))
        assert np.array_equal(results[-1].mask_logits, again.mask_logits), "a restored session goes on as it did"
        return results


@pytest.mark.parametrize("tracker", [p for p in HERE if ENGINES[p[1]].make is not None], ids="-".join, indirect=True)
def test_graphs_are_followed_as_torch_follows(tracker, reference, images):
    """3e-3 of the largest logit: kernels add in another order, and each frame's memory carries it on."""
    mine, theirs = story(tracker, images), story(reference, images)
    for a, b in zip(mine, theirs, strict=True):
        assert a.obj_ids.tolist() == b.obj_ids.tolist() and a.status == b.status
        firm = b.mask_logits > -1000
        scale = np.abs(b.mask_logits[firm]).max(initial=1.0)
        assert np.abs(a.mask_logits - b.mask_logits).max() <= 3e-3 * scale
        assert (a.masks == b.masks).mean() >= 0.999
    assert any(r.masks.any() for r in theirs)


@pytest.mark.parametrize("bank", BANKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_bank_has_numbers_that_the_family_can_read(family, bank, checkpoints, folder, images):
    """With a correction, so that more than one entry is a person's."""
    with opened(family, "pytorch", checkpoints, folder).session(FAMILIES[family].bank(bank)) as session:
        session.add(1, box=BOX)
        results = [session.step(image) for image in images[:3]]
        session.add(1, points=[[30, 30]], labels=[1])
        results += [session.step(image) for image in images[3:5]]
        assert all(np.isfinite(r.mask_logits).all() for r in results) and session.memories(1)
