"""Projects that outlive their visits: a folder for each, with its frames and what was said and found, written while somebody works on it."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import time
from pathlib import Path

from .archive import checked, told
from .limits import PROJECT_BYTES, Refused
from .project import Project
from .requests import printable

NAME = re.compile(r"[0-9a-f]{16}")  # of a project's folder
ABOUT_BYTES = 4096  # of the few lines that the list shows


def default_folder() -> Path:
    """Where programs of this user keep such things (XDG base directories)."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "vidmem" / "projects"


class Shelf:
    """`folder` has a folder for each project: `frames/`, `project.json`, and `about.json` for the list. Files appear whole or not at all."""

    def __init__(self, folder: Path, most_mb: int):
        self.folder, self.most = folder, most_mb << 20
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            (folder / ".writable").touch()
            (folder / ".writable").unlink()
        except OSError as error:
            raise Refused(
                f"projects cannot be kept in {folder} ({error.strerror or error}); name another folder with --projects, or say --no-projects"
            ) from error

    def list(self) -> list[dict]:
        """What is kept, the newest first: `id`, `name`, `count` of frames, `objects`, `prompts`, `saved` (seconds since 1970), `bytes`."""
        found = []
        for about in self.folder.glob("*/about.json"):
            try:
                record = json.loads(about.read_bytes()[:ABOUT_BYTES])
                numbers = {key: int(record[key]) for key in ("count", "objects", "prompts", "saved", "bytes")}
                if NAME.fullmatch(about.parent.name):
                    found.append({"id": about.parent.name, "name": printable(str(record["name"])), **numbers})
            except (OSError, ValueError, KeyError, TypeError):  # half deleted, or not ours
                continue
        return sorted(found, key=lambda one: -one["saved"])

    def path(self, name: str) -> Path:
        """The folder of a project. Raises `Refused` for one that there is not; no path is made of what was sent."""
        if not NAME.fullmatch(name) or not (self.folder / name / "about.json").is_file():
            raise Refused("there is no such project any more; load the page again", 404)
        return self.folder / name

    def begin(self, frames: Path, count: int) -> str:
        """Keep the frames of a new project -> its name. Raises `Refused` when there is no room for them."""
        name = secrets.token_hex(8)
        files = [frames / f"{i:05d}.jpg" for i in range(count)]
        used, size = sum(one["bytes"] for one in self.list()), sum(file.stat().st_size for file in files)
        if used + size > self.most:
            raise Refused(
                f"projects have {used >> 20} MB of the {self.most >> 20} MB that they may have; delete some under Projects"
            )
        folder = self.folder / name / "frames"
        try:
            folder.mkdir(parents=True)
            for file in files:
                linked(file, folder / file.name)
        except OSError:
            self.delete(name)
            raise
        return name

    def save(self, name: str, project: Project, video: dict) -> None:
        """What was said and found until now. Raises `Refused` for more than can be opened again, `OSError` where it cannot be written."""
        folder, written = self.folder / name, 0
        with (folder / "project.new").open("wb") as file:
            for text in told(project, video):
                written += file.write(text.encode())
                if written > PROJECT_BYTES:
                    raise Refused(f"the masks are more than {PROJECT_BYTES >> 20} MB, which no app opens again")
        (folder / "project.new").replace(folder / "project.json")
        frames = sum(file.stat().st_size for file in (folder / "frames").iterdir())
        about = {"name": video["name"], "count": project.count, "objects": len(project.things),
                 "prompts": len(project.edits), "saved": int(time.time()), "bytes": frames + written}  # fmt: skip
        (folder / "about.new").write_text(json.dumps(about))
        (folder / "about.new").replace(folder / "about.json")

    def take(self, name: str, folder: Path) -> dict:
        """The frames of a kept project into `folder` -> what was said, as `archive.records` takes it. Raises `Refused` for what is broken."""
        kept = self.path(name)
        try:
            for i in range(len(list((kept / "frames").iterdir()))):
                linked(kept / "frames" / f"{i:05d}.jpg", folder / f"{i:05d}.jpg")
            if (kept / "project.json").stat().st_size > PROJECT_BYTES:
                raise ValueError("too large")
            return checked(json.loads((kept / "project.json").read_bytes()))
        except (OSError, ValueError, RecursionError) as error:
            raise Refused(f"the project is not whole any more ({type(error).__name__}); delete it") from None

    def delete(self, name: str) -> None:
        if NAME.fullmatch(name):
            shutil.rmtree(self.folder / name, ignore_errors=True)


def linked(source: Path, target: Path) -> None:
    """The same file under another name, where the file system can; frames are never written to again. Else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
