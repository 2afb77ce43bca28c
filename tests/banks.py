"""Entries and the life of a bank, for the tests of memory policies."""

from __future__ import annotations

import numpy as np

from vidmem.networks.fake import Colour
from vidmem.types import Cue, Entry, Usage, Verdict

BYTES = 12  # of a `Colour`


def direction(seed: int, size: int = 8) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=size).astype(np.float32)
    return vector / np.linalg.norm(vector)


def entry(frame_idx: int, prompted=False, visible=True, descriptor=None, payload=None, **verdict) -> Entry:
    """Frames look alike within a scene of nine; `verdict` overrides what the verdict says."""
    if descriptor is None:
        descriptor = direction(frame_idx // 9) + direction(frame_idx) / 4
        descriptor = (descriptor / np.linalg.norm(descriptor)).astype(np.float32)
    said = {
        "iou": 0.9,
        "object_logit": 5.0 if visible else -5.0,
        "area": 0.1,
        "prompted": prompted,
        "tracked": visible,
    } | verdict
    return Entry(Verdict(frame_idx, **said), payload or Colour(descriptor[:3]), BYTES, None, descriptor)


def live(bank, new: Entry, usage=None) -> None:
    """One frame as a session does it: read, observe, write."""
    plan = bank.read(new.frame_idx, Cue(new.descriptor))
    if plan.watch:
        bank.observe(plan, (usage or attended)(plan))
    if bank.wants(new.verdict):
        bank.write(new)


def attended(plan) -> list[Usage]:
    random = np.random.default_rng(len(plan.recalls))
    shares = random.dirichlet(np.ones(len(plan.recalls)))
    return [
        Usage(random.random((2, r.entry.payload.tokens)).astype(np.float32), float(s))
        for r, s in zip(plan.recalls, shares)
    ]


def fill(policy, until: int, prompts=(0,), **how):
    """A bank after frames 0 .. until; `how` maps what `entry` takes to functions of the frame."""
    bank = policy()
    for t in range(until + 1):
        live(bank, entry(t, prompted=t in prompts, **{name: of(t) for name, of in how.items()}))
    return bank


def recalled(plan) -> list[tuple[int, float]]:
    return [(recall.entry.frame_idx, recall.tcode) for recall in plan.recalls]


def frames(plan) -> list[int]:
    return [recall.entry.frame_idx for recall in plan.recalls]
