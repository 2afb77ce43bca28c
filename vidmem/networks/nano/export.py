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
"""Parts in which the queries of a frame are read: a third less time on ONNX Runtime, a fifth on OpenVINO (two cores, 1,792 tokens). Graphs of
fixed shapes are for GPUs, which read all at once."""


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


OUTPUTS = {
    "encode": ["feature", "skip", "key", "tokens", "coarse_tokens"],
    "attend": ["conditioned"],
    "decode": ["mask_logits", "iou", "object_logit"],
    "memorize": ["values", "coarse_values"],
}
AXES = {
    "encode": {"image": {1: "height", 2: "width"}},
    "attend": {
        "key": {2: "h", 3: "w"}, "coarse": {1: "quarter"}, "long_key": {0: "long_keys", 1: "long"}, "long_value": {0: "rows", 1: "long"},
        "new_key": {0: "new_keys", 1: "new"}, "new_value": {0: "rows", 1: "new"}, "hidden": {}, "conditioned": {0: "rows", 2: "h", 3: "w"},
    },
    "decode": {
        "feature": {2: "h", 3: "w"}, "skip": {2: "h2", 3: "w2"}, "conditioned": {0: "rows", 2: "h", 3: "w"},
        "prompt": {0: "rows", 2: "h2", 3: "w2"},
    },
    "memorize": {"feature": {2: "h", 3: "w"}, "mask": {0: "rows", 2: "h2", 3: "w2"}},
}  # fmt: skip
"""Inputs in their order, and which of their axes stay open; `hidden` is an input of fixed shapes alone, and `conditioned` an output
whose axes nothing would infer."""


def example(model: Nano, shape: tuple[int, int], rows: int, slots: int) -> dict[str, tuple[Tensor, ...]]:
    """Inputs of the four graphs: an image of that shape, rows with so many memories for the long read."""
    c, h, w = model.config, shape[0] // 8, shape[1] // 8
    known, values, long = c.key_dim + c.identity_dim, c.value_dim + 1, slots * h * w // 4
    rand = torch.rand
    feature, skip = rand(1, c.feature_dim, h, w), rand(1, c.skip_dim, 2 * h, 2 * w)
    return {
        "encode": (torch.zeros(1, *shape, 3, dtype=torch.uint8),),
        "attend": (
            rand(1, c.key_dim, h, w), rand(1, h * w // 4, known), rand(rows, long, known), rand(rows, long, values),
            rand(rows, h * w, c.key_dim), rand(rows, h * w, values), torch.zeros(rows, long),
        ),
        "decode": (feature, skip, rand(rows, c.conditioned_dim, h, w), rand(rows, PROMPT_CHANNELS, 2 * h, 2 * w)),
        "memorize": (feature, rand(rows, 1, 2 * h, 2 * w)),
    }  # fmt: skip


def export(model: Nano, folder: Path) -> None:
    """Write encode, attend, decode and memorize.onnx; height, width, rows and tokens stay dynamic."""
    inputs = example(model, (96, 128), 2, 12)
    inputs["attend"] = inputs["attend"][:-1]
    _write(model, folder, inputs, BLOCKS, True)


def export_fixed(model: Nano, folder: Path, shape: tuple[int, int], objects: int, slots: int) -> None:
    """The same for one shape of the input, so many rows and `slots` memories for the long read of each; `attend` has one input more,
    which hides the tokens that are not there."""
    _write(model, folder, example(model, shape, objects, slots), 1, False)


def _write(model: Nano, folder: Path, inputs: dict, blocks: int, dynamic: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model = model.eval()
    model.memory_attention.blocks = blocks
    for name, arrays in inputs.items():
        module = Encode(model) if name == "encode" else Function(model, name)
        torch.onnx.export(
            module, arrays, str(folder / f"{name}.onnx"), input_names=list(AXES[name])[: len(arrays)], output_names=OUTPUTS[name],
            dynamic_axes=AXES[name] if dynamic else None, opset_version=OPSET, dynamo=False,
        )  # fmt: skip
