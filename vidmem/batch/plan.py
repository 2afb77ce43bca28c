"""Which videos there are, and what is said about the objects in each."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from vidmem.errors import PromptError, UserError, VidmemError
from vidmem.names import check_name
from vidmem.prompts import PromptAt, load_mask, parse_prompts, read_json, read_text
from vidmem.video.source import IMAGE_SUFFIXES

VIDEO_SUFFIXES = {
    ".mp4",
    ".m4v",
    ".mov",
    ".avi",
    ".mkv",
    ".webm",
    ".mpg",
    ".mpeg",
    ".ts",
    ".mts",
    ".m2ts",
    ".wmv",
    ".flv",
    ".3gp",
    ".ogv",
    ".gif",
    ".vob",
    ".mxf",
    ".y4m",
}
COLUMNS = {"video", "obj_id", "frame", "x0", "y0", "x1", "y1", "x", "y", "label", "mask", "text"}


@dataclass(frozen=True)
class Item:
    """One video and its prompts, small enough to be sent anywhere."""

    name: str
    """Relative to the folder, with its suffix: results go by the same name."""
    stamp: str = ""
    """Changes when the file does; empty for a video that is named but not there."""
    size: int = 0
    """Bytes: the measure of progress."""
    prompts: tuple[dict, ...] = ()
    """As in a prompts file of `vidmem track`."""
    mask: str | None = None
    """A label map of the first frame instead."""
    base: str = "."
    """The folder that the masks' names in `prompts` are relative to."""
    problem: str = field(default="", compare=False)
    """Why it cannot be done, where that is known before it is tried."""

    def load(self) -> list[PromptAt]:
        """Raises `PromptError` where nothing, or nothing usable, is said."""
        if self.problem:
            raise PromptError(self.problem)
        if self.mask:
            return [PromptAt(obj_id, mask=mask) for obj_id, mask in load_mask(self.mask).items()]
        return parse_prompts(list(self.prompts), f"the prompts of {self.name}", Path(self.base))


def find_items(files: dict[str, str], table: dict[str, dict]) -> list[Item]:
    """files: as `Folder.files`. table: as `load_table`: name with or without suffix -> what an `Item` is told.

    Every video file, every folder that holds images itself, and every name in the table that is neither, so that a slip in a name is
    reported and not passed over.
    """
    folders: dict[str, list[str]] = {}
    videos = {}
    for name, stamp in files.items():
        path = PurePosixPath(name)
        if path.suffix.lower() in IMAGE_SUFFIXES and str(path.parent) != ".":
            folders.setdefault(str(path.parent), []).append(stamp)
        elif path.suffix.lower() in VIDEO_SUFFIXES or name in table:
            videos[name] = [stamp]
    items, used = [], set()
    for name, stamps in sorted((folders | videos).items()):
        stem = str(PurePosixPath(name).with_suffix("")) if name in videos else name
        key = next((k for k in (name, stem) if k in table), None)
        used.add(key)
        size = sum(int(stamp.split(":")[0] or 0) for stamp in stamps)
        stamp = stamps[0] if len(stamps) == 1 else f"{len(stamps)} images, {hash_text(stamps)}"
        known: dict[str, Any] = {"problem": f"no prompts for {name}; add a line with this name, or a mask {stem}.png"}
        if key is not None:
            known = table[key] or known
        if name in videos and not stamps[0]:
            known = {
                "problem": f"{name} is no regular file, but a pipe, a device or a broken link; expected a video file"
            }
        if problem := _name_problem(name):
            known = {"problem": problem}
        items.append(Item(name, stamp, size, **known))
    missing = [name for name in table if name not in used]
    return items + [
        Item(
            name,
            problem=_name_problem(name) or f"{name} has prompts, but there is no such video; check the name",
        )
        for name in missing
    ]


def _name_problem(name: str) -> str:
    try:
        check_name(name, "a video")
    except UserError as error:
        return str(error)
    return ""


def hash_text(texts) -> str:
    import hashlib

    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def load_table(path: Path) -> dict[str, dict]:
    """A CSV or JSON file, or a folder of masks -> name of a video -> the fields of its `Item`. What is wrong with one video is its
    own problem; raises `PromptError` for what cannot be read at all.

    CSV: a line for each box or click, with the columns video, obj_id, and x0, y0, x1, y1 or x, y, label, and frame, mask if needed; or text.
    JSON: {"sub/clip.mp4": [as in a prompts file of `vidmem track`]}. Folder: `sub/clip.png`, or the first image in `sub/clip/`.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return _masks(path)
    except OSError as error:
        raise PromptError(
            f"{path} cannot be read: {error.strerror}; expected a .csv or .json file, or a folder of masks"
        ) from None
    base = str(path.absolute().parent)
    if path.suffix.lower() == ".csv":
        return _csv(path, read_text(path, "a .csv or .json file, or a folder of masks"), base)
    table = read_json(path, "a .csv or .json file, or a folder of masks")
    if not isinstance(table, dict) or not table:
        raise PromptError(
            f'{path} holds {type(table).__name__}; expected {{"clip.mp4": [{{"obj_id": 1, "box": [...]}}], ...}}'
        )
    found = {}
    for name, items in table.items():
        good = isinstance(items, list) and items and all(isinstance(item, dict) for item in items)
        found[name] = (
            {"prompts": tuple(items), "base": base}
            if good
            else {"problem": f"{path}: {name} has {json.dumps(items)[:60]}; expected a list of prompts"}
        )
    return found


def _masks(folder: Path) -> dict[str, dict]:
    found: dict[str, dict] = {}
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES):
        name = path.relative_to(folder).with_suffix("").as_posix()
        parent = path.parent.relative_to(folder).as_posix()
        if path.stem.isdigit() and parent != ".":  # DAVIS: a folder a video, numbered images, of which the first counts
            found.setdefault(parent, {"mask": str(path.absolute())})
        else:
            found[name] = {"mask": str(path.absolute())}
    if not found:
        raise PromptError(f"{folder} holds no image; expected masks of first frames, clip.png for clip.mp4")
    return found


def _csv(path: Path, text: str, base: str) -> dict[str, dict]:
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    try:
        return _rows(path, reader, base)
    except csv.Error as error:
        raise PromptError(f"{path}, line {reader.line_num}, is not CSV: {error}") from None


def _rows(path: Path, reader: csv.DictReader, base: str) -> dict[str, dict]:
    columns = {(name or "").strip() for name in reader.fieldnames or []}
    if "video" not in columns or columns - COLUMNS:
        raise PromptError(f"{path} has the columns {', '.join(sorted(columns)) or 'of nothing'}; expected video, obj_id and any of "
                          f"{', '.join(sorted(COLUMNS - {'video', 'obj_id'}))}")  # fmt: skip
    found: dict[str, dict] = {}
    for row in reader:
        row = {(k or "").strip(): v.strip() for k, v in row.items() if k and isinstance(v, str) and v.strip()}
        name = row.pop("video", "")
        if not name:
            continue
        entry = found.setdefault(name, {"prompts": (), "base": base})
        if "problem" in entry:
            continue
        try:
            entry["prompts"] = _joined(entry["prompts"], _prompt(row))
        except (ValueError, VidmemError) as error:
            found[name] = {"problem": f"{path}, line {reader.line_num}: {error}"}
    if not found:
        raise PromptError(f"{path} has no line that names a video")
    return found


def _prompt(row: dict[str, str]) -> dict:
    """A line of the table as an item of a prompts file."""
    whole = {key: int(row[key]) for key in ("obj_id", "frame", "label") if key in row}
    item: dict[str, Any] = {"obj_id": whole.get("obj_id", 1)}
    if "frame" in whole:
        item["frame"] = whole["frame"]
    for keys, name in ((("x0", "y0", "x1", "y1"), "box"), (("x", "y"), "points")):
        given = [key for key in keys if key in row]
        if given and len(given) < len(keys):
            raise PromptError(f"{', '.join(given)} without {', '.join(k for k in keys if k not in row)}")
        if given:
            item[name] = [float(row[key]) for key in keys]
    if "points" in item:
        item |= {"points": [item["points"]], "labels": [whole.get("label", 1)]}
    return item | {key: row[key] for key in ("mask", "text") if key in row}


def _joined(items: tuple[dict, ...], new: dict) -> tuple[dict, ...]:
    """Clicks on the same object and frame are one prompt."""
    for i, item in enumerate(items):
        if "text" not in new and (item["obj_id"], item.get("frame")) == (new["obj_id"], new.get("frame")):
            points = {
                key: item.get(key, []) + new.get(key, []) for key in ("points", "labels") if key in item or key in new
            }
            return (*items[:i], item | new | points, *items[i + 1 :])
    return (*items, new)
