#!/usr/bin/env python3
"""Does memory stay flat on an endless stream?

Loops a clip (decoded again each time, indices going on) through one session with one object until `--frames` frames were
stepped, and writes the resident memory of the whole process every 500 frames. Frame 500 is the reference: by then every
engine has made its buffers. The object leaves and returns in the clip, so occlusion and loss take part. When an object is
lost for good a new prompt would be needed; memory is the question here, not the mask.

`--area` shrinks the network's input so that 20,000 frames take minutes; what could leak (decoding, sessions, banks, engines)
is the same. The level of memory at the usual input size is what `--frames 2000` without `--area` shows.

    python scripts/bench_stream.py --frames 20000 --area 6144 --json assets/figures/stream.json

The last line of output is the JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, default=ROOT / "assets/demo.mp4")
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--area", type=int, help="pixels of the network's input (default: the model's own)")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)

    import vidmem
    from vidmem.evaluation.machine import check_writable, write_figure

    check_writable(args.json)
    box = json.loads((ROOT / "assets/demo.json").read_text())["box"]
    tracker = vidmem.load("nano", threads=args.threads)
    tracker.network.area = args.area or tracker.network.area
    video, index, curve, bank = vidmem.open_video(args.clip), 0, {}, []
    began = time.perf_counter()
    with tracker.session() as session:
        session.add(1, box=box)
        while index < args.frames:
            for frame in video:
                session.step(vidmem.Frame(index, None, frame.image))
                index += 1
                if index % 500 == 0:
                    curve[index] = round(resident_mb(), 1)
                    bank.append(session.nbytes)
                if index == args.frames:
                    break
    after = [mb for frame, mb in curve.items() if frame >= 500]
    figure = {
        "command": f"scripts/bench_stream.py --frames {args.frames}" + (f" --area {args.area}" if args.area else ""),
        "clip": args.clip.name, "frames": index, "resident_mb": curve, "at_500_mb": after[0], "last_mb": after[-1],
        "max_mb": max(after), "growth_percent": round(100 * (after[-1] / after[0] - 1), 2), "bank_bytes_max": max(bank),
        "seconds": round(time.perf_counter() - began),
    }  # fmt: skip
    write_figure(figure, args.json)
    print(json.dumps(figure))


if __name__ == "__main__":
    main()
