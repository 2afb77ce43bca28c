#!/usr/bin/env python3
"""Can the predicted IoU be trusted? How often it is right, on video that `nano` was not trained on, and the correction fitted to that.

    python scripts/bench_scores.py --data DATA/train --json assets/figures/scores.json --picture docs/app/reliability.png

The five held-out training videos, followed from a mask, a box and a click, and stories composed from them (`vidmem/evaluation/longterm.py`, seeds from
100), in which look-alikes come and objects go. Counted are frames whose status is "tracking": of each the predicted IoU and the true one (0 where the
object is not there). `vidmem.networks.trust.Trust` is fitted to them, and judged on each object by weights that were fitted to the others; the weights
that are printed, for the network's `TRUST`, come from all. A person is to be called where the mask is wrong, a true IoU under 0.7: the last lines say
of several limits how many of the frames under it are wrong, and how many of the wrong ones are under it. One thread.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
WRONG = 0.7
LIMITS = (0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that the held-out videos are in")
    parser.add_argument("--cache", type=Path, default=ROOT / "runs/cache")
    parser.add_argument("--stories", type=int, default=10)
    parser.add_argument("--most", type=int, default=200, help="frames of a story")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args(argv)
    from validate_nano import held_out

    import vidmem
    from vidmem.evaluation.machine import check_writable, write_figure

    check_writable(args.json)
    tracker, videos = vidmem.load("nano", runtime="onnx", threads=1), held_out(args.data, args.cache)
    tracker.network.trust = None
    folders = sorted(videos.iterdir())
    frames = [
        (k, *one)
        for k, folder in enumerate(folders)
        for kind in ("mask", "box", "click")
        for one in video(tracker, folder, kind)
    ]
    frames += composed(tracker, videos, args.stories, args.most, len(folders))
    which, said, pieces, true = np.array(frames).T
    apart = np.empty_like(said)
    for k in np.unique(which):
        others, own = which != k, which == k
        apart[own] = promised(fitted(said[others], pieces[others], true[others]), said[own], pieces[own])
    weights = fitted(said, pieces, true)
    figure = {
        "command": "scripts/bench_scores.py --data DATA/train",
        "frames": len(frames),
        "trust": {name: round(float(w), 3) for name, w in weights._asdict().items()},
        "network": reliability(np.column_stack([said, true])),
        **reliability(np.column_stack([apart, true])),
    }
    write_figure(figure, args.json)
    if args.picture:
        draw(figure, args.picture)
    print(json.dumps(figure))


def fitted(said: np.ndarray, pieces: np.ndarray, true: np.ndarray):
    """(N,) each -> `Trust`: logistic regression on soft targets, by Newton's method."""
    from vidmem.networks.trust import Trust, odds

    given, weights = np.column_stack([np.ones(len(said)), odds(said), pieces]), np.zeros(3)
    for _ in range(50):
        now = 1 / (1 + np.exp(-given @ weights))
        slope = given.T @ (now - true) + 1e-3 * weights
        weights -= np.linalg.solve((given * (now * (1 - now))[:, None]).T @ given + 1e-3 * np.eye(3), slope)
    return Trust(*weights.round(3).tolist())


def promised(trust, said: np.ndarray, pieces: np.ndarray) -> np.ndarray:
    from vidmem.networks.trust import odds

    return 1 / (1 + np.exp(-(trust.bias + trust.score * odds(said) + trust.whole * pieces)))


def video(tracker, folder: Path, kind: str) -> list[tuple[float, float, float]]:
    import cv2

    from vidmem.evaluation import find_sequences, first_prompts, load_labels
    from vidmem.types import Frame

    (sequence,) = find_sequences(folder)
    found = []
    with tracker.session() as session:
        for t, (path, mask) in enumerate(zip(sequence.frames, sequence.masks)):
            truth = load_labels(mask) == 1
            if t == 0:
                said = first_prompts(truth.astype(np.uint8), kind)[1]
                session.add(1, points=said.points, labels=said.labels, box=said.box, mask=said.mask)
            found += counted(session.step(Frame(t, None, cv2.imread(str(path))[..., ::-1].copy())), truth)
    print(folder.name, kind, np.mean(found, axis=0).round(3), flush=True)
    return found


def composed(tracker, videos: Path, count: int, most: int, subjects: int) -> list[tuple[float, float, float, float]]:
    from validate_nano import SEED

    from vidmem.evaluation.longterm import compose, stories
    from vidmem.types import Frame

    found = []
    for story in stories(count, SEED):
        own = []
        with tracker.session() as session:
            for t, moment in enumerate(compose(dataclasses.replace(story, length=min(story.length, most)), videos)):
                if t == 0:
                    session.add(1, mask=moment.truth)
                own += counted(session.step(Frame(t, None, moment.image)), moment.truth > 0)
        found += [(story.subject % subjects, *one) for one in own]
        print(story.name, np.mean(own, axis=0).round(3), flush=True)
    return found


def counted(result, truth: np.ndarray) -> list[tuple[float, float, float]]:
    """[(predicted IoU, share of the largest piece, true IoU)] of a frame that counts, else nothing."""
    from vidmem.networks.trust import whole

    if result.status[0].value != "tracking":
        return []
    mask = result.masks[0]
    union = (mask | truth).sum()
    iou = float((mask & truth).sum() / union) if union else 1.0
    return [(float(result.scores[0]), whole(result.mask_logits[0]), iou)]


def reliability(pairs: np.ndarray) -> dict:
    said, true = pairs.T
    bins, error = [], 0.0
    for low in np.arange(0, 1, 0.1):
        here = (said >= low) & (said < low + 0.1 + 1e-9 * (low > 0.85))
        if here.any():
            bins.append({"from": round(float(low), 1), "frames": int(here.sum()), "said": round(float(said[here].mean()), 3),
                         "true": round(float(true[here].mean()), 3)})  # fmt: skip
            error += here.mean() * abs(said[here].mean() - true[here].mean())
    wrong, limits = true < WRONG, []
    for limit in LIMITS:
        under = said < limit
        limits.append({"under": limit, "frames": int(under.sum()), "of_these_wrong": round(float(wrong[under].mean()), 3) if under.any() else None,
                       "of_wrong_found": round(float(under[wrong].mean()), 3) if wrong.any() else None})  # fmt: skip
    ranks = [np.argsort(np.argsort(values)) for values in (said, true)]
    return {"bins": bins, "calibration_error": round(float(error), 3), "rank_correlation": round(float(np.corrcoef(*ranks)[0, 1]), 3),
            "wrong": round(float(wrong.mean()), 3), "limits": limits}  # fmt: skip


def draw(figure: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    _, axes = pyplot.subplots(figsize=(4.6, 3.6), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for bins, color, label in (
        (figure["network"]["bins"], "0.6", "the network's"),
        (figure["bins"], "#1466c8", "as reported"),
    ):
        axes.plot([b["said"] for b in bins], [b["true"] for b in bins], marker="o", color=color, label=label)
    axes.legend(frameon=False)
    for b in figure["bins"]:
        axes.annotate(
            b["frames"], (b["said"], b["true"]), textcoords="offset points", xytext=(6, -10), fontsize=7, color="0.4"
        )
    axes.set(
        xlabel="predicted IoU (mean of a bin)",
        ylabel="true IoU (mean)",
        xlim=(0, 1),
        ylim=(0, 1),
        title="held-out video; frames beside the dots",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pyplot.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
