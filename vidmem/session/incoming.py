"""What may come as a session's next frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vidmem.errors import FrameError
from vidmem.session.frame_step import Now
from vidmem.types import Frame


def next_frame(frame: Frame | np.ndarray, color: str, now: Now | None, reverse: bool) -> Frame:
    """frame, color: as `Session.step` takes them; now: where the session is -> the frame. Raises `FrameError` for what is none, comes out of
    order, or has another size than those before it."""
    if color not in ("rgb", "bgr") or (color == "bgr" and isinstance(frame, Frame)):
        came = f"color={color!r}" + (" with a Frame, which is RGB" if isinstance(frame, Frame) else "")
        raise FrameError(f"{came}; expected 'rgb', or 'bgr' with an array as OpenCV reads it")
    if not isinstance(frame, Frame):
        if reverse:
            raise FrameError("a reversed session takes Frame objects: an array alone does not say its index")
        frame = Frame(0 if now is None else now.frame_idx + 1, None, frame)
        if color == "bgr":
            frame = replace(frame, image=np.ascontiguousarray(frame.image[..., ::-1]))
    if now is not None and not precedes(now.frame_idx, frame.index, reverse):
        order = "falling order (a reversed session)" if reverse else "order"
        raise FrameError(f"frame {frame.index} came after frame {now.frame_idx}; frames must come in {order}")
    if now is not None and frame.size != now.size:
        came, had = (f"{width}x{height}" for height, width in (frame.size, now.size))
        raise FrameError(
            f"frame {frame.index} is {came}, and those before it were {had}; scale it, or make a new session for another stream"
        )
    return frame


def precedes(one: int, other: int, reverse: bool) -> bool:
    """Whether frame `one` comes before frame `other` in a session."""
    return one > other if reverse else one < other
