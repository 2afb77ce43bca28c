"""SAM 2's own memory: the prompted frames and the last few others (Ravi et al. 2024, arXiv 2408.00714, section 4)."""

from __future__ import annotations

from dataclasses import dataclass

from vidmem.bounds import bounded
from vidmem.memory.policy import Bank, Held, Policy
from vidmem.types import Cue, Entry, Pointer, ReadPlan, Recall


@dataclass(frozen=True)
class Recent(Policy):
    """SAM 2 reads every prompted frame and forgets nothing. Here both are bounded: of the prompted frames the first and the
    newest `prompts - 1` stay, and an entry that no later read could ask for is dropped; one that later reads only point
    to keeps its pointer alone. Within those bounds the recalled frames, codes and pointers are those of SAM 2, except that
    SAM 2 takes the number of pointers, and the divisor of their distances, from the video's length where that is shorter
    than `pointers`. A stream has no length; `frames` says it and reproduces the offline numbers.
    """

    absent: bool = True  # remember frames on which the object is not present, as SAM 2 does
    stride: int = bounded(1, 1)  # frames between remembered slots beyond the newest one
    corrections: bool = True  # a corrected frame counts as a prompted one (`add_all_frames_to_correct_as_cond`)
    frames: int | None = bounded(None, 1, 10**9)  # length of the video, for SAM 2's offline numbers; None: a stream

    def __call__(self) -> RecentBank:
        return RecentBank(self)

    @property
    def reach(self) -> int:
        """SAM 2's number of pointers, in a video of this length; the newest reach back one frame less."""
        return self.pointers if self.frames is None else min(self.frames, self.pointers)

    @property
    def capacity(self) -> int:
        # The pointers' frames are consecutive; a long stride takes the slots beyond the newest out of their reach.
        return self.prompts + max(1, self.pointers - 1) + self.slots - 2

    def prompt(self, held: Held, entry: Entry) -> Held:
        if entry.verdict.corrected and not self.corrections:
            return self.remember(held, entry)
        return self._forget(super().prompt(held, entry), entry.frame_idx)

    def remember(self, held: Held, entry: Entry) -> Held:
        return self._forget(held._replace(recent=(*held.recent, entry)), entry.frame_idx)

    def point(self, held: Held, entry: Entry) -> Held:
        return held  # `recent` holds the pointers' frames too

    def recall(self, held: Held, t: int, cue: Cue | None) -> list[Recall]:
        tracked = {e.frame_idx: e for e in held.recent if e.payload is not None}
        return [Recall(tracked[f], code) for code, f in reversed(list(enumerate(self._slots(t)))) if f in tracked]

    def point_to(self, held: Held, t: int) -> list[Pointer]:
        return [Pointer(e, t - e.frame_idx) for e in reversed(held.recent) if t - e.frame_idx < self.reach]

    def _slots(self, t: int) -> list[int]:
        """Frame of slot 1 (the newest), 2, ...: consecutive first, then multiples of the stride."""
        newest_multiple = (t - 2) // self.stride * self.stride
        return [t - 1] + [newest_multiple - k * self.stride for k in range(self.slots - 2)]

    def _forget(self, held: Held, t: int) -> Held:
        """Let go of what no read after frame t may ask for."""
        oldest = (t - 1) // self.stride * self.stride - (self.slots - 3) * self.stride
        stays = []
        for e in held.recent:
            f = e.frame_idx
            if f == t or (f % self.stride == 0 and f >= oldest):
                stays.append(e)
            elif f > t - self.pointers + 1:
                stays.append(e if e.payload is None else e.pointer_only)
        return held._replace(recent=tuple(stays))


class RecentBank(Bank):
    """A `Bank` whose pointers' distances may be divided by an offline video's number."""

    policy: Recent

    def read(self, t: int, cue: Cue | None = None) -> ReadPlan:
        plan = super().read(t, cue)
        return ReadPlan(plan.recalls, plan.pointers, max(1, self.policy.reach - 1))
