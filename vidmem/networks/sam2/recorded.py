"""CUDA graphs: a function's kernels are recorded once and replayed, which saves the launches of some hundred small kernels.

Not run yet: where this was written there was no GPU. What decides about recording is tested with a recorder of its own.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

AFTER = (
    3  # calls with the same shapes before they are recorded: a memory that still grows is never of one shape for long
)
MOST = 8  # recordings kept; the one not used longest goes


class Recorded:
    """A function of tensors, replayed where it has been called with the same shapes before.

    function: tensors -> tensors or a tuple of them, without any wait for the device in it. record: makes what replays it, from
    example inputs; None: `record_cuda`, and only inputs on a GPU are recorded.
    """

    def __init__(self, function: Callable, record: Callable | None = None):
        self.function, self._record = function, record
        self._seen: OrderedDict[tuple, Any] = OrderedDict()  # shapes -> calls so far, or the recording
        self._lock = threading.Lock()  # a recording has one set of buffers

    def __call__(self, *tensors):
        if self._record is None and not all(t.is_cuda for t in tensors):
            return self.function(*tensors)
        key = tuple((tuple(t.shape), t.dtype) for t in tensors)
        with self._lock:
            return self._replayed(key, tensors)

    def _replayed(self, key: tuple, tensors: tuple):
        held = self._seen.pop(key, 0)
        if isinstance(held, int):
            held += 1
            if held > AFTER:
                held = (self._record or record_cuda)(self.function, tensors)
        self._seen[key] = held
        while len(self._seen) > MOST:
            self._seen.popitem(last=False)
        return self.function(*tensors) if isinstance(held, int) else held(*tensors)


def record_cuda(function: Callable, tensors: tuple) -> Callable:
    """Record `function` on inputs like these -> a function that copies its inputs in, replays, and copies the outputs out."""
    import torch

    inputs = [t.clone() for t in tensors]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # what libraries set up on a first run must not be recorded
        function(*inputs)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = function(*inputs)
    several = isinstance(out, tuple)
    outputs = out if several else (out,)

    def replay(*given):
        for buffer, tensor in zip(inputs, given, strict=True):
            buffer.copy_(tensor)
        graph.replay()
        copies = tuple(o.clone() for o in outputs)  # the next replay writes into the same buffers
        return copies if several else copies[0]

    return replay
