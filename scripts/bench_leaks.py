#!/usr/bin/env python3
"""How many clicks mend a leak: ten real ones, found in the clips that `vidmem/training/labels` has outlines for.

    python scripts/bench_leaks.py --clips DATA/clips --json assets/figures/leaks.json --pictures docs/app/leaks

Each object is followed from a box around its outline on the first frame that has one. On the frame of the leak the mask had taken along a
fifth or more of what the object is (`LEAKS`: the ten worst of all objects of the clips, the first frame of each; weights of 2026-11-24).
Then a person clicks: in the middle of the larger error, on the object or beside it, until under a tenth is left of what was taken along and
under a fifth of the object is missing. Or the person wipes with the brush or the eraser, over the largest error in one piece each time: what a round brush
reaches there whose radius is half of the error's greatest inscribed one. Other weights may leak elsewhere: a mask that is good at once counts 0.
One thread.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
MOST = 8  # clicks; more are no mending
TAKEN, MISSED = 0.1, 0.2  # of the object's area


class Leak(NamedTuple):
    clip: str
    name: str
    """Of the outline."""
    start: int
    frame_idx: int


LEAKS = [
    Leak("01_dog.mp4", "dog", 24, 264),
    Leak("02_cups.mp4", "cup2", 12, 137),
    Leak("03_blocks.mp4", "D", 85, 231),
    Leak("03_blocks.mp4", "M", 85, 231),
    Leak("03_skateboarder.mp4", "person", 16, 112),
    Leak("05_default_juggle.mp4", "ball", 20, 61),
    Leak("05_landing_dog_soccer.mp4", "ball", 52, 123),
    Leak("07_snowboarder.mp4", "board", 32, 96),
    Leak("07_snowboarder.mp4", "person", 32, 160),
    Leak("10_cloth_magic.mp4", "stick", 92, 133),
]


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--pictures", type=Path, help="a folder for a picture of each leak before and after")
    args = parser.parse_args(argv)

    import vidmem
    from vidmem.evaluation.machine import check_writable, write_figure

    check_writable(args.json)
    outlines = {(e["clip"], e["frame"]): e["objects"] for path in sorted((ROOT / "vidmem/training/labels").glob("*.json"))
                for e in json.loads(path.read_text())}  # fmt: skip
    tracker, rows = vidmem.load("nano", runtime="onnx", threads=1), []
    for leak in LEAKS:
        row, pictures = mended(tracker, args.clips / leak.clip, leak, outlines)
        rows.append(leak._asdict() | row)
        print(rows[-1], flush=True)
        if args.pictures:
            draw(pictures, args.pictures / f"{Path(leak.clip).stem}-{leak.name}.jpg")
    clicks = [row["clicks"] for row in rows]
    figure = {
        "command": "scripts/bench_leaks.py --clips DATA/clips",
        "median": float(np.median(clicks)),
        "median_strokes": float(np.median([row["strokes"] for row in rows])),
        "leaks": rows,
    }
    write_figure(figure, args.json)
    print(json.dumps({"median": figure["median"], "clicks": clicks}))


def mended(tracker, path: Path, leak: Leak, outlines: dict) -> tuple[dict, list]:
    """-> the row of the table; frame, mask before, mask after, and the clicks (x, y, label) for a picture."""
    import vidmem
    from vidmem.training.data import rasterize
    from vidmem.training.loop import correction

    def truth(frame_idx: int, shape) -> np.ndarray:
        polygons = next(o["polygons"] for o in outlines[leak.clip, frame_idx] if o["name"] == leak.name)
        return rasterize(polygons, *shape[:2]) > 0

    clicks: list[tuple[float, float, int]] = []
    with tracker.session() as session:
        for frame in vidmem.open_video(path):
            if frame.index < leak.start:
                continue
            if frame.index == leak.start:
                y, x = np.nonzero(truth(leak.start, frame.image.shape))
                session.add(1, box=(x.min(), y.min(), x.max() + 1, y.max() + 1))
            result = session.step(frame)
            if frame.index == leak.frame_idx:
                break
        target, before = truth(leak.frame_idx, frame.image.shape), result.masks[0]
        middle = np.random.default_rng(0)
        while not good(result.masks[0], target) and len(clicks) < MOST:
            asked = correction(target, result.masks[0], Deepest(middle))
            (point,), (label,) = asked["points"], asked["labels"]
            clicks.append((float(point[0]), float(point[1]), int(label)))
            result = session.add(1, points=[c[:2] for c in clicks], labels=[c[2] for c in clicks])
    after = result.masks[0]
    area = target.sum()
    row = {"clicks": len(clicks), "mended": good(after, target), "strokes": strokes(before, target)}
    for name, mask in (("before", before), ("after", after)):
        row[f"taken_{name}"] = round(float((mask & ~target).sum() / area), 3)
        row[f"missed_{name}"] = round(float((target & ~mask).sum() / area), 3)
    return row, [frame.image, before, after, clicks]


def strokes(mask: np.ndarray, target: np.ndarray) -> int:
    """How many wipes make the mask good; `MOST` where that many do not."""
    import cv2

    mask = mask.copy()
    for count in range(MOST):
        if good(mask, target):
            return count
        regions = []
        for error in (mask & ~target, target & ~mask):
            _, parts, stats, _ = cv2.connectedComponentsWithStats(error.astype(np.uint8))
            if len(stats) > 1:
                largest = 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
                regions.append((int(stats[largest, cv2.CC_STAT_AREA]), parts == largest))
        region = max(regions, key=lambda r: r[0])[1].astype(np.uint8)
        radius = max(1, int(cv2.distanceTransform(np.pad(region, 1), cv2.DIST_L2, 3).max() / 2))
        brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        mask ^= cv2.morphologyEx(region, cv2.MORPH_OPEN, brush) > 0
    return MOST


class Deepest:
    """Stands in for a random generator where a person is careful: always the deepest place of a region."""

    def __init__(self, rng: np.random.Generator):
        self.integers = rng.integers

    def uniform(self, low: float, high: float) -> float:
        return high


def good(mask: np.ndarray, target: np.ndarray) -> bool:
    area = target.sum()
    return bool((mask & ~target).sum() < TAKEN * area and (target & ~mask).sum() < MISSED * area)


def draw(pictures: list, path: Path) -> None:
    """The frame twice, side by side, around what matters."""
    import cv2

    image, before, after, clicks = pictures
    y, x = np.nonzero(before | after)
    pad = 0.3 * max(np.ptp(x), np.ptp(y)) + 20
    x0, y0 = int(max(0, x.min() - pad)), int(max(0, y.min() - pad))
    x1, y1 = int(min(image.shape[1], x.max() + pad)), int(min(image.shape[0], y.max() + pad))
    sides = []
    for mask, dots in ((before, []), (after, clicks)):
        side = image.copy()
        side[mask] = side[mask] // 2 + np.array([10, 100, 127], np.uint8)
        side = cv2.resize(
            side[y0:y1, x0:x1], None, fx=320 / (y1 - y0), fy=320 / (y1 - y0), interpolation=cv2.INTER_AREA
        )
        for cx, cy, label in dots:
            at = int((cx - x0) * 320 / (y1 - y0)), int((cy - y0) * 320 / (y1 - y0))
            cv2.circle(side, at, 7, (255, 255, 255), -1)
            cv2.circle(side, at, 5, (0, 170, 0) if label else (220, 0, 0), -1)
        sides.append(side)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.hstack(sides)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])


if __name__ == "__main__":
    main()
