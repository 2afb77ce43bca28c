"""The memory seam: one object's past under one hypothesis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vidmem.types import Cue, Entry, ReadPlan, Usage, Verdict


class MemoryBank(Protocol):
    """Selects and forgets; computes no features and knows no network.

    Invariants, held by every bank and tested over all of them: after each `write` the bank holds at most `capacity`
    entries, prompted ones included; `read` is a pure function of the bank's state, t and the cue; `fork` copies references
    only.
    """

    @property
    def needs(self) -> frozenset[str]:
        """What it asks the session for: `cue` (`read` gets one, entries have a descriptor), `distractor` (in verdicts),
        `usage` (`observe` is called)."""
        ...

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

    def read(self, t: int, cue: Cue | None = None) -> ReadPlan:
        """What to recall for frame t; entries of frame t itself never take part."""
        ...

    def observe(self, plan: ReadPlan, usage: Sequence[Usage]) -> None:
        """How the frame attended to each recall of its plan; called between `read` and `write` where the plan says
        `watch`."""
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
