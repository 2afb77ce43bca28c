"""A frame's result as a line of text, and back, exactly: what waits on disk for its turn, or for another process."""

from __future__ import annotations

import base64
import json

import numpy as np

from vidmem.types import FrameResult, Status
from vidmem.video.rle import rle_decode, rle_encode


def result_to_json(result: FrameResult, logits: bool = False) -> str:
    """All that sinks look at. The mask logits decide where masks overlap, and are left out where none do, unless `logits`."""
    disputed = logits or (len(result.obj_ids) > 1 and bool((result.masks.sum(0) > 1).any()))
    packed = base64.b64encode(np.ascontiguousarray(result.mask_logits).tobytes()).decode() if disputed else ""
    return json.dumps(
        {
            "frame_idx": result.frame_idx, "pts_seconds": result.pts_seconds, "size": list(result.size),
            "obj_ids": result.obj_ids.tolist(), "masks": [rle_encode(mask)["counts"] for mask in result.masks],
            "boxes": result.boxes.tolist(), "scores": result.scores.tolist(), "object_logits": result.object_logits.tolist(),
            "status": list(result.status), "rivals": list(result.rivals), "seen": [None if np.isnan(fit) else fit for fit in result.seen.tolist()],
            "search": list(result.search), "cut": result.cut,
            "logits": packed, "side": list(result.mask_logits.shape[1:]), "ms": result.timings["total"],
        }
    )  # fmt: skip


def result_from_json(line: str) -> FrameResult:
    """The inverse. Raises `ValueError`, `KeyError` or `TypeError` for another line."""
    said = json.loads(line)
    size, count = tuple(said["size"]), len(said["obj_ids"])
    masks = [rle_decode({"size": size, "counts": counts}) for counts in said["masks"]]
    logits = np.zeros((count, 1, 1), np.float32)
    if said["logits"]:
        logits = np.frombuffer(base64.b64decode(said["logits"]), np.float32).reshape(count, *said["side"]).copy()
    return FrameResult(
        frame_idx=said["frame_idx"],
        pts_seconds=said["pts_seconds"],
        size=size,
        obj_ids=np.array(said["obj_ids"], np.int64),
        masks=np.stack(masks) if masks else np.zeros((0, *size), bool),
        boxes=np.array(said["boxes"], np.float32).reshape(count, 4),
        scores=np.array(said["scores"], np.float32),
        object_logits=np.array(said["object_logits"], np.float32),
        status=tuple(map(Status, said["status"])),
        mask_logits=logits,
        timings={"total": said["ms"]},
        rivals=tuple(said["rivals"]),
        seen=np.array([np.nan if fit is None else fit for fit in said["seen"]], np.float32),
        search=tuple(said["search"]),
        cut=said["cut"],
    )
