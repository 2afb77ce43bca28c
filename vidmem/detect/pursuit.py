"""One concept under way: which objects it became, what was seen of them, and the chains that may become more."""

from __future__ import annotations

from dataclasses import dataclass, field

from vidmem.detect.base import Concept, Prepared
from vidmem.detect.chains import Chain
from vidmem.detect.likeness import Likeness


@dataclass
class Pursued:
    """An object of a concept."""

    own: bool
    """The watcher started it, so it goes with its concept; else somebody else had it already."""
    unseen: int = 0
    """Consecutive frames without it."""
    likeness: Likeness = field(default_factory=Likeness)


@dataclass
class Pursuit:
    concept: Concept
    prepared: Prepared
    held: dict[int, Pursued] = field(default_factory=dict)  # obj_id -> its state
    chains: list[Chain] = field(default_factory=list)
    barren: int = 0
    """Consecutive looks in which there was nothing to begin or continue a chain with."""
    over: bool = False
    """Somebody removed what it found: it is not sought again."""
    gave_up: bool = False
    """Said so; it is still looked for, as seldom as everything that is not urgent."""

    def lost(self, after: int) -> list[int]:
        """Objects that nobody saw for so many frames."""
        return [obj_id for obj_id, held in self.held.items() if held.unseen >= after]

    def room(self, most: int) -> int:
        """How many objects it may still become."""
        limit = most if self.concept.limit is None else min(most, self.concept.limit)
        return 0 if self.over else limit - len(self.held)

    def wants(self, chain: Chain, most: int) -> bool:
        """Whether the chain can lead to anything: what other concepts follow is of interest only while there is room."""
        return chain.obj_id is None or self.room(most) > 0

    def seeks(self, after: int) -> bool:
        """Something it was asked for is not there; a concept without limit wants more only now and then."""
        if self.over or self.gave_up:
            return False
        missing = not self.held if self.concept.limit is None else len(self.held) < self.concept.limit
        return missing or bool(self.lost(after))
