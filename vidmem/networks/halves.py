"""Half precision written into an exported graph, with types that agree at every node.

Products are in half precision; what only moves numbers keeps the type of what it moves; everything else (sums, softmax, normalisations,
positions) stays in float32, and so do the graph's inputs and outputs. One pass in the graph's order knows the type of every tensor and
casts wherever a node wants another, so nothing is left to a tracer's autocast, which gives LayerNormalization a half input and a float
scale: runtimes take that, TensorRT does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

KINDS = {"fp16": "FLOAT16", "bf16": "BFLOAT16"}
PRODUCTS = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose"})
MOVES = frozenset(
    {"Clip", "Concat", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Relu", "Reshape", "Slice", "Split", "Squeeze",
     "Transpose", "Unsqueeze"}
)  # fmt: skip
"""Rounding before one of these or after it is the same."""
NOT_IN = {"fp16": frozenset(), "bf16": frozenset({"ConvTranspose"})}
"""Products that TensorRT has no kernels for; they stay in float32."""
FEW = 8
"""A product of fewer terms stays in float32, spelled out as a sum: it is a position, of which half precision loses a pixel, and Turing
multiplies no float32 matrices under TensorRT for RTX."""
OPSET_BF16 = 22  # the first in which convolutions take bfloat16


def halve(path: Path, kind: str) -> None:
    """Rewrite a float32 graph with its products in `kind`, one of `KINDS`. Raises
    `onnx.shape_inference.InferenceError` where types do not agree."""
    import onnx
    from onnx import version_converter

    model = onnx.load(str(path))
    if kind == "bf16":
        model = version_converter.convert_version(model, OPSET_BF16)
    _Halving(model, getattr(onnx.TensorProto, KINDS[kind]), PRODUCTS - NOT_IN[kind]).run()
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


class _Halving:
    """One pass over one graph. A float tensor lives under its own name in the type that made it, and under another one in the other
    type, made where it is first wanted."""

    def __init__(self, model, half: int, products: frozenset[str]):
        from onnx import TensorProto, shape_inference

        self.graph, self.half, self.full, self.products = model.graph, half, TensorProto.FLOAT, products
        for node in self.graph.node:  # SAM 2 rounds what it remembers to bfloat16: in a graph of float16, to that
            for attribute in node.attribute if node.op_type == "Cast" else ():
                attribute.i = half if attribute.i == TensorProto.BFLOAT16 else attribute.i
        inferred = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True).graph
        values = [*inferred.input, *inferred.output, *inferred.value_info]
        self.types = {value.name: value.type.tensor_type.elem_type for value in values}
        self.outputs = {value.name for value in self.graph.output}
        self.constants: dict[str, np.ndarray] = {}  # name -> its numbers
        self.made: set[tuple[str, int]] = set()  # what exists in the type that is not its own
        self.nodes: list = []

    def run(self) -> None:
        self._constants_to_initializers()
        for node in self._spelled_out([*self.graph.node]):
            kind = self._kind(node)
            floats = [name for name in node.input if self.types.get(name) in (self.full, self.half)]
            names = {name: self._as(name, kind) for name in floats}
            for i, name in enumerate(node.input):
                node.input[i] = names.get(name, name)
            self.nodes.append(node)
            for name in node.output:
                if kind == self.half and self.types.get(name) == self.full:
                    self.types[name] = self.half
            if kind == self.half:
                self._outputs_in_full(node)
        del self.graph.node[:], self.graph.value_info[:]
        self.graph.node.extend(self.nodes)
        used = {name for node in self.nodes for name in node.input}
        kept = [tensor for tensor in self.graph.initializer if tensor.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)

    def _constants_to_initializers(self) -> None:
        from onnx import numpy_helper

        others = []
        for node in self.graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                tensor = node.attribute[0].t
                tensor.name = node.output[0]
                self.graph.initializer.append(tensor)
            else:
                others.append(node)
        del self.graph.node[:]
        self.graph.node.extend(others)
        for tensor in self.graph.initializer:
            self.types[tensor.name] = tensor.data_type
            if tensor.data_type == self.full:
                self.constants[tensor.name] = numpy_helper.to_array(tensor)

    def _spelled_out(self, nodes: list) -> list:
        """The nodes, with x @ w of a few terms as the sum over them of x * w."""
        import numpy as np
        from onnx import helper, numpy_helper

        out = []
        for node in nodes:
            weight = self.constants.get(node.input[1]) if node.op_type == "MatMul" else None
            if weight is None or weight.shape[0] >= FEW:
                out.append(node)
                continue
            x, name = node.input[0], node.output[0]
            for which, axis in (("last", -1), ("terms", -2)):
                self.graph.initializer.append(numpy_helper.from_array(np.array([axis]), f"{name}_{which}"))
            out += [
                helper.make_node("Unsqueeze", [x, f"{name}_last"], [f"{name}_apart"], f"{node.name}_apart"),
                helper.make_node("Mul", [f"{name}_apart", node.input[1]], [f"{name}_parts"], f"{node.name}_parts"),
                helper.make_node(
                    "ReduceSum", [f"{name}_parts", f"{name}_terms"], [name], f"{node.name}_sum", keepdims=0
                ),
            ]
            self.types |= {f"{name}_apart": self.full, f"{name}_parts": self.full}
        return out

    def _kind(self, node) -> int:
        """The type in which a node is computed."""
        if node.op_type in self.products:
            return self.half
        if node.op_type in MOVES:
            floats = [name for name in node.input if self.types.get(name) in (self.full, self.half)]
            halves = [self.types[name] == self.half or self._exact(name) for name in floats]
            if any(self.types[name] == self.half for name in floats) and all(halves):
                return self.half
        return self.full

    def _exact(self, name: str) -> bool:
        """A constant that is the same number in half precision: the 0 and 6 of a ReLU6, not a table of positions."""
        numbers = self.constants.get(name)
        return (
            numbers is not None and numbers.size == 1 and bool((self._rounded(numbers).astype("f4") == numbers).all())
        )

    def _rounded(self, numbers):
        from onnx.helper import tensor_dtype_to_np_dtype

        return numbers.astype(tensor_dtype_to_np_dtype(self.half))

    def _as(self, name: str, kind: int) -> str:
        """The name under which a float tensor is there in a type."""
        from onnx import helper, numpy_helper

        if self.types[name] == kind:
            return name
        other = f"{name}_{'full' if kind == self.full else 'half'}"
        if (name, kind) not in self.made:
            self.made.add((name, kind))
            if name in self.constants:
                self.graph.initializer.append(numpy_helper.from_array(self._rounded(self.constants[name]), other))
            else:
                self.nodes.append(helper.make_node("Cast", [name], [other], f"cast_{other}", to=kind))
        return other

    def _outputs_in_full(self, node) -> None:
        """A graph's own output is float32: what made it in half precision writes under another name."""
        from onnx import helper

        for i, name in enumerate(node.output):
            if name in self.outputs:
                node.output[i] = f"{name}_made"
                self.types[name] = self.full
                self.types[node.output[i]] = self.half
                self.nodes.append(helper.make_node("Cast", [node.output[i]], [name], f"cast_{name}", to=self.full))
