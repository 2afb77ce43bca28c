#!/usr/bin/env python3
"""What `vidmem.live` promises, measured: asking while the worker sleeps, many frames, a load that is late, capture to mask.

    python scripts/bench_live.py --json assets/figures/live.json

1. `latest()` while the worker sleeps ten seconds: percentiles of its time.
2. 100,000 frames of 64x48 from a fake camera at 200 frames a second or as fast as the machine can: growth of resident memory, threads and
   open files after the first 2,000. `--frames` for fewer.
3. A network that is late for a third of the frames at a deadline of 50 ms: how often the consumer had an answer in time.
4. `nano` on the demo clip at 640x480 and 30 fps: p50 and p99 from capture to answer.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    from vidmem.evaluation.machine import check_writable, write_figure

    check_writable(args.json)
    figure: dict = {"command": "scripts/bench_live.py", "load": round(os.getloadavg()[0], 1)}
    for name, measure in (
        ("asking", asking),
        ("deadline", deadline),
        ("nano", nano),
        ("soak", lambda: soak(args.frames)),
    ):
        figure[name] = measure()
        print(name, figure[name], flush=True)
    write_figure(figure, args.json)


def fake(seconds=lambda t: 0.0):
    from vidmem.memory import Recent
    from vidmem.networks.fake import FakeNetwork
    from vidmem.search import Greedy
    from vidmem.session import Session

    class Slow(FakeNetwork):
        def __init__(self):
            super().__init__()
            self.count = 0

        def encode(self, image):
            time.sleep(seconds(self.count))
            self.count += 1
            self.reads.clear()
            return super().encode(image)

    return Session(Slow(), Recent(), Greedy, cuts=None)


def camera(frames: int, rate: float, size=(48, 64)):
    from vidmem.types import Frame

    base = np.full((*size, 3), 40, np.uint8)
    base[16:32, 16:32] = (250, 30, 30)

    @contextmanager
    def opened():
        def play():
            began = time.monotonic()
            for t in range(frames):
                time.sleep(max(0.0, began + t / rate - time.monotonic()))
                image = base.copy()
                image[-1, -1] = (t % 251, t // 251 % 251, 0)
                yield Frame(t, None, image)

        yield play()

    return opened


def asking() -> dict:
    from vidmem.live import Limits, Live

    spent = []
    with Live(camera(100, 10), fake(lambda t: 10.0 if t == 3 else 0.0), Limits(hang_seconds=60), None) as live:
        while live.worked < 3 or live._busy is None:
            time.sleep(0.001)
        end = time.monotonic() + 9
        while time.monotonic() < end:
            began = time.perf_counter()
            live.latest()
            spent.append(1000 * (time.perf_counter() - began))
            time.sleep(0.001)
        threading.Thread(target=live.close, daemon=True).start()
    return {
        "calls": len(spent),
        "p50_ms": round(float(np.median(spent)), 4),
        "p99_ms": round(float(np.quantile(spent, 0.99)), 4),
        "max_ms": round(max(spent), 3),
    }


def deadline() -> dict:
    """Of the frames that the camera sent: an answer of any age within 50 ms after the capture, and 5 ms for the consumer to wake up."""
    from vidmem.live import Limits, Live

    frames, times, begun = 600, [], []
    limits = Limits(deadline_ms=50, stale_after_ms=200, invalid_after_ms=1000)
    with Live(camera(frames, 10), fake(lambda t: 0.08 if t % 3 == 0 else 0.005), limits, None) as live:
        live.add(1, box=(16, 16, 32, 32))
        for answer in live:
            times.append(time.monotonic_ns() / 1e9)
            if answer.result is not None:
                begun.append(answer.captured_ns / 1e9 - answer.result.frame_idx / 10)
    late, times = live.timings["answer"], np.array(times)
    first = [(times[times >= at] - at).min(initial=9.0) for at in min(begun) + np.arange(2, frames) / 10]
    return {
        "frames": frames,
        "inferences_over_the_deadline": sum(
            count for place, count in enumerate(late.counts) if 0.01 * 1.04**place > 50
        ),
        "published_in_time": round(float((np.array(first) <= 0.055).mean()), 4),
    }


def nano() -> dict:
    import cv2

    import vidmem
    from vidmem.live import Limits, Live, warm_up
    from vidmem.types import Frame

    with vidmem.open_video(ROOT / "assets/demo.mp4") as video:
        images = [cv2.resize(frame.image, (640, 480)) for frame in video]

    @contextmanager
    def opened():
        def play():
            began = time.monotonic()
            for t in range(300):
                time.sleep(max(0.0, began + t / 30 - time.monotonic()))
                yield Frame(t, t / 30, images[min(t, 2 * len(images) - 2 - t) % len(images)])

        yield play()

    tracker, limits = vidmem.load("nano"), Limits(deadline_ms=120, stale_after_ms=200, invalid_after_ms=5000)
    with Live(opened, tracker.session(), limits, None, warm=partial(warm_up, tracker)) as live:
        live.add(1, box=(43, 205, 201, 340))
        for _ in live:
            pass
        stats = live.stats()
    return {
        "engine": tracker.network.runtime,
        "answer_ms": stats["answer"],
        "worked": stats["worked"],
        "dropped": stats["dropped"],
    }


def soak(frames: int) -> dict:
    from vidmem.live import Limits, Live

    def now() -> dict:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return {
            "mb": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
            "threads": threading.active_count(),
            "files": len(os.listdir("/proc/self/fd")),
        }

    with Live(
        camera(frames, 200.0), fake(), Limits(deadline_ms=500, stale_after_ms=600, invalid_after_ms=2000), None
    ) as live:
        live.add(1, box=(16, 16, 32, 32))
        while live._feed.captured < min(2_000, frames // 2):
            time.sleep(0.05)
        before = now()
        while live._feed.captured < frames - 20 and not live.over:
            time.sleep(0.05)
        after = now()
        stats = live.stats()
    return {"frames": stats["captured"], "worked": stats["worked"], "mb_before": round(before["mb"], 1), "mb_after": round(after["mb"], 1),
            "threads": [before["threads"], after["threads"]], "files": [before["files"], after["files"]]}  # fmt: skip


if __name__ == "__main__":
    main()
