"""Masks as colours and boxes: the palette and the overlay."""

from __future__ import annotations

import numpy as np

from vidmem.types import FrameResult, Status


def _palette() -> np.ndarray:
    """The PASCAL VOC colour map, which DAVIS uses: bit k of the index spreads over the channels' high bits."""
    index = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((index >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return palette


PALETTE = _palette()
"""(256, 3) uint8 RGB."""


def color(obj_id: int) -> tuple[int, int, int]:
    """An object's colour in overlays: bright, rare in nature, and far from its neighbours' by the golden angle."""
    hue = (0.5 + (obj_id - 1) * 0.618034) % 1.0 * 6
    channels = [np.clip(abs((hue + shift) % 6 - 3) - 1, 0, 1) for shift in (0, 4, 2)]
    return tuple(int(255 * (0.15 + 0.85 * c)) for c in channels)


def mask_boxes(masks: np.ndarray) -> np.ndarray:
    """(N, H, W) bool -> (N, 4) float32 x0, y0, x1, y1, the last two exclusive; zeros for an empty mask."""
    import cv2

    boxes = np.zeros((len(masks), 4), np.float32)
    for box, mask in zip(boxes, masks):
        x, y, w, h = cv2.boundingRect(mask.view(np.uint8))
        box[:] = x, y, x + w, y + h
    return boxes


def overlay(image: np.ndarray, result: FrameResult, alpha: float = 0.5) -> np.ndarray:
    """The frame with every object tinted, outlined and labelled; those that are not seen are named in the corner.

    image (H, W, 3) uint8 RGB, left as it is -> a new (H, W, 3) uint8.
    """
    import cv2

    out = image.copy()
    scale = max(0.4, min(image.shape[:2]) / 800)  # of the letters; 1 is 22 pixels high
    unseen = []
    for obj_id, mask, box, score, status in zip(
        result.obj_ids, result.masks, result.boxes, result.scores, result.status
    ):
        tint = color(int(obj_id))
        x0, y0, x1, y1 = box.astype(int)
        if x1 <= x0:
            unseen.append((f"{obj_id} {status.value}", tint))
            continue
        part, inside = out[y0:y1, x0:x1], mask[y0:y1, x0:x1].view(np.uint8)
        tinted = cv2.addWeighted(part, 1 - alpha, np.full_like(part, tint), alpha, 0)
        cv2.copyTo(tinted, inside, part)
        contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(out, contours, -1, tint, 2, offset=(int(x0), int(y0)))
        word = "" if status is Status.TRACKED else f" {status.value}"
        _text(out, f"{obj_id}{word} {score:.2f}", (x0, max(y0 - 4, int(22 * scale))), tint, scale)
    for line, (text, tint) in enumerate(unseen):
        _text(out, text, (6, int((line + 1) * 26 * scale) + 4), tint, scale)
    return out


def _text(image: np.ndarray, text: str, at: tuple[int, int], tint, scale: float) -> None:
    """Dark letters on the object's colour, so that they can be read over anything; `at` is their lower left corner."""
    import cv2

    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    x, y = max(0, min(int(at[0]), image.shape[1] - width - 4)), max(int(at[1]), height + 4)
    cv2.rectangle(image, (x, y - height - 3), (x + width + 4, y + below), tint, cv2.FILLED)
    cv2.putText(image, text, (x + 2, y), cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 1, cv2.LINE_AA)
