#!/usr/bin/env python3
"""`nano` on every engine here, at 854x480: the network alone, with 1, 5 and 20 objects; and whether a frame gets slower with time.

    python scripts/bench_engines.py --json assets/figures/engines.json
    python scripts/bench_engines.py --growth 10000 --json assets/figures/growth.json

Engines take turns, object count by object count, `--repeats` times; the run with the median rate is reported. Growth: a session
lives through that many frames; then a fresh one (100 frames old) and the old one step in turn, and their medians are compared, so
that what else the machine does cancels out. Masks are compared with ONNX Runtime's in float32, on the demo clip.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
ENGINES = [("onnx", "fp32"), ("openvino", "fp32"), ("openvino", "bf16")]
SIZE = (480, 854)


def open_tracker(runtime: str, precision: str, threads: int | None):
    from vidmem.catalogue.choose import Request, named
    from vidmem.catalogue.tracker import MODELS, Tracker
    from vidmem.search import Greedy

    return Tracker(
        named(Request("nano", runtime, precision, threads=threads), strict=False), MODELS["nano"].make_bank(), Greedy()
    )


def rates(images, repeats: int, frames: int, threads: int | None) -> list[dict]:
    from vidmem.evaluation.bench import bench
    from vidmem.evaluation.gate import demo_clips, gate

    runs: dict[tuple, list[dict]] = {}
    trackers = {engine: open_tracker(*engine, threads) for engine in ENGINES}
    for repeat in range(repeats):
        for objects in (1, 5, 20):
            for engine in ENGINES if repeat % 2 == 0 else ENGINES[::-1]:
                runs.setdefault((engine, objects), []).append(bench(trackers[engine], images, objects, frames, 12))
    reference = trackers["onnx", "fp32"]
    verdicts = {
        engine: gate(t.network, reference.network, t.bank, t.search, demo_clips(), engine[1])
        for engine, t in trackers.items()
    }
    rows = []
    for (engine, objects), figures in runs.items():
        figures = sorted(figures, key=lambda f: f["network_fps"])
        row = figures[len(figures) // 2]
        rows.append({"runtime": engine[0], "precision": engine[1], "objects": objects, "fps": row["network_fps"], "fps_min": figures[0]["network_fps"],
                     "fps_max": figures[-1]["network_fps"], "ms": row["ms"], "iou": verdicts[engine].iou, "passed": verdicts[engine].passed})  # fmt: skip
        print(json.dumps({k: v for k, v in rows[-1].items() if k != "ms"}), flush=True)
    return rows


def growth(images, frames: int, threads: int | None, pairs: int = 600) -> dict:
    from vidmem.types import Frame

    tracker = open_tracker("openvino", "bf16", threads)
    old, young = tracker.session(), tracker.session()

    def step(session, t: int) -> float:
        frame = Frame(t, None, images[t % len(images)])
        began = time.perf_counter()
        session.step(frame)
        return 1000 * (time.perf_counter() - began)

    for session in (old, young):
        session.add(1, box=(200, 100, 420, 330))
    for t in range(frames):
        step(old, t)
    for t in range(100):
        step(young, t)
    spent: dict[str, list[float]] = {"old": [], "young": []}
    for i in range(pairs):
        for name in ("old", "young") if i % 2 else ("young", "old"):
            spent[name].append(step(old, frames + i) if name == "old" else step(young, 100 + i))
    old_ms, young_ms = median(spent["old"]), median(spent["young"])
    return {
        "frames": frames,
        "pairs": pairs,
        "ms_at_100": young_ms,
        "ms_at_end": old_ms,
        "growth_percent": 100 * (old_ms / young_ms - 1),
    }


def main() -> None:
    from vidmem.evaluation.bench import load_images
    from vidmem.evaluation.machine import check_writable, write_figure

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--frames", type=int, default=30, help="that count, in each run")
    parser.add_argument("--growth", type=int, metavar="FRAMES")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    check_writable(args.json)
    images = load_images(ROOT / "assets/demo.mp4", SIZE, 40)
    figure: dict = {
        "command": "scripts/bench_engines.py" + (f" --growth {args.growth}" if args.growth else ""),
        "size": "854x480",
    }
    figure |= (
        growth(images, args.growth, args.threads)
        if args.growth
        else {"rows": rates(images, args.repeats, args.frames, args.threads)}
    )
    write_figure(figure, args.json)
    print(json.dumps(figure))


if __name__ == "__main__":
    main()
