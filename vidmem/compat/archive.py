"""What the official predictor keeps of one object: everything, so that any frame may be visited, corrected or replayed."""

from __future__ import annotations

from dataclasses import dataclass, field

from vidmem.types import Entry, Pointer, ReadPlan, Recall

SLOTS, POINTERS = 7, 16


@dataclass(eq=False)
class Archive:
    """SAM 2's `output_dict`: prompted and tracked frames, never forgotten, read in either direction.

    A stream wants `vidmem.memory.Recent`; this grows by half a megabyte a frame (at 1024 pixels; masks come on top), and a
    prompted frame's keys are 17 MB, for they are read on every frame.
    """

    frames: int  # of the video; it bounds the number of pointers and scales their distances
    stride: int = 1
    prompted: dict[int, Entry] = field(default_factory=dict)
    tracked: dict[int, Entry] = field(default_factory=dict)

    def write(self, entry: Entry, prompted: bool) -> None:
        (self.prompted if prompted else self.tracked)[entry.frame_idx] = entry

    def read(self, t: int, reverse: bool = False) -> ReadPlan:
        """`_prepare_memory_conditioned_features`: every prompted frame, also those to come; six slots; pointers of the
        past only, the past being what lies behind in the direction of travel."""
        sign = -1 if reverse else 1
        multiple = (sign * t - 2) // self.stride * self.stride
        slots = [sign * t - 1] + [multiple - k * self.stride for k in range(SLOTS - 2)]
        recalls = [Recall(entry, -1) for entry in self.prompted.values()]
        recalls += [
            Recall(self.tracked[sign * f], code)
            for code, f in reversed(list(enumerate(slots)))
            if sign * f in self.tracked
        ]
        count = min(self.frames, POINTERS)
        pointers = [Pointer(e, sign * (t - f)) for f, e in self.prompted.items() if sign * (t - f) >= 0]
        pointers += [Pointer(self.tracked[t - sign * d], d) for d in range(1, count) if t - sign * d in self.tracked]
        return ReadPlan(tuple(recalls), tuple(pointers), max(1, count - 1))
