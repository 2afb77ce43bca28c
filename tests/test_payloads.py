"""What banks do with memories that they cannot look into: compare, thin, merge, weight and watch them, on both networks."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vidmem.catalogue.tracker import MODELS  # noqa: E402
from vidmem.installed import models_folder  # noqa: E402
from vidmem.memory import BANKS  # noqa: E402
from vidmem.networks.base import Ask  # noqa: E402
from vidmem.networks.nano.network import TEMPERATURE, NanoNetwork  # noqa: E402
from vidmem.networks.sam2.common import rotate  # noqa: E402
from vidmem.networks.sam2.config import CONFIGS  # noqa: E402
from vidmem.networks.sam2.eager import Sam2Network  # noqa: E402
from vidmem.networks.sam2.model import Sam2  # noqa: E402
from vidmem.search import SEARCHES, Tree  # noqa: E402
from vidmem.session import Session  # noqa: E402
from vidmem.types import Chosen, Entry, Pointer, Prompt, ReadPlan, Recall, Verdict  # noqa: E402

SIZE = 128


def on_torch() -> NanoNetwork:
    from vidmem.engines.pytorch import PytorchEngine
    from vidmem.networks.nano.export import functions
    from vidmem.networks.nano.weights import load_nano

    model = load_nano(models_folder() / "nano" / "nano.safetensors")
    return NanoNetwork(PytorchEngine("cpu", 1).open(model, functions), area=SIZE * SIZE)


@pytest.fixture(scope="module", params=["onnx", "pytorch", "sam2"])
def network(request):
    if request.param == "onnx":
        pytest.importorskip("onnxruntime")
        from vidmem.engines.onnx import OnnxEngine

        return NanoNetwork(OnnxEngine(models_folder() / "nano", 1), area=SIZE * SIZE)
    if request.param == "pytorch":
        return on_torch()
    return sam2()


def sam2() -> Sam2Network:
    torch.manual_seed(0)
    model = Sam2(CONFIGS["sam2.1-tiny"].at(SIZE))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    return Sam2Network("sam2.1-tiny", model)


def picture(seed: int) -> np.ndarray:
    import cv2

    return cv2.resize(np.random.default_rng(seed).integers(0, 255, (8, 8, 3)).astype(np.uint8), (SIZE, SIZE))


def memories(network, count: int):
    """-> the next frame's features, and entries of `count` frames."""
    entries = []
    mask = np.zeros((SIZE, SIZE), bool)
    mask[40:90, 30:80] = True
    for t in range(count):
        features = network.encode(picture(t))
        ask = Ask(Prompt(mask=np.roll(mask, 4 * t, 1)), (SIZE, SIZE))
        candidates = network.decode(features, network.attend(features, [ReadPlan()]), [ask])
        (memory,) = network.memorize(features, candidates, [Chosen(0, 0, True)])
        entries.append(
            Entry(
                Verdict(t, 0.9, 5.0, 0.1, t == 0),
                memory.payload,
                memory.nbytes,
                memory.pointer,
                network.describe(features),
            )
        )
    return network.encode(picture(99)), entries


def plan(entries, watch=False, scales=None) -> ReadPlan:
    codes = [-1, *range(len(entries) - 2, -1, -1)]
    recalls = tuple(Recall(e, c, s) for e, c, s in zip(entries, codes, scales or [1.0] * len(entries)))
    pointers = tuple(Pointer(e, 99 - e.frame_idx) for e in entries) if entries[0].pointer is not None else ()
    return ReadPlan(recalls, pointers, watch=watch)


def reading(network, features, plan) -> np.ndarray:
    """What attention makes of the plan; masks of random weights would say too little."""
    conditioned = network.attend(features, [plan])
    if isinstance(network, NanoNetwork):
        return network.engine.host(conditioned.maps[0])
    return conditioned[0].conditioned.float().numpy()


def everything(entry) -> np.ndarray:
    return np.arange(entry.payload.tokens)


def test_descriptors_are_unit_vectors_that_tell_frames_apart(network):
    _, entries = memories(network, 3)
    a, b, _ = (e.descriptor for e in entries)
    assert np.linalg.norm(a) == pytest.approx(1, abs=1e-5) and a.dtype == np.float32 and a.ndim == 1
    assert a @ b < 0.9999 and (network.describe(network.encode(picture(0))) == a).all()


def test_a_memory_is_like_itself_and_less_like_others(network):
    _, (a, b, _) = memories(network, 3)
    assert a.payload.similarity(a.payload) == pytest.approx(1, abs=1e-4)
    assert (
        a.payload.similarity(b.payload) == pytest.approx(b.payload.similarity(a.payload), abs=1e-5)
        and a.payload.similarity(b.payload) < 0.9999
    )


def test_taking_every_token_changes_nothing_and_taking_some_frees_memory(network):
    features, entries = memories(network, 3)
    before = reading(network, features, plan(entries))
    whole = [entries[0], entries[1].take(everything(entries[1])), entries[2]]
    assert np.abs(reading(network, features, plan(whole)) - before).max() < 1e-3
    few = entries[1].take(np.arange(0, entries[1].payload.tokens, 10))
    assert few.nbytes < entries[1].nbytes / 5 and few.nbytes == few.payload.nbytes
    changed = reading(network, features, plan([entries[0], few, entries[2]]))
    assert np.isfinite(changed).all() and np.abs(changed - before).max() > 1e-4


def test_tokens_can_be_taken_twice(network):
    features, entries = memories(network, 3)
    twice = entries[1].take(np.arange(0, entries[1].payload.tokens, 2)).take(np.arange(0, 8, 2))
    once = entries[1].take(np.arange(0, 16, 4))
    assert twice.payload.tokens == once.payload.tokens == 4
    both = [reading(network, features, plan([entries[0], e, entries[2]])) for e in (twice, once)]
    assert np.abs(both[0] - both[1]).max() < 1e-4


def test_mixing_lies_between(network):
    _, (a, b, _) = memories(network, 3)
    even = a.mixed(b, 0.5)
    assert even.payload.similarity(a.payload) > a.payload.similarity(b.payload) - 1e-3 and even.verdict is a.verdict
    assert a.mixed(b, 0.0).payload.similarity(a.payload) == pytest.approx(1, abs=1e-3)


def test_usage_is_a_share_of_attention(network):
    features, entries = memories(network, 3)
    watched, silent = plan(entries, watch=True), plan(entries)
    conditioned = network.attend(features, [watched, silent])
    used, nothing = network.usage(features, conditioned, [watched, silent])
    assert nothing == [] and len(used) == 3
    for u, e in zip(used, entries):
        assert u.tokens.shape[1] == e.payload.tokens and u.tokens.sum(1) == pytest.approx(
            np.ones(len(u.tokens)), abs=1e-3
        )
    total = sum(u.share for u in used)
    assert 0.3 < total <= 1.001  # of SAM 2's the rest goes to pointers
    assert (
        np.abs(reading(network, features, watched) - reading(network, features, silent)).max() < 1e-4
    )  # watching changes nothing


def test_the_memory_that_a_frame_made_of_itself_gets_most_attention():
    network = on_torch()
    _, entries = memories(network, 4)
    features = network.encode(picture(2))
    watched = plan(entries, watch=True)
    used = network.usage(features, network.attend(features, [watched]), [watched])[0]
    assert int(np.argmax([u.share for u in used])) == 2


def test_the_temperature_that_usage_takes_is_the_weights():
    load_file = pytest.importorskip("safetensors.numpy").load_file
    trained = load_file(models_folder() / "nano" / "nano.safetensors")["memory_attention.log_temperature"]
    assert pytest.approx(float(np.exp(trained.astype(np.float32)[0])), rel=0.02) == TEMPERATURE


def test_key_scales_are_those_of_sam2long_before_the_projection():
    network = sam2()
    attention = network.model.memory_attention
    _, entries = memories(network, 2)
    spatial, scale, code = entries[1].payload, 1.05, 2
    pointers, distances = torch.stack([e.pointer for e in entries])[None], torch.tensor([[0.3, 0.1]])
    with torch.inference_mode():
        keys, _ = network.model.gather([[spatial.keys]], [[spatial.memory.float()]], [[code]], pointers, distances,
                                       [[None]], [[scale]], torch.tensor([[0.95, 1.05]]))  # fmt: skip
        tokens, times = network.model._pointer_tokens(pointers, distances)
        for layer, ours in zip(attention.layers, keys[:, 0]):
            coded = spatial.memory[0].float() + attention.memory_code[0] + network.model.maskmem_tpos_enc[code, 0, 0]
            plain = layer.cross_attn_image.k_proj(scale * coded)
            assert torch.allclose(ours[: len(coded)], rotate(plain, attention.cos, attention.sin), atol=1e-4)
            weights = torch.tensor([0.95] * 4 + [1.05] * 4)[:, None]
            assert torch.allclose(
                ours[len(coded) :], layer.cross_attn_image.k_proj(weights * (tokens + times)[0]), atol=1e-4
            )


def test_keys_that_were_dropped_are_projected_again_also_for_taken_tokens():
    network = sam2()
    features, entries = memories(network, 3)
    taken = entries[1].take(np.arange(3, 60, 7))
    before = reading(network, features, plan([entries[0], taken, entries[2]]))
    for e in (entries[0], taken):
        e.payload.keys = None
    assert np.abs(reading(network, features, plan([entries[0], taken, entries[2]])) - before).max() < 1e-4


@pytest.mark.parametrize("name", BANKS)
def test_every_bank_runs_on_both_networks(network, name):
    policy = MODELS["nano" if isinstance(network, NanoNetwork) else "sam2.1-tiny"].make_bank(name)
    session = Session(network, policy, SEARCHES["greedy"]())
    mask = np.zeros((SIZE, SIZE), bool)
    mask[40:90, 30:80] = True
    session.add(1, mask=mask)
    for t in range(14):
        result = session.step(np.roll(picture(0), 2 * t, 1))
        assert np.isfinite(result.mask_logits).all() and session.nbytes > 0
    (bank,) = session._state.tracks[1].banks
    assert len(bank.entries()) <= bank.capacity and bank.read(14).recalls
    # A view would keep the whole batch.
    assert session.nbytes == sum({id(e): e.held for e in bank.entries()}.values())


@pytest.mark.parametrize("search", [Tree(3, lag=2), SEARCHES["motion"]()])
def test_every_search_runs_on_both_networks(network, search):
    policy = MODELS["nano" if isinstance(network, NanoNetwork) else "sam2.1-tiny"].make_bank("confident")
    session, final = Session(network, policy, search), []
    mask = np.zeros((SIZE, SIZE), bool)
    mask[40:90, 30:80] = True
    session.add(1, mask=mask)
    for t in range(8):
        session.step(np.roll(picture(0), 2 * t, 1))
        final += session.settled()
    assert [r.frame_idx for r in final + session.settled(end=True)] == list(range(8))
