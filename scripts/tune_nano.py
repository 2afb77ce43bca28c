#!/usr/bin/env python3
"""Choose the bank's numbers and the input area on the training clips, so that nothing is tuned to the scored sequences.

From each clip's first labelled frame every labelled object is tracked, from its mask, through the real video; J is taken on
the later labelled frames, which are far apart. The frames were trained on as stills, so the level means little; the
differences between settings are what is asked for.

    python scripts/tune_nano.py --slots 2 3 4 --area 86016 114688
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REACH = 90  # frames after the first label


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/clips")
    parser.add_argument("--slots", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--stride", type=int, nargs="+", default=[5])
    parser.add_argument("--area", type=int, nargs="+", default=[114688])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--every", type=int, default=1, help="take every n-th clip")
    args = parser.parse_args(argv)

    import numpy as np

    import vidmem
    from vidmem.evaluation import jaccard
    from vidmem.memory import Recent
    from vidmem.training.clips import load_labels, rasterize

    labels = load_labels(ROOT / "vidmem/training/labels")
    clips = sorted({entry["clip"] for entry in labels})[:: args.every]
    tracker = vidmem.load("nano", threads=args.threads)

    def score(clip: str, bank) -> list[float]:
        entries = sorted((e for e in labels if e["clip"] == clip), key=lambda e: e["frame"])
        start, scores, ids = entries[0]["frame"], [], {}
        at = {e["frame"]: e["objects"] for e in entries if e["frame"] <= start + REACH}
        with vidmem.open_video(args.data / clip, start=start, end=max(at) + 1, max_size=854) as video:
            with tracker.session(bank=bank) as session:
                for item in entries[0]["objects"]:
                    ids[item["name"]] = len(ids) + 1
                    session.add(ids[item["name"]], mask=rasterize(item["polygons"], *video.size))
                for frame in video:
                    result = session.step(frame)
                    if frame.index == start:
                        continue
                    for item in at.get(frame.index, ()):
                        if item["name"] in ids:
                            mask = result.masks[ids[item["name"]] - 1]
                            scores.append(jaccard(mask, rasterize(item["polygons"], *video.size) > 0))
        return scores

    for area, slots, stride in itertools.product(args.area, args.slots, args.stride):
        tracker.network.area = area
        bank = Recent(slots=slots, stride=stride, prompts=3, pointers=0, absent=False)
        scores = [s for clip in clips for s in score(clip, bank)]
        print(f"area {area} slots {slots} stride {stride}: mean J {np.mean(scores):.3f} over {len(scores)} masks", flush=True)


if __name__ == "__main__":
    main()
