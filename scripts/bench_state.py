#!/usr/bin/env python3
"""What does a session's state cost: its bytes, and the time to write and to read them?

The demo clip, `--frames` frames, with one object and with five, one thread: `Session.to_bytes(light=True)`, as `vidmem batch` writes it once a
minute, and `Session.restore`, medians of `--repeats`, and as parts of a step of the same run, because the machine is shared. Then the same clip is tracked through
`vidmem.batch.resume.Resumable` twice: once from its start, and once from a state at its last frame, which hands out old results alone; the
ratio is what a resumed run gains on each frame that it need not track. SAM 2 is measured where `--sam2` names weights (random ones are as good:
sizes and times do not depend on them).

    python scripts/bench_state.py --json assets/figures/state.json

The last line of output is the JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
BOXES = ((43, 154, 201, 255), (250, 60, 380, 160), (20, 20, 90, 90), (200, 180, 300, 250), (120, 40, 200, 120))


def state(tracker, frames: list, objects: int, repeats: int) -> dict:
    steps, writes, reads = [], [], []
    with tracker.session() as session:
        for obj_id, box in enumerate(BOXES[:objects], 1):
            session.add(obj_id, box=box)
        for frame in frames[:-repeats]:
            session.step(frame)
        whole = len(session.to_bytes())
        for frame in frames[-repeats:]:
            steps.append(session.step(frame).timings["total"])
            began = time.perf_counter()
            data = session.to_bytes(light=True)
            writes.append(1000 * (time.perf_counter() - began))
            began = time.perf_counter()
            session.restore(data)
            reads.append(1000 * (time.perf_counter() - began))
    return {
        "objects": objects, "mb": round(len(data) / 1e6, 2), "mb_whole": round(whole / 1e6, 2), "write_ms": round(median(writes), 1),
        "read_ms": round(median(reads), 1), "step_ms": round(median(steps), 1), "write_steps": round(median(writes) / median(steps), 2),
        "read_steps": round(median(reads) / median(steps), 2),
    }  # fmt: skip


def replay(tracker, frames: int, repeats: int = 3) -> dict:
    """Frames a second of the whole job, tracked and handed out again, with an overlay and label maps."""
    import vidmem
    from vidmem.batch.places import open_place
    from vidmem.batch.resume import Resumable
    from vidmem.video import Ledger, open_sinks

    ratios = []
    for _ in range(repeats):
        seconds = []
        with tempfile.TemporaryDirectory() as scratch:
            for run in ("first", "again"):
                with vidmem.open_video(ROOT / "assets/demo.mp4", end=frames) as video, tracker.session() as session:
                    folder = Path(scratch) / run
                    sinks = open_sinks(["overlay", "png"], folder, video.frame_rate, Ledger(folder))
                    resumable = Resumable(session, open_place(f"{scratch}/out"), "demo.mp4", "key", 1e9)
                    assert (resumable.resumed is not None) == (run == "again")
                    prompt = vidmem.PromptAt(1, None, box=BOXES[0])
                    seconds.append(vidmem.track(video, resumable, [prompt], sinks, progress=False).seconds)
                    if run == "first":
                        resumable._save()
        ratios.append(seconds[0] / seconds[1])
    return {
        "frames": frames,
        "ratio": round(median(ratios), 1),
        "least": round(min(ratios), 1),
        "most": round(max(ratios), 1),
    }


def main(argv=None) -> int:
    import vidmem
    from vidmem.evaluation.machine import check_writable, write_figure

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--sam2", help="weights of sam2.1-tiny; measured at 1024 pixels with a few frames")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    check_writable(args.json)
    frames = list(vidmem.open_video(ROOT / "assets/demo.mp4", end=args.frames))
    tracker = vidmem.load("nano", runtime="onnx", threads=1)
    rows = [{"model": "nano", **state(tracker, frames, count, args.repeats)} for count in (1, 5)]
    said = {"replay": replay(tracker, args.frames)}
    if args.sam2:
        tracker = vidmem.load("sam2.1-tiny", runtime="pytorch", weights=args.sam2, threads=1)
        rows.append({"model": "sam2.1-tiny", **state(tracker, frames[:9], 1, 3)})
    said |= {"command": "scripts/bench_state.py", "rows": rows}
    write_figure(said, args.json)
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
