"""The graphs of `words`, with weights of 8 bits: a quarter of the size, and engines unfold them when they load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from vidmem.networks.nano.backbone import HEAD, SameConv
from vidmem.training.words_net import Name, WordsModel

OPSET = 18
LEAST = (
    16  # inputs of an output channel that share a scale; depthwise kernels lie at the start of everything and are small
)
LARGE = 2048  # numbers of a tensor; smaller ones stay as they are


class Maps(nn.Module):
    """What the finder is trained on: the maps before it."""

    def __init__(self, look: WordsModel):
        super().__init__()
        self.look = look

    def forward(self, image):
        return self.look.maps(image)


def export_maps(look: WordsModel, path: Path) -> None:
    """fine, deep, features of `WordsModel.maps`."""
    _export(Maps(fused(look)), path, ["fine", "deep", "features"])


def export_words(look: WordsModel, name: Name, folder: Path) -> None:
    """Write `look.onnx` and `name.onnx`; the number of pictures and their sides stay open."""
    _export(fused(look), folder / "look.onnx", ["features", "middle", "distances"])
    path = folder / "name.onnx"
    torch.onnx.export(
        name.eval(), (torch.rand(2, HEAD),), str(path), input_names=["features"], output_names=["classes", "person"],
        dynamic_axes={"features": {0: "rows"}}, opset_version=OPSET, dynamo=False,
    )  # fmt: skip
    compress(path)


def _export(module: nn.Module, path: Path, outputs: list[str]) -> None:
    image = torch.zeros(1, 224, 320, 3, dtype=torch.uint8)
    torch.onnx.export(
        module.eval(), (image,), str(path), input_names=["image"], output_names=outputs,
        dynamic_axes={"image": {0: "pictures", 1: "height", 2: "width"}}, opset_version=OPSET, dynamo=False,
    )  # fmt: skip
    compress(path)


def fused(look: WordsModel) -> WordsModel:
    """A copy whose BatchNorms are folded into their convolutions, so that the rounded weights are the ones that count."""
    import copy

    look = copy.deepcopy(look).eval()
    for module in look.modules():
        if isinstance(module, SameConv):
            convolution, norm = module[0], module[1]
            assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
            module[0] = nn.utils.fuse_conv_bn_eval(convolution, norm)
            module[1] = nn.Identity()
    return look


def compress(path: Path) -> None:
    """Replace each large float tensor of a graph by int8, a scale for each output channel, and the product of the two."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(str(path))
    graph, first = model.graph, []
    for tensor in list(graph.initializer):
        array = numpy_helper.to_array(tensor)
        if array.dtype != np.float32 or array.size < LARGE or array.shape[1] < LEAST:
            continue
        scale = np.abs(array.reshape(len(array), -1)).max(1).reshape(-1, *[1] * (array.ndim - 1)) / 127 + 1e-12
        graph.initializer.remove(tensor)
        graph.initializer.extend(
            [
                numpy_helper.from_array(np.rint(array / scale).astype(np.int8), f"{tensor.name}.int8"),
                numpy_helper.from_array(scale.astype(np.float32), f"{tensor.name}.scale"),
            ]
        )
        cast = f"{tensor.name}.cast"
        first += [
            helper.make_node("Cast", [f"{tensor.name}.int8"], [cast], to=onnx.TensorProto.FLOAT),
            helper.make_node("Mul", [cast, f"{tensor.name}.scale"], [tensor.name]),
        ]
    nodes = [*first, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, str(path))
