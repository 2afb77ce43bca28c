"""The frame with its objects on it."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Protocol

import numpy as np

from vidmem.render.colors import readable_on
from vidmem.render.effects import EFFECTS
from vidmem.render.look import Look


class Drawn(Protocol):
    """What is drawn of a `vidmem.FrameResult`: rows of N objects."""

    @property
    def obj_ids(self) -> np.ndarray: ...

    @property
    def masks(self) -> np.ndarray: ...

    @property
    def boxes(self) -> np.ndarray: ...

    @property
    def scores(self) -> np.ndarray: ...

    @property
    def status(self) -> tuple: ...


def overlay(image: np.ndarray, result: Drawn, look: Look = Look()) -> np.ndarray:
    """The frame with every object tinted, outlined and labelled as `look` says, or with its effect; objects that are not seen
    are named in the corner.

    image (H, W, 3) uint8 RGB, left as it is -> a new (H, W, 3) uint8.
    """
    import cv2

    plain = look.effect is None
    thickness = look.thickness if look.thickness is not None else 2 if plain else 0
    labels = look.labels if look.labels is not None else plain
    out = image.copy() if look.effect is None else EFFECTS[look.effect](image, _union(result.masks))
    letters = max(11, round(min(image.shape[:2]) / 32))  # pixels
    texts, unseen = [], []
    rivals = getattr(result, "rivals", ()) or [None] * len(result.obj_ids)
    for obj_id, mask, box, score, status, rival in zip(
        result.obj_ids, result.masks, result.boxes, result.scores, result.status, rivals
    ):
        other = None if rival is None else written(look, rival)
        tint, (x0, y0, x1, y1) = look.color(obj_id), box.astype(int)
        if x1 <= x0:
            unseen.append((caption(written(look, obj_id), status, rival=other), tint))
            continue
        inside = mask[y0:y1, x0:x1].view(np.uint8)
        if plain and look.opacity > 0:
            part = out[y0:y1, x0:x1]
            tinted = cv2.addWeighted(part, 1 - look.opacity, np.full_like(part, tint), look.opacity, 0)
            cv2.copyTo(tinted, inside, part)
        if thickness:
            contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(out, contours, -1, tint, thickness, offset=(int(x0), int(y0)))
        texts.append((caption(written(look, obj_id), status, score, other), (x0, y0 - 2), tint))
    if labels:
        for text, at, tint in texts:
            write_text(out, text, at, tint, letters)
        for line, (text, tint) in enumerate(unseen):
            write_text(out, text, (4, round((line + 1) * 1.5 * letters) + 4), tint, letters)
    return out


def written(look: Look, obj_id: int) -> str:
    """The object's name in the letters that the font has: Muller for Müller; its number where nothing is left, as of 犬."""
    plain = unicodedata.normalize("NFKD", look.name(obj_id)).encode("ascii", "ignore").decode().strip()
    return plain or str(obj_id)


def caption(name: str, status, score: float | None = None, rival: str | None = None) -> str:
    """`dog  67%`, `dog  occluded  67%`, `dog  ambiguous, or cat  67%` where `rival` claims the same, and without a mask `dog  lost`: two
    spaces, so that `1  67%` cannot be read as one number."""
    words = [name] if status.value == "tracking" else [name, status.value + (f", or {rival}" if rival else "")]
    return "  ".join(words if score is None else [*words, f"{100 * score:.0f}%"])


def _union(masks: np.ndarray) -> np.ndarray:
    """(N, H, W) bool -> (H, W) bool; nothing where N is 0."""
    return np.logical_or.reduce(masks, axis=0)


@lru_cache
def _font(letters: int):
    from PIL import ImageFont

    return ImageFont.load_default(letters)  # comes with Pillow; ASCII alone, as OpenCV's own, and easier to read


def write_text(image: np.ndarray, text: str, at: tuple[int, int], tint, letters: int) -> None:
    """On a plate in the object's colour, so that it can be read over anything; `at` is the plate's lower left corner, which is moved
    where it would leave the picture."""
    from PIL import Image, ImageDraw

    font, edge, text = _font(letters), max(2, letters // 5), text.replace("  ", "    ")  # this font's spaces are narrow
    ascent, descent = font.getmetrics()
    width, height = round(font.getlength(text)) + 2 * edge, ascent + descent + edge
    plate = Image.new("RGB", (width, height), tuple(tint))
    ImageDraw.Draw(plate).text((edge, edge // 2), text, fill=readable_on(tint), font=font)
    x, y = max(0, min(int(at[0]), image.shape[1] - width)), max(0, min(int(at[1]), image.shape[0]) - height)
    part = image[y : y + height, x : x + width]
    part[:] = np.asarray(plate)[: part.shape[0], : part.shape[1]]
