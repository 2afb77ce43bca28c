"""How long things take: percentiles of any number of milliseconds in two kilobytes."""

from __future__ import annotations

import math

LEAST, MOST = 0.01, 100_000.0  # milliseconds: ten microseconds to a hundred seconds
FINE = 0.04  # how far a percentile may be off, of itself
BUCKETS = math.ceil(math.log(MOST / LEAST) / math.log(1 + FINE)) + 1


class Histogram:
    """Buckets that grow by `FINE`; what lies outside counts in the first and the last."""

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.count, self.greatest, self._sum, self._squares = 0, 0.0, 0.0, 0.0

    def add(self, ms: float) -> None:
        ms = max(float(ms), 0.0)
        place = math.ceil(math.log(max(ms, LEAST) / LEAST) / math.log(1 + FINE))
        self.counts[min(place, BUCKETS - 1)] += 1
        self.count += 1
        self.greatest = max(self.greatest, ms)
        self._sum += ms
        self._squares += ms * ms

    def percentile(self, share: float) -> float:
        """share: 0..1 -> milliseconds, up to `FINE` too many; 0 where nothing was added."""
        wanted, seen = share * self.count, 0
        for place, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return min(LEAST * (1 + FINE) ** place, self.greatest)
        return 0.0

    @property
    def jitter(self) -> float:
        """The standard deviation, in milliseconds."""
        if not self.count:
            return 0.0
        mean = self._sum / self.count
        return max(self._squares / self.count - mean * mean, 0.0) ** 0.5

    def told(self) -> dict[str, float]:
        """p50, p95, p99, max and jitter in milliseconds, and the count."""
        named = {f"p{round(100 * share)}": round(self.percentile(share), 3) for share in (0.5, 0.95, 0.99)}
        return named | {"max": round(self.greatest, 3), "jitter": round(self.jitter, 3), "count": self.count}
