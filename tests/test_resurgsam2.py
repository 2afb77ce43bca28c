"""ReSurgSAM2 against golden tensors that its original code made (`scripts/check_resurgsam2.py`), on random weights at 128 pixels."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import resurgsam2_cases as cases  # noqa: E402

import vidmem  # noqa: E402
from vidmem.cli.main import main  # noqa: E402
from vidmem.errors import ModelError, PromptError  # noqa: E402
from vidmem.memory import BANKS, Diverse  # noqa: E402
from vidmem.networks.base import Sought  # noqa: E402
from vidmem.networks.resurgsam2.checkpoints import load_resurgsam2  # noqa: E402
from vidmem.networks.resurgsam2.config import CONFIG, arranged  # noqa: E402
from vidmem.networks.resurgsam2.model import ReSurgSam2  # noqa: E402
from vidmem.networks.resurgsam2.network import ReSurgNetwork  # noqa: E402
from vidmem.networks.resurgsam2.scan import selective_scan  # noqa: E402
from vidmem.networks.resurgsam2.text import FOLDER, TextTower, find_tower  # noqa: E402
from vidmem.search import Greedy  # noqa: E402
from vidmem.session import Session  # noqa: E402

SIZE = 128
GOLDEN = np.load(Path(__file__).parent / "data/resurgsam2.npz")


@pytest.fixture(scope="module")
def model():
    made = ReSurgSam2(CONFIG.at(SIZE)).eval().requires_grad_(False)
    cases.randomize(made.state_dict())
    return made


@pytest.fixture
def network(model):
    return ReSurgNetwork("random", model, lambda text: cases.said(len(text)))


def apart(ours, golden) -> float:
    return float(np.abs(np.asarray(ours, np.float32) - golden).max())


# The scan ------------------------------------------------------------------------------------------------------------
def loop(u, dt, a, b, c) -> torch.Tensor:
    """The definition, in float64."""
    u, dt, a, b, c = (x.double() for x in (u, dt, a, b, c))
    state, out = torch.zeros_like(a), []
    for i in range(len(u)):
        state = (dt[i][..., None] * a).exp() * state + (dt[i] * u[i])[..., None] * b[i][:, None]
        out.append((state * c[i][:, None]).sum(-1))
    return torch.stack(out)


@pytest.mark.parametrize("length", [1, 5, 63, 64, 65, 3072])
@pytest.mark.parametrize("chunk", [None, 64, 7])
def test_the_scan_is_the_recurrence(length, chunk):
    random = torch.Generator().manual_seed(length)
    rand = lambda *shape: torch.randn(*shape, generator=random)
    rows, channels, states = 3, 8, 16
    u, dt = rand(length, rows, channels), torch.nn.functional.softplus(rand(length, rows, channels) - 2)
    a, b, c = -rand(rows, channels, states).exp(), rand(length, rows, states), rand(length, rows, states)
    kept = [x.clone() for x in (u, dt, a, b, c)]
    assert (selective_scan(u, dt, a, b, c, chunk) - loop(u, dt, a, b, c)).abs().max() < 1e-5
    assert all(torch.equal(one, other) for one, other in zip(kept, (u, dt, a, b, c)))  # nothing is written over


# Against the original ------------------------------------------------------------------------------------------------
def test_copies_of_the_current_frame_come_before_real_ones():
    assert [arranged(seen) for seen in range(4)] == [
        ([0, 0, 0], [0, 1, 2]), ([0, 0, 1], [0, 1, 1]), ([0, 1, 2], [0, 1, 2]), ([0, 1, 2], [0, 1, 2]),
    ]  # fmt: skip


@pytest.mark.parametrize("seen", [0, 1, 2])
def test_fusion_is_the_originals(model, seen):
    maps = cases.features(3, SIZE // 16)
    sentence, _ = model.words(*cases.said())
    places, codes = arranged(seen)
    image, token = model.cross_modal_fusion(
        maps[places].flatten(2).transpose(1, 2), torch.tensor(codes), model.memory_attention.query_code, sentence
    )
    assert apart(image[0, :, ::8], GOLDEN[f"fusion_map_{seen}"]) < 1e-4
    assert apart(token[0, 0], GOLDEN[f"fusion_token_{seen}"]) < 1e-4


def test_detection_is_the_originals(network):
    words, past = network.understand("red"), ()
    for t, image in enumerate(cases.pictures(3, SIZE)):
        features = network.encode(image)
        said = network.decode(features, network.refer(features, [Sought(words, past)], [None]), [None])
        best = said.iou[0].argmax()
        iou, logit = GOLDEN[f"detection_scores_{t}"]
        assert apart(said.mask_logits[0, best, ::2, ::2], GOLDEN[f"detection_mask_{t}"]) < 1e-3
        assert apart(said.pointer[0, best], GOLDEN[f"detection_pointer_{t}"]) < 1e-3
        assert abs(said.iou[0, best] - iou) < 1e-3 and abs(said.object_logit[0] - logit) < 1e-3
        past = (features, *past)[:2]


def scores(count: int, seed: int) -> list[tuple[float, float]]:
    """As the golden tensors': found at once, mostly confident, gone for three frames."""
    random = np.random.default_rng(seed)
    said = [(4.0, float(q)) for q in random.choice([0.93, 0.96, 0.97, 0.99], count)]
    return [(-3.0, 0.97) if 17 <= t < 20 else one for t, one in enumerate(said)]


def test_two_objects_are_found_and_followed_as_the_original_does_each_with_its_own_long_memory(network):
    decoder = network.model.sam_mask_decoder
    names = torch.cat([network.understand(text).name[0] for text in ("red", "a blue one")])
    forward, script = decoder.forward, cases.script(decoder, names, [scores(34, 5), scores(34, 6)])
    try:
        bank = vidmem.catalogue.tracker.MODELS["resurgsam2-17"].make_bank()
        assert bank == Diverse(absent=True, likeness="width", presence=False)
        with Session(network, bank, Greedy(), cuts=None) as session:
            session.add(1, text="red")
            session.add(2, text="a blue one")
            for t, image in enumerate(cases.pictures(34, SIZE)):
                script["t"] = t
                masks = session.step(image).mask_logits
                if f"tracking_masks_{t}" in GOLDEN:
                    assert apart(masks[:, ::2, ::2], GOLDEN[f"tracking_masks_{t}"]) < 1e-3
            tracks = session._state.tracks
            for i, obj_id in enumerate((1, 2)):
                start = tracks[obj_id].best.bank
                assert start.began == GOLDEN["began"][i]
                assert [e.frame_idx for e in start.bank.held.kept] == GOLDEN["kept"][i].tolist()
    finally:
        decoder.forward = forward
    assert not np.array_equal(*GOLDEN["kept"])  # the script tells the objects apart


def test_width_and_tokens_choose_differently_and_the_published_switches_are_no_defaults():
    assert BANKS["diverse"]().likeness == "tokens" and BANKS["diverse"]().presence
    with pytest.raises(ValueError, match="likeness"):
        Diverse(likeness="height")


def test_the_scan_is_a_scan_in_onnx_and_two_engines_read_words_as_torch_does(model, tmp_path):
    onnx, openvino = pytest.importorskip("onnx"), pytest.importorskip("openvino")
    ort = pytest.importorskip("onnxruntime")
    from vidmem.networks.resurgsam2.export import export_refer

    path = tmp_path / "refer.onnx"
    export_refer(model, path)
    kinds = [node.op_type for node in onnx.load(str(path)).graph.node]
    assert kinds.count("Scan") == 4 and "SelectiveScan" not in kinds
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    core = openvino.Core()
    compiled = core.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})
    maps, (sentence, _) = cases.features(3, SIZE // 16), model.words(*cases.said())
    for tokens, seen in ((7, 1), (4, 2)):  # the length is open
        places, codes = arranged(seen)
        frames, words = maps[places], sentence[:, :tokens].contiguous()
        wanted = model.refer(frames, torch.tensor(codes), words)
        given = {"frames": frames.numpy(), "codes": np.array(codes), "sentence": words.numpy()}
        for made in (session.run(None, given), list(compiled(list(given.values())).values())):
            assert all(apart(one, other.numpy()) < 1e-4 for one, other in zip(made, wanted))


# Weights and words ---------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def weights(model, tmp_path_factory):
    """As the published file: `{"model": ...}` without a text tower, and CLIP's tower beside it. In float16, to be small."""
    folder = tmp_path_factory.mktemp("resurgsam2")
    torch.save({"model": {k: v.half() for k, v in model.state_dict().items()}}, folder / "ref17.pth")
    tower(folder / FOLDER)
    return folder / "ref17.pth"


def tower(folder: Path, width: int = 512) -> None:
    """A random CLIP of one layer whose tokenizer knows single characters."""
    transformers = pytest.importorskip("transformers")
    chars = [chr(code) for code in range(33, 127)]
    names = [*chars, *(c + "</w>" for c in chars), "<|startoftext|>", "<|endoftext|>"]
    tokens = transformers.CLIPTokenizer(vocab={name: i for i, name in enumerate(names)}, merges=[], model_max_length=77)
    text = {
        "vocab_size": len(names), "hidden_size": width, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 8,
        "bos_token_id": len(names) - 2, "eos_token_id": len(names) - 1, "pad_token_id": 0,
    }  # fmt: skip
    vision = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
    }
    torch.manual_seed(0)
    transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    tokens.save_pretrained(folder)


def test_the_published_files_names_are_ours_and_the_tower_is_not_in_them(weights, model):
    loaded = load_resurgsam2("resurgsam2-17", weights, SIZE).state_dict()
    assert loaded.keys() == model.state_dict().keys()
    assert all(torch.equal(loaded[k], v.half().float()) for k, v in model.state_dict().items())
    names = loaded.keys()
    fusion = "cross_modal_fusion.transformer.layers.1.mamba_layers.0"
    assert {"cross_modal_fusion.cls_token.weight", "cross_modal_fusion.temporal_pos_embed", "token_projection.layers.2.bias",
            "sam_prompt_encoder.language_fusion_mlp.layers.0.weight", f"{fusion}.mamba.A_b_log", f"{fusion}.mamba.conv1d_s.weight",
            f"{fusion}.mlp.dwconv.dwconv.weight", f"{fusion}.mlp.grn.gamma"} <= names  # fmt: skip
    assert sum(v.numel() for k, v in loaded.items() if k.startswith("cross_modal_fusion.")) == 7_567_488
    assert sum(v.numel() for k, v in loaded.items() if k.startswith("token_projection.")) == 5_771_520


def test_names_that_are_missing_or_too_many_are_told(weights, model, tmp_path):
    state = {k: v.half() for k, v in model.state_dict().items() if "conv1d_s" not in k}
    torch.save(
        {"model": state | {"language_model.embeddings.token_embedding.weight": torch.zeros(1)}}, tmp_path / "a.pth"
    )
    says = r"missing cross_modal_fusion.*conv1d_s.* more, unexpected language_model.embeddings.token_embedding.weight"
    with pytest.raises(ModelError, match=says):
        load_resurgsam2("resurgsam2-17", tmp_path / "a.pth", SIZE)


def test_weights_that_are_not_there_say_where_they_are_published(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VIDMEM_CACHE", str(tmp_path))
    with pytest.raises(
        ModelError, match=r"sam2.1_hiera_s_ref18.pth from where https://github.com/jinlab-imvr/ReSurgSAM2 says"
    ):
        vidmem.load("resurgsam2-18")
    assert main(["models", "get", "resurgsam2-18"]) == 2 and "cannot be fetched from here" in capsys.readouterr().err
    with pytest.raises(ModelError, match="multiple of 32"):
        load_resurgsam2("resurgsam2-17", None, 500)


def test_the_tower_says_a_token_for_each_word_and_needs_no_network(weights, monkeypatch):
    import socket

    def refuse(*given, **named):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    said = TextTower(find_tower(weights))
    hidden, pooled = said("abc")
    assert hidden.shape == (1, 5, 512) and pooled.shape == (1, 512)
    assert torch.allclose(hidden[0, -1], pooled[0])  # of the end token
    assert torch.equal(said("ABC")[0], hidden)
    with pytest.raises(PromptError, match="text has 100 tokens; CLIP takes at most 75"):
        said("a" * 100)


def test_a_tower_of_another_kind_or_with_holes_is_refused(weights, tmp_path):
    from safetensors.torch import load_file, save_file

    tower(tmp_path / "narrow", width=64)
    with pytest.raises(ModelError, match="has 64 channels; expected 512"):
        TextTower(tmp_path / "narrow")("dog")
    tower(tmp_path / "holes")
    file = tmp_path / "holes/model.safetensors"
    tensors = load_file(file)
    save_file({k: v for k, v in tensors.items() if "self_attn.q_proj" not in k}, file, {"format": "pt"})
    with pytest.raises(ModelError, match="q_proj.* are missing"):
        TextTower(tmp_path / "holes")("dog")
    with pytest.raises(ModelError, match="cannot be loaded as CLIP's text tower"):
        TextTower(tmp_path / "nowhere")("dog")


def test_the_command_line_looks_for_a_text_with_the_model_itself(weights, tmp_path, capsys):
    clip = Path(__file__).resolve().parents[1] / "assets/demo.mp4"
    command = ["track", str(clip), "--model", "resurgsam2-17", "--weights", str(weights), "--image-size", str(SIZE), "--end", "6",
               "--threads", "1", "--save", "csv"]  # fmt: skip
    assert main([*command, "--text", "forceps", "--out", str(tmp_path / "a")]) == 0
    said = capsys.readouterr().out
    assert "6 frames" in said and "'forceps'" in said  # found, or said not to be
    assert main([*command, "--text", "", "--out", str(tmp_path / "b")]) == 2
    assert "text is empty" in capsys.readouterr().err
