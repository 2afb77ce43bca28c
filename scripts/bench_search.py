"""What banks and the tree cost: Python per recall over many frames, and the tree's time beside greedy's.

    python scripts/bench_search.py --json assets/figures/search.json             # 20,000 frames, and the demo clip
    python scripts/bench_search.py --frames 2000 --video clip.mp4 --box 10,20,110,90

Recall: every bank lives through FRAMES frames of random verdicts, with descriptors of SAM 2's size and stand-ins for its
memories; reading is timed frame by frame. Tree: one process, one network thread; both sessions step each frame, in turn
first and second. SAM 2: sam2.1-tiny with random weights whose presence and IoU are always high, so that every bank fills;
everything but the encoder, once the banks are full.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
CHANNELS, TOKENS = 256, 4096  # of SAM 2's features and memories at 1024 pixels


def recall(policy, frames: int) -> dict:
    """A bank's life -> its time per read in microseconds, and what it held at most."""
    from vidmem.networks.base import GRID
    from vidmem.networks.fake import Colour
    from vidmem.types import Cue, Entry, Usage, Verdict

    random = np.random.default_rng(0)
    places = random.normal(size=(50, GRID * GRID * CHANNELS)).astype(np.float32)
    bank, spent, most, most_bytes, payload = policy(), [], 0, 0, 12
    for t in range(frames):
        look = places[t // 40 % 50] + 0.1 * random.normal(size=places.shape[1]).astype(np.float32)
        look /= np.linalg.norm(look)
        visible = random.random() < 0.85
        prompted = t % 997 == 0
        verdict = Verdict(t, float(random.uniform(0.3, 1)), 4.0 if visible else -4.0, 0.05, prompted, False, visible,
                          random.random() < 0.01, float(random.random()), None)  # fmt: skip
        began = time.perf_counter()
        plan = bank.read(t, Cue(look))
        spent.append(1e6 * (time.perf_counter() - began))
        if plan.watch:
            bank.observe(
                plan,
                [
                    Usage(random.random((4, r.entry.payload.tokens), np.float32), 1 / len(plan.recalls))
                    for r in plan.recalls
                ],
            )
        if bank.wants(verdict):
            colour = Colour(random.normal(size=3).astype(np.float32), TOKENS)
            bank.write(Entry(verdict, colour, payload, None, look if "cue" in bank.needs else None))
        most, most_bytes = max(most, len(bank.entries())), max(most_bytes, bank.nbytes)
    limit = bank.capacity * (payload + (look.nbytes if "cue" in bank.needs else 0))
    if most > bank.capacity or most_bytes > limit:
        raise SystemExit(
            f"{policy} held {most} entries and {most_bytes} bytes; its capacity is {bank.capacity} and {limit}"
        )
    return {
        "median_us": float(np.median(spent)),
        "p99_us": float(np.quantile(spent, 0.99)),
        "entries": most,
        "capacity": bank.capacity,
    }


def tree(video: Path, box: list[float], rounds: int) -> dict:
    """Milliseconds per frame of greedy and `Tree(3, lag=8)` over the same bank, and their ratios."""
    import vidmem
    from vidmem.search import Greedy, Tree

    tracker = vidmem.load("nano", threads=1, bank="confident")
    pairs = []
    for _ in range(rounds):
        with vidmem.open_video(video) as frames:
            greedy, branches = tracker.session(search=Greedy()), tracker.session(search=Tree(3, lag=8))
            for session in (greedy, branches):
                session.add(1, box=box)
            for frame in frames:
                times = {}
                for session in (greedy, branches) if frame.index % 2 else (branches, greedy):
                    alive = sum(len(track.hypotheses) for track in session._tracks.values()) or 1
                    began = time.perf_counter()
                    session.step(frame)
                    session.settled()
                    times[session] = 1000 * (time.perf_counter() - began), alive
                pairs.append((times[greedy][0], *times[branches]))
    greedy_ms, tree_ms, alive = np.array(pairs).T
    certain = alive == 1
    ratio = lambda which: float(np.median(tree_ms[which] / greedy_ms[which])) if which.any() else None
    return {"frames": len(pairs), "greedy_ms": float(np.median(greedy_ms)), "tree_ms": float(np.median(tree_ms)),
            "ratio": float(tree_ms.sum() / greedy_ms.sum()), "ratio_certain": ratio(certain), "ratio_broad": ratio(~certain),
            "broad_share": float((~certain).mean())}  # fmt: skip


def on_sam2(size: int, frames: int, warm: int, threads: int) -> list[dict]:
    """Every bank with greedy, and `recent` and `confident` with the tree and `motion`, on sam2.1-tiny -> rows."""
    import torch
    from bench_memory import Encoded, parse

    from vidmem.memory import BANKS
    from vidmem.networks.sam2.config import CONFIGS
    from vidmem.networks.sam2.eager import Sam2Network
    from vidmem.networks.sam2.model import Sam2
    from vidmem.session import Session

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = Sam2(CONFIGS["sam2.1-tiny"].at(size))
    for head, value in (
        (model.sam_mask_decoder.pred_obj_score_head, [9.0]),
        (model.sam_mask_decoder.iou_prediction_head, [5.0, 4.0, 3.0, 3.5]),
    ):
        head.layers[-1].bias.data.copy_(torch.tensor(value))  # IoUs apart, so that a tree that is unsure finds three
    network = Encoded(Sam2Network("sam2.1-tiny", model))
    random = np.random.default_rng(0)
    images = [np.roll(random.integers(0, 256, (size, size, 3), np.uint8), 3 * t, 1) for t in range(warm + frames)]
    encoded = [network.network.encode(image) for image in images]
    pairs = [f"{bank}/greedy" for bank in BANKS] + [
        "recent/motion",
        "recent/tree",
        "recent/tree,uncertainty=100",
        "confident/tree,lag=8",
    ]
    rows = []
    for pair in pairs:
        bank, search = parse(pair, "sam2.1-tiny")
        session, times = Session(network, bank, search), []
        session.add(1, box=[size // 4, size // 4, size // 2, size // 2])
        for image, features in zip(images, encoded):
            network.image, network.features = image, features
            began = time.perf_counter()
            session.step(image)
            session.settled()
            times.append(1000 * (time.perf_counter() - began))
        rows.append(
            {"pair": pair, "ms": float(np.median(times[warm:])), "bytes": session.nbytes, "capacity": bank.capacity}
        )
        session.close()
        print(f"{pair:24s} {rows[-1]['ms']:7.0f} ms {rows[-1]['bytes'] / 1e6:6.1f} MB", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--video", type=Path, default=ROOT / "assets/demo.mp4")
    parser.add_argument("--box", default="43,154,201,255")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--sam2", type=int, default=256, metavar="PIXELS", help="input size of sam2.1-tiny; 0: leave it out"
    )
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    from vidmem.evaluation.machine import check_writable, write_figure
    from vidmem.memory import BANKS

    check_writable(args.json)
    banks = {}
    for name, policy in BANKS.items():
        banks[name] = recall(policy(), args.frames)
        print(f"{name:16s} " + "  ".join(f"{key} {value:.0f}" for key, value in banks[name].items()), flush=True)
    cost = tree(args.video, [float(x) for x in args.box.split(",")], args.rounds)
    print(cost)
    figure = {"command": "scripts/bench_search.py", "frames": args.frames, "recall": banks, "tree": cost}
    if args.sam2:
        threads, warm, counted = 1, 40, 20
        rows = on_sam2(args.sam2, counted, warm, threads)
        figure["sam2"] = {"size": args.sam2, "warm": warm, "frames": counted, "threads": threads, "rows": rows}
    if args.json:
        write_figure(figure, args.json)


if __name__ == "__main__":
    main()
