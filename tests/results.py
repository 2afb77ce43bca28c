"""Results without a session, for what comes after one."""

from __future__ import annotations

import numpy as np

from vidmem.render import mask_boxes
from vidmem.types import Frame, FrameResult, Status


def frame(
    index: int = 0, pts_seconds: float | None = None, height: int = 48, width: int = 64, value: int = 100
) -> Frame:
    return Frame(index, pts_seconds, np.full((height, width, 3), value, np.uint8))


def rectangle(box, height: int = 48, width: int = 64) -> np.ndarray:
    """(H, W) bool, true in x0, y0, x1, y1 (exclusive)."""
    x0, y0, x1, y1 = box
    mask = np.zeros((height, width), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def result(of: Frame, masks: dict[int, np.ndarray] | None = None, *, status=Status.TRACKED, logits=None) -> FrameResult:
    """masks: obj_id -> (H, W) bool. logits: (N, h, w); by default 8 inside a mask and -8 outside."""
    masks = dict(sorted((masks or {}).items()))
    stack = np.stack(list(masks.values())) if masks else np.zeros((0, *of.size), bool)
    seen = stack.any(axis=(1, 2))
    return FrameResult(
        frame_idx=of.index,
        pts_seconds=of.pts_seconds,
        size=of.size,
        obj_ids=np.array(list(masks), np.int64),
        masks=stack,
        boxes=mask_boxes(stack),
        scores=np.where(seen, 0.9, 0.0).astype(np.float32),
        object_logits=np.where(seen, 5.0, -5.0).astype(np.float32),
        status=tuple(status if s else Status.LOST for s in seen),
        mask_logits=np.where(stack, 8, -8).astype(np.float32) if logits is None else np.asarray(logits, np.float32),
    )


def write(sink, frames, masks=None) -> None:
    """Every frame with the same masks, then the end."""
    with sink:
        for f in frames:
            sink.write(f, result(f, masks))
