"""The function that reads words as an ONNX graph, its selective scans as ONNX's own `Scan`."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from vidmem.networks.family import OPSET
from vidmem.networks.resurgsam2.config import FRAMES
from vidmem.networks.resurgsam2.model import ReSurgSam2

CUSTOM = "SelectiveScan"
"""What stands for a scan while the module is traced (`scan.SelectiveScan`)."""


class Refer(nn.Module):
    def __init__(self, model: ReSurgSam2):
        super().__init__()
        self.model = model

    def forward(self, frames: Tensor, codes: Tensor, sentence: Tensor) -> tuple[Tensor, Tensor]:
        """As `ReSurgSam2.refer`."""
        return self.model.refer(frames, codes, sentence)


def export_refer(model: ReSurgSam2, path: Path) -> None:
    """Write `refer` in float32: frames (3, 256, h, w), codes (3,) int64, sentence (1, T, 256) of any T -> conditioned, meant."""
    import onnx

    grid, dim = model.config.grid, model.config.hidden_dim
    arrays = torch.randn(FRAMES, dim, grid, grid), torch.arange(FRAMES), torch.randn(1, 7, dim)
    torch.onnx.export(
        Refer(model.eval().requires_grad_(False)), arrays, str(path), input_names=["frames", "codes", "sentence"],
        output_names=["conditioned", "meant"], dynamic_axes={"sentence": {1: "tokens"}}, opset_version=OPSET, dynamo=False,
        custom_opsets={"vidmem": 1},
    )  # fmt: skip
    graph = onnx.load(str(path))
    with_scans(graph)
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, str(path))


def with_scans(model) -> None:
    """Put ONNX's `Scan` in the place of each stand-in. A position's step takes the state, and A as a second one that stays as it is:
    OpenVINO knows no names from outside of a step."""
    from onnx import TensorProto, helper

    nodes = []
    for number, node in enumerate(model.graph.node):
        if node.op_type != CUSTOM:
            nodes.append(node)
            continue
        u, dt, a, b, c = node.input
        own = lambda name, number=number: f"scan{number}_{name}"
        inputs, outputs = (
            [helper.make_tensor_value_info(own(name), TensorProto.FLOAT, None) for name in names]
            for names in (("state_in", "a", "u", "dt", "b", "c"), ("state_out", "a_out", "y"))
        )
        steps = [
            ("Unsqueeze", ["dt", "last"], "dt1"), ("Mul", ["dt1", "a"], "change"), ("Exp", ["change"], "keep"),
            ("Mul", ["keep", "state_in"], "kept"), ("Mul", ["dt", "u"], "push"), ("Unsqueeze", ["push", "last"], "push1"),
            ("Unsqueeze", ["b", "middle"], "b1"), ("Mul", ["push1", "b1"], "added"), ("Add", ["kept", "added"], "state_out"),
            ("Unsqueeze", ["c", "last"], "c1"), ("MatMul", ["state_out", "c1"], "y1"), ("Squeeze", ["y1", "last"], "y"),
            ("Identity", ["a"], "a_out"),
        ]  # fmt: skip
        axes = [
            helper.make_tensor(own(name), TensorProto.INT64, [1], [axis]) for name, axis in (("last", 2), ("middle", 1))
        ]
        body = [helper.make_node(kind, list(map(own, given)), [own(out)]) for kind, given, out in steps]
        body = helper.make_graph(body, own("step"), inputs, outputs, axes)
        nodes += [
            helper.make_node("Sub", [a, a], [own("nothing")], own("nothing")),  # zeros of the state's shape
            helper.make_node(
                "Scan",
                [own("nothing"), a, u, dt, b, c],
                [own("end"), own("same"), node.output[0]],
                own("scan"),
                num_scan_inputs=4,
                body=body,
            ),
        ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    domains = [opset for opset in model.opset_import if opset.domain != "vidmem"]
    del model.opset_import[:]
    model.opset_import.extend(domains)
