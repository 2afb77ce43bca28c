"""An exported SAM 2 with random weights, made once for all tests that use it."""

import os
from functools import cache

import numpy as np
import pytest

os.environ.setdefault("VIDMEM_GATE", "0")  # no test leaves a process behind
MODEL, SIZE = "sam2.1-tiny", 128


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Random weights whose every part counts, as an official checkpoint."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from vidmem.networks.sam2.config import CONFIGS
    from vidmem.networks.sam2.model import Sam2

    torch.manual_seed(0)
    return checkpoint(Sam2(CONFIGS[MODEL].at(SIZE)), tmp_path_factory.mktemp("weights") / "random.pt")


@pytest.fixture(scope="session")
def checkpoints(request, tmp_path_factory):
    """Family -> a checkpoint of random weights, made when it is first asked for."""

    @cache
    def make(family: str):
        if family == "sam2":
            return request.getfixturevalue("weights")
        from vidmem.networks.resurgsam2.config import CONFIG
        from vidmem.networks.resurgsam2.model import ReSurgSam2

        assert family == "resurgsam2", f"the tests need random weights of {family}"
        torch = pytest.importorskip("torch")
        torch.manual_seed(0)
        return checkpoint(ReSurgSam2(CONFIG.at(SIZE)), tmp_path_factory.mktemp("weights") / "resurgsam2.pt")

    return make


def checkpoint(model, path):
    """Written, after what begins as zeros was made to count."""
    import torch

    for _name, parameter in model.named_parameters():
        if not parameter.any():  # learned vectors that begin as zeros
            torch.nn.init.normal_(parameter, std=0.05)
    model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.data.fill_(3.0)
    torch.save({"model": model.state_dict()}, path)
    return path


@pytest.fixture(scope="session")
def folder(weights, tmp_path_factory):
    from vidmem.catalogue.export import export_model

    out = tmp_path_factory.mktemp("export") / "open"
    export_model(MODEL, out, weights=weights, size=SIZE)
    return out


@pytest.fixture(scope="session")
def fixed(weights, tmp_path_factory):
    from vidmem.catalogue.export import export_model

    out = tmp_path_factory.mktemp("export") / "fixed"
    export_model(MODEL, out, weights=weights, size=SIZE, objects=2, slots=4, pointers=5)
    return out


@pytest.fixture(scope="session")
def images():
    random = np.random.default_rng(1)
    field = np.kron(random.integers(0, 256, (12, 16, 3), np.uint8), np.ones((12, 12, 1), np.uint8))
    return [np.ascontiguousarray(np.roll(field, 4 * t, 1)[:144, :190]) for t in range(9)]
