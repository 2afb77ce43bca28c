#!/usr/bin/env python3
"""After `scripts/train_words.py`: how sure is sure, and does nano's encoder do as well?

    python scripts/fit_words.py --data FOLDER --runs runs/words calibrate      # writes calibration.json
    python scripts/fit_words.py --data FOLDER --runs runs/words compare

Both read the training videos and stills by the names that are written below.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from train_words import ROOT, boxes_of, imagenet, person_label

from vidmem.detect.words.sight import crop, region_mean
from vidmem.training.data import find_reels

TRUE = {
    "bear": ["bear", "animal"], "bmx-bumps": ["bicycle"], "boat": ["boat"], "breakdance-flare": ["person"], "bus": ["bus"],
    "car-turn": ["car"], "dance-jump": ["person"], "dog-agility": ["dog", "animal"], "drift-turn": ["car"], "elephant": ["elephant"],
    "flamingo": ["flamingo", "bird"], "hike": ["person"], "hockey": ["person"], "horsejump-low": ["horse"], "kite-walk": ["person"],
    "lucia": ["person"], "mallard-fly": ["duck", "bird"], "mallard-water": ["duck", "bird"], "motocross-bumps": ["motorbike"],
    "motorbike": ["motorbike"], "rhino": ["rhino", "animal"], "rollerblade": ["person"], "scooter-gray": ["motorbike"],
    "soccerball": ["ball"], "stroller": ["person"], "surf": ["person"], "swing": ["person"], "train": ["train"],
    "weizmann_horse": ["horse"], "feral_cat": ["cat", "animal"], "ccp": ["person"], "human290": ["person"],
}  # fmt: skip
"""What the labelled objects of the training videos and stills are called."""
ALSO = {"kite-walk": {"ball", "boat"}, "surf": {"boat"}, "boat": {"person"}, "stroller": {"bicycle"}, "swing": {"chair"}, "bus": {"car", "truck", "train"},
        "train": {"bus"}, "motocross-bumps": {"bicycle"}, "motorbike": {"bicycle", "car"}, "scooter-gray": {"bicycle", "car"}, "bmx-bumps": {"motorbike"},
        "soccerball": {"bear"}, "lucia": {"bag", "umbrella"}, "ccp": {"bag", "hat", "shoe", "bicycle", "umbrella"}, "human290": {"bag", "hat"}}  # fmt: skip
"""What may be there besides, so that it is no absent word."""
NOUNS = ["bear", "bicycle", "boat", "bus", "car", "dog", "elephant", "flamingo", "bird", "horse", "duck", "motorbike", "ball", "train", "cat", "sheep", "cow", "snake", "chair", "bottle", "umbrella", "guitar", "airplane", "truck", "monkey", "fish", "fox", "lion", "frog", "bag", "hat", "clock"]  # fmt: skip


def examples(args) -> dict[str, list[tuple]]:
    """kind -> (region odds, close odds, log odds of an object, label, weight, where) of boxes for words that are true and words that are not."""
    from vidmem.detect.words.evidence import logit, noun_odds
    from vidmem.detect.words.network import Names, WordNetwork
    from vidmem.detect.words.proposals import pairwise
    from vidmem.detect.words.vocabulary import load_vocabulary

    network, vocabulary = WordNetwork(args.out, 1), load_vocabulary(args.out / "imagenet.txt")
    random, rows = np.random.default_rng(2), {"noun": [], "person": []}
    for number, reel in enumerate(find_reels(args.data, args.runs / "cache")):
        name = reel.name.split("/")[-1] if reel.group == "video" else reel.group.split("/")[-1]
        if name not in TRUE or (reel.length == 1 and number % 12):
            continue
        for k in range(3, reel.length + 3, 9) if reel.length > 1 else (0,):
            k = min(k, reel.length - 1)
            image, truth = reel.image(k), boxes_of(reel, reel.labels(k))
            sighting = network.look(image)
            if not len(truth) or not len(sighting.boxes):
                continue
            region, ious = network.regions(sighting, image.shape[:2]), pairwise(sighting.boxes, truth).max(1)
            true = {w: vocabulary.nouns[w] for w in TRUE[name]}
            absent = [w for w in NOUNS if w not in true and w not in ALSO.get(name, ())]
            absent = [w for w in absent if not any(vocabulary.nouns[w].classes & t.classes for t in true.values())]
            asked = {w: vocabulary.nouns[w] for w in random.choice(absent, min(6, len(absent)), replace=False)} | true
            if person_label(reel) == 0:
                asked["person"] = vocabulary.nouns["person"]
            picks = {}
            for word, noun in asked.items():
                order = np.argsort(-(noun_odds(region, noun) + logit(sighting.objects)), kind="stable")[:3].tolist()
                picks[word] = sorted({*order, int(ious.argmax())} if word in true else {*order[:2]})
            needed = sorted({i for some in picks.values() for i in some})
            close = network.closer(image, sighting.boxes[needed])
            for word, some in picks.items():
                at = [needed.index(i) for i in some]
                far, near = (
                    noun_odds(Names(*(a[some] for a in region)), asked[word]),
                    noun_odds(Names(*(a[at] for a in close)), asked[word]),
                )
                for j, i in enumerate(some):
                    label = 1 if word in true and ious[i] >= 0.5 else 0
                    if word in true and (0.3 <= ious[i] < 0.5 or (ious[i] < 0.3 and "person" in true)):
                        continue  # half right, or somebody else whom nobody labelled
                    weight = 0.3 if word in true and not label else 1.0
                    rows["person" if asked[word].person else "noun"].append(
                        (far[j], near[j], logit(sighting.objects[i]), label, weight, f"{name} {word}")
                    )
    return rows


def logistic(x, y, weight):
    """(N, 3), (N,), (N,) -> weights of at least 0 (3,), bias, probabilities (N,)."""
    import torch
    import torch.nn.functional as F

    w, bias = torch.full((3,), 0.5, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([w, bias], max_iter=200)

    def loss():
        optimizer.zero_grad()
        value = F.binary_cross_entropy_with_logits(x @ w.abs() + bias, y, weight) + 1e-3 * w.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    w, bias = w.detach().abs(), bias.detach()
    return w, bias, torch.sigmoid(x @ w + bias)


def calibrate(args) -> None:
    """Logistic regressions from what a look says to how likely it is right."""
    import torch

    found = {}
    for kind, rows in examples(args).items():
        x = torch.tensor([row[:3] for row in rows], dtype=torch.float32)
        x[:, :2] = x[:, :2].clamp(-8, 8)
        y, weight = (torch.tensor([row[k] for row in rows], dtype=torch.float32) for k in (3, 4))
        w, bias, p = logistic(x, y, weight)
        for least in (0.3, 0.5, 0.7):
            print(
                f"{kind}: {len(y)} boxes, {int(y.sum())} right; score >= {least}: {float((p[y == 1] >= least).float().mean()):.3f} of the right, "
                f"{float((p[y == 0] >= least).float().mean()):.4f} of the others"
            )
        wrong = sorted(((float(v), row[5]) for v, row in zip(p, rows) if not row[3]), reverse=True)[:8]
        print("  the surest that are not:", ", ".join(f"{where} {v:.2f}" for v, where in wrong))
        values = (float(bias), *w.tolist())
        found[kind] = {k: round(v, 4) for k, v in zip(("bias", "region", "close", "object"), values)}
    (args.out / "calibration.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


def compare(args) -> None:
    """Does nano's encoder, fine-tuned for tracking, still carry ImageNet's classes? The same crops through both backbones, then the
    published head and classifier: how often the true noun is the likeliest of 14."""
    import torch

    from vidmem.detect.words.evidence import noun_odds
    from vidmem.detect.words.network import Names
    from vidmem.detect.words.vocabulary import load_vocabulary
    from vidmem.installed import models_folder
    from vidmem.networks.nano.weights import load_nano
    from vidmem.training.words_net import Name, WordsModel

    tensors, look, name = imagenet(), WordsModel().eval(), Name()
    look.load_imagenet(tensors)
    name.classes.load_state_dict({"weight": tensors["_fc.weight"], "bias": tensors["_fc.bias"]})
    nano = load_nano(models_folder() / "nano/nano.safetensors").eval()
    tuned = next(module for module in nano.modules() if type(module).__name__ == "Backbone")
    vocabulary = load_vocabulary(args.out / "imagenet.txt")
    nouns = sorted({words[0] for words in TRUE.values()} - {"person", "rhino"})
    right: dict[str, list[bool]] = {"ImageNet's": [], "nano's": []}
    for number, reel in enumerate(find_reels(args.data, args.runs / "cache")):
        kind = reel.name.split("/")[-1] if reel.group == "video" else reel.group.split("/")[-1]
        true = TRUE.get(kind, [None])[0]
        if true not in nouns or (reel.length == 1 and number % 12):
            continue
        for k in range(0, reel.length, 12):
            image, boxes = reel.image(k), boxes_of(reel, reel.labels(k))
            if not len(boxes):
                continue
            part, inside = crop(image, boxes[0])
            for which, backbone in (("ImageNet's", look.backbone), ("nano's", tuned)):
                with torch.no_grad():
                    deep = backbone(torch.from_numpy(part)[None].permute(0, 3, 1, 2) / 255)[-1]
                    pooled = region_mean(look.head(deep)[0].numpy(), inside)
                    logits = name.classes(torch.from_numpy(pooled)[None]).numpy()
                odds = [noun_odds(Names(logits, np.zeros(1), pooled[None]), vocabulary.nouns[w])[0] for w in nouns]
                right[which].append(nouns[int(np.argmax(odds))] == true)
    for which, hits in right.items():
        print(f"{which} backbone: {np.mean(hits):.3f} of {len(hits)} crops named right, of {len(nouns)} nouns")


def main(argv=None) -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("calibrate", "compare"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/words", help="where decoded frames are kept")
    parser.add_argument("--out", type=Path, default=ROOT / "models/words")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    {"calibrate": calibrate, "compare": compare}[args.step](args)


if __name__ == "__main__":
    main()
