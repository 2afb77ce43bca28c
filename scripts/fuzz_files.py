#!/usr/bin/env python3
"""Damaged files against everything in vidmem that reads one: videos, images, masks, prompts, tables, lists of results, exports and projects.

    python scripts/fuzz_files.py --count 5000 --seed 1

Whole files are made here, then bytes are flipped, ends cut off, stretches doubled or taken from another file, and lengths grown; in texts, numbers
grow and brackets nest. A process that is fed one file after another reads each to its end and may say nothing but the errors that vidmem raises on
purpose. Counted are other errors (tracebacks), deaths of the process, files that take more than 20 s, and the most memory beyond what the process
had before the file. What went wrong is kept in `--keep`. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
PATIENCE = 20  # seconds for one file
FRAMES = 60  # read of a video that has no end
MOST_MB = 1000


# Whole files -----------------------------------------------------------------------------------------------------------------------
def whole_files(folder: Path) -> list[Path]:
    """A few of each kind; the folder's name is the kind."""
    import numpy as np
    from PIL import Image

    for kind in KINDS:
        (folder / kind).mkdir(parents=True)
    moving = [
        np.kron(np.random.default_rng(t // 4).integers(0, 256, (6, 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
        for t in range(12)
    ]
    for name, codec in (
        ("a.mp4", "libx264"),
        ("b.avi", "mjpeg"),
        ("c.mkv", "ffv1"),
        ("d.webm", "libvpx"),
        ("e.ts", "mpeg2video"),
        ("f.gif", "gif"),
        ("g.mov", "libx264"),
    ):
        write_video(folder / "video" / name, moving, codec)
    labels = (np.arange(48 * 64).reshape(48, 64) // 700).astype(np.uint8)
    for form in ("png", "jpg", "bmp", "tiff", "webp", "gif", "ppm"):
        Image.fromarray(labels).save(folder / f"mask/m.{form}")
        if form != "gif":
            Image.fromarray(moving[0]).save(folder / f"image/i.{form}")
    Image.fromarray(labels.astype(np.uint16)).save(folder / "mask/deep.png")
    items = [
        {"obj_id": 1, "box": [1, 2, 30, 40]},
        {"obj_id": 2, "frame": 3, "points": [[5, 6], [7, 8.5]], "labels": [1, 0]},
    ]
    (folder / "prompts/p.json").write_text(json.dumps(items))
    (folder / "table/t.json").write_text(json.dumps({"a.mp4": items, "deep/b": items[:1]}))
    (folder / "table/t.csv").write_text(
        "video,obj_id,frame,x0,y0,x1,y1,x,y,label\na.mp4,1,,1,2,30,40,,,\ndeep/b,2,3,,,,,5,6,1\n"
    )
    (folder / "ledger/.vidmem-files").write_text("boxes.csv\nmasks/00000.png\nmasks/00001.png\noverlay.mp4\n")
    from vidmem.video import rle_encode

    (folder / "rle/r.json").write_text(json.dumps(rle_encode(labels % 2 == 1)))
    from vidmem.engines.manifest import Manifest

    Manifest("sam2.1-tiny", 64, "fp32", 18, None, 7, 16, {"encode.onnx": "0" * 64}, {"torch": "2"}).write(
        folder / "manifest"
    )
    if "project" in KINDS:
        write_project(folder / "project/p.zip", folder / "image/i.jpg", rle_encode(labels > 2))
    return sorted(path for path in folder.rglob("*") if path.is_file())


def write_video(path: Path, images: list, codec: str) -> None:
    import av

    with av.open(str(path), "w", options={"movflags": "+faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=Fraction(10))
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8", "ffv1": "yuv444p"}.get(codec, "yuv420p")
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def write_project(path: Path, frame: Path, rle: dict) -> None:
    import zipfile

    seen = {"rle": rle, "score": 0.9, "object_logit": 4.0, "status": "tracking"}
    said = {"version": 1, "video": {"name": "v.mp4", "fps": 10.0}, "things": {"1": {"name": "one", "color": "", "visible": True}}, "fresh_until": -1,
            "edits": [{"frame_idx": 0, "obj_id": 1, "prompt": {"points": [[5, 6]], "labels": [1], "box": None, "mask": None}}],
            "results": {"0": {"1": seen}, "1": {"1": seen}}}  # fmt: skip
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("project.json", json.dumps(said), zipfile.ZIP_DEFLATED)
        for i in range(2):
            archive.write(frame, f"frames/{i:05d}.jpg")


# Damage ----------------------------------------------------------------------------------------------------------------------------
def damaged(data: bytes, other: bytes, chance: random.Random, text: bool) -> bytes:
    data = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        way = chance.choice(
            ("flip", "flip", "cut", "grow", "grow", "double", "graft", "zero")
            + (("number", "nest", "letters") if text else ())
        )
        at = chance.randrange(len(data)) if data else 0
        if way == "flip":
            for _ in range(chance.choice((1, 3, 20, 200))):
                if data:
                    data[chance.randrange(len(data))] = chance.randrange(256)
        elif way == "cut":
            del data[at:]
        elif (
            way == "grow"
        ):  # lengths, sizes and counts are numbers of two, four or eight bytes, and most stand at the beginning
            at = chance.choice((at, at % 64))
            size = chance.choice((2, 4, 8))
            data[at : at + size] = chance.choice(
                (b"\xff" * size, b"\x7f" + b"\xff" * (size - 1), bytes(size - 1) + b"\x80", b"\0" * size)
            )
        elif way == "double":
            data[at:at] = data[at : at + chance.randrange(1, 2000)] * chance.choice((1, 2, 50))
        elif way == "graft":
            data[at : at + chance.randrange(500)] = other[: chance.randrange(1, 500)]
        elif way == "zero":
            data[at : at + chance.randrange(1, 300)] = bytes(chance.randrange(1, 300))
        elif way == "number":
            grown = chance.choice(
                (
                    "1e999",
                    "-1",
                    "9" * 400,
                    "9" * 5000,
                    "NaN",
                    "Infinity",
                    "null",
                    "true",
                    '"x"',
                    "[]",
                    "{}",
                    "65536",
                    "1.5",
                    "-0.0",
                    "1" + "0" * 18,
                )
            )
            places = list(re.finditer(rb"-?\d+\.?\d*", bytes(data)))
            if places:
                place = chance.choice(places)
                data[place.start() : place.end()] = grown.encode()
        elif way == "nest":
            data[at:at] = chance.choice((b"[", b'{"a":', b'"', b"((")) * chance.choice((1, 100, 50_000))
        else:
            data[at:at] = chance.choice(
                (b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"../", b"\r", b'"', b"\\ud800", b"=", "💥".encode())
            ) * chance.choice((1, 3))
    return bytes(data[: 8 << 20])


# Reading, in a process of its own --------------------------------------------------------------------------------------------------
def read_video(path: Path) -> None:
    from vidmem.video import open_video

    with open_video(path, max_size=256) as video:
        for count, _ in enumerate(video):
            if count >= FRAMES:
                break


def read_image(path: Path) -> None:
    read_video(path)  # as one image, and as a folder of some
    folder = path.parent / "folder"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(path, folder / f"1{path.suffix}")
    read_video(folder)


def read_mask(path: Path) -> None:
    from vidmem.prompts import load_mask

    load_mask(path)


def read_prompts(path: Path) -> None:
    import numpy as np

    from vidmem.catalogue.tracker import Tracker
    from vidmem.memory import Recent
    from vidmem.networks.fake import FakeNetwork
    from vidmem.prompts import load_prompts
    from vidmem.search import Greedy

    prompts = load_prompts(path)
    with Tracker(FakeNetwork(), Recent(), Greedy()).session() as session:
        for p in prompts:
            session.add(p.obj_id, points=p.points, labels=p.labels, box=p.box, mask=p.mask, frame_idx=p.frame_idx)
        session.step(np.zeros((48, 64, 3), np.uint8))


def read_table(path: Path) -> None:
    from vidmem.batch import find_items, load_table
    from vidmem.errors import VidmemError

    for item in find_items({"a.mp4": "1:1", "deep/b.mp4": "1:1"}, load_table(path)):
        try:
            item.load()
        except VidmemError:
            pass


def read_ledger(path: Path) -> None:
    from vidmem.video import Ledger

    folder = path.parent / "results"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(path, folder / ".vidmem-files")
    (folder / "own.txt").write_text("mine")
    Ledger(folder).claim("masks", "boxes.csv")
    assert (folder / "own.txt").is_file()


def read_rle(path: Path) -> None:
    from vidmem.video import rle_decode

    try:
        rle = json.loads(path.read_text())
    except (ValueError, RecursionError):
        return  # whoever reads the text refuses that
    try:
        rle_decode(rle)
    except ValueError as error:  # what it says it raises
        raise Refusal from error


def read_manifest(path: Path) -> None:
    from vidmem.engines.manifest import Manifest

    if path.name != "manifest.json":
        shutil.copy(path, path.with_name("manifest.json"))
    Manifest.read(path.parent).check(path.parent)


def read_project(path: Path) -> None:
    import zipfile

    from app.archive import records, unpack
    from app.limits import Limits

    folder = path.parent / "frames"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if not zipfile.is_zipfile(path):
        raise Refusal
    said = unpack(path, folder, Limits())
    for _ in records(said, 2, (48, 64), Limits()):
        pass
    read_video(folder)


class Refusal(Exception):
    """A reader's documented way to say no."""


KINDS: dict[str, Callable[[Path], None]] = {
    "video": read_video, "image": read_image, "mask": read_mask, "prompts": read_prompts, "table": read_table, "ledger": read_ledger, "rle": read_rle,
    "manifest": read_manifest,
}  # fmt: skip
if (ROOT / "app/archive.py").is_file():
    KINDS["project"] = read_project


def serve() -> None:
    """Reads `kind path` lines, answers each with a line of JSON."""
    import resource
    import traceback

    import cv2  # noqa: F401 - loaded before memory is measured

    from vidmem.errors import VidmemError

    resource.setrlimit(resource.RLIMIT_AS, (6 << 30,) * 2)
    for line in sys.stdin:
        kind, _, name = line.rstrip("\n").partition(" ")
        with open("/proc/self/clear_refs", "w") as peak:
            peak.write("5")  # forget the peak so far
        before, said = memory("VmRSS"), {"end": "read"}
        try:
            KINDS[kind](Path(name))
        except (VidmemError, Refusal):
            said = {"end": "refused"}
        except BaseException as error:
            said = {
                "end": "traceback",
                "error": f"{type(error).__name__}: {str(error)[:200]}",
                "where": traceback.format_exc().splitlines()[-3:-1],
            }
        print(json.dumps(said | {"mb": memory("VmHWM") - before}), flush=True)


def memory(what: str) -> int:
    return int(re.search(rf"{what}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) // 1024


# The driver ------------------------------------------------------------------------------------------------------------------------
class Reader:
    """The process, replaced when it dies or hangs."""

    def __init__(self, patience: float = PATIENCE):
        self.process, self.patience = None, patience

    def read(self, kind: str, path: Path) -> dict:
        if self.process is None:
            environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONWARNINGS="ignore")
            self.process = subprocess.Popen(
                [sys.executable, __file__, "--serve"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        self.process.stdin.write(f"{kind} {path}\n".encode())
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], self.patience)
        line = self.process.stdout.readline() if ready else b""
        if line:
            return json.loads(line)
        self.close()
        return {"end": "died" if ready else "hung"}

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None


def fuzz(
    count: int,
    seed: int,
    keep: Path | None = None,
    kinds: tuple[str, ...] = (),
    log: Callable[[str], None] = lambda line: None,
) -> dict:
    """-> counts of how the files ended, the most memory in MB, and the longest time in seconds."""
    chance, ends, most, longest, bad = random.Random(seed), Counter(), 0, 0.0, []
    with tempfile.TemporaryDirectory(prefix="vidmem-fuzz-") as scratch:
        reader, own = Reader(), Path(scratch)
        files = [path for path in whole_files(own / "whole") if not kinds or path.parent.name in kinds]
        contents = {path: path.read_bytes() for path in files}
        try:
            for path in files:
                said = reader.read(path.parent.name, path)
                assert said["end"] == "read" or path.parent.name == "manifest", (
                    f"{path.name} is whole, and was not read: {said}"
                )
            (own / "one").mkdir()
            for number in range(count):
                path = chance.choice(files)
                text = path.parent.name in ("prompts", "table", "ledger", "rle", "manifest")
                target = own / "one" / (path.name if path.suffix else f"{path.name}.txt")
                target.write_bytes(damaged(contents[path], contents[chance.choice(files)], chance, text))
                began = time.perf_counter()
                said = reader.read(path.parent.name, target)
                seconds = time.perf_counter() - began
                ends[said["end"]] += 1
                longest, most = max(longest, seconds), max(most, said.get("mb", 0))
                if said["end"] not in ("read", "refused") or said.get("mb", 0) > MOST_MB:
                    bad.append({"number": number, "file": path.name, **said})
                    log(json.dumps(bad[-1]))
                    if keep:
                        keep.mkdir(parents=True, exist_ok=True)
                        shutil.copy(target, keep / f"{seed}-{number}-{path.parent.name}-{target.name}")
                target.unlink()
        finally:
            reader.close()
    return {
        "files": count,
        "seed": seed,
        "ends": dict(ends),
        "most_mb": most,
        "longest_s": round(longest, 2),
        "bad": bad,
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", nargs="*", default=[], help=f"any of {', '.join(KINDS)} (default: all)")
    parser.add_argument("--keep", type=Path, help="folder for the files that went wrong")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.serve:
        serve()
        return 0
    said = fuzz(args.count, args.seed, args.keep, tuple(args.kinds), print)
    print(json.dumps(said))
    return 1 if said["bad"] else 0


if __name__ == "__main__":
    sys.exit(main())
