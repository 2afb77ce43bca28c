"""What all banks share: the state, the numbers that are checked, and one `Bank` that any policy drives.

A policy is a frozen dataclass of numbers with three decisions: which frames to admit, what the state is after a write
(and so what is forgotten), and what to recall. All three are functions of an immutable `Held`, so that a fork is one
reference, a snapshot costs nothing, and reading cannot change anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from vidmem.bounds import bounded, check
from vidmem.memory import parts
from vidmem.types import Cue, Entry, Pointer, ReadPlan, Recall, Usage, Verdict


class Held(NamedTuple):
    """All that a bank knows, in order of frame."""

    prompted: tuple[Entry, ...] = ()
    recent: tuple[Entry, ...] = ()  # the short term
    kept: tuple[Entry, ...] = ()  # the long term
    pool: tuple[Entry, ...] = ()  # candidates for the long term, or what is left of older entries
    trail: tuple[Entry, ...] = ()  # newest frames, for their pointers alone
    notes: Any = None  # what else the policy remembers, immutable

    def entries(self) -> tuple[Entry, ...]:
        """Each frame once; with its spatial memory, where any part holds that."""
        by_frame = {
            e.frame_idx: e for part in (self.trail, self.pool, self.kept, self.recent, self.prompted) for e in part
        }
        return tuple(by_frame[f] for f in sorted(by_frame))

    def before(self, t: int) -> Held:
        """What was written of frames before t."""
        parts_ = (self.prompted, self.recent, self.kept, self.pool, self.trail)
        if all(not part or part[-1].frame_idx < t for part in parts_):
            return self
        prompted, recent, kept, pool, trail = (tuple(e for e in part if e.frame_idx < t) for part in parts_)
        return Held(prompted, recent, kept, pool, trail, self.notes)

    def without(self, t: int) -> Held:
        """Frame t taken out, for a correction of it."""
        parts_ = (self.prompted, self.recent, self.kept, self.pool, self.trail)
        if all(not part or part[-1].frame_idx < t for part in parts_):
            return self
        prompted, recent, kept, pool, trail = (tuple(e for e in part if e.frame_idx != t) for part in parts_)
        return Held(prompted, recent, kept, pool, trail, self.notes)


MOST_ENTRIES = 4096  # that one object may keep: of SAM 2's, two gigabytes


@dataclass(frozen=True)
class Policy:
    """The numbers that every policy has; calling it makes an empty bank."""

    slots: int = bounded(7, 2)  # spatial memories read: the prompted ones' place is one, tracked frames fill the others
    prompts: int = bounded(4, 1)  # prompted frames kept: the first and the newest ones
    pointers: int = bounded(
        16, 0
    )  # object pointers: every prompted one and the newest `pointers - 1`; 0 for networks without
    absent: bool = False  # remember frames on which the object is not present

    needs: ClassVar[frozenset[str]] = frozenset()
    notes: ClassVar[Any] = None
    """The type of `Held.notes`, of tuples, dicts, numbers, arrays, or a NamedTuple of such; `Any` stands for a network's array."""

    def __post_init__(self):
        check(self)
        if self.capacity > MOST_ENTRIES:
            raise ValueError(
                f"these numbers let an object keep {self.capacity} memories; expected at most {MOST_ENTRIES}"
            )

    def __call__(self) -> Bank:
        return Bank(self)

    @property
    def long(self) -> int:
        """The most entries beyond the prompted, the short term and the pointers; of each policy."""
        return 0

    @property
    def short(self) -> int:
        """The most entries of the short term."""
        return self.slots - 1

    @property
    def capacity(self) -> int:
        return self.prompts + self.short + self.long + max(0, self.pointers - 1)

    def admits(self, held: Held, verdict: Verdict) -> bool:
        """Whether to memorize this frame; prompted frames are not asked about."""
        return self.absent or verdict.present

    def remember(self, held: Held, entry: Entry) -> Held:
        """The state after a tracked frame."""
        return held._replace(recent=parts.newest((*held.recent, entry), self.short))

    def prompt(self, held: Held, entry: Entry) -> Held:
        """The state after a prompted frame."""
        return held._replace(prompted=parts.first_and_newest((*held.prompted, entry), self.prompts))

    def point(self, held: Held, entry: Entry) -> Held:
        """The pointers' frames after a write; plain SAM 2: the newest, unfiltered."""
        return held._replace(trail=parts.newest((*held.trail, entry.pointer_only), self.pointers - 1))

    def recall(self, held: Held, t: int, cue: Cue | None) -> Sequence[Recall]:
        """What to read beside the prompted frames, oldest first."""
        return parts.ranked(held.recent)

    def point_to(self, held: Held, t: int) -> Sequence[Pointer]:
        """Pointers beside the prompted ones."""
        return [Pointer(e, t - e.frame_idx) for e in reversed(held.trail)]

    def observe(self, held: Held, plan: ReadPlan, usage: Sequence[Usage]) -> Held:
        """The state after a frame told how it attended; asked of policies that need `usage`."""
        return held


@dataclass(frozen=True)
class ByContent(Policy):
    """A policy that reads a few newest frames, and of older ones those that suit the current frame."""

    newest: int = bounded(2, 1)  # newest frames read in any case

    needs = frozenset({"cue"})

    @property
    def short(self) -> int:
        return self.newest


@dataclass(eq=False)
class Bank:
    """Implements `vidmem.memory.base.MemoryBank` for any policy."""

    policy: Policy
    held: Held = field(default_factory=Held)

    @property
    def capacity(self) -> int:
        return self.policy.capacity

    @property
    def needs(self) -> frozenset[str]:
        return self.policy.needs

    @property
    def nbytes(self) -> int:
        return sum(entry.held for entry in self.entries())

    def entries(self) -> tuple[Entry, ...]:
        return self.held.entries()

    def read(self, t: int, cue: Cue | None = None) -> ReadPlan:
        policy, held = self.policy, self.held.before(t)
        recalls = (*(Recall(e, -1) for e in held.prompted), *policy.recall(held, t, cue))
        pointers: tuple[Pointer, ...] = ()
        if policy.pointers:
            pointers = (*(Pointer(e, t - e.frame_idx) for e in held.prompted), *policy.point_to(held, t))
        return ReadPlan(recalls, pointers, max(1, policy.pointers - 1), "usage" in policy.needs and bool(recalls))

    def observe(self, plan: ReadPlan, usage: Sequence[Usage]) -> None:
        self.held = self.policy.observe(self.held, plan, usage)

    def wants(self, verdict: Verdict) -> bool:
        return verdict.prompted or self.policy.admits(self.held, verdict)

    def write(self, entry: Entry) -> None:
        policy, held = self.policy, self.held.without(entry.frame_idx)
        held = policy.prompt(held, entry) if entry.prompted else policy.remember(held, entry)
        if policy.pointers > 1 and not entry.prompted:
            held = policy.point(held, entry)
        self.held = held

    def fork(self) -> Bank:
        return type(self)(self.policy, self.held)
