"""SAM 2's own memory: the prompted frames and the last few others (Ravi et al. 2024, arXiv 2408.00714, section 4)."""

from __future__ import annotations

from dataclasses import dataclass, field

from vidmem.types import Entry, Pointer, ReadPlan, Recall, Verdict


@dataclass(frozen=True)
class Recent:
    """The numbers of a `RecentBank`; calling it makes an empty bank.

    SAM 2 reads every prompted frame and forgets nothing. Here both are bounded: of the prompted frames the first and the
    newest `prompts - 1` stay, and an entry that no later read could ask for is dropped; one that later reads only point
    to keeps its pointer alone. Within those bounds the recalled frames, codes and pointers are those of SAM 2, except that
    SAM 2 takes the number of pointers, and the divisor of their distances, from the video's length where that is shorter
    than `pointers`. A stream has no length; `frames` says it and reproduces the offline numbers.
    """

    slots: int = 7  # spatial memories read: the prompted ones' place is one, the newest frames fill the others
    stride: int = 1  # frames between remembered slots beyond the newest one
    prompts: int = 4  # prompted frames kept
    pointers: int = 16  # object pointers: every prompted one and the newest `pointers - 1`; 0 for networks without pointers
    absent: bool = True  # remember frames on which the object is not visible, as SAM 2 does
    corrections: bool = True  # a corrected frame counts as a prompted one (`add_all_frames_to_correct_as_cond`)
    frames: int | None = None  # length of the video, for SAM 2's offline numbers; None: a stream

    def __post_init__(self):
        for name, least in (("slots", 2), ("stride", 1), ("prompts", 1), ("pointers", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name}={value!r}; expected an integer, {least} or more")
        for name in ("absent", "corrections"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}={getattr(self, name)!r}; expected true or false")
        if self.frames is not None and (type(self.frames) is not int or self.frames < 1):
            raise ValueError(f"frames={self.frames!r}; expected the length of the video, or nothing for a stream")

    @property
    def reach(self) -> int:
        """SAM 2's number of pointers, in a video of this length; the newest reach back one frame less."""
        return self.pointers if self.frames is None else min(self.frames, self.pointers)

    def __call__(self) -> RecentBank:
        return RecentBank(self)


@dataclass(eq=False)
class RecentBank:
    """Implements `vidmem.memory.base.MemoryBank`."""

    policy: Recent
    prompted: tuple[Entry, ...] = ()
    tracked: dict[int, Entry] = field(default_factory=dict)

    @property
    def capacity(self) -> int:
        # The pointers' frames are consecutive; a long stride takes the slots beyond the newest out of their reach.
        return self.policy.prompts + max(1, self.policy.pointers - 1) + self.policy.slots - 2

    @property
    def nbytes(self) -> int:
        return sum(entry.nbytes for entry in self.entries())

    def entries(self) -> tuple[Entry, ...]:
        return tuple(sorted((*self.prompted, *self.tracked.values()), key=lambda entry: entry.frame_idx))

    def _slots(self, t: int) -> list[int]:
        """Frame of slot 1 (the newest), 2, ...: consecutive first, then multiples of the stride."""
        stride = self.policy.stride
        newest_multiple = (t - 2) // stride * stride
        return [t - 1] + [newest_multiple - k * stride for k in range(self.policy.slots - 2)]

    def read(self, t: int) -> ReadPlan:
        anchors = [entry for entry in self.prompted if entry.frame_idx < t]
        recalls = [Recall(entry, -1) for entry in anchors]
        slots = list(enumerate(self._slots(t)))
        recalls += [Recall(self.tracked[f], code) for code, f in reversed(slots) if f in self.tracked]
        pointers: list[Pointer] = []
        if self.policy.pointers:
            pointers = [Pointer(entry, t - entry.frame_idx) for entry in anchors]
            near = (self.tracked.get(t - d) for d in range(1, self.policy.reach))
            pointers += [Pointer(entry, t - entry.frame_idx) for entry in near if entry]
        return ReadPlan(tuple(recalls), tuple(pointers), max(1, self.policy.reach - 1))

    def wants(self, verdict: Verdict) -> bool:
        return verdict.prompted or self.policy.absent or verdict.visible

    def write(self, entry: Entry) -> None:
        t = entry.frame_idx
        tracked = {f: e for f, e in self.tracked.items() if f != t}
        prompted = tuple(e for e in self.prompted if e.frame_idx != t)
        if entry.prompted and (self.policy.corrections or not entry.verdict.corrected):
            prompted = tuple(sorted((*prompted, entry), key=lambda e: e.frame_idx))
            if len(prompted) > self.policy.prompts:
                prompted = (prompted[0], *prompted[len(prompted) - self.policy.prompts + 1 :])
        else:
            tracked[t] = entry
        self.prompted = prompted
        self.tracked = {}
        for f, e in tracked.items():
            if self._recalled_later(f, t):
                self.tracked[f] = e
            elif f > t - self.policy.pointers + 1:
                self.tracked[f] = e if e.payload is None else e.pointer_only

    def _recalled_later(self, frame_idx: int, t: int) -> bool:
        """Whether some read after frame t may recall this frame."""
        stride = self.policy.stride
        oldest = (t - 1) // stride * stride - (self.policy.slots - 3) * stride
        return frame_idx == t or (frame_idx % stride == 0 and frame_idx >= oldest)

    def fork(self) -> RecentBank:
        return RecentBank(self.policy, self.prompted, dict(self.tracked))
