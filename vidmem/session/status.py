"""tracking, occluded or lost: what a session says about an object, without flicker."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vidmem.bounds import bounded, check
from vidmem.types import Status

UNSURE = 0.6
"""Predicted IoU under which a tracked mask is worth a look: on held-out video nine of ten such were wrong (scripts/bench_scores.py)."""


@dataclass(frozen=True)
class StatusRule:
    """When the status changes. Counts are consecutive frames."""

    hidden_after: int = bounded(1, 1)  # frames unseen before a tracked object counts as occluded
    lost_after: int = bounded(30, 1)  # frames unseen before it counts as lost
    found_after: int = bounded(2, 1)  # frames seen again before a lost object counts as tracked
    ambiguous_after: int = bounded(
        3, 1
    )  # frames on which another object claims the same thing before both count as ambiguous

    def __post_init__(self):
        check(self)


@dataclass(frozen=True)
class StatusState:
    """One object's status; immutable, so that snapshots share it."""

    rule: StatusRule = StatusRule()
    status: Status = Status.TRACKED
    unseen: int = 0
    seen: int = 0
    contested: int = 0
    rival: int | None = None

    def advance(self, visible: bool, prompted: bool = False, rival: int | None = None) -> StatusState:
        """The state after one more frame. rival: `obj_id` of another object that claims the same thing. A prompt that finds
        the object settles the matter at once."""
        seen, unseen = (self.seen + 1, 0) if visible else (0, self.unseen + 1)
        contested = self.contested + 1 if visible and rival is not None and not prompted else 0
        status = self.status
        if visible:
            if prompted or status is not Status.LOST or seen >= self.rule.found_after:
                status = Status.TRACKED if contested < self.rule.ambiguous_after else Status.AMBIGUOUS
        elif unseen >= self.rule.lost_after:
            status = Status.LOST
        elif unseen >= self.rule.hidden_after and status in (Status.TRACKED, Status.AMBIGUOUS):
            status = Status.OCCLUDED
        return replace(
            self, status=status, unseen=unseen, seen=seen, contested=contested,
            rival=rival if status is Status.AMBIGUOUS else None,
        )  # fmt: skip
