"""Names that came from outside: checked before they become a path, and made harmless before they are shown."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TypeVar

from vidmem.errors import UserError

Value = TypeVar("Value")
LONGEST = 1000  # characters of a whole name; file systems take 255 bytes a part


def check_name(name: str, what: str) -> str:
    """The name itself, if it stays below whatever folder it is joined to, on any system. what: what errors call it, such as "a video".

    Raises `UserError` for a name that is empty, over-long, absolute, climbs with `..`, or holds what no file name can: a NUL, or half
    of a character (as in names that are not UTF-8).
    """
    printable = shown(name) if isinstance(name, str) else repr(name)[:80]
    if not isinstance(name, str) or not name.strip("/. "):
        raise UserError(f"{what} is called '{printable}'; expected the name of a file")
    if len(name) > LONGEST or max(len(part.encode("utf-8", "surrogatepass")) for part in name.split("/")) > 255:
        raise UserError(f"{what} has a name of {len(name)} characters, {printable[:40]}...; no file can have it")
    if "\0" in name or any("\ud800" <= letter <= "\udfff" for letter in name):
        raise UserError(f"{what} is called '{printable}'; no file can have that name in UTF-8, rename it")
    if name[0] in "/\\" or PurePath(name).drive or ".." in name.replace("\\", "/").split("/"):
        raise UserError(
            f"{what} is called '{printable}'; expected a name below its folder, without a root and without '..'"
        )
    return name


def shown(text: str) -> str:
    """For a terminal, a log or a table: one line, valid UTF-8, without control characters."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def cell(value: Value) -> Value | str:
    """For a CSV table: a text that a spreadsheet would take for a formula becomes a text again (OWASP, "CSV injection")."""
    if not isinstance(value, str):
        return value
    text = shown(value)
    return f"'{text}" if text[:1] in tuple("=+-@") or value[:1] in ("\t", "\r", "\n") else text


def regular(path: Path) -> bool:
    """Whether it is a file that can be read to its end; a pipe, a device or a broken link would make its reader wait for ever."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False
