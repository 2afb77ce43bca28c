"""transformers' open-vocabulary detectors behind the seam, with tiny random weights: shapes, coordinates, names. Nothing about accuracy."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from vidmem.detect import Concept, Prepared, View, open_detector
from vidmem.detect.zeroshot import KINDS, ZeroShotDetector, apart, named
from vidmem.errors import ModelError
from vidmem.types import Frame

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 16,
}
VISION = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2, "image_size": 64, "patch_size": 16}
SHAPES = [(40, 80), (80, 40), (64, 64)]
ASKED = [(Concept(4, "black dog"), Prepared("black dog")), (Concept(9, "cat"), Prepared("cat"))]


def letters():
    """CLIP's tokenizer with a vocabulary of single characters."""
    chars = [chr(code) for code in range(33, 127)]
    names = [*chars, *(c + "</w>" for c in chars), "<|startoftext|>", "<|endoftext|>"]
    return transformers.CLIPTokenizer(vocab={name: i for i, name in enumerate(names)}, merges=[], model_max_length=16)


def text_config(tokens) -> dict:
    return TEXT | {
        "vocab_size": len(tokens),
        "bos_token_id": len(tokens) - 2,
        "eos_token_id": len(tokens) - 1,
        "pad_token_id": 0,
    }


def make_owlv2(folder):
    tokens = letters()
    images = transformers.models.owlv2.Owlv2ImageProcessorPil(size={"height": 64, "width": 64})
    config = transformers.Owlv2Config(
        text_config=text_config(tokens), vision_config=VISION | {"num_hidden_layers": 1}, projection_dim=32
    )
    transformers.Owlv2ForObjectDetection(config).save_pretrained(folder)
    transformers.Owlv2Processor(image_processor=images, tokenizer=tokens).save_pretrained(folder)


def make_clipseg(folder):
    tokens = letters()
    images = transformers.models.vit.ViTImageProcessorPil(size={"height": 64, "width": 64})
    config = transformers.CLIPSegConfig(
        text_config=text_config(tokens), vision_config=VISION | {"num_hidden_layers": 3}, projection_dim=32, reduce_dim=16,
        extract_layers=[0, 1, 2], decoder_num_attention_heads=2, decoder_intermediate_size=32,
    )  # fmt: skip
    transformers.CLIPSegForImageSegmentation(config).save_pretrained(folder)
    transformers.CLIPSegProcessor(image_processor=images, tokenizer=tokens).save_pretrained(folder)


def make_grounding_dino(folder):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "cat", "dog", "black", "white", "ball"]
    tokens = transformers.BertTokenizer(vocab={word: i for i, word in enumerate(words)}, model_max_length=32)
    images = transformers.models.grounding_dino.GroundingDinoImageProcessorPil(
        size={"shortest_edge": 128, "longest_edge": 256}
    )
    swin = transformers.SwinConfig(
        image_size=64,
        patch_size=4,
        embed_dim=16,
        depths=[1] * 4,
        num_heads=[1] * 4,
        window_size=4,
        out_indices=[2, 3, 4],
    )
    config = transformers.GroundingDinoConfig(
        backbone_config=swin, text_config=transformers.BertConfig(**TEXT | {"max_position_embeddings": 32}, vocab_size=len(words)),
        d_model=32, encoder_layers=1, decoder_layers=2, encoder_ffn_dim=32, decoder_ffn_dim=32, num_queries=6, max_text_len=32,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_n_points=2, decoder_n_points=2,
    )  # fmt: skip
    transformers.GroundingDinoForObjectDetection(config).save_pretrained(folder)
    transformers.GroundingDinoProcessor(image_processor=images, tokenizer=tokens).save_pretrained(folder)


MAKE = {"owlv2": make_owlv2, "clipseg": make_clipseg, "grounding-dino": make_grounding_dino}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    torch.manual_seed(0)
    made = {kind: tmp_path_factory.mktemp(kind) for kind in MAKE}
    for kind, folder in made.items():
        MAKE[kind](folder)
    return made


def frame(shape) -> Frame:
    return Frame(0, None, np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", MAKE)
def test_finds_are_of_the_concepts_and_inside_the_frame(folders, kind, shape):
    detector = ZeroShotDetector(kind, folders[kind], 1, threshold=0.0)
    finds = detector.detect(frame(shape), ASKED, View())
    assert {find.concept for find in finds} <= {4, 9}
    assert finds or kind == "owlv2"  # whose random boxes may all lie in the padding
    for find in finds:
        assert 0 <= find.score <= 1 and (find.box >= 0).all() and (find.box <= [*shape[::-1]] * 2).all()
        assert find.mask is None or (find.mask.shape == shape and find.mask.any())


@pytest.mark.parametrize("shape", SHAPES)
def test_owlv2s_boxes_are_of_the_padded_square(folders, shape):
    """The network sees the frame at the top left of a square of its longer side; a box at a quarter of that square is known in pixels."""
    detector = ZeroShotDetector("owlv2", folders["owlv2"], 1, threshold=0.0)
    last = list(detector.model.box_head.children())[-1]
    with torch.no_grad():
        detector.model.box_bias.zero_()
        last.weight.zero_()
        last.bias.copy_(torch.logit(torch.tensor([0.25, 0.25, 0.2, 0.1])))
    side = max(shape)
    for find in detector.detect(frame(shape), ASKED, View()):
        np.testing.assert_allclose(find.box, np.array([0.15, 0.2, 0.35, 0.3]) * side, atol=0.01)


@pytest.mark.parametrize("shape", SHAPES)
def test_grounding_dinos_words_become_concepts_and_its_boxes_pixels(folders, shape):
    detector = ZeroShotDetector("grounding-dino", folders["grounding-dino"], 1)
    said = detector.processor(images=frame(shape).image, text="black dog. cat.", return_tensors="pt")["input_ids"][
        0
    ].tolist()
    cat = detector.processor.tokenizer.convert_tokens_to_ids("cat")
    logits = torch.full((1, 2, 32), -9.0)
    logits[0, 1, said.index(cat)] = 2.0  # the second query says "cat", the first nothing
    boxes = torch.tensor([[[0.5, 0.5, 1.0, 1.0], [0.5, 0.25, 0.5, 0.5]]])
    detector.model = lambda **inputs: SimpleNamespace(logits=logits, pred_boxes=boxes, input_ids=inputs["input_ids"])
    (found,) = detector.detect(frame(shape), ASKED, View())
    height, width = shape
    assert found.concept == 9 and found.score == pytest.approx(0.8808, abs=1e-3)
    np.testing.assert_allclose(found.box, [0.25 * width, 0, 0.75 * width, 0.5 * height], atol=0.01)


def test_clipseg_gives_a_mask_for_each_piece(folders):
    detector = ZeroShotDetector("clipseg", folders["clipseg"], 1)
    maps = torch.full((2, 8, 8), -5.0)
    maps[1, 1:3, 1:3], maps[1, 5:7, 4:7] = 5.0, 4.0
    detector.model = lambda **inputs: SimpleNamespace(logits=maps)
    finds = sorted(detector.detect(frame((80, 160)), ASKED, View()), key=lambda find: find.box[0])
    assert [find.concept for find in finds] == [9, 9] and finds[0].mask.sum() < finds[1].mask.sum()
    assert not (finds[0].mask & finds[1].mask).any()
    assert 10 < finds[0].box[0] < 30 and 5 < finds[0].box[1] < 15


def test_scores_below_the_threshold_are_no_finds(folders):
    assert ZeroShotDetector("owlv2", folders["owlv2"], 1, threshold=0.999).detect(frame((40, 80)), ASKED, View()) == []


def test_texts_may_ask_for_every_one(folders):
    detector = ZeroShotDetector("owlv2", folders["owlv2"], 1)
    assert detector.prepare("All Dogs.") == Prepared("dogs", None) and detector.prepare("forceps").limit == 1


def test_phrases_that_share_a_word_are_asked_apart():
    texts = ["black dog", "cat", "white dog", "black cat"]
    assert apart(texts) == [[0, 1], [2, 3]]
    assert named("cat", texts, [0, 1]) == 1 and named("dog", texts, [0, 1]) == 0 and named("", texts, [0, 1]) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_is_missing_is_refused_without_touching_a_network(kind, tmp_path):
    with pytest.raises(ModelError, match="holds no config.json; expected a folder that save_pretrained"):
        open_detector(kind, tmp_path / "none")


def test_a_folder_of_another_kind_or_without_weights_is_refused(folders, tmp_path):
    with pytest.raises(ModelError, match="is of owlv2; expected clipseg"):
        ZeroShotDetector("clipseg", folders["owlv2"])
    (tmp_path / "config.json").write_text((folders["owlv2"] / "config.json").read_text())
    with pytest.raises(ModelError, match="cannot be loaded as owlv2") as refused:
        ZeroShotDetector("owlv2", tmp_path)
    assert "\n" not in str(refused.value)


def test_a_folder_needs_no_network(folders):
    """In a process whose sockets refuse to open."""
    code = f"""
import socket
def refuse(*given, **named): raise AssertionError("a socket was opened")
socket.socket.connect = refuse
from vidmem.detect import open_detector
print(open_detector("owlv2", {str(folders["owlv2"])!r}, 1).name)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert run.stdout.strip() == "owlv2", run.stderr[-500:]
