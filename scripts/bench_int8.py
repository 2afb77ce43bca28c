#!/usr/bin/env python3
"""What an encoder in int8 gains and loses against the one in float32, on frames that it was not calibrated on.

    python scripts/bench_int8.py nano --weights EXPORT --video clip.mp4 --json assets/figures/int8_nano.json
    python scripts/bench_int8.py sam2.1-tiny --random --size 512 --data VIDEOS --video clip.mp4 --json assets/figures/int8_sam2.json

EXPORT: what `vidmem export MODEL --to openvino --precision int8 --data VIDEOS --out EXPORT` wrote; or, with --random, an export of random
weights is made here, from `--frames` frames of VIDEOS (`vidmem[export,int8]`). Both encoders run in turn on one thread of OpenVINO; milliseconds are
the processor's. The error is the root mean square of the difference over that of the value, for each output. The last line is the JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np


def random_export(model: str, size: int, data: Path, frames: int, folder: Path) -> Path:
    """An int8 export of a model whose weights nobody trained."""
    import torch

    from vidmem.catalogue import int8
    from vidmem.catalogue.export import export_model
    from vidmem.networks.sam2.config import CONFIGS
    from vidmem.networks.sam2.model import Sam2

    torch.manual_seed(0)
    torch.save({"model": Sam2(CONFIGS[model].at(size)).state_dict()}, folder / "random.pt")
    int8.FRAMES = frames
    export_model(
        model, folder / "export", to="openvino", weights=folder / "random.pt", size=size, precision="int8", data=data
    )
    return folder / "export"


def compare(model: str, export: Path, video: Path, count: int) -> dict:
    import vidmem
    from vidmem.catalogue.choose import Request, named

    networks = {
        p: named(Request(model, "openvino", p, threads=1, weights=export), strict=False) for p in ("fp32", "int8")
    }
    spent: dict[str, list[float]] = {name: [] for name in networks}
    errors, answers = [], {}
    with vidmem.open_video(video, end=count) as frames:
        for frame in frames:
            for name, network in networks.items():
                run = network.engine.run

                def noted(graph, *arrays, run=run, name=name):
                    began = time.process_time()
                    answers[name] = run(graph, *arrays)
                    spent[name].append(1000 * (time.process_time() - began))
                    return answers[name]

                network.engine.run = noted
                network.encode(frame.image)
                network.engine.run = run
            both = zip(answers["int8"], answers["fp32"])
            errors.append([float(np.sqrt(((a - b) ** 2).mean() / (b**2).mean())) for a, b in both])
    ms = {name: round(median(values[2:]), 1) for name, values in spent.items()}
    files = {name: round(sum((export / f).stat().st_size for f in own) / 1e6, 1) for name, own in
             {"fp32": ["encode.bin", "encode.xml"], "int8": ["encode.int8.bin", "encode.int8.xml"]}.items()}  # fmt: skip
    return {
        "ms": ms,
        "megabytes": files,
        "rms_error": [round(e, 4) for e in np.mean(errors, 0).tolist()],
        "frames": count,
    }


def score(model: str, export: Path, data: Path) -> dict:
    """J&F of the sequences of `data` from first masks, whether the gate was passed or not."""
    from vidmem.catalogue.choose import Request, named
    from vidmem.catalogue.tracker import MODELS, Tracker
    from vidmem.evaluation import find_sequences
    from vidmem.evaluation.run import evaluate
    from vidmem.search import Greedy

    network = named(Request(model, "openvino", "int8", threads=1, weights=export), strict=False)
    tracker = Tracker(network, MODELS[model].make_bank(), Greedy(), model=model)
    found = {s.name: evaluate(s, tracker, "mask").score.j_and_f for s in find_sequences(data)}
    return {
        "j_and_f": round(float(np.mean(list(found.values()))), 4),
        "sequences": {n: round(v, 4) for n, v in found.items()},
    }


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--frames", type=int, default=40, help="that --random is calibrated on")
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--eval", type=Path, metavar="DATA", help="score the sequences of this folder, too")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    from vidmem.evaluation.machine import check_writable, write_figure

    check_writable(args.json)
    with tempfile.TemporaryDirectory() as folder:
        export = args.weights
        if args.random:
            export = random_export(args.model, args.size, args.data, args.frames, Path(folder))
        figure = {
            "command": f"scripts/bench_int8.py {args.model}"
            + (f" --random --size {args.size} --frames {args.frames}" if args.random else "")
        }
        figure |= compare(args.model, export, args.video, args.count) | {"load_average": round(os.getloadavg()[0], 1)}
        if args.eval:
            figure["davis_mask"] = score(args.model, export, args.eval)
    write_figure(figure, args.json)
    print(json.dumps(figure))


if __name__ == "__main__":
    main()
