#!/usr/bin/env python3
"""`kill -9` at random moments over `vidmem track` and `vidmem batch`, its driver and its workers.

    python scripts/kill_runs.py --kills 100 --seed 1

`track`: the same command into the same folder, killed again and again. After each kill every label map must open, every line must be whole, and the
overlay must play or be empty. Then one run to the end must give what an undisturbed run gives, and not a file more.

`batch`: clips with two workers. A killed driver is followed by the same command; a killed worker is the driver's own matter. Runs change `--save` now and
then, so that results are replaced too. Published (with `done.json`) must mean: the files of the list are there, and whole. Counted are published results
that are not (half-written), items whose results were published again without a reason (doubled), items without results at the end (lost), and what is
left behind: work folders, parts, processes. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]
ENVIRONMENT = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT))
KINDS = ("overlay,png,rle,csv,vos", "png,csv", "rle,sav")


def make_clip(path: Path, frames: int) -> None:
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for t in range(frames):
            image = np.full((64, 96, 3), 60, np.uint8)
            image[10:40, 10 + t % 40 : 40 + t % 40] = (230, 120, 30)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def start(*arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "vidmem", *map(str, arguments)],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def broken(folder: Path) -> list[str]:
    """Files of results that are not whole."""
    import av
    from PIL import Image

    wrong = []
    for path in folder.rglob("*"):
        try:
            if path.suffix == ".png":
                Image.open(path).load()
            elif path.suffix in (".jsonl", ".json"):
                for line in path.read_text().splitlines():
                    json.loads(line) if path.suffix == ".jsonl" else None
                if path.suffix == ".json":
                    json.loads(path.read_text())
            elif path.suffix == ".csv":
                text = path.read_text()
                if text and (not text.endswith("\n") or len({line.count(",") for line in text.splitlines()}) != 1):
                    raise ValueError("a line is cut off")
            elif path.suffix == ".mp4" and path.is_file() and path.stat().st_size > 48:  # more than FFmpeg's first box
                with av.open(str(path)) as container:
                    sum(1 for _ in container.decode(video=0))
        except av.error.InvalidDataError:
            if path.stat().st_size > 10_000:  # the first fragment was not whole yet
                wrong.append(f"{path}: does not play")
        except (OSError, ValueError, SyntaxError) as error:
            wrong.append(f"{path}: {error}")
    return wrong


def listing(folder: Path) -> dict[str, bytes]:
    """Every file -> its content, but for the overlay and the timings in a record."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: b"" if name.endswith((".mp4", "done.json")) else data for name, data in found.items()}


def killed_tracks(scratch: Path, kills: int, chance: random.Random, frames: int = 150) -> dict:
    make_clip(scratch / "clip.mp4", frames)
    arguments = [
        "track",
        scratch / "clip.mp4",
        "--box",
        "10,10,40,40",
        "--runtime",
        "onnx",
        "--threads",
        "1",
        "--save",
        KINDS[0],
        "--out",
    ]
    began = time.perf_counter()
    assert start(*arguments, scratch / "calm").wait() == 0
    whole, half, done = time.perf_counter() - began, [], 0
    while done < kills:
        process = start(*arguments, scratch / "out")
        time.sleep(chance.uniform(0.2, 1.1) * whole)
        ended = process.poll()
        process.kill()
        said = process.communicate()[1].decode()
        done += ended is None
        if ended not in (None, 0):
            half.append(f"the run after a kill was refused: {said[-300:]}")
            break
        half += broken(scratch / "out")
    process = start(*arguments, scratch / "out")
    process.wait()
    calm, out = listing(scratch / "calm"), listing(scratch / "out")
    return {"kills": done, "half_written": half, "lost": sorted(calm.keys() - out.keys()), "left_behind": sorted(out.keys() - calm.keys()),
            "different": sorted(name for name in calm.keys() & out.keys() if calm[name] != out[name])}  # fmt: skip


def children(pid: int) -> list[int]:
    """Its workers, as far as they live."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [
                int(c) for c in task.read_text().split() if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()
            ]
        except OSError:  # it died while we looked
            pass
    return found


def check_published(out: Path, seen: dict[str, tuple[int, str]], count: Counter, faults: list[str]) -> None:
    for record in out.glob("*/done.json"):
        folder = record.parent
        try:
            said, inode = json.loads(record.read_text()), record.stat().st_ino
            listed = set((folder / ".vidmem-files").read_text().split())
        except FileNotFoundError:
            continue  # being replaced at this moment by a worker that is about to notice
        missing = [name for name in listed if not (folder / name).is_file()]
        if missing or broken(folder):
            faults.append(f"{folder.name}: {missing or broken(folder)}")
        if (
            folder.name in seen
            and seen[folder.name] != (inode, said["settings"])
            and seen[folder.name][1] == said["settings"]
        ):
            count["doubled"] += 1
        seen[folder.name] = inode, said["settings"]


def killed_batches(scratch: Path, kills: int, chance: random.Random, clips: int = 8) -> dict:
    videos, out = scratch / "videos", scratch / "out"
    videos.mkdir()
    for number in range(clips):
        make_clip(videos / f"c{number}.mp4", 20 + 3 * number)
    table = scratch / "p.csv"
    table.write_text("video,x0,y0,x1,y1\n" + "".join(f"c{n}.mp4,10,10,40,40\n" for n in range(clips)))
    arguments = ["batch", videos, "--prompts", table, "--out", out, "--workers", "2", "--runtime", "onnx", "--save"]
    count, faults, seen, workers, save = Counter(), [], {}, set(), KINDS[0]
    while count["driver"] + count["worker"] < kills:
        process, target = start(*arguments, save), chance.choice(("driver", "worker"))
        until = time.perf_counter() + chance.uniform(0.4, 8.0)
        while time.perf_counter() < until and process.poll() is None:
            workers.update(children(process.pid))
            time.sleep(0.02)
        if process.poll() is not None:
            count["ended"] += 1
            save = chance.choice([kind for kind in KINDS if kind != save])
        elif target == "driver":
            process.kill()
            count["driver"] += 1
            time.sleep(0.5)  # its workers notice
        else:
            for worker in chance.sample(own, 1) if (own := children(process.pid)) else []:
                os.kill(worker, signal.SIGKILL)
                count["worker"] += 1
            process.communicate(timeout=120)
        process.communicate()
        check_published(out, seen, count, faults)
    for save in KINDS[:2]:
        process = start(*arguments, save)
        process.communicate(timeout=120)
        check_published(out, seen, count, faults)
    for record in (out / ".failed").rglob("*.json"):
        faults.append(f"{record.name}: {json.loads(record.read_text())['error']}")
    lost = [f"c{n}" for n in range(clips) if not (out / f"c{n}.mp4/done.json").is_file()]
    listed = {
        path.parent / name for path in out.glob("*/.vidmem-files") for name in [*path.read_text().split(), path.name]
    }
    own = {out / name for name in (".lock", "report.json", "report.csv")}
    left = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file() and p not in listed | own) + [
        p.name for p in out.glob(".work*")
    ]
    alive = [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    return {"kills": count["driver"] + count["worker"], "of_drivers": count["driver"], "of_workers": count["worker"], "half_written": faults,
            "doubled": count["doubled"], "lost": lost, "left_behind": left, "alive": alive}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--kills", type=int, default=100, help="in all; a third of them over track, the others over batch"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--of", choices=("track", "batch"), nargs="*", default=("track", "batch"))
    args = parser.parse_args(argv)
    chance, said = random.Random(args.seed), {}
    shares = {"track": (killed_tracks, args.kills // 3), "batch": (killed_batches, args.kills - args.kills // 3)}
    for name in args.of:
        run, kills = shares[name]
        with tempfile.TemporaryDirectory(prefix="vidmem-kill-") as scratch:
            said[name] = run(Path(scratch), kills, chance)
        print(json.dumps({name: said[name]}), flush=True)
    bad = any(
        value
        for result in said.values()
        for key, value in result.items()
        if key not in ("kills", "of_drivers", "of_workers")
    )
    print(
        json.dumps({"seed": args.seed, "kills": sum(result["kills"] for result in said.values()), "bad": bad, **said})
    )
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
