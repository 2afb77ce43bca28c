"""Numbers with bounds, as fields of a dataclass that checks itself."""

from __future__ import annotations

import math
from dataclasses import field, fields

MOST_PIXELS = 1 << 26  # of a frame: 8192x8192, 200 MB in RGB
MOST = (
    10_000  # of a number that says no bound of its own: nothing here counts further, and everything costs by its number
)


def bounded(default, least=None, most=MOST):
    """A dataclass field with bounds, both inclusive; an integer default takes integers only."""
    return field(default=default, metadata={"least": least, "most": most})


def choice(default: str, *others: str):
    """A dataclass field that takes one of a few words."""
    return field(default=default, metadata={"choices": (default, *others)})


def check(policy) -> None:
    """Raises `ValueError` for a field of another type than its default's, or beyond its bounds."""
    for f in fields(policy):
        value, least, most = getattr(policy, f.name), f.metadata.get("least"), f.metadata.get("most")
        if isinstance(f.default, bool):
            if not isinstance(value, bool):
                raise ValueError(f"{f.name}={_short(value)}; expected true or false")
            continue
        if isinstance(f.default, str):
            if value not in f.metadata["choices"]:
                raise ValueError(f"{f.name}={_short(value)}; expected one of {', '.join(f.metadata['choices'])}")
            continue
        if f.default is None and value is None:
            continue
        whole = f.default is None or isinstance(f.default, int)
        fits = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if not fits or (least is not None and value < least) or (most is not None and value > most) or (value != value):
            least = -math.inf if least is None else least
            bounds = (
                f"from {least} to {most}"
                if most not in (None, MOST)
                else f"{least} or more" + (f", at most {most}" if most else "")
            )
            raise ValueError(f"{f.name}={_short(value)}; expected {'an integer' if whole else 'a number'}, {bounds}")


def _short(value) -> str:
    """As `repr`; a number of thousands of digits cannot even be said."""
    try:
        return repr(value)[:80]
    except ValueError:
        return "a number of thousands of digits"
