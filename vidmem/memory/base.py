"""The memory seam: one object's past under one hypothesis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vidmem.types import Entry, ReadPlan, Verdict


class MemoryBank(Protocol):
    """Selects and forgets; computes no features and knows no network.

    Invariants, held by every bank and tested over all of them: after each `write` the bank holds at most `capacity`
    entries, prompted ones included; `read` is a pure function of the bank's state and t; `fork` copies references only.
    """

    @property
    def capacity(self) -> int:
        """The most entries it ever holds."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes that the entries' payloads hold."""
        ...

    def entries(self) -> Sequence[Entry]:
        """What it holds now, in order of frame."""
        ...

    def read(self, t: int) -> ReadPlan:
        """What to recall for frame t; entries of frame t itself never take part."""
        ...

    def wants(self, verdict: Verdict) -> bool:
        """Whether frame `verdict.frame_idx` is worth memorizing; asked first, because memorizing costs time."""
        ...

    def write(self, entry: Entry) -> None:
        """Take an entry; one of the same frame is replaced (a correction)."""
        ...

    def fork(self) -> MemoryBank:
        """An independent bank with the same entries."""
        ...
