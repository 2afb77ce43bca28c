#!/usr/bin/env python3
"""Score a checkpoint on the held-out training videos and on stories composed from them: what every choice is made on.

    python scripts/validate_nano.py runs/nano/last.pt --data FOLDER --log runs/nano/validation.jsonl
    python scripts/validate_nano.py models/nano --data FOLDER --bank confident,iou=0.3        # shipped graphs, other numbers

Each held-out video is followed from its first mask, its box and one click; each story (`vidmem/evaluation/longterm.py`, seeds
from 100, which no reported figure uses) from its first mask. Prints and appends one line of JSON. One thread.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SEED = 100


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="a checkpoint of train_nano.py, or a folder with graphs")
    parser.add_argument("--data", type=Path, required=True, help="the folder that the held-out videos are in")
    parser.add_argument("--cache", type=Path, default=ROOT / "runs/cache")
    parser.add_argument("--prompts", nargs="*", default=["mask", "box", "click"])
    parser.add_argument("--stories", type=int, default=6)
    parser.add_argument("--most", type=int, default=400, help="frames of a story")
    parser.add_argument("--area", type=int, help="pixels of the network's input")
    parser.add_argument("--bank", help="NAME,field=value,...; default: the model's own")
    parser.add_argument("--presence", type=float, default=0.0, help="logit above which an object counts as present")
    parser.add_argument("--log", type=Path)
    args = parser.parse_args(argv)

    import vidmem

    with tempfile.TemporaryDirectory() as folder:
        row, weights = {}, args.weights
        if weights.is_file():
            weights = Path(folder)
            from export_nano import export_checkpoint

            row = export_checkpoint(args.weights, weights, args.presence) | {"presence": args.presence}
        tracker = vidmem.load("nano", runtime="onnx", threads=1, weights=weights)
        if args.bank:
            from bench_memory import parse

            tracker = dataclasses.replace(tracker, bank=parse(f"{args.bank}/greedy", "nano")[0])
        if args.area:
            tracker.network.area = args.area
        videos = held_out(args.data, args.cache)
        for prompt in args.prompts:
            scores = {path.name: follow(tracker, path, prompt) for path in sorted(videos.iterdir())}
            row[prompt] = round(float(np.mean(list(scores.values()))), 4)
            print(prompt, row[prompt], {k: round(v, 3) for k, v in scores.items()}, flush=True)
        if args.stories:
            row |= told(tracker, videos, args.stories, args.most)
    print(json.dumps(row))
    if args.log:
        with args.log.open("a") as log:
            log.write(json.dumps(row) + "\n")


def held_out(data: Path, cache: Path) -> Path:
    """The held-out videos as folders of frames and masks, as `evaluation` reads them."""
    import cv2
    from train_nano import HELD_OUT

    from vidmem.training.data import find_reels

    out = cache / "validation"
    for reel in find_reels(data, cache):
        name = reel.name.split("/")[-1]
        if name in HELD_OUT and not (out / name / "masks" / f"{reel.length - 1:05d}.png").exists():
            for part in ("frames", "masks"):
                (out / name / part).mkdir(parents=True, exist_ok=True)
            for k in range(reel.length):
                cv2.imwrite(
                    str(out / name / "frames" / f"{k:05d}.jpg"),
                    reel.image(k)[..., ::-1],
                    [cv2.IMWRITE_JPEG_QUALITY, 95],
                )
                cv2.imwrite(str(out / name / "masks" / f"{k:05d}.png"), reel.labels(k))
    return out


def follow(tracker, folder: Path, kind: str) -> float:
    """Mean J&F of the frames that show the object. Half the frames are enough for F, which costs more than tracking does."""
    import cv2

    from vidmem.evaluation import boundary_f, find_sequences, first_prompts, jaccard, load_labels
    from vidmem.types import Frame

    (sequence,) = find_sequences(folder)
    js, fs = [], []
    with tracker.session() as session:
        for t, (path, mask) in enumerate(zip(sequence.frames, sequence.masks)):
            truth = load_labels(mask) == 1
            if t == 0:
                said = first_prompts(truth.astype(np.uint8), kind)[1]
                session.add(1, points=said.points, labels=said.labels, box=said.box, mask=said.mask)
            result = session.step(Frame(t, None, cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)))
            if t and truth.any():
                js.append(jaccard(result.masks[0], truth))
                if t % 2:
                    fs.append(boundary_f(result.masks[0], truth))
    return float(np.mean(js) + np.mean(fs)) / 2


def told(tracker, root: Path, count: int, most: int) -> dict:
    """Means over stories, and how well presence tells frames with the object from frames without it."""
    from vidmem.evaluation.audit import Log, LongScorer
    from vidmem.evaluation.longterm import compose, stories
    from vidmem.types import Frame

    scores, seen = [], []
    for story in stories(count, SEED):
        scorer = LongScorer(5)
        with tracker.session() as session:
            for t, moment in enumerate(compose(dataclasses.replace(story, length=min(story.length, most)), root)):
                if t == 0:
                    session.add(1, mask=moment.truth)
                result = session.step(Frame(t, None, moment.image))
                scorer.add(result.masks[0], moment.truth, moment.distractor)
                seen.append((float(result.object_logits[0]), int(moment.truth.sum())))
        score = scorer.score(Log())
        scores.append((score.j_and_f, score.absent, score.returned, score.switches))
        print(story.name, np.round(scores[-1], 3), flush=True)
    logit, area = np.array(seen).T
    there, gone = logit[area > 50], logit[area == 0]
    auc = float((there[:, None] > gone).mean()) if len(gone) else 1.0
    print(
        "logits present",
        np.percentile(there, (5, 25, 50)).round(1),
        "absent",
        np.percentile(gone, (50, 75, 95)).round(1),
    )
    j_and_f, absent, returned, switches = np.mean(scores, 0)
    return {
        "stories": round(j_and_f, 4),
        "absent": round(absent, 4),
        "returned": round(returned, 4),
        "switches": round(switches, 2),
        "auc": round(auc, 4),
    }


if __name__ == "__main__":
    main()
