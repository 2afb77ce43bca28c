#!/usr/bin/env python3
"""Damaged files against everything in vidmem that reads one: videos, images, masks, prompts, tables, lists of results, exports and projects.

    python scripts/fuzz_files.py --count 5000 --seed 1

Whole files are made (`damage.py`), then bytes are flipped, ends cut off, stretches doubled or taken from another file, and lengths grown; in texts, numbers
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
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "scripts")]

from damage import damaged, whole_files

PATIENCE = 20  # seconds for one file
FRAMES = 60  # read of a video that has no end
MOST_MB = 1000


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
        files = [path for path in whole_files(own / "whole", KINDS) if not kinds or path.parent.name in kinds]
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
