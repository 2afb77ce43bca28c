#!/usr/bin/env python3
"""Small objects in large frames, with `--zoom` and without, from their first masks and at equal time: one encoded frame a frame.

    python scripts/bench_zoom.py DATA/davis --clips DATA/clips --json assets/figures/zoom.json --picture docs/app/zoom.jpg

Each sequence's object is cut out, made 8 to 24 pixels long, and moved over a clip of DATA/clips at 1920x1080 along a smooth random path;
its poses are the sequence's. J&F is the mean of J and of boundary F at a pixel. One thread.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]
SIZE = (1080, 1920)
SIDES = (8, 12, 16, 20, 24)  # pixels of the longer side, in turn
FRAMES = 40
BACKGROUNDS = (
    "19_cyclist.mp4", "08_driving.mp4", "07_snowboarder.mp4", "14_social_dog_training.mp4", "11_polevault.mp4",
)  # fmt: skip


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="sequences with masks")
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path, help="the last frame of each story around its object, both ways")
    args = parser.parse_args(argv)

    import vidmem
    from vidmem.evaluation import find_sequences
    from vidmem.evaluation.machine import check_writable, write_figure

    check_writable(args.json)
    tracker, rows, pictures = vidmem.load("nano", runtime="onnx", threads=1), [], []
    for k, sequence in enumerate(find_sequences(args.data)):
        frames, truths = composed(sequence, args.clips / BACKGROUNDS[k % len(BACKGROUNDS)], SIDES[k % len(SIDES)], k)
        row = {"object": sequence.name, "pixels": SIDES[k % len(SIDES)], "frames": len(frames)}
        shown = []
        for name, make in (("plain", tracker.session), ("zoom", tracker.zoomed)):
            (row[name], row[f"{name}_ms"]), mask = followed(make(), frames, truths)
            shown.append(drawn(frames[-1], mask, truths[-1]))
        pictures.append(np.vstack(shown))
        rows.append(row)
        print(row, flush=True)
    mean = {name: round(float(np.mean([row[name] for row in rows])), 3) for name in ("plain", "zoom")}
    time_ratio = float(np.median([row["zoom_ms"] / row["plain_ms"] for row in rows]))
    figure = {
        "command": "scripts/bench_zoom.py DATA/davis --clips DATA/clips",
        "mean": mean,
        "time": round(time_ratio, 2),
        "objects": rows,
    }
    write_figure(figure, args.json)
    if args.picture:
        args.picture.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(args.picture), np.hstack(pictures)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    print(json.dumps({"mean": mean, "time": figure["time"]}))


def composed(sequence, clip: Path, side: int, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """-> frames (H, W, 3) uint8 and masks (H, W) bool."""
    import av

    from vidmem.evaluation import load_labels

    rng = np.random.default_rng(seed)
    place, way = rng.uniform([400, 300], [1500, 800]), rng.normal(0, 9, 2)
    frames, truths = [], []
    with av.open(str(clip)) as container:
        for t, picture in enumerate(container.decode(video=0)):
            if t == min(FRAMES, len(sequence.frames)):
                break
            canvas = cv2.resize(picture.to_ndarray(format="rgb24"), SIZE[::-1])
            mask = load_labels(sequence.masks[t]) == 1
            truth = np.zeros(SIZE, bool)
            way = 0.9 * way + rng.normal(0, 3, 2)
            place = np.clip(place + way, 60, np.array(SIZE[::-1]) - 60)
            if mask.any():
                rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
                part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
                scale = side / max(mask[part].shape)
                size = [max(1, round(n * scale)) for n in mask[part].shape[::-1]]
                pixels = cv2.resize(
                    cv2.imread(str(sequence.frames[t]))[part][..., ::-1], size, interpolation=cv2.INTER_AREA
                )
                alpha = cv2.resize(mask[part].astype(np.float32), size, interpolation=cv2.INTER_AREA)
                x, y = (place - np.array(size) / 2).astype(int)
                here = slice(y, y + size[1]), slice(x, x + size[0])
                canvas[here] = canvas[here] * (1 - alpha[..., None]) + pixels * alpha[..., None]
                truth[here] = alpha >= 0.5
            frames.append(canvas)
            truths.append(truth)
    return frames, truths


def followed(session, frames, truths) -> tuple[tuple[float, float], np.ndarray]:
    """-> J&F after the first frame and the median of a frame's milliseconds; the last mask."""
    from vidmem.evaluation import jaccard
    from vidmem.types import Frame

    scores, spent = [], []
    with session:
        session.add(1, mask=truths[0])
        for t, (image, truth) in enumerate(zip(frames, truths)):
            began = time.perf_counter()
            mask = session.step(Frame(t, None, image)).masks[0]
            spent.append(1000 * (time.perf_counter() - began))
            if t and truth.any():
                scores.append((jaccard(mask, truth) + edges(mask, truth)) / 2)
    return (round(float(np.mean(scores)), 3), round(float(np.median(spent)), 1)), mask


def edges(mask: np.ndarray, truth: np.ndarray) -> float:
    """F of the borders within a pixel: the tolerance of `boundary_f` grows with the frame and would forgive an object of this size anything."""
    kernel = np.ones((3, 3), np.uint8)
    one, two = ((m & ~cv2.erode(m.astype(np.uint8), kernel).astype(bool)) for m in (mask, truth))
    near_one, near_two = (cv2.dilate(m.astype(np.uint8), kernel).astype(bool) for m in (one, two))
    precision, recall = (one & near_two).sum() / max(1, one.sum()), (two & near_one).sum() / max(1, two.sum())
    return float(2 * precision * recall / max(1e-9, precision + recall))


def drawn(image: np.ndarray, mask: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """48 pixels around the object, four times as large."""
    y, x = (int(v.mean()) for v in np.nonzero(truth)) if truth.any() else (540, 960)
    y, x = min(max(y, 24), SIZE[0] - 24), min(max(x, 24), SIZE[1] - 24)
    part = slice(y - 24, y + 24), slice(x - 24, x + 24)
    large = cv2.resize(image[part], None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    outline = cv2.resize(mask[part].astype(np.uint8), None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(outline, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.ascontiguousarray(large), contours, -1, (60, 220, 255), 1)


if __name__ == "__main__":
    main()
