#!/usr/bin/env python3
"""The app's pictures in the docs: nano on the demo clip in Chromium, in the states that a user sees. Look at each before you commit it.

python scripts/app_pictures.py            # writes assets/app.png and docs/app/*.png
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SIZE = (360, 640)  # (H, W) of the demo clip
FISH, OTHER, OTHER_AT = (120, 204), (222, 232), 85  # where they are, and on which frame the second one is clicked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT)
    args = parser.parse_args()
    docs = args.out / "docs/app"
    docs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        server = subprocess.Popen(
            [sys.executable, "-m", "app", str(ROOT / "assets/demo.mp4"), "--port", "0", "--runtime", "onnx"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "XDG_DATA_HOME": scratch},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            address = server.stdout.readline().split()[1]
            take(address, args.out / "assets/app.png", docs)
        finally:
            server.terminate()
            server.wait()
    for path in (args.out / "assets/app.png", *docs.glob("*.png")):
        fewer_colours(path)


def take(address: str, main_picture: Path, docs: Path) -> None:
    sys.path.insert(0, str(ROOT))
    from playwright.sync_api import sync_playwright

    from tests.tab import Tab, launch

    with sync_playwright() as playwright:
        browser = launch(playwright)
        tab = Tab(browser, address, size=(1280, 760), video=SIZE)
        page = tab.page

        def click(x: float, y: float) -> None:
            tab.ask(x, y)
            page.mouse.move(5, 5)

        def go(frame: int) -> None:
            tab.go(frame)
            page.wait_for_function(f"document.querySelector('[data-id=memory-at]').textContent.endsWith(', frame {frame}')", timeout=60_000)  # fmt: skip

        def track(way: str) -> None:
            page.select_option("[data-id=way]", way)
            page.click("[data-id=track]")
            page.wait_for_function("!document.querySelector('[data-id=cancel]').hidden", timeout=20_000)
            page.wait_for_function("document.querySelector('[data-id=cancel]').hidden", timeout=600_000)

        def name(obj_id: int, text: str) -> None:
            field = page.locator(f"[data-obj='{obj_id}'] input")
            field.fill(text)
            field.press("Enter")

        def shot(path: Path) -> None:
            page.wait_for_function(
                "!document.querySelector('[data-id=message]').classList.contains('on')", timeout=20_000
            )
            time.sleep(0.5)
            page.screenshot(path=str(path))

        click(*FISH)
        name(1, "clownfish")
        track("forward")
        go(0)
        page.click("[data-id=lost]")
        time.sleep(3)
        page.screenshot(path=str(docs / "unsure.png"))
        go(OTHER_AT)
        page.keyboard.press("n")
        click(*OTHER)
        name(2, "purple fish")
        track("both")
        go(OTHER_AT)
        shot(main_picture)
        page.emulate_media(color_scheme="dark")
        page.click("[data-id=advanced] > summary")
        shot(docs / "dark.png")
        page.click("[data-id=advanced] > summary")
        page.emulate_media(color_scheme="light")
        for size, file in (((820, 1180), "tablet.png"), ((390, 844), "phone.png")):
            page.set_viewport_size({"width": size[0], "height": size[1]})
            time.sleep(0.5)
            shot(docs / file)
        browser.close()


def fewer_colours(path: Path) -> None:
    """Steps of four, which nobody sees, at half the bytes."""
    import numpy as np
    from PIL import Image

    image = np.asarray(Image.open(path).convert("RGB"))
    Image.fromarray(np.minimum(255, (image.astype(int) + 2) // 4 * 4).astype(np.uint8)).save(path, optimize=True)


if __name__ == "__main__":
    main()
