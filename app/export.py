"""What a visitor can take home: files as the command line writes them, and the project itself."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

from vidmem.errors import OutputError
from vidmem.render.look import Look
from vidmem.types import Frame
from vidmem.video import open_sinks

from .archive import save, unpack
from .limits import Refused
from .project import Project

__all__ = ["KINDS", "export", "unpack"]  # the last: what takes an exported project apart again

KINDS = {
    "overlay": "Video with masks (MP4)", "webm": "Cut-out video (WebM)", "rgba": "Cut-out pictures (PNG)",
    "png": "Label maps (PNG, DAVIS)", "sav": "Masks by object (PNG, SA-V)", "rle": "Masks (COCO RLE, JSON lines)",
    "vos": "Tracks (JSON, YouTube-VOS)", "mot": "Boxes (text, MOTChallenge)", "csv": "Boxes as a table (CSV)", "project": "Project, to go on with later",
}  # fmt: skip

PICTURED = ("overlay", "webm", "rgba")


def export(
    project: Project,
    video: dict,
    kind: str,
    frames: Path,
    folder: Path,
    stopped: Callable[[], bool],
    progress: Callable[[int], None],
) -> Path | None:
    """-> the file, in `folder`; None when it was stopped. Raises `Refused` for a kind there is not, when there is nothing to write, or when there
    is no room for it. What is not whole does not stay, for `folder` is what visitors take from."""
    if kind not in KINDS:
        raise Refused(f"there is no export {kind!r}; choose from: {', '.join(KINDS)}")
    path = None
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        path = _written(project, video, kind, frames, folder, stopped, progress)
    except OutputError as error:  # it names a file that is none of the visitor's business
        if not isinstance(error.__cause__, OSError):
            raise
        raise _no_room(error.__cause__) from error
    except OSError as error:
        raise _no_room(error) from error
    finally:
        if path is None:
            shutil.rmtree(folder, ignore_errors=True)
    return path


def _no_room(error: OSError) -> Refused:
    return Refused(
        f"the export cannot be written here ({error.strerror or error}); try again later, or a smaller kind", 507
    )


def _written(project, video, kind, frames, folder, stopped, progress) -> Path | None:
    name = (
        "".join(letter if letter.isalnum() else "-" for letter in Path(video["name"]).stem)[:40] or "video"
    )  # of four bytes each at most, and a file name has 255
    if kind == "project":
        return save(project, video, frames, folder / f"{name}.vidmem.zip")
    if not project.results:
        raise Refused("nothing is tracked yet; click on an object and press track")
    names = {o: t.name for o, t in project.things.items() if t.name != f"object {o}"}
    rate = Fraction(project.fps).limit_denominator(1000)
    (sink,) = open_sinks([kind], folder / kind, rate, look=Look(names=names))
    nothing = np.broadcast_to(np.zeros(1, np.uint8), (*project.size, 3))  # where the picture itself is not written
    with sink:
        for i in range(project.count):
            if stopped():
                return None
            picture = project.frames(i) if kind in PICTURED else nothing
            sink.write(Frame(i, i / project.fps, picture), project.result(i))
            progress(i + 1)
    files = sorted(path for path in (folder / kind).rglob("*") if path.is_file())
    if len(files) == 1:
        return files[0].rename(folder / f"{name}-{files[0].name}")
    path = folder / f"{name}-{kind}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            archive.write(file, file.relative_to(folder / kind))
    return path
