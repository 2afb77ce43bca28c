"""What people said and what was found, as data: objects, prompts, and what each frame gave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vidmem.types import FrameResult, Remembered
from vidmem.video import rle_encode

from .limits import Refused


@dataclass
class Thing:
    """An object as its user sees it."""

    name: str
    color: str
    visible: bool = True


@dataclass(frozen=True)
class Seen:
    """What one frame gave for one object."""

    rle: dict
    score: float
    object_logit: float
    status: str
    rival: int | None = None
    """The object that claims the same, where the status is ambiguous."""


@dataclass(frozen=True)
class Edit:
    """Something a person said."""

    frame_idx: int
    obj_id: int
    prompt: dict[str, Any]
    """Arguments of `Session.add` as JSON can hold them: a mask is a COCO RLE."""


def seen_in(result: FrameResult) -> dict[int, Seen]:
    rivals = result.rivals or [None] * len(result.obj_ids)
    return {
        int(o): Seen(
            rle_encode(mask),
            round(float(score), 4),
            round(float(logit), 3),
            status.value,
            None if r is None else int(r),
        )
        for o, mask, score, logit, status, r in zip(
            result.obj_ids, result.masks, result.scores, result.object_logits, result.status, rivals
        )
    }


def remembered(memories: list[Remembered]) -> list[dict]:
    """An object's memories, the oldest first, and why each is there."""
    entries = []
    for frame_idx, verdict, prompted, _, read in memories:
        why = (
            "you prompted it"
            if prompted
            else f"predicted IoU {verdict.iou:.2f}" + (", present" if verdict.visible else ", absent")
        )
        entries.append({"frame_idx": frame_idx, "why": why, "prompted": bool(prompted), "read": read})
    return entries


def read_jpeg(folder: Path) -> Callable[[int], np.ndarray]:
    """Frames as `decode` wrote them."""
    import cv2

    def read(i: int) -> np.ndarray:
        image = cv2.imread(str(folder / f"{i:05d}.jpg"))
        if image is None:
            raise Refused(f"frame {i} is not there any more; load the video again")
        return np.ascontiguousarray(image[..., ::-1])

    return read


def small_jpeg(path: Path, height: int = 72) -> bytes:
    """A frame as a thumbnail. Raises `Refused` where it is not there any more."""
    import cv2

    image = cv2.imread(str(path), cv2.IMREAD_REDUCED_COLOR_4)
    if image is None:
        raise Refused("this frame is not there any more; load the video again", 404)
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
