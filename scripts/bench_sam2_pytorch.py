#!/usr/bin/env python3
"""Could SAM 2 on PyTorch be its exported graphs over the generic PyTorch engine, and its own network go?

The same weights follow the demo clip twice in one process: through `Sam2Network` (vidmem/networks/sam2/eager.py), and through `Sam2Graphs` over
`PytorchEngine`, which runs the modules that exports are made of. Both step each frame, the first in turns; times are medians, ratios medians of
the frames' own ratios, after nine frames that fill the memory. `snapshots_mb` is what a snapshot of every frame keeps alive, as in the app: `Sam2Network`
lets the keys of memories go that nobody reads.

    python scripts/bench_sam2_pytorch.py --weights WEIGHTS --size 512 --json assets/figures/sam2_pytorch.json

WEIGHTS: of sam2.1-tiny; random ones do, for times do not depend on them. The last line of output is the JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
MODEL, BOX, FILL = "sam2.1-tiny", (43, 154, 201, 255), 9


def networks(weights: str, size: int) -> dict:
    import numpy as np
    import torch

    from vidmem.engines.manifest import Manifest
    from vidmem.engines.pytorch import PytorchEngine
    from vidmem.networks.sam2.checkpoints import load_sam2
    from vidmem.networks.sam2.eager import Sam2Network
    from vidmem.networks.sam2.export import MODULES, constants
    from vidmem.networks.sam2.graphs import Sam2Graphs

    torch.set_num_threads(1)
    model = load_sam2(MODEL, weights, size).eval().requires_grad_(False)
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "constants.npz", **constants(model))
        engine = PytorchEngine("cpu", 1).open(
            model, lambda model: {name: module(model) for name, module in MODULES.items()}
        )
        model.to(memory_format=torch.contiguous_format)  # as `Sam2Network` has it
        manifest = Manifest(MODEL, size, "fp32", 18, None, 7, 16, {}, {})
        return {
            "own": Sam2Network(MODEL, load_sam2(MODEL, weights, size)),
            "generic": Sam2Graphs(folder, engine, manifest),
        }


def payload_mb(snapshots: list) -> float:
    held = {
        id(entry.payload): entry.payload.nbytes
        for snapshot in snapshots for track in snapshot.tracks.values() for bank in track.banks for entry in bank.entries() if entry.payload
    }  # fmt: skip
    return round(sum(held.values()) / 1e6, 1)


def main(argv=None) -> int:
    import vidmem
    from vidmem.catalogue.tracker import Tracker
    from vidmem.evaluation.machine import check_writable, write_figure
    from vidmem.memory import Recent
    from vidmem.search import Greedy

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--size", type=int, default=512, help="pixels a side")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    check_writable(args.json)
    sessions = {
        name: Tracker(net, Recent(), Greedy()).session() for name, net in networks(args.weights, args.size).items()
    }
    times = {name: [] for name in sessions}
    kept = {name: [] for name in sessions}
    for session in sessions.values():
        session.add(1, box=BOX)
    for t, frame in enumerate(vidmem.open_video(ROOT / "assets/demo.mp4", end=args.frames)):
        for name in list(sessions)[:: 1 if t % 2 else -1]:
            times[name].append(sessions[name].step(frame).timings)
            kept[name].append(sessions[name].snapshot().light())
    stages = ("encode", "attend", "decode", "memorize", "total")
    late = {name: rows[FILL:] for name, rows in times.items()}
    said = {
        "command": "scripts/bench_sam2_pytorch.py --weights WEIGHTS --size 512", "size": args.size, "frames": args.frames - FILL, "kept": args.frames,
        **{name: {s: round(median(row[s] for row in rows), 1) for s in stages} | {"snapshots_mb": payload_mb(kept[name])} for name, rows in late.items()},
        "ratio": {s: round(median(g[s] / o[s] for g, o in zip(late["generic"], late["own"])), 2) for s in stages},
    }  # fmt: skip
    write_figure(said, args.json)
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
