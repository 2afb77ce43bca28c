"""Three coloured squares on black, and sessions that follow them with `FakeNetwork`, which follows colour."""

from __future__ import annotations

import numpy as np

from vidmem.memory import Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.search import Greedy
from vidmem.session import Session
from vidmem.types import Frame

RED, GREEN, BLUE = (220, 30, 30), (30, 220, 30), (30, 30, 220)
COLOURS = {1: RED, 2: GREEN, 3: BLUE}


def place(obj_id: int, t: int) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of a square at frame t: each in a row of its own, moving right and round again."""
    x = 4 * (t % 10)
    return x, 16 * obj_id - 12, x + 12, 16 * obj_id


def scene(t: int, height: int = 52, width: int = 64, hidden=()) -> Frame:
    """Three squares on black; those in `hidden` are not drawn."""
    image = np.zeros((height, width, 3), np.uint8)
    for obj_id, colour in COLOURS.items():
        x0, y0, x1, y1 = place(obj_id, t)
        if obj_id not in hidden:
            image[y0:y1, x0:x1] = colour
    return Frame(t, t / 25, image)


def truth(obj_id: int, t: int, height: int = 52, width: int = 64) -> np.ndarray:
    x0, y0, x1, y1 = place(obj_id, t)
    mask = np.zeros((height, width), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def click(obj_id: int, t: int) -> list[list[int]]:
    x0, y0, x1, y1 = place(obj_id, t)
    return [[(x0 + x1) // 2, (y0 + y1) // 2]]


def new_session(policy=Recent(slots=4), **how) -> Session:
    return Session(FakeNetwork(), policy, Greedy(), **how)


def memory(session: Session, obj_id: int) -> list[tuple]:
    """All that an object remembers, comparable bit for bit."""
    return [
        (entry.verdict, None if entry.payload is None else entry.payload.tobytes())
        for bank in session._state.tracks[obj_id].banks
        for entry in bank.entries()
    ]


def shot(result, obj_id: int) -> tuple:
    """All that a result says about one object, comparable bit for bit."""
    i = result.obj_ids.tolist().index(obj_id)
    arrays = (result.masks, result.boxes, result.scores, result.object_logits, result.mask_logits)
    return tuple(array[i].tobytes() for array in arrays) + (result.status[i],)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()
