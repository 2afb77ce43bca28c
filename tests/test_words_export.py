"""The graphs of `words` compute what the modules do, but for weights of 8 bits."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from vidmem.training.words_export import export_words, fused  # noqa: E402
from vidmem.training.words_net import Finder, Name, WordsModel  # noqa: E402


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    torch.manual_seed(0)
    look, name = WordsModel().eval(), Name().eval()
    for module in look.modules():  # statistics that are not those of an untrained network hide errors of folding
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.2, 0.6)
    folder = tmp_path_factory.mktemp("words")
    export_words(look, name, folder)
    return look, name, folder


def session(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options)


@pytest.mark.parametrize("shape", [(1, 64, 96, 3), (2, 96, 64, 3)])
def test_graphs_take_any_number_and_size_and_agree_with_the_modules(made, shape):
    look, _, folder = made
    image = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    with torch.no_grad():
        plain = [array.numpy() for array in look(torch.from_numpy(image))]
    for one, other in zip(session(folder / "look.onnx").run(None, {"image": image}), plain):
        assert one.shape == other.shape
        assert (
            np.abs(one - other).mean() < 0.05 * np.abs(other).mean() + 1e-3
        )  # 8 bits: a step is 1/254 of a channel's largest weight


def test_names_agree_with_the_module(made):
    _, name, folder = made
    features = np.random.default_rng(1).random((3, 1280), np.float32)
    with torch.no_grad():
        plain = [array.numpy() for array in name(torch.from_numpy(features))]
    for one, other in zip(session(folder / "name.onnx").run(None, {"features": features}), plain):
        np.testing.assert_allclose(one, other, atol=0.02)


def test_folding_the_norms_changes_nothing(made):
    look, _, _ = made
    image = torch.randint(0, 255, (1, 64, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        for one, other in zip(look.maps(image), fused(look).maps(image)):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_a_finders_boxes_reach_no_further_than_they_may():
    middle, distances = Finder()(torch.randn(1, 112, 4, 6) * 50, torch.randn(1, 320, 2, 3) * 50)
    assert middle.shape == (1, 1, 4, 6) and distances.shape == (1, 4, 4, 6) and distances.abs().max() <= 4
