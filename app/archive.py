"""A project as a file: a zip of frames and of `project.json`, what was said and found. Reading one is done in the process that decodes uploads,
which has little memory; the app itself gets records that are checked, one by one."""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from vidmem.errors import VidmemError
from vidmem.types import Status

from .limits import FASTEST, PROJECT_BYTES, PROMPTS, SLOWEST, Limits, Refused
from .project import Project
from .requests import PROMPT, arguments, decoded, finite, obj_id, printable, shown, whole
from .seen import Edit, Seen, Thing

VERSION = 1
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def save(project: Project, video: dict, frames: Path, path: Path) -> Path:
    """Frames as they are, and everything that was said and found. Raises `Refused` for more than can be opened again."""
    written = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        info = zipfile.ZipInfo("project.json")
        info.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(info, "w") as file:
            for text in told(project, video):
                written += file.write(text.encode())
                if written > PROJECT_BYTES:
                    raise Refused(
                        f"the masks are more than {PROJECT_BYTES >> 20} MB, which no app opens again; export them as rle or png"
                    )
        for i in range(project.count):
            archive.write(frames / f"{i:05d}.jpg", f"frames/{i:05d}.jpg")
    return path


def told(project: Project, video: dict) -> Iterator[str]:
    """`project.json` in pieces: the others' requests are answered between them."""
    results = dict(project.results)
    head = {"version": VERSION, "video": video, "things": {o: vars(t) for o, t in dict(project.things).items()},
            "edits": [vars(e) for e in project.edits], "fresh_until": project.fresh_until,
            "fresh": {o: list(span) for o, span in dict(project.fresh).items()}, "cuts": sorted(project.cuts)}  # fmt: skip
    yield json.dumps(head)[:-1] + ', "results": {'
    for n, (i, seen) in enumerate(results.items()):
        yield f'{", " if n else ""}"{i}": ' + json.dumps({o: vars(s) for o, s in seen.items()})
    yield "}}"


def unpack(path: Path, folder: Path, limits: Limits) -> dict | None:
    """The frames of a saved project into `folder`, to be decoded as any upload -> what was said; None for pictures alone. Raises `Refused`
    for what is neither."""
    try:
        with zipfile.ZipFile(path) as archive:
            if "project.json" not in archive.NameToInfo:
                unpack_pictures(archive, folder, limits)
                return None
            names = [f"frames/{i:05d}.jpg" for i in range(min(len(archive.namelist()), limits.frames))]
            infos = [archive.getinfo(name) for name in names if name in archive.NameToInfo]
            if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in archive.infolist()):
                raise Refused("the project is packed in a way that this app does not write; export it again")
            if sum(info.file_size for info in infos) > limits.upload_mb << 20:
                raise Refused(f"the project's frames are larger than {limits.upload_mb} MB, which is the limit here")
            saved = unpack_json(archive, limits)
            for info in infos:  # names are ours, not the archive's: nothing is written elsewhere
                (folder / Path(info.filename).name).write_bytes(archive.read(info))
        return saved
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, TypeError, OSError, RuntimeError) as error:
        raise Refused(
            f"this is no project of vidmem ({type(error).__name__}); expected what export > project gave, or pictures"
        ) from None


def unpack_pictures(archive: zipfile.ZipFile, folder: Path, limits: Limits) -> None:
    """Pictures in the order of their names, as people count: 2 before 10. Raises `Refused` where there is none, or too much."""
    infos = [
        info
        for info in archive.infolist()
        if Path(info.filename).suffix.lower() in PICTURES and not Path(info.filename).name.startswith(".")
    ]
    infos.sort(
        key=lambda info: [int(part) if part.isdigit() else part for part in re.split(r"(\d{1,18})", info.filename)]
    )
    if not infos:
        raise Refused(f"there is no picture in it; expected a project of vidmem, or pictures ({', '.join(PICTURES)})")
    if sum(info.file_size for info in infos[: limits.frames]) > limits.upload_mb << 20:
        raise Refused(f"the pictures are larger than {limits.upload_mb} MB, which is the limit here")
    for i, info in enumerate(infos[: limits.frames]):
        (folder / f"{i:05d}{Path(info.filename).suffix.lower()}").write_bytes(archive.read(info))


def unpack_json(archive: zipfile.ZipFile, limits: Limits) -> dict:
    size = archive.getinfo("project.json").file_size
    text = archive.read("project.json") if size <= PROJECT_BYTES else b""
    most = (
        8 * limits.frames * limits.objects + 4 * 100 * PROMPTS
    )  # values a result has, and a prompt; RLE has no commas
    if size > PROJECT_BYTES or text.count(b",") > most:  # counted, before a byte of it becomes twenty
        raise Refused(
            f"the project's list of masks has {size} bytes; this app opens {PROJECT_BYTES >> 20} MB and {most} values"
        )
    return checked(json.loads(text))


def checked(saved) -> dict:
    """`project.json` as it was read. Raises `Refused` for another version, or none."""
    if not isinstance(saved, dict) or saved.get("version") != VERSION:
        raise Refused(
            f"the project is of version {shown(saved.get('version') if isinstance(saved, dict) else None)}; this app opens version {VERSION}"
        )
    return saved


def records(saved: dict, count: int, size: tuple[int, int], limits: Limits) -> Iterator[dict]:
    """A saved project that has `count` frames of `size` (H, W), in pieces as `restore` takes them; everything in it checked as what a visitor
    says is. Raises `Refused` for the first thing that cannot be meant."""
    try:
        fps, fresh = saved["video"]["fps"], saved.get("fresh_until", -1)
        if not finite(fps) or not SLOWEST <= fps <= FASTEST:
            raise Refused(f"the project's frame rate is {shown(fps)}; expected a number from {SLOWEST} to {FASTEST}")
        fresh = min(max(whole({"fresh_until": fresh}, "fresh_until"), -1), count - 1)
        cuts = [whole({"cut": i}, "cut", 0, count - 1) for i in saved.get("cuts", [])[:count]]
        yield {"fps": float(fps), "cuts": cuts}
        things = {obj_id({"obj_id": int(o)}): t for o, t in saved["things"].items()}
        if len(things) > limits.objects:
            raise Refused(f"the project has {len(things)} objects; the limit here is {limits.objects}")
        for o, thing in things.items():
            yield {"thing": [o, printable(str(thing["name"])), bool(thing["visible"])]}
        spans = saved.get("fresh")  # projects from before it had one number for all objects
        if spans is None:
            first = {
                o: min((e["frame_idx"] for e in saved["edits"] if e["obj_id"] == o), default=count) for o in things
            }
            spans = {o: [i, fresh] for o, i in first.items() if i <= fresh}
        for o, span in spans.items():
            first, last = (whole({"fresh": i}, "fresh", 0, count - 1) for i in span)
            yield {"fresh": [known(int(o), things), first, last]}
        if len(saved["edits"]) > PROMPTS:
            raise Refused(f"the project has {len(saved['edits'])} prompts; the limit here is {PROMPTS}")
        for edit in saved["edits"]:
            prompt = {key: edit["prompt"].get(key) for key in PROMPT}
            arguments(prompt, size)
            yield {"edit": [whole(edit, "frame_idx", 0, count - 1), known(obj_id(edit), things), prompt]}
        for i, seen in saved["results"].items():
            i = whole({"frame": int(i)}, "frame", 0, count - 1)
            for o, one in seen.items():
                decoded(one["rle"], size)
                rle = {"size": list(size), "counts": one["rle"]["counts"]}
                yield {
                    "seen": [
                        i,
                        known(int(o), things),
                        rle,
                        score(one, "score"),
                        score(one, "object_logit"),
                        Status(one["status"]).value,
                        known(one["rival"], things) if one.get("rival") in things else None,
                    ]
                }
    except Refused:
        raise
    except (KeyError, ValueError, TypeError, AttributeError, VidmemError) as error:
        raise Refused(f"the project does not fit its own frames ({str(error)[:200]}); export it again") from None


def known(o: int, things: dict) -> int:
    if o not in things:
        raise Refused(f"the project speaks of object {shown(o)}, which it has not")
    return o


def score(one: dict, name: str) -> float:
    if not finite(one[name]):
        raise Refused(f"a result's {name} is {shown(one[name])}; expected a number")
    return float(one[name])


def restore(project: Project, saved: list[dict]) -> None:
    """What a saved project knew, into a new one with its frames. saved: as `records` gives it."""
    for record in saved:
        if "fps" in record:
            project.fps, project.cuts = record["fps"], set(record["cuts"])
        elif "fresh" in record:
            o, *span = record["fresh"]
            project.fresh[o] = tuple(span)
        elif "thing" in record:
            o, name, visible = record["thing"]
            project.things[o] = Thing(name, "", visible)
        elif "edit" in record:
            project.edits.append(Edit(*record["edit"]))
        else:
            i, o, *seen = record["seen"]
            project.results.setdefault(i, {})[o] = Seen(*seen)
    for i in project.results:
        project.touch(i)
