"""A reading: what a search made of one object on one frame."""

from __future__ import annotations

from typing import NamedTuple

from vidmem.networks.base import Ask
from vidmem.search import Choice
from vidmem.session.tracks import Track


class Reading(NamedTuple):
    """What a search chose for one object."""

    track: Track
    rows: slice  # of the batch: one for each hypothesis
    ask: Ask | None
    seen: list[float | None]
    """Of each row, how well its best mask fits what the object's learner knows."""
    choices: list[Choice]
    obj_id: int
    rival: int | None = None
    """`obj_id` of another object that claims the same thing."""
    yields: bool = False
    """That one is surer of it, and objects compete: nothing of it is remembered as this object's."""

    def doubt(self, choice: Choice) -> float:
        """Presence that the mask must exceed to be shown: an object that was not shown on the frame before must be surer."""
        track, last = self.track, self.track.hypotheses[choice.parent].outcome
        hidden = last is not None and last.object_logit <= 0
        return track.learner.doubt if hidden and track.learner and not track.sought and self.ask is None else 0.0

    @property
    def best(self) -> tuple[int, int]:
        """Row and candidate of the best choice."""
        return self.rows.start + self.choices[0].parent, self.choices[0].candidate
