#!/usr/bin/env python3
"""SAM 2.1 here, in Meta's `sam2` and in `transformers`: random weights (ours and Meta's the same), the same frames, one run.

    python scripts/bench_peers.py --json assets/figures/peers.json
    python scripts/bench_peers.py --sizes 512 --objects 1 --which sam2:fp32 openvino:bf16     # part of it
    python scripts/bench_peers.py --memory 5000 --json assets/figures/sam2_memory.json

Who runs is WHO:PRECISION or WHO:PRECISION:BANK; WHO is sam2, transformers, or one of our runtimes. Each follows the objects over
frames 0 ... WARM + FRAMES of the demo clip; a frame's time counts once the memory is full (six tracked frames and the prompted
one). Every combination runs in a process of its own, for its peak memory, one after the other. IoU is that of the masks on
the frames that count with the first who of the same size, objects and frames. `--memory FRAMES` instead follows one object over
that many frames at 128 pixels, with ours and with sam2, and reports resident memory: ours stays, the official one grows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
WARM = 7
WHO = [
    "sam2:fp32",
    "pytorch:fp32",
    "pytorch:bf16",
    "openvino:fp32",
    "openvino:bf16",
    "openvino:bf16:sparse",
    "onnx:fp32",
]


class Patch:
    """Stands in for pytest's monkeypatch."""

    setattr = staticmethod(setattr)


def boxes(objects: int, size: int) -> list[list[int]]:
    unit = size // 16
    return [[unit * (i + 1), unit * (2 * i + 1), unit * (i + 6), unit * (2 * i + 6)] for i in range(objects)]


def ours(
    images, objects: int, precision: str, network, runtime: str, bank: str, threads: int
) -> tuple[list[float], list, dict]:
    """The runtime on the weights of `network`; exports them first, which is not timed. Also the milliseconds of each stage."""
    from vidmem.memory import BANKS
    from vidmem.networks.sam2.eager import Sam2Network
    from vidmem.search import Greedy
    from vidmem.session import Session

    with tempfile.TemporaryDirectory() as folder:
        if runtime == "pytorch":
            net = Sam2Network("sam2.1-tiny", network, precision=precision)
        else:
            import torch

            from vidmem.catalogue.choose import Request, named
            from vidmem.catalogue.export import export_model

            size = images[0].shape[0]
            torch.save({"model": network.state_dict()}, Path(folder) / "random.pt")
            export_model("sam2.1-tiny", Path(folder) / "graphs", weights=Path(folder) / "random.pt", size=size)
            net = named(
                Request("sam2.1-tiny", runtime, precision, threads=threads, weights=Path(folder) / "graphs"),
                strict=False,
            )
        times, masks, stages = [], [], {}
        with Session(net, BANKS[bank](), Greedy()) as session:
            for i, box in enumerate(boxes(objects, images[0].shape[0])):
                session.add(i + 1, box=box)
            for image in images:
                began = time.perf_counter()
                result = session.step(image)
                times.append(1000 * (time.perf_counter() - began))
                masks.append(result.masks)
                for name, value in result.timings.items():
                    stages.setdefault(name, []).append(value)
    return times, masks, {name: round(median(values[WARM:]), 1) for name, values in stages.items() if name != "total"}


def meta(images, objects: int, precision: str, official) -> tuple[list[float], list]:
    import torch
    from official import begin

    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        state = begin(official, images, Patch)
        for i, box in enumerate(boxes(objects, images[0].shape[0])):
            official.add_new_points_or_box(state, 0, i + 1, box=box)
        times, masks, began = [], [], time.perf_counter()
        for _, _, logits in official.propagate_in_video(state):
            times.append(1000 * (time.perf_counter() - began))
            masks.append((logits[:, 0] > 0).numpy())
            began = time.perf_counter()
    return times, masks


def transformers(images, objects: int, precision: str) -> tuple[list[float], list]:
    """transformers' own random weights: speed does not depend on them, and masks are not compared."""
    import torch
    from transformers import Sam2VideoConfig, Sam2VideoInferenceSession, Sam2VideoModel

    size = images[0].shape[0]
    config = Sam2VideoConfig(image_size=size)
    for part in (config.prompt_encoder_config, config.vision_config):
        part.image_size = size
    config.vision_config.backbone_feature_sizes = [[size // s] * 2 for s in (4, 8, 16)]
    config.vision_config.backbone_config.image_size = [size, size]
    config.memory_attention_rope_feat_sizes = [size // 16] * 2
    model = Sam2VideoModel(config).eval()
    dtype = torch.float32
    frames = torch.stack([torch.from_numpy(i.copy()).permute(2, 0, 1).float() / 255 - 0.45 for i in images])
    session = Sam2VideoInferenceSession(video=frames, video_height=size, video_width=size, dtype=dtype)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        for i, box in enumerate(boxes(objects, size)):
            index = session.obj_id_to_idx(i + 1)
            corners = torch.tensor([[box[:2], box[2:]]], dtype=dtype)[None]
            session.add_point_inputs(index, 0, {"point_coords": corners, "point_labels": torch.tensor([[[2, 3]]])})
            session.obj_with_new_inputs.append(i + 1)
        times = []
        for t in range(len(images)):
            began = time.perf_counter()
            model(inference_session=session, frame_idx=t)
            times.append(1000 * (time.perf_counter() - began))
    return times, []


def one(who: str, size: int, objects: int, frames: int, threads: int, masks: str) -> dict:
    """In a process of its own; the masks go to that file."""
    import resource

    import numpy as np
    import torch
    from official import build

    from vidmem.evaluation.bench import load_images

    which, precision, bank = (*who.split(":"), "recent")[:3]
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    images = load_images(ROOT / "assets/demo.mp4", (size, size), WARM + frames)
    stages: dict = {}
    if which == "transformers":
        times, seen = transformers(images, objects, precision)
    else:
        official, network = build("sam2.1-tiny", size)
        model = official if which == "sam2" else network
        del official, network  # one model in memory, for the peak
        model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.data.fill_(
            9.0
        )  # always there: no mask is a constant
        if which == "sam2":
            times, seen = meta(images, objects, precision, model)
        else:
            times, seen, stages = ours(images, objects, precision, model, which, bank, threads)
    times, seen = times[WARM:], np.array(seen[WARM:], bool)
    np.savez_compressed(masks, masks=np.packbits(seen), shape=seen.shape)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "ms": round(median(times), 1),
        "ms_min": round(min(times), 1),
        "ms_max": round(max(times), 1),
        "peak_mb": round(peak),
        "stages": stages,
    }


def limits(size: int, threads: int) -> dict:
    """Operations of each stage for one object with a full memory, and how fast this machine multiplies matrices."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from vidmem.networks.sam2.config import CONFIGS
    from vidmem.networks.sam2.export import MODULES, example
    from vidmem.networks.sam2.model import Sam2

    torch.set_num_threads(threads)
    config, rates, operations = CONFIGS["sam2.1-tiny"].at(size), {}, {}
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a = torch.randn(2048, 2048, dtype=kind)
        spent = []
        for _ in range(8):
            began = time.perf_counter()
            a @ a
            spent.append(time.perf_counter() - began)
        rates[name] = round(2 * 2048**3 / min(spent) / 1e9)
    block = torch.zeros(64 << 20, dtype=torch.uint8)
    began = time.perf_counter()
    for _ in range(4):
        block.clone()
    bandwidth = 4 * 2 * block.numel() / (time.perf_counter() - began) / 1e9
    with torch.inference_mode():
        model = Sam2(config).eval()
        for name, module in MODULES.items():
            arrays = example(config, name, 1, 7 * config.grid**2, 16)
            with FlopCounterMode(display=False) as counter:
                module(model)(*arrays)
            operations[name] = round(counter.get_total_flops() / 1e9, 1)
    return {"size": size, "gflop": operations, "gflop_per_s": rates, "gb_per_s": round(bandwidth, 1)}


def agreement(file: Path, other: Path) -> float | None:
    """Mean IoU of two files' masks; None where one of them has none."""
    import numpy as np

    from vidmem.evaluation.gate import mask_iou

    both = []
    for path in (file, other):
        with np.load(path) as held:
            shape = tuple(held["shape"])
            both.append(np.unpackbits(held["masks"])[: int(np.prod(shape))].reshape(shape).astype(bool))
    if not both[0].size or not both[1].size:
        return None
    return float(np.mean([mask_iou(a, b) for one, two in zip(*both) for a, b in zip(one, two)]))


def memory(which: str, frames: int, size: int = 128) -> dict:
    """Resident memory over a long video, in a process of its own."""
    import torch
    from official import begin, build, pictures

    torch.set_num_threads(1)
    official, network = build("sam2.1-tiny", size)
    images = pictures(50, size)
    curve = {}

    def note(t: int) -> None:
        if t % 500 == 0 and t:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            curve[t] = round(pages * 4096 / 2**20, 1)

    if which == "vidmem":
        from vidmem.memory import Recent
        from vidmem.networks.sam2.eager import Sam2Network
        from vidmem.search import Greedy
        from vidmem.session import Session

        session = Session(Sam2Network("sam2.1-tiny", network), Recent(), Greedy())
        session.add(1, points=[[40, 40]], labels=[1])
        for t in range(frames + 1):
            session.step(images[t % 50])
            note(t)
    else:
        state = begin(official, images, Patch)
        fifty = state[
            "images"
        ]  # the official loader would hold every frame as float32; its state is what is shown here

        class Loop:
            def __getitem__(self, t):
                return fifty[t % 50]

        state["images"], state["num_frames"] = Loop(), frames + 1
        official.add_new_points_or_box(state, 0, 1, points=[[40, 40]], labels=[1])
        for t, *_ in official.propagate_in_video(state):
            note(t)
    return curve


def apart(**what) -> dict:
    code = f"import json, bench_peers; print(json.dumps(bench_peers.{what.pop('call')}(**{what!r})))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": str(what.get("threads", 1))},
    )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 512])
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--which", nargs="+", default=WHO, metavar="WHO:PRECISION[:BANK]")
    parser.add_argument("--frames", type=int, default=3, help="frames that count, after the warm-up")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=int, metavar="FRAMES")
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--add", action="store_true", help="keep the other rows of the JSON file, taken on this machine"
    )
    args = parser.parse_args(argv)
    from vidmem.evaluation.machine import check_writable, write_figure

    check_writable(args.json)
    if args.memory:
        figure = {"command": f"scripts/bench_peers.py --memory {args.memory}", "size": 128,
                  "resident_mb": {which: apart(call="memory", which=which, frames=args.memory) for which in ("vidmem", "sam2")}}  # fmt: skip
    else:
        rows, keys = [], ("who", "size", "objects")
        bound = [apart(call="limits", size=size, threads=args.threads) for size in args.sizes]
        with tempfile.TemporaryDirectory() as folder:
            for size in args.sizes:
                for objects in args.objects:
                    first = None
                    for number, who in enumerate(args.which):
                        masks = Path(folder) / f"{size}-{objects}-{number}.npz"
                        what = {"who": who, "size": size, "objects": objects}
                        figures = apart(call="one", **what, frames=args.frames, threads=args.threads, masks=str(masks))
                        first = first or masks
                        rows.append(
                            what
                            | figures
                            | {"iou": agreement(masks, first), "against": args.which[0], "frames": args.frames}
                        )
                        print(json.dumps(rows[-1]), flush=True)
        if args.add:
            new = {tuple(row[key] for key in keys) for row in rows}
            held = json.loads(args.json.read_text())
            rows = [row for row in held["rows"] if tuple(row[key] for key in keys) not in new] + rows
            bound = [limit for limit in held["limits"] if limit["size"] not in args.sizes] + bound
        figure = {
            "command": "scripts/bench_peers.py",
            "model": "sam2.1-tiny, random weights",
            "threads": args.threads,
            "warm": WARM,
            "limits": bound,
            "rows": rows,
        }
    write_figure(figure, args.json)
    print(json.dumps(figure))


if __name__ == "__main__":
    main()
