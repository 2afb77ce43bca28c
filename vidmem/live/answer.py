"""What a live job says: an answer with its age, and what happened."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from vidmem.types import FrameResult


class Validity(StrEnum):
    """Whether an answer may be acted on."""

    FRESH = "fresh"
    """Its frame was captured no longer ago than `Limits.stale_after_ms`."""
    STALE = "stale"
    """Older: the masks are the last ones, and where the objects were."""
    INVALID = "invalid"
    """Older than `Limits.invalid_after_ms`, or nothing was answered yet: masks are empty and boxes zero."""


@dataclass(frozen=True, eq=False)
class Answer:
    """One frame's result, as old as it is at the moment that it is asked for."""

    result: FrameResult | None
    """None before the first. Where the answer is invalid, masks are empty and boxes zero."""
    validity: Validity
    age_ms: float
    """Since the frame was captured; infinite before the first."""
    captured_ns: int = 0
    """When the frame came, on the job's clock."""
    late: bool = False
    """It took longer than the deadline, and was answered as stale before."""
    dropped: int = 0
    """Frames that came between the one before it and this one, and were left out."""


class Event(NamedTuple):
    """Something that a person, a log or a controller should know."""

    kind: str
    """started, lost, occluded, reacquired, ambiguous, cut, overrun, recovered, stalled, resumed, reconnecting, reconnected,
    format_changed, refused, ended, failed."""
    seconds: float
    """On the job's clock, since its start."""
    frame_idx: int | None = None
    obj_id: int | None = None
    why: str = ""


def emptied(result: FrameResult) -> FrameResult:
    """The same without masks: nobody must take a frozen picture for what is there now."""
    return replace(result, masks=np.zeros_like(result.masks), boxes=np.zeros_like(result.boxes))
