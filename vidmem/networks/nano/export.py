"""The four functions of `nano` as ONNX graphs."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from vidmem.networks.family import OPSET
from vidmem.networks.nano.decoder import PROMPT_CHANNELS
from vidmem.networks.nano.memory import as_tokens, coarse_keys
from vidmem.networks.nano.model import Nano

BLOCKS = 7
"""Parts in which the queries of a frame are read: a third less time on ONNX Runtime, a fifth on OpenVINO (two cores, 1,792 tokens)."""


class Encode(nn.Module):
    """Takes frames as they come and gives the keys also as tokens, so that no runtime has to rearrange anything."""

    def __init__(self, model: Nano):
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(1, H, W, 3) uint8 RGB -> feature, skip, key as `Encoder.forward`, tokens (1, h*w, C), coarse tokens
        (1, h*w/4, C + I)."""
        feature, skip, key, identity = self.model.encode(image.to(torch.float32).permute(0, 3, 1, 2) / 255)
        return feature, skip, key, as_tokens(key), coarse_keys(key, identity)


class Function(nn.Module):
    """One method of the model as a module, because the exporter wants modules."""

    def __init__(self, model: Nano, name: str):
        super().__init__()
        self.model, self.name = model, name

    def forward(self, *arrays: Tensor):
        return getattr(self.model, self.name)(*arrays)


def functions(model: Nano) -> dict:
    """The four graphs as callables, for an engine that runs torch modules."""
    return {"encode": Encode(model), "attend": model.attend, "decode": model.decode, "memorize": model.memorize}


def export(model: Nano, folder: Path) -> None:
    """Write encode, attend, decode and memorize.onnx; height, width, rows and tokens stay dynamic."""
    folder.mkdir(parents=True, exist_ok=True)
    model = model.eval()
    model.memory_attention.blocks = BLOCKS
    c = model.config
    h, w, rows = 10, 14, 2
    key, tokens, values = torch.rand(1, c.key_dim, h, w), torch.rand(rows, h * w, c.key_dim), c.value_dim + 1
    known = c.key_dim + c.identity_dim
    feature, skip = torch.rand(1, c.feature_dim, h, w), torch.rand(1, c.skip_dim, 2 * h, 2 * w)
    graphs = {
        "encode": (
            Encode(model), (torch.zeros(1, 8 * h + 16, 8 * w + 16, 3, dtype=torch.uint8),),
            {"image": {1: "height", 2: "width"}}, ["feature", "skip", "key", "tokens", "coarse_tokens"],
        ),
        "attend": (
            Function(model, "attend"),
            (key, torch.rand(1, h * w // 4, known), torch.rand(rows, 3 * h * w, known), torch.rand(rows, 3 * h * w, values), tokens, torch.rand(rows, h * w, values)),
            {"key": {2: "h", 3: "w"}, "coarse": {1: "quarter"}, "long_key": {0: "long_keys", 1: "long"}, "long_value": {0: "rows", 1: "long"},
             "new_key": {0: "new_keys", 1: "new"}, "new_value": {0: "rows", 1: "new"}}, ["conditioned"],
        ),
        "decode": (
            Function(model, "decode"),
            (feature, skip, torch.rand(rows, c.conditioned_dim, h, w), torch.rand(rows, PROMPT_CHANNELS, 2 * h, 2 * w)),
            {"feature": {2: "h", 3: "w"}, "skip": {2: "h2", 3: "w2"}, "conditioned": {0: "rows", 2: "h", 3: "w"},
             "prompt": {0: "rows", 2: "h2", 3: "w2"}}, ["mask_logits", "iou", "object_logit"],
        ),
        "memorize": (
            Function(model, "memorize"), (feature, torch.rand(rows, 1, 2 * h, 2 * w)),
            {"feature": {2: "h", 3: "w"}, "mask": {0: "rows", 2: "h2", 3: "w2"}}, ["values", "coarse_values"],
        ),
    }  # fmt: skip
    for name, (module, inputs, axes, outputs) in graphs.items():
        torch.onnx.export(
            module, inputs, str(folder / f"{name}.onnx"), input_names=list(axes), output_names=outputs,
            dynamic_axes=dict(axes.items()), opset_version=OPSET, dynamo=False,
        )  # fmt: skip
