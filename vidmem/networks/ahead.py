"""The next frame's encoder beside this frame's attention: two parts of a network that do not wait for each other."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np

from vidmem.networks.base import Network

MOST = 2  # frames encoded and not yet asked for


class Ahead:
    """A `Network` that is told which image comes next, and encodes it in a thread of its own where `network.overlaps`.

    On two cores `nano` follows one object 4 to 10 per cent faster so: its small kernels leave gaps.
    """

    def __init__(self, network: Network):
        self.network, self.name, self.runtime = network, network.name, network.runtime
        self._pool: ThreadPoolExecutor | None = None
        self._expected: dict[
            int, tuple[np.ndarray, Future]
        ] = {}  # by identity, and the image is kept so that its id stays its own

    def expect(self, image: np.ndarray) -> None:
        """image: (H, W, 3) uint8 RGB that `encode` will be asked for soon, the same object; ignored where it cannot help."""
        if self.network.overlaps and id(image) not in self._expected:
            if len(self._expected) == MOST:
                self._expected.pop(next(iter(self._expected)))  # it never came
            self._pool = self._pool or ThreadPoolExecutor(1, "vidmem-encode")
            self._expected[id(image)] = image, self._pool.submit(self.network.encode, image)

    def encode(self, image: np.ndarray) -> Any:
        """What the thread made of it, or raises what the thread met."""
        if id(image) in self._expected:
            return self._expected.pop(id(image))[1].result()
        wait(future for _, future in self._expected.values())  # an engine encodes one frame at a time
        return self.network.encode(image)

    def close(self) -> None:
        self._expected.clear()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def __getattr__(self, stage: str):
        """Everything else is the network's own."""
        return getattr(self.network, stage)
