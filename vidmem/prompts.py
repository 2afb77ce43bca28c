"""Check what a person says about an object, and turn it into a `Prompt`."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vidmem.errors import ObjectError, PromptError, UserError
from vidmem.names import check_name, regular, shown
from vidmem.render import parse_color
from vidmem.types import Prompt

MOST_POINTS = 256  # clicks of one object on one frame, corrections included; each is a token of the decoder's attention
LONGEST_LABEL = 60  # characters
MOST_TEXT = 200  # characters of what is looked for
MOST_WORDS = 24
MOST_BYTES = 64 << 20  # of a prompts file
MASK_PIXELS = 64 << 20
MASK_BYTES = 1 << 30  # of all masks that one label map or one prompts file gives
MASK_FORMATS = (
    "PNG",
    "JPEG",
    "BMP",
    "TIFF",
    "WEBP",
    "GIF",
    "PPM",
    "JPEG2000",
)  # Pillow would start Ghostscript for an EPS of any name


def _short(value) -> str:
    """As `repr`, for an error of one line: reading a number of thousands of digits is an error of its own."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} beyond all bounds"
    return text if len(text) <= 80 else text[:77] + "..."


def _numbers(name: str, value, shape_text: str) -> np.ndarray:
    """A copy as float32: the caller may use its buffer again."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        array = np.empty(0, object)
    if array.dtype.kind not in "buif":
        raise PromptError(f"{name} is {_short(value)}; expected numbers, {shape_text}")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise PromptError(f"{name} holds {array[~np.isfinite(array)][0]}; expected finite source pixels, {shape_text}")
    array.setflags(write=False)
    return array


def _check_count(count: int) -> None:
    if count > MOST_POINTS:
        raise PromptError(f"{count} points on one object and frame; expected at most {MOST_POINTS}; a mask says more")


def check_id(obj_id) -> int:
    """Raises `ObjectError` for what is no integer from 1 to 65535."""
    if isinstance(obj_id, bool) or not isinstance(obj_id, (int, np.integer)) or not 1 <= obj_id <= 65535:
        raise ObjectError(f"obj_id is {_short(obj_id)}; expected an integer from 1 to 65535")
    return int(obj_id)


def check_text(text) -> str:
    """The text without needless blanks. Raises `PromptError` for what is no text, empty or too long."""
    if not isinstance(text, str):
        raise PromptError(f"text is {type(text).__name__}; expected a few words, such as 'black dog'")
    text = " ".join(text.split())
    if not text:
        raise PromptError("text is empty; expected a few words, such as 'black dog'")
    if len(text) > MOST_TEXT or len(text.split()) > MOST_WORDS:
        raise PromptError(
            f"text has {len(text.split())} words and {len(text)} characters; expected at most {MOST_WORDS} and {MOST_TEXT}: name the thing, "
            "its colour and its place"
        )
    return text


def make_prompt(points=None, labels=None, box=None, mask=None) -> Prompt:
    """Lists, numpy arrays or torch tensors -> `Prompt`.

    points (N, 2) or (2,) [x, y]; labels (N,) 1 on the object, 0 beside it (default: all 1); box (4,) x0, y0, x1, y1;
    mask (H, W), anything that is not 0 is object. Raises `PromptError` for what cannot be meant.
    """
    if points is None and box is None and mask is None:
        raise PromptError("a prompt without points, box or mask; give at least one")
    if points is not None:
        if hasattr(points, "__len__"):
            _check_count(len(points))
        points = np.atleast_2d(_numbers("points", points, "(N, 2) as [x, y]"))
        if points.ndim != 2 or points.shape[1] != 2 or not len(points):
            raise PromptError(f"points have shape {points.shape}; expected (N, 2): one [x, y] a click")
        labels = (
            np.ones(len(points)) if labels is None else np.atleast_1d(_numbers("labels", labels, "(N,) of 1 and 0"))
        )
        if labels.shape != (len(points),) or not np.isin(labels, (0, 1)).all():
            raise PromptError(
                f"labels are {_short(labels.tolist())} for {len(points)} points; expected one 1 or 0 for each"
            )
        labels = labels.astype(np.uint8)
        labels.setflags(write=False)
    elif labels is not None:
        raise PromptError("labels came without points; give both, or neither")
    if box is not None:
        box = _numbers("box", box, "x0, y0, x1, y1")
        if box.shape != (4,):
            raise PromptError(f"box has shape {box.shape}; expected four numbers x0, y0, x1, y1")
        if box[2] <= box[0] or box[3] <= box[1]:
            raise PromptError(f"box {box.tolist()} is reversed or empty; expected x0 < x1 and y0 < y1")
    if mask is not None:
        try:
            mask = np.asarray(mask)
        except (TypeError, ValueError, OverflowError, RecursionError):
            raise PromptError("mask has rows of different lengths; expected (H, W)") from None
        if mask.ndim != 2 or mask.dtype.kind not in "buif":
            raise PromptError(f"mask has shape {mask.shape} and holds {mask.dtype}; expected (H, W) of numbers or bool")
        mask = mask != 0
        mask.setflags(write=False)
        if not mask.any():
            raise PromptError("mask is empty; paint at least one pixel, or remove the object instead")
    return Prompt(points, labels, box, mask)


def check_inside(prompt: Prompt, size: tuple[int, int]) -> Prompt:
    """The prompt, its box clipped to a frame of `size` (H, W). Raises `PromptError` for one that lies outside."""
    height, width = size
    frame = f"the frame is {width}x{height}: x from 0 to {width}, y from 0 to {height}"
    if prompt.points is not None:
        outside = ((prompt.points < 0) | (prompt.points > [width, height])).any(axis=1)
        if outside.any():
            raise PromptError(f"click {prompt.points[outside][0].tolist()} is outside; {frame}")
    box = prompt.box
    if box is not None:
        clipped = np.clip(box, 0, [width, height, width, height]).astype(np.float32)
        if clipped[2] - clipped[0] < 1 or clipped[3] - clipped[1] < 1:
            raise PromptError(f"box {box.tolist()} is outside; {frame}")
        box = clipped
    if prompt.mask is not None and prompt.mask.shape != (height, width):
        came = f"{prompt.mask.shape[1]}x{prompt.mask.shape[0]}"
        raise PromptError(f"the mask is {came} but the frame is {width}x{height}; give the mask at the frame's size")
    return Prompt(prompt.points, prompt.labels, box, prompt.mask)


def merge(old: Prompt | None, new: Prompt) -> Prompt:
    """Further clicks on the same frame add to earlier ones; a new box or mask starts over."""
    if old is None or new.box is not None or new.mask is not None:
        return new
    if old.points is None or new.points is None:
        return Prompt(new.points, new.labels, old.box, None)
    _check_count(len(old.points) + len(new.points))
    return Prompt(np.concatenate([old.points, new.points]), np.concatenate([old.labels, new.labels]), old.box, None)


@dataclass(frozen=True, eq=False, repr=False)
class PromptAt:
    """A prompt and where it belongs; `frame_idx` None is the first frame that comes."""

    obj_id: int
    frame_idx: int | None = None
    points: object = None
    labels: object = None
    box: object = None
    mask: object = None
    label: str | None = None
    """What the object is called in what is written; None: its number."""
    color: tuple[int, int, int] | None = None
    """RGB, 0..255; None: one that goes with its number."""
    text: str | None = None
    """Instead of a place: what to look for, from the first frame on; see `vidmem.detect`."""

    def __repr__(self) -> str:
        given = [name for name in ("points", "box", "mask", "text") if getattr(self, name) is not None]
        when = "the first frame" if self.frame_idx is None else f"frame {self.frame_idx}"
        return f"PromptAt(object {self.label or self.obj_id}, {when}: {', '.join(given) or 'nothing'})"

    def scaled(self, scale: float) -> PromptAt:
        """The same prompt on frames that were scaled by this factor (`--max-size`)."""
        if scale == 1 or self.text is not None:
            return self
        import cv2

        mask = self.mask
        if mask is not None:
            mask = np.asarray(mask, np.uint8)
            mask = cv2.resize(mask, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
        points = None if self.points is None else np.asarray(self.points, float) * scale
        box = None if self.box is None else np.asarray(self.box, float) * scale
        return replace(self, points=points, box=box, mask=mask)


def load_mask(path: str | Path) -> dict[int, np.ndarray]:
    """A mask image -> obj_id -> (H, W) bool.

    An image with two values is one object, 1. An indexed or grey image with more is a label map: each value an object, 0
    the background, 255 ignored. Colour images count as one object where they are not black.
    """
    from PIL import Image

    path = Path(path)
    if not regular(path):
        why = "cannot be read: it is no regular file" if os.path.lexists(path) else "does not exist"
        raise PromptError(f"mask file {shown(str(path))} {why}; expected an image")
    try:
        with Image.open(path, formats=MASK_FORMATS) as image:
            if image.width * image.height > MASK_PIXELS:
                raise PromptError(
                    f"mask file {path} is {image.width}x{image.height}; expected at most {MASK_PIXELS >> 20} megapixels"
                )
            label_map = image.mode in ("P", "L", "I;16", "I")
            labels = np.array(image if label_map or image.mode == "1" else image.convert("L"))
    except PromptError:
        raise
    except (
        Exception
    ) as error:  # a damaged image gives whatever its decoder trips over: struct.error, SyntaxError, OverflowError ...
        raise PromptError(f"mask file {path} cannot be read as an image: {shown(str(error))[:200]}") from None
    values = sorted(set(np.unique(labels).tolist()) - {0})
    if not values:
        raise PromptError(f"mask file {path} is empty (all pixels are 0); paint the object with any other value")
    if len(values) == 1 or not label_map:
        return {1: labels != 0}
    if len(values) * labels.size > MASK_BYTES:
        raise PromptError(
            f"mask file {path} has {len(values)} values on {labels.shape[1]}x{labels.shape[0]} pixels; expected a label map, in which each is an object"
        )
    return {int(v): labels == v for v in values if v != 255}


def read_text(path: Path, expected: str) -> str:
    """A file of prompts, of at most `MOST_BYTES`. Raises `PromptError`."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise PromptError(f"{path} has more than {MOST_BYTES >> 20} MB; expected {expected}, of prompts alone")
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        raise PromptError(f"{path} does not exist and cannot be read; expected {expected}") from None
    except (OSError, ValueError) as error:
        raise PromptError(f"{path} cannot be read ({error}); expected {expected}, in UTF-8") from None


def read_json(path: Path, expected: str):
    """What a file of prompts holds. Raises `PromptError`."""
    try:
        return json.loads(read_text(path, expected))
    except (
        ValueError,
        RecursionError,
    ) as error:  # numbers of thousands of digits, and brackets in thousands, are no JSON of ours
        raise PromptError(f"{path} is not JSON: {str(error)[:200]}") from None


def load_prompts(path: str | Path) -> list[PromptAt]:
    """Read a prompts file: a JSON list of {"obj_id", "frame" (default: the first), and "points" with "labels", "box" or
    "mask" (an image file beside the JSON, or below), or {"obj_id", "text"}, and if you like "label" and "color" of the object};
    coordinates in source pixels. Raises `PromptError` that names the item."""
    path = Path(path)
    items = read_json(path, "a JSON list of prompts")
    if not isinstance(items, list) or not items:
        raise PromptError(
            f'prompts file {path} holds {type(items).__name__}; expected a list such as [{{"obj_id": 1, "box": ...}}]'
        )
    return parse_prompts(items, str(path), path.parent)


def parse_prompts(items: list, source: str, folder: Path) -> list[PromptAt]:
    """What a prompts file holds, from anywhere. source: what errors call it; folder: where the masks' names begin."""
    known = {"obj_id", "frame", "points", "labels", "box", "mask", "text", "label", "color"}
    prompts, held = [], 0
    for number, item in enumerate(items):
        where = f"{source}, item {number}"
        if not isinstance(item, dict) or "obj_id" not in item or item.keys() - known:
            raise PromptError(
                f"{where} is {json.dumps(item)[:80]}; expected obj_id and any of {', '.join(sorted(known - {'obj_id'}))}"
            )
        frame_idx = item.get("frame")
        if frame_idx is not None and (type(frame_idx) is not int or frame_idx < 0):
            raise PromptError(f"{where} has frame {_short(frame_idx)}; expected an index from 0")
        if type(item["obj_id"]) is not int:
            raise PromptError(f"{where} has obj_id {_short(item['obj_id'])}; expected an integer from 1 to 65535")
        try:
            color = None if item.get("color") is None else parse_color(item["color"])
            label = check_label(item.get("label"))
        except PromptError as error:
            raise PromptError(f"{where}: {error}") from None
        if "text" in item:
            prompts.append(_text_prompt(item, where, label, color))
            continue
        mask = item.get("mask")
        if mask is not None:
            if not isinstance(mask, str):
                raise PromptError(f"{where} has mask {json.dumps(mask)[:80]}; expected the name of an image file")
            try:
                masks = load_mask(folder / check_name(mask, "a mask"))
            except UserError as error:
                raise PromptError(f"{where}: {error}") from None
            mask = masks.get(item["obj_id"], next(iter(masks.values())) if len(masks) == 1 else None)
            if mask is None:
                raise PromptError(f"{where}: {item['mask']} has the objects {sorted(masks)}, not {item['obj_id']}")
            held += mask.nbytes
            if held > MASK_BYTES:
                raise PromptError(
                    f"{where}: the masks until here take more than {MASK_BYTES >> 20} MB; give boxes, or fewer masks at a time"
                )
        points, labels, box = (item.get(key) for key in ("points", "labels", "box"))
        try:
            make_prompt(points, labels, box, mask)
        except PromptError as error:
            raise PromptError(f"{where}: {error}") from None
        prompts.append(PromptAt(item["obj_id"], frame_idx, points, labels, box, mask, label=label, color=color))
    return prompts


def check_label(label) -> str | None:
    """The name of an object, made harmless. Raises `PromptError` for what is no text, empty or too long."""
    if label is None:
        return None
    if not isinstance(label, str) or not label.strip() or len(label) > LONGEST_LABEL:
        raise PromptError(f"label is {_short(label)}; expected a name of 1 to {LONGEST_LABEL} characters")
    return shown(label.strip())


def _text_prompt(item: dict, where: str, label: str | None, color) -> PromptAt:
    """What is looked for has no place and no frame."""
    text, others = item["text"], sorted(item.keys() - {"obj_id", "text", "label", "color"})
    if not isinstance(text, str) or not text.strip():
        raise PromptError(f"{where} has text {_short(text)}; expected a few words, such as 'black dog'")
    if others:
        raise PromptError(
            f"{where} has text and {others[0]}; a text is looked for from the first frame on, so give it alone"
        )
    return PromptAt(check_id(item["obj_id"]), text=text, label=label, color=color)
