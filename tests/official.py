"""The official SAM 2 predictor with random weights, and the same weights in ours: what the tests hold each other to.

Random weights give nearly constant scores, so tests overwrite what the gates look at; see `script`.
"""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sam2", reason="the reference is not installed; `make test` installs requirements-reference.txt")

from vidmem.networks.sam2.config import CONFIGS  # noqa: E402
from vidmem.networks.sam2.eager import Sam2Network  # noqa: E402
from vidmem.networks.sam2.model import Sam2  # noqa: E402

FILES = {"tiny": "t", "small": "s", "base-plus": "b+", "large": "l"}


def build(name: str, size: int, *overrides: str, seed: int = 0):
    """-> the official predictor and our `Sam2`, with the same random weights."""
    from sam2.build_sam import build_sam2_video_predictor

    version, kind = name.split("-", 1)
    config = f"configs/{version}/{version}_hiera_{FILES[kind]}.yaml"
    official = build_sam2_video_predictor(
        config, device="cpu", hydra_overrides_extra=[f"++model.image_size={size}", *overrides]
    )
    randomize(official, seed)
    ours = Sam2(CONFIGS[name].at(size)).eval()
    ours.load_state_dict(official.state_dict(), strict=True)
    return official, ours


def randomize(model, seed: int) -> None:
    """Every weight, also those that begin as zeros or ones, so that nothing can hide; scaled to keep activations near one."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=random)
            if weight.ndim > 1:
                weight.copy_(noise / max(10.0, weight[0].numel()) ** 0.5)
            elif name.endswith("gamma"):
                weight.copy_(0.3 * noise)
            elif "norm" in name and name.endswith("weight"):
                weight.copy_(1 + 0.1 * noise)
            else:
                weight.copy_(0.05 * noise)


def network(name: str, ours) -> Sam2Network:
    return Sam2Network(name, ours)


def pictures(count: int, size: int, seed: int = 0) -> list[np.ndarray]:
    """Smooth noise that drifts; (size, size, 3) uint8."""
    import cv2

    coarse = np.random.default_rng(seed).integers(0, 255, (size // 8, size // 8, 3)).astype(np.uint8)
    large = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return [np.roll(large, 2 * t, 1) for t in range(count)]


def begin(official, images: list[np.ndarray], monkeypatch):
    """`init_state` over images in memory: the official loader wants files, and would compress them."""
    import sam2.sam2_video_predictor as module

    mean, std = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    frames = torch.stack([(torch.from_numpy(i.copy()).permute(2, 0, 1).float() / 255 - mean) / std for i in images])
    monkeypatch.setattr(module, "load_video_frames", lambda **how: (frames, *images[0].shape[:2]))
    return official.init_state("in memory")


def script(decoder, presence: dict[int, float]) -> dict:
    """Overwrite the decoder's object logit by `presence[t]`, where t is `state["t"]`; both decoders take it."""
    state, forward = {"t": 0}, decoder.forward

    def scripted(*args, **kwargs):
        *rest, logit = forward(*args, **kwargs)
        return (*rest, torch.full_like(logit, presence[state["t"]]))

    decoder.forward = scripted
    return state


def follow(official, state: dict, monkeypatch) -> None:
    """Keep `state["t"]` at the frame that the official predictor works on."""
    feature = official._get_image_feature

    def followed(inference_state, frame_idx, batch_size):
        state["t"] = frame_idx
        return feature(inference_state, frame_idx, batch_size)

    monkeypatch.setattr(official, "_get_image_feature", followed)
