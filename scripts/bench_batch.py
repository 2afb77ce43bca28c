#!/usr/bin/env python3
"""`vidmem batch` on many short clips: two workers against one, and runs that are killed at random moments.

    python scripts/bench_batch.py --json assets/figures/batch.json

Clips are cut from the demo video, each its own stretch of it. One and two workers take turns, `--repeats` times; medians of whole commands, start and
model loading included. Killed runs: SIGKILL to the driver after a random time, then the same command again, until it ends by itself; lost is a
video without whole results at the end, twice a video whose results were published again, half a published folder that is not whole.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
SIZE, BOX = (270, 480), (24, 86, 113, 143)


def make_clips(folder: Path, count: int, frames: int) -> Path:
    """Clips that begin where the demo's fish is where its prompt says; -> the table of prompts."""
    import av
    import cv2

    import vidmem

    folder.mkdir(parents=True)
    with vidmem.open_video(ROOT / "assets/demo.mp4", end=frames) as video:
        images = [cv2.resize(frame.image, SIZE[::-1], interpolation=cv2.INTER_AREA) for frame in video]
    for number in range(count):
        with av.open(str(folder / f"clip{number:02d}.mp4"), "w") as container:
            stream = container.add_stream(
                "libx264", rate=Fraction(25), options={"preset": "ultrafast", "crf": str(20 + number % 8)}
            )
            stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], "yuv420p"
            for image in images:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
    table = folder.parent / "prompts.csv"
    lines = [f"clip{number:02d}.mp4,1,{','.join(map(str, BOX))}" for number in range(count)]
    table.write_text("\n".join(["video,obj_id,x0,y0,x1,y1", *lines, ""]))
    return table


def command(clips: Path, table: Path, out: Path, workers: int) -> list[str]:
    return [
        sys.executable,
        "-m",
        "vidmem",
        "batch",
        str(clips),
        "--prompts",
        str(table),
        "--out",
        str(out),
        "--workers",
        str(workers),
    ]


def half_written(folder: Path) -> str:
    """What is wrong with published results; empty where nothing is."""
    import vidmem

    record = json.loads((folder / "done.json").read_text())
    lines = (
        len((folder / "masks.jsonl").read_text().splitlines()),
        len((folder / "boxes.csv").read_text().splitlines()) - 1,
    )
    counts = {"png": len(list((folder / "masks").glob("*.png"))), "rle": lines[0], "csv": lines[1]}
    with vidmem.open_video(folder / "overlay.mp4") as video:
        counts["overlay"] = sum(1 for _ in video)
    wrong = {name: count for name, count in counts.items() if count != record["frames"]}
    return f"{folder.name}: {wrong} of {record['frames']}" if wrong else ""


def published(out: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_ino for path in out.glob("*/done.json")}


def killed_runs(clips: Path, table: Path, out: Path, kills: int, names: set[str], seconds: float, seed: int) -> dict:
    chance, twice, half, done, lost = random.Random(seed), 0, [], 0, []
    while done < kills:
        shutil.rmtree(out, ignore_errors=True)
        seen: dict[str, int] = {}
        ended = False
        while not ended:
            run = subprocess.Popen(command(clips, table, out, 2), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                run.wait(chance.uniform(0.2, seconds) if done < kills else None)
                ended = True
                assert run.returncode == 0, run.returncode
            except subprocess.TimeoutExpired:
                os.kill(run.pid, signal.SIGKILL)
                run.wait()
                done += 1
            now = published(out)
            half += filter(None, (half_written(out / name) for name in now))
            twice += sum(1 for name, inode in seen.items() if now.get(name) != inode)
            seen = now
        lost += sorted(names - set(seen))
    return {
        "kills": done,
        "lost": len(lost),
        "twice": twice,
        "half_written": len(half),
        "videos": len(names),
        "seed": seed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    os.environ["PYTHONPATH"] = str(ROOT)
    from vidmem.evaluation.machine import check_writable, write_figure

    check_writable(args.json)
    with tempfile.TemporaryDirectory() as scratch:
        clips, seconds = Path(scratch) / "clips", {1: [], 2: []}
        table = make_clips(clips, args.clips, args.frames)
        for repeat in range(args.repeats):
            for workers in (1, 2) if repeat % 2 == 0 else (2, 1):
                out = Path(scratch) / "out"
                began = time.perf_counter()
                subprocess.run(
                    command(clips, table, out, workers),
                    check=True,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                seconds[workers].append(round(time.perf_counter() - began, 2))
                assert len(published(out)) == args.clips
                shutil.rmtree(out)
                print(workers, seconds[workers][-1], flush=True)
        one, two = median(seconds[1]), median(seconds[2])
        names = {path.name for path in clips.iterdir()}
        killed = killed_runs(clips, table, Path(scratch) / "out", args.kills, names, two / 3, seed=0)
    figure = {"command": "scripts/bench_batch.py", "clips": args.clips, "frames": args.frames, "size": f"{SIZE[1]}x{SIZE[0]}", "threads_each": 1,
              "seconds": seconds, "ratio": round(one / two, 3), "fps_one": round(args.clips * args.frames / one, 1),
              "fps_two": round(args.clips * args.frames / two, 1), "killed": killed}  # fmt: skip
    write_figure(figure, args.json)
    print(json.dumps(figure))


if __name__ == "__main__":
    main()
