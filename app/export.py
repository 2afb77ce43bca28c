"""What a visitor can take home: files as the command line writes them, and the project itself."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from vidmem.types import Frame, Status
from vidmem.video import open_sinks

from .limits import Limits, Refused
from .project import Edit, Project, Seen, Thing

KINDS = {
    "overlay": "video with the masks drawn on it (MP4)", "webm": "cut-out with a transparent ground (WebM)", "rgba": "cut-out, a PNG each frame",
    "png": "label maps, a PNG each frame (DAVIS)", "sav": "a PNG for each object and frame (SA-V)", "rle": "masks as COCO RLE, JSON lines",
    "vos": "tracks as JSON (YouTube-VOS)", "mot": "boxes as MOTChallenge text", "csv": "boxes as a table (CSV)", "project": "the project, to go on with later",
}  # fmt: skip
VERSION = 1
PROMPT = ("points", "labels", "box", "mask")


def export(
    project: Project, video: dict, kind: str, frames: Path, folder: Path, stopped: Callable[[], bool], progress: Callable[[int], None]
) -> Path | None:
    """-> the file, in `folder`; None when it was stopped. Raises `Refused` for a kind there is not, or when there is nothing to write."""
    if kind not in KINDS:
        raise Refused(f"there is no export {kind!r}; choose from: {', '.join(KINDS)}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    name = "".join(letter if letter.isalnum() else "-" for letter in Path(video["name"]).stem)[:60] or "video"
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


def save(project: Project, video: dict, frames: Path, path: Path) -> Path:
    """Frames as they are, and everything that was said and found."""
    said = {
        "version": VERSION, "video": video, "things": {o: vars(t) for o, t in project.things.items()},
        "edits": [vars(e) for e in project.edits], "fresh_until": project.fresh_until,
        "results": {i: {o: vars(s) for o, s in seen.items()} for i, seen in project.results.items()},
    }  # fmt: skip
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("project.json", json.dumps(said), zipfile.ZIP_DEFLATED)
        for i in range(project.count):
            archive.write(frames / f"{i:05d}.jpg", f"frames/{i:05d}.jpg")
    return path


def unpack(path: Path, folder: Path, limits: Limits) -> dict:
    """The frames of a saved project into `folder`, to be decoded as any upload -> what was said. Raises `Refused` for what is no project."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [f"frames/{i:05d}.jpg" for i in range(min(len(archive.namelist()), limits.frames))]
            infos = [archive.getinfo(name) for name in names if name in archive.NameToInfo]
            if sum(info.file_size for info in infos) + archive.getinfo("project.json").file_size > limits.upload_mb << 20:
                raise Refused(f"the project is larger than {limits.upload_mb} MB, which is the limit here")
            said = json.loads(archive.read("project.json"))
            for info in infos:  # names are ours, not the archive's: nothing is written elsewhere
                (folder / Path(info.filename).name).write_bytes(archive.read(info))
        if said["version"] != VERSION:
            raise Refused(f"the project is of version {said['version']}; this app opens version {VERSION}")
        return said
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, OSError) as error:
        raise Refused(f"this is no project of vidmem ({type(error).__name__}); expected what export > project gave") from None


def restore(project: Project, said: dict) -> float:
    """What a saved project knew, into a new one with its frames -> frames per second. Raises `Refused` for what cannot be meant."""
    try:
        fps = float(said["video"]["fps"])
        edits = [Edit(int(e["frame_idx"]), int(e["obj_id"]), {k: e["prompt"].get(k) for k in PROMPT}) for e in said["edits"]]
        things = {int(o): Thing(str(t["name"])[:60], "", bool(t["visible"])) for o, t in said["things"].items()}
        results = {int(i): {int(o): Seen(s["rle"], float(s["score"]), float(s["object_logit"]), Status(s["status"]).value) for o, s in seen.items()}
                   for i, seen in said["results"].items()}  # fmt: skip
        right = all(tuple(s.rle["size"]) == project.size for seen in results.values() for s in seen.values())
        if not right or {e.obj_id for e in edits} - set(things) or not 0 < fps < 1000 or any(not 0 <= i < project.count for i in [*results, *(e.frame_idx for e in edits)]):
            raise ValueError
    except (KeyError, ValueError, TypeError, AttributeError):
        raise Refused("the project does not fit its own frames; export it again") from None
    project.edits, project.things, project.results = edits, things, results
    project.fresh_until = int(said.get("fresh_until", -1))
    for i in results:
        project.touch(i)
    return fps
