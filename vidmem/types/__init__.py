"""What crosses a module border: frozen data, each shape and unit written once, under its field.

Public coordinates are source pixels, (x, y), origin at the top left corner. Frame indices count decoded frames from 0.
`numpy` is the only package that these modules need.
"""

from vidmem.types.candidates import Candidates, Chosen
from vidmem.types.frame import Frame, Prompt
from vidmem.types.memory import Cue, Entry, Payload, Pointer, ReadPlan, Recall, Remembered, Usage, Verdict
from vidmem.types.result import Event, FrameResult, Status, resize_logits

__all__ = [
    "Candidates",
    "Chosen",
    "Cue",
    "Entry",
    "Event",
    "Frame",
    "FrameResult",
    "Payload",
    "Pointer",
    "Prompt",
    "ReadPlan",
    "Recall",
    "Remembered",
    "Status",
    "Usage",
    "Verdict",
    "resize_logits",
]
