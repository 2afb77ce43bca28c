"""What a request may hold, checked: JSON, prompts, numbers of banks and searches. All of it before anything is made, and with no lock held."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

from vidmem.cli.options import literal
from vidmem.prompts import check_inside, make_prompt
from vidmem.video import rle_decode

from .limits import COUNTS, LETTERS, NUMBER, OBJ_ID, POINTS, POLICY_NUMBERS, WHOLE_NUMBER, Refused

PROMPT = ("points", "labels", "box", "mask")
LARGEST = 1e300  # whole numbers beyond it are none for a computer
FURTHEST = 1e6  # pixels from the origin that a coordinate can mean anything at


def parse(text: str | bytes) -> dict:
    """A JSON object. Raises `Refused` for anything else, however deep."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise Refused("expected a JSON object")
    return fields


def shown(value) -> str:
    """For a message: no longer than one can read."""
    text = (
        f"{type(value).__name__} of {value.bit_length()} bits"
        if type(value) is int and value.bit_length() > 64
        else repr(value)
    )
    return text if len(text) <= 80 else text[:77] + "..."


def whole(fields: dict, name: str, least: int | None = None, most: int | None = None) -> int:
    """said[name], an integer within bounds, both inclusive. Raises `Refused` otherwise."""
    value = fields.get(name)
    if type(value) is not int or (least is not None and value < least) or (most is not None and value > most):
        bounds = "" if least is None else f", {least} or more" if most is None else f" from {least} to {most}"
        raise Refused(f"{name} is {shown(value)}; expected an integer{bounds}")
    return value


def obj_id(fields: dict, name: str = "obj_id") -> int:
    return whole(fields, name, 1, OBJ_ID)


def finite(value, most: float = LARGEST) -> bool:
    """Whether it is a number, no further from 0 than `most`; neither true, false, NaN nor infinite."""
    return type(value) in (int, float) and abs(value) <= most and (type(value) is int or math.isfinite(value))


def arguments(prompt: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """A prompt as JSON has it -> arguments of `Session.add`, a mask decoded. size (H, W) of the frame. Raises `Refused` or `PromptError`
    for a prompt that cannot be used on such a frame: whoever gets an answer may add it."""
    points, labels, box, mask = (prompt.get(key) for key in PROMPT)
    for name, value, most in (("points", points, POINTS), ("labels", labels, POINTS), ("box", box, 4)):
        if value is not None and not (isinstance(value, list) and len(value) <= most):
            came = f"a list of {len(value)}" if isinstance(value, list) else shown(value)
            raise Refused(f"{name} is {came}; expected a list of at most {most}")
    pairs = [p for p in points or () if isinstance(p, list) and len(p) == 2]
    if points and len(pairs) != len(points):
        raise Refused("points are pairs [x, y] in source pixels")
    for value in [*(v for pair in pairs for v in pair), *(labels or ()), *(box or ())]:
        if not finite(value, FURTHEST):
            raise Refused(f"{shown(value)} in a prompt; expected finite numbers, source pixels")
    given = {"points": points, "labels": labels, "box": box, "mask": None if mask is None else decoded(mask, size)}
    check_inside(make_prompt(**given), size)
    return given


def decoded(rle, size: tuple[int, int]):
    """COCO RLE -> (H, W) bool. Raises `Refused` for a mask of another size than (H, W), one that is too long, or none at all."""
    if not isinstance(rle, dict) or not isinstance(rle.get("counts"), str) or not isinstance(rle.get("size"), list):
        raise Refused("the mask cannot be read; expected COCO RLE with size and counts")
    if rle["size"] != list(size):  # first: what claims to be huge is never made
        raise Refused(f"the mask is {shown(rle['size'])}, the video {list(size)} (height, width)")
    if len(rle["counts"]) > COUNTS:
        raise Refused(f"the mask's counts have {len(rle['counts'])} letters; expected at most {COUNTS}")
    try:
        return rle_decode(rle)
    except (ValueError, TypeError, IndexError, OverflowError):
        raise Refused("the mask cannot be read; expected COCO RLE with size and counts") from None


def configured(policy, kind: str, fields: dict):
    """A bank or search with the numbers of the page, within the limits of the app. Raises `Refused` for one that cannot be."""
    numbers = fields.get(f"{kind}_numbers") or {}
    known = {f.name: f.default for f in dataclasses.fields(policy)}
    if not isinstance(numbers, dict):
        raise Refused(f"{kind}_numbers is {shown(numbers)}; expected an object of numbers by name")
    if unknown := [name for name in numbers if name not in known]:
        raise Refused(f"the {kind} has no {shown(unknown[0])}, it has {', '.join(known) or 'no numbers'}")
    try:
        return dataclasses.replace(
            policy, **{name: number(kind, name, value, known[name]) for name, value in numbers.items()}
        )
    except (TypeError, ValueError) as error:
        raise Refused(f"{kind}: {error}") from None


def most_of(name: str, default) -> float:
    """The most that the app takes for a number of a policy, either way."""
    return POLICY_NUMBERS.get(name, NUMBER if isinstance(default, float) else WHOLE_NUMBER)


def number(kind: str, name: str, value, default):
    """One of them: text is read as JSON has numbers. Raises `Refused` beyond the limits of the app."""
    if isinstance(value, str) and len(value) <= LETTERS:
        value = literal(value) if not value.lstrip().startswith(("[", "{")) else value
    if value is None or isinstance(value, bool) or (isinstance(value, str) and len(value) <= LETTERS):
        return value
    most = most_of(name, default)
    if not finite(value, most):
        raise Refused(f"{kind}: {name}={shown(value)}; expected a number, at most {most:g} here")
    return value


def printable(name: str) -> str:
    """What an object or a video may be called: no control characters, and no lone surrogates, which no file can hold."""
    return "".join(letter for letter in name if letter.isprintable()).strip()[:LETTERS] or "unnamed"


def choice(fields: dict, name: str) -> str | None:
    """said[name], a name or nothing. Raises `Refused` otherwise."""
    if fields.get(name) is not None and not isinstance(fields[name], str):
        raise Refused(f"{name} is {shown(fields[name])}; expected its name")
    return fields.get(name)
