"""What a visitor can take home: files as the command line writes them, and the project itself."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from vidmem.errors import OutputError
from vidmem.types import Frame
from vidmem.video import open_sinks

from .archive import save, unpack
from .limits import Refused
from .project import Project

__all__ = ["KINDS", "export", "unpack"]  # the last: what takes an exported project apart again

KINDS = {
    "overlay": "video with the masks drawn on it (MP4)", "webm": "cut-out with a transparent ground (WebM)", "rgba": "cut-out, a PNG each frame",
    "png": "label maps, a PNG each frame (DAVIS)", "sav": "a PNG for each object and frame (SA-V)", "rle": "masks as COCO RLE, JSON lines",
    "vos": "tracks as JSON (YouTube-VOS)", "mot": "boxes as MOTChallenge text", "csv": "boxes as a table (CSV)", "project": "the project, to go on with later",
}  # fmt: skip


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
    (sink,) = open_sinks([kind], folder / kind, Fraction(project.fps).limit_denominator(1000))
    with sink:
        for i in range(project.count):
            if stopped():
                return None
            sink.write(Frame(i, i / project.fps, project.frames(i)), project.result(i))
            progress(i + 1)
    files = sorted(path for path in (folder / kind).rglob("*") if path.is_file())
    if len(files) == 1:
        return files[0].rename(folder / f"{name}-{files[0].name}")
    path = folder / f"{name}-{kind}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            archive.write(file, file.relative_to(folder / kind))
    return path
