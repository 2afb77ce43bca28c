"""What may come as a session's next frame, and the prompts and texts that wait for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vidmem.errors import FrameError, PromptError
from vidmem.prompts import check_inside, merge
from vidmem.session.told import Told
from vidmem.types import Frame, Prompt


def next_frame(frame: Frame | np.ndarray, color: str, last: tuple[int, tuple[int, int]] | None, reverse: bool) -> Frame:
    """frame, color: as `Session.step` takes them; last: index and (H, W) of the frame before it -> the frame. Raises `FrameError` for what is none, comes out of
    order, or has another size than those before it."""
    if color not in ("rgb", "bgr") or (color == "bgr" and isinstance(frame, Frame)):
        came = f"color={color!r}" + (" with a Frame, which is RGB" if isinstance(frame, Frame) else "")
        raise FrameError(f"{came}; expected 'rgb', or 'bgr' with an array as OpenCV reads it")
    if not isinstance(frame, Frame):
        if reverse:
            raise FrameError("a reversed session takes Frame objects: an array alone does not say its index")
        frame = Frame(0 if last is None else last[0] + 1, None, frame)
        if color == "bgr":
            frame = replace(frame, image=np.ascontiguousarray(frame.image[..., ::-1]))
    if last is not None and not precedes(last[0], frame.index, reverse):
        order = "falling order (a reversed session)" if reverse else "order"
        raise FrameError(f"frame {frame.index} came after frame {last[0]}; frames must come in {order}")
    if last is not None and frame.size != last[1]:
        came, had = (f"{width}x{height}" for height, width in (frame.size, last[1]))
        raise FrameError(
            f"frame {frame.index} is {came}, and those before it were {had}; scale it, or make a new session for another stream"
        )
    return frame


def precedes(one: int, other: int, reverse: bool) -> bool:
    """Whether frame `one` comes before frame `other` in a session."""
    return one > other if reverse else one < other


def waits_for(frame_idx, now: int | None, reverse: bool) -> int | None:
    """frame_idx: as `Session.add` takes it; now: the frame that the session is at -> the frame that a prompt waits for, -1 for the next one;
    None: it belongs to the current frame. Raises `PromptError` for what is no index, and for frames that have passed."""
    if frame_idx is None:
        return -1 if now is None else None
    if type(frame_idx) is bool or not isinstance(frame_idx, (int, np.integer)) or frame_idx < 0:
        raise PromptError(f"frame_idx is {frame_idx!r}; expected the index of a frame, from 0")
    frame_idx = int(frame_idx)
    if now is not None and precedes(frame_idx, now, reverse):
        raise PromptError(f"frame_idx {frame_idx} has passed (the session is at {now}); prompt frame {now} or later")
    return None if frame_idx == now else frame_idx


def due(
    queued: dict[int, dict[int, Prompt | Told]], frame: Frame, reverse: bool
) -> tuple[dict[int, Prompt], dict[int, Told]]:
    """queued: `Snapshot.queued` -> the prompts and texts that wait for this frame, checked against its size; those of skipped frames are
    refused with `PromptError`, as is one that does not fit, and both are dropped."""
    late = [f for f, queue in queued.items() if f >= 0 and queue and precedes(f, frame.index, reverse)]
    if late:
        del queued[late[0]]
        raise PromptError(f"a prompt waits for frame {late[0]}, but frame {frame.index} came; step every frame")
    prompts: dict[int, Prompt] = {}
    names: dict[int, Told] = {}
    for key in dict.fromkeys((-1, frame.index)):
        for obj_id, said in list(queued.get(key, {}).items()):
            if isinstance(said, Told):
                names[obj_id] = said
                continue
            try:
                prompts[obj_id] = merge(prompts.get(obj_id), check_inside(said, frame.size))
            except PromptError as error:
                del queued[key][obj_id]  # this one alone: the others still wait when the frame comes again
                raise PromptError(f"object {obj_id}: {error}") from None
    return prompts, names
