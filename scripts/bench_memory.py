"""Measure memory banks and searches on long videos with exact truth (`vidmem.evaluation.longterm`) and on short sequences.

    python scripts/bench_memory.py DATA/davis --json assets/figures/memory.json
    python scripts/bench_memory.py DATA/davis --only recent/greedy diverse/greedy --first-seed 100 --videos 4   # a look
    python scripts/bench_memory.py DATA/davis --short --json assets/figures/memory_short.json --only ...

Each video is composed and encoded once; every pair of bank and search then follows it from the first frame's mask, with
one network thread. `--processes` videos run side by side. A pair is BANK/SEARCH, with numbers where wanted:
`diverse,iou=0.8/tree,lag=8`; `own` is the model's own bank.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np

from vidmem.cli.options import literal


class Encoded:
    """A network whose frame is encoded once for all sessions that look at it."""

    def __init__(self, network):
        self.network, self.image, self.features, self.milliseconds = network, None, None, 0.0

    def __getattr__(self, name):
        return getattr(self.network, name)

    def encode(self, image):
        if image is not self.image:
            began = time.perf_counter()
            self.image, self.features = image, self.network.encode(image)
            self.milliseconds += 1000 * (time.perf_counter() - began)
        return self.features


def parse(pair: str, model: str):
    """BANK,name=value/SEARCH,name=value -> policy objects."""
    from vidmem.catalogue.tracker import MODELS, pick
    from vidmem.search import SEARCHES

    (bank, *bank_numbers), (search, *search_numbers) = (side.split(",") for side in pair.split("/"))
    policy = pick(MODELS, "model", model).make_bank(None if bank == "own" else bank)
    return dataclasses.replace(policy, **_numbers(bank_numbers)), pick(SEARCHES, "search", search)(
        **_numbers(search_numbers)
    )


def _numbers(texts: list[str]) -> dict:
    return {name: literal(text) for name, text in (t.split("=") for t in texts)}


def follow(
    video, pairs: list[str], model: str, area: int | None, every: int, learner: str | None = None
) -> dict[str, dict]:
    """video: iterable of (image, truth, distractor), the first with the object -> the measures of each pair."""
    import vidmem
    from vidmem.evaluation.audit import Audited, LongScorer
    from vidmem.types import Frame

    tracker = vidmem.load(model, threads=1, learner=learner)
    network = Encoded(tracker.network)
    if area:
        tracker.network.area = area
    runs = {}
    for pair in pairs:
        bank, search = parse(pair, model)
        audited = Audited(bank)
        session = dataclasses.replace(tracker, network=network, bank=audited, search=search).session()
        runs[pair] = {
            "session": session,
            "log": audited.log,
            "scorer": LongScorer(every),
            "ms": 0.0,
            "bytes": 0,
            "truths": [],
        }
    frames, began = 0, time.perf_counter()
    for t, (image, truth, distractor) in enumerate(video):
        network.encode(image)
        for run in runs.values():
            session, start = run["session"], time.perf_counter()
            if t == 0:
                session.add(1, mask=truth)
            session.step(Frame(t, None, image))
            settled = session.settled()
            run["ms"] += 1000 * (time.perf_counter() - start)
            run["bytes"] = max(run["bytes"], session.nbytes)
            run["truths"].append((truth, distractor))
            for result in settled:
                run["scorer"].add(result.masks[0], *run["truths"].pop(0))
        frames += 1
    out = {}
    for pair, run in runs.items():
        for result in run["session"].settled(end=True):
            run["scorer"].add(result.masks[0], *run["truths"].pop(0))
        score = dataclasses.asdict(run["scorer"].score(run["log"]))
        out[pair] = score | {"ms": run["ms"] / frames, "bytes": run["bytes"], "frames": frames}
    print(f"{frames} frames, {time.perf_counter() - began:.0f} s", flush=True)
    return out


def long_video(job):
    """One story, in a process of its own."""
    from vidmem.evaluation.longterm import compose

    story, root, pairs, model, area, learner = job
    return story.name, follow(
        ((m.image, m.truth, m.distractor) for m in compose(story, root)), pairs, model, area, 5, learner
    )


def short_video(job):
    """One sequence with masks, its first object."""
    import cv2

    from vidmem.evaluation import load_labels

    sequence, _, pairs, model, area, learner = job

    def frames():
        for path, mask in zip(sequence.frames, sequence.masks):
            truth = load_labels(mask) == 1
            yield cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), truth, np.zeros_like(truth)

    return sequence.name, follow(frames(), pairs, model, area, 1, learner)


def summarize(videos: dict[str, dict], pairs: list[str]) -> list[dict]:
    """A row for each pair: means over videos, 95 % intervals, and the paired difference from the first pair."""
    from vidmem.evaluation.audit import bootstrap

    rows = []
    base = np.array([scores[pairs[0]]["j_and_f"] for scores in videos.values()])
    for pair in pairs:
        every = [scores[pair] for scores in videos.values()]
        mean = {key: float(np.mean([s[key] for s in every])) for key in every[0] if key != "frames"}
        j_and_f = np.array([s["j_and_f"] for s in every])
        mean["switches"] = int(sum(s["switches"] for s in every))
        mean["bytes"] = int(max(s["bytes"] for s in every))
        rows.append({"pair": pair, **mean, "interval": bootstrap(j_and_f), "gain": float((j_and_f - base).mean()),
                     "gain_interval": bootstrap(j_and_f - base)})  # fmt: skip
    return rows


def main() -> None:
    from vidmem.evaluation import find_sequences
    from vidmem.evaluation.longterm import stories
    from vidmem.evaluation.machine import check_writable, write_figure
    from vidmem.memory import BANKS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--only", nargs="+", metavar="BANK/SEARCH", help="the first is what gains are measured against")
    parser.add_argument("--videos", type=int, default=12)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--most", type=int, help="frames of a video, for a look")
    parser.add_argument("--area", type=int, help="pixels of nano's input (default: its own); less is faster")
    parser.add_argument("--learner", help="none, or a name of vidmem.learn (default: the model's own)")
    parser.add_argument("--short", action="store_true", help="the sequences of DATA themselves instead of long videos")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    check_writable(args.json)
    os.environ["OMP_NUM_THREADS"] = "1"
    pairs = args.only or [f"{bank}/greedy" for bank in BANKS]
    for pair in pairs:
        parse(pair, args.model)
    if args.short:
        jobs, work = (
            [(s, None, pairs, args.model, args.area, args.learner) for s in find_sequences(args.data)],
            short_video,
        )
    else:
        jobs = [
            (s, args.data, pairs, args.model, args.area, args.learner) for s in stories(args.videos, args.first_seed)
        ]
        if args.most:
            jobs = [(dataclasses.replace(job[0], length=min(job[0].length, args.most)), *job[1:]) for job in jobs]
        jobs.sort(key=lambda job: -job[0].length)
        work = long_video
    with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
        videos = dict(sorted(pool.imap_unordered(work, jobs, 1)))
    rows = summarize(videos, pairs)
    print(f"{'':40s} J&F   absent  back  switch  wrong w/r      ms    MB   gain")
    for r in sorted(rows, key=lambda r: -r["j_and_f"]):
        print(f"{r['pair']:40s} {r['j_and_f']:.3f}  {r['absent']:.3f}  {r['returned']:.3f}  {r['switches']:4d}   {r['wrong_written']:.2f} {r['wrong_read']:.2f}  "
              f"{r['ms']:6.1f}  {r['bytes'] / 1e6:5.1f}  {r['gain']:+.3f} [{r['gain_interval'][0]:+.3f}, {r['gain_interval'][1]:+.3f}]")  # fmt: skip
    if args.json:
        command = "scripts/bench_memory.py DATA/davis" + "".join(
            f" --{name} {value}"
            for name, value in (("area", args.area), ("most", args.most), ("learner", args.learner))
            if value
        )
        command += " --short" if args.short else ""
        write_figure(
            {
                "command": command,
                "model": args.model,
                "learner": args.learner or "own",
                "set": "short" if args.short else "long",
                "area": args.area,
                "pairs": rows,
                "videos": videos,
            },
            args.json,
        )


if __name__ == "__main__":
    main()
