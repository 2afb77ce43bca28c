#!/usr/bin/env python3
"""The app in Chromium with nano: how long a click takes from the mouse to the mask, how fast it tracks and starts, and a screenshot.

    python scripts/bench_app.py --json assets/figures/app.json --picture assets/app.png

The demo clip at 854x480. A click's time is the page's own: from sending the prompt until the new mask has been drawn. Clicks are on the frame that is
shown, each a correction of the one before; then some on frames that the session has to go back to. What the network takes of that is measured
after each click in a session of this process, with the same clip, frame and click: the median difference is the app's and the browser's.
The start is the time from the command until it prints its address, at which it then answers, and until the page is there.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median

from bench_job import SIZE, scaled_clip

ROOT = Path(__file__).resolve().parents[1]
FISH = (160, 272)  # on it, on the first frame


def drive(address: str, clip: Path, count: int, clicks: int, picture: Path | None, alone) -> dict:
    from playwright.sync_api import sync_playwright

    from tests.tab import Tab, launch

    with sync_playwright() as playwright:
        browser = launch(playwright)
        tab = Tab(browser, address, clip, video=SIZE, count=count)
        page = tab.page
        time.sleep(1)

        def click(x: float, y: float) -> int:
            took = tab.ask(x, y)
            time.sleep(0.2)
            return took

        def go(frame: int) -> None:
            tab.go(frame)
            time.sleep(0.6)

        def track() -> float:
            began = time.perf_counter()
            page.click("[data-id=track]")
            page.wait_for_function(
                "document.querySelector('[data-id=work]').textContent.includes('tracking')", timeout=20_000
            )
            page.wait_for_function("document.querySelector('[data-id=cancel]').hidden", timeout=300_000)
            return count / (time.perf_counter() - began)

        first = click(*FISH)
        fps = track()
        go(60)
        if picture:
            page.screenshot(path=str(picture))
        go(0)
        pairs = [(click(*spot(i)), alone(i)) for i in range(clicks)]  # in turn, for the machine may have other work
        here, network = zip(*pairs)
        there = []
        for i in range(clicks // 2):
            go(3 + 7 * i)
            there.append(click(FISH[0] + 5 * i, FISH[1]))
        browser.close()
    return {"first_click_ms": first, "click_ms": {"p50": median(here), "max": max(here)}, "click_elsewhere_ms": {"p50": median(there), "max": max(there)},
            "track_fps": round(fps, 1), "clicks": clicks,
            "network_ms": round(median(network), 1), "app_and_browser_ms": round(median(a - b for a, b in pairs), 1)}  # fmt: skip


def spot(i: int) -> tuple[int, int]:
    """Clicks all over the fish, none on the dot of another, which would take that back."""
    return FISH[0] - 24 + 16 * (i % 4), FISH[1] - 20 + 16 * (i // 4)


def network_alone(clip: Path):
    """-> a function of i: milliseconds of `Session.add` for the i-th of the same clicks, in a session of this process."""
    import vidmem

    with vidmem.open_video(clip) as video:
        frame = next(iter(video))
    session = vidmem.load("nano", runtime="onnx").session()
    session.step(frame)
    session.add(1, points=[FISH])

    def alone(i: int) -> float:
        began = time.perf_counter()
        session.add(1, points=[spot(i)])
        return 1000 * (time.perf_counter() - began)

    return alone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=16)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    import vidmem
    from vidmem.evaluation.machine import check_writable, write_figure

    check_writable(args.json)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as scratch:
        clip, _ = scaled_clip(Path(scratch))
        count = len(vidmem.open_video(clip))
        began = time.perf_counter()
        server = subprocess.Popen(
            [sys.executable, "-m", "app", "--port", str(port), "--runtime", "onnx"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "XDG_DATA_HOME": scratch},
            stdout=subprocess.PIPE,
        )
        try:
            server.stdout.readline()
            address, page = time.perf_counter() - began, None
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
                page = answer.read() and time.perf_counter() - began
            figure = drive(f"http://127.0.0.1:{port}/", clip, count, args.clicks, args.picture, network_alone(clip))
        finally:
            server.terminate()
            server.wait()
    figure |= {"address_s": round(address, 2), "page_s": round(page, 2), "load_average": round(os.getloadavg()[0], 1)}  # fmt: skip
    figure = {"command": "scripts/bench_app.py", "size": f"{SIZE[1]}x{SIZE[0]}", "runtime": "onnx fp32", **figure}
    write_figure(figure, args.json)
    print(json.dumps(figure))


if __name__ == "__main__":
    main()
