"""One graph with one input, outside the four of a network: for a detector, on whichever engine is installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from vidmem.engines.base import cores
from vidmem.engines.onnx import quiet_onnxruntime, session_options
from vidmem.engines.openvino import quiet_openvino, settings
from vidmem.errors import ModelError, RuntimeMissing

Graph = Callable[[np.ndarray], tuple[np.ndarray, ...]]


def open_graph(path: Path, threads: int | None = None) -> Graph:
    """path: an `.onnx` file, whose axes may be open. threads: None: every core. -> a function of the input, in float32 on the CPU.

    ONNX Runtime where it is installed, which takes open shapes as they come; else OpenVINO. Raises `ModelError` for a file that cannot
    be read, and `RuntimeMissing` without either.
    """
    try:
        opener: Callable[[Path, int], Graph] = _on_onnxruntime
        quiet_onnxruntime()
    except RuntimeMissing:
        opener = _on_openvino
        quiet_openvino()
    try:
        return opener(path, threads or cores())
    except Exception as error:  # both raise many kinds, none of them documented
        raise ModelError(f"{path} cannot be loaded: {' '.join(str(error).split())[:300]}; reinstall vidmem") from error


def _on_onnxruntime(path: Path, threads: int) -> Graph:
    ort = quiet_onnxruntime()
    session = ort.InferenceSession(str(path), session_options(ort, threads), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda array: tuple(session.run(None, {name: array}))


def _on_openvino(path: Path, threads: int) -> Graph:
    # Inputs of products with 8-bit weights would be rounded to 8 bits, too, where the weights are all that is small about a graph.
    how = settings(threads) | {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
    request = quiet_openvino().Core().compile_model(str(path), "CPU", how).create_infer_request()
    return lambda array: tuple(np.array(output) for output in request.infer([array]).values())
