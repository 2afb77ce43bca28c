"""Times the four functions of any network; the loop that calls them stays free of clocks."""

from __future__ import annotations

import time

from vidmem.networks.ahead import Ahead
from vidmem.networks.base import Network, Storage


class Timed:
    """A `Network` that passes every call on and adds its milliseconds to `timings`; what was encoded ahead costs what it is waited for."""

    def __init__(self, network: Network):
        self.network, self.name, self.runtime, self.competes = (
            Ahead(network),
            network.name,
            network.runtime,
            network.competes,
        )
        self.reads_words = network.reads_words
        self.trust = network.trust
        self.overlaps = network.overlaps
        self.identity = getattr(network, "identity", str)
        self.timings: dict[str, float] = {}

    @property
    def storage(self) -> Storage:
        """The network's; one that has none cannot be written."""
        return self.network.storage

    def _timed(self, stage, *args):
        began = time.perf_counter()
        result = getattr(self.network, stage)(*args)
        self.timings[stage] = self.timings.get(stage, 0.0) + 1000 * (time.perf_counter() - began)
        return result

    def encode(self, image):
        return self._timed("encode", image)

    def attend(self, features, plans):
        return self._timed("attend", features, plans)

    def understand(self, text):
        return self._timed("understand", text)

    def refer(self, features, sought, conditioned):
        return self._timed("refer", features, sought, conditioned)

    def usage(self, features, conditioned, plans):
        return self._timed("usage", features, conditioned, plans)

    def describe(self, features):
        return self._timed("describe", features)

    def cells(self, features):
        return self._timed("cells", features)

    def decode(self, features, conditioned, asks):
        return self._timed("decode", features, conditioned, asks)

    def memorize(self, features, candidates, chosen):
        return self._timed("memorize", features, candidates, chosen)

    def __getattr__(self, name: str):
        """Everything else is the network's own."""
        return getattr(self.network, name)

    def expect(self, image):
        self.network.expect(image)

    def close(self):
        self.network.close()

    def spent(self) -> dict[str, float]:
        """The milliseconds since the last call, by stage."""
        timings, self.timings = self.timings, {}
        return timings
