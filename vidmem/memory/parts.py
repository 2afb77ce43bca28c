"""The pieces that policies are put together from: what to forget, what to recall, and with which temporal code."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vidmem.types import Cue, Entry, Recall

Entries = tuple[Entry, ...]


def descriptor(entry: Entry) -> np.ndarray:
    """(D,) of an entry of a bank that asks for it."""
    assert entry.descriptor is not None
    return entry.descriptor


# Forget --------------------------------------------------------------------------------------------------------------
def newest(entries: Sequence[Entry], count: int) -> Entries:
    """The last `count`."""
    return tuple(entries[max(0, len(entries) - count) :]) if count > 0 else ()


def first_and_newest(entries: Sequence[Entry], count: int) -> Entries:
    """The first, and the last `count - 1`; in order of frame."""
    entries = sorted(entries, key=lambda e: e.frame_idx)
    return tuple(entries) if len(entries) <= count else (entries[0], *newest(entries, count - 1))


def without_most_redundant(entries: Entries, likeness: np.ndarray) -> tuple[Entries, np.ndarray]:
    """Drop one of the two entries that are most alike: the one that is more like all the others (READMem's rule: the set's
    diversity falls least). likeness (n, n) -> the others and their likeness. The newest is never dropped."""
    n = len(entries)
    pairs = likeness + np.diag(np.full(n, -np.inf))
    one, other = np.unravel_index(int(pairs.argmax()), pairs.shape)
    total = likeness.sum(1)
    total[n - 1] = -np.inf
    drop = one if total[one] >= total[other] else other
    keep = [i for i in range(n) if i != drop]
    return tuple(entries[i] for i in keep), likeness[np.ix_(keep, keep)]


def likeness_with(likeness: np.ndarray | None, held: Entries, entry: Entry) -> np.ndarray:
    """The cosines (n, n) of the entries' descriptors, grown by one entry."""
    own = descriptor(entry)
    row = np.array([float(descriptor(e) @ own) for e in held], np.float32)
    if likeness is None or len(likeness) != len(held):  # a correction took an entry out
        stack = np.stack([descriptor(e) for e in (*held, entry)])
        return stack @ stack.T
    grown = np.ones((len(held) + 1,) * 2, np.float32)
    grown[:-1, :-1], grown[-1, :-1], grown[:-1, -1] = likeness, row, row
    return grown


def due(held: Entries, t: int, stride: int) -> bool:
    """Whether frame t is `stride` frames after the newest entry."""
    return not held or t - held[-1].frame_idx >= stride


# Recall --------------------------------------------------------------------------------------------------------------
def ranked(entries: Sequence[Entry], most: int | None = None) -> list[Recall]:
    """Oldest first, with codes by rank: the newest gets 0. most: the greatest code."""
    last = len(entries) - 1
    return [Recall(e, last - i if most is None else min(last - i, most)) for i, e in enumerate(entries)]


def anchored(entries: Sequence[Entry]) -> list[Recall]:
    """With the code of prompted frames, whatever their age."""
    return [Recall(e, -1) for e in entries]


def alike(entries: Sequence[Entry], cue: Cue | None) -> np.ndarray:
    """(n,) cosines of the entries' frames with the current one; zeros without a cue."""
    if cue is None or not entries:
        return np.zeros(len(entries), np.float32)
    return np.array([descriptor(e) @ cue.frame for e in entries], np.float32)


def best(entries: Entries, scores: np.ndarray, count: int) -> Entries:
    """The `count` entries of the greatest scores, in order of frame; of equals the newer ones."""
    order = sorted(range(len(entries)), key=lambda i: (scores[i], i), reverse=True)[: max(0, count)]
    return tuple(entries[i] for i in sorted(order))


def gated(recent: Entries, entry: Entry, passes: Callable[[Entry], bool], count: int) -> Entries:
    """A window of the newest `count` entries that pass, and the newest of all even if it does not.

    Filters on read in the papers (SAM2Long, SAMURAI); a gate that looks at an entry's own verdict can act on write as well.
    """
    return (*newest([e for e in recent if passes(e)], count - passes(entry)), entry)
