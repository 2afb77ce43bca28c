#!/usr/bin/env python3
"""SAM 2.1 here, in Meta's `sam2` and in `transformers`: random weights (ours and Meta's the same), the same frames, one run.

    python scripts/bench_sam2.py --json assets/figures/sam2.json
    python scripts/bench_sam2.py --sizes 512 --objects 1 --precisions fp32     # part of it

Each of the three follows the objects over frames 0 ... WARM + FRAMES of a clip; a frame's time counts once the memory is
full (six tracked frames and the prompted one). Every combination runs in a process of its own, for its peak memory.
`--memory FRAMES` instead follows one object over that many frames at 128 pixels, with ours and with sam2, and reports resident
memory: ours stays, the official one grows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
WARM = 7


class Patch:
    """Stands in for pytest's monkeypatch."""

    setattr = staticmethod(setattr)


def boxes(objects: int, size: int) -> list[list[int]]:
    unit = size // 16
    return [[unit * (i + 1), unit * (2 * i + 1), unit * (i + 6), unit * (2 * i + 6)] for i in range(objects)]


def ours(images, objects: int, precision: str, network) -> list[float]:
    from vidmem.memory import Recent
    from vidmem.runtime.sam2 import Sam2Network
    from vidmem.search import Greedy
    from vidmem.session import Session

    times = []
    with Session(Sam2Network("sam2.1-tiny", network, precision=precision), Recent(), Greedy()) as session:
        for i, box in enumerate(boxes(objects, images[0].shape[0])):
            session.add(i + 1, box=box)
        for image in images:
            began = time.perf_counter()
            session.step(image)
            times.append(1000 * (time.perf_counter() - began))
    return times


def meta(images, objects: int, precision: str, official) -> list[float]:
    import torch
    from official import begin

    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        state = begin(official, images, Patch)
        for i, box in enumerate(boxes(objects, images[0].shape[0])):
            official.add_new_points_or_box(state, 0, i + 1, box=box)
        times, began = [], time.perf_counter()
        for _ in official.propagate_in_video(state):
            times.append(1000 * (time.perf_counter() - began))
            began = time.perf_counter()
    return times


def transformers(images, objects: int, precision: str) -> list[float]:
    """transformers' own random weights: speed does not depend on them."""
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
    return times


def one(which: str, size: int, objects: int, precision: str, frames: int, threads: int) -> dict:
    """In a process of its own."""
    import resource

    import torch
    from official import build, pictures

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    images = pictures(WARM + frames, size)
    if which == "transformers":
        times = transformers(images, objects, precision)[WARM:]
    else:
        official, network = build("sam2.1-tiny", size)
        model = network if which == "vidmem" else official
        del official, network  # one model in memory, for the peak
        model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.data.fill_(9.0)  # always there: no mask is a constant
        times = (ours if which == "vidmem" else meta)(images, objects, precision, model)[WARM:]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"ms": round(median(times), 1), "ms_min": round(min(times), 1), "ms_max": round(max(times), 1), "peak_mb": round(peak)}


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
        from vidmem.runtime.sam2 import Sam2Network
        from vidmem.search import Greedy
        from vidmem.session import Session

        session = Session(Sam2Network("sam2.1-tiny", network), Recent(), Greedy())
        session.add(1, points=[[40, 40]], labels=[1])
        for t in range(frames + 1):
            session.step(images[t % 50])
            note(t)
    else:
        state = begin(official, images, Patch)
        fifty = state["images"]  # the official loader would hold every frame as float32; its state is what is shown here

        class Loop:
            def __getitem__(self, t):
                return fifty[t % 50]

        state["images"], state["num_frames"] = Loop(), frames + 1
        official.add_new_points_or_box(state, 0, 1, points=[[40, 40]], labels=[1])
        for t, *_ in official.propagate_in_video(state):
            note(t)
    return curve


def apart(**what) -> dict:
    code = f"import json, bench_sam2; print(json.dumps(bench_sam2.{what.pop('call')}(**{what!r})))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 512])
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--which", nargs="+", default=["vidmem", "sam2", "transformers"])
    parser.add_argument("--frames", type=int, default=3, help="frames that count, after the warm-up")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=int, metavar="FRAMES")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--add", action="store_true", help="keep the other rows of the JSON file, taken on this machine")
    args = parser.parse_args(argv)
    from vidmem.machine import check_writable, write_figure

    check_writable(args.json)
    if args.memory:
        figure = {"command": f"scripts/bench_sam2.py --memory {args.memory}", "size": 128,
                  "resident_mb": {which: apart(call="memory", which=which, frames=args.memory) for which in ("vidmem", "sam2")}}  # fmt: skip
    else:
        rows, keys = [], ("which", "size", "objects", "precision")
        for size in args.sizes:
            for objects in args.objects:
                for precision in args.precisions:
                    for which in args.which:
                        what = {"which": which, "size": size, "objects": objects, "precision": precision}
                        rows.append(what | apart(call="one", **what, frames=args.frames, threads=args.threads) | {"frames": args.frames})
                        print(json.dumps(rows[-1]), flush=True)
        if args.add:
            new = {tuple(row[key] for key in keys) for row in rows}
            rows = [row for row in json.loads(args.json.read_text())["rows"] if tuple(row[key] for key in keys) not in new] + rows
        given = " ".join(str(part) for part in (argv or sys.argv[1:]) if not str(part).endswith(".json") and part not in ("--json", "--add"))
        figure = {"command": "scripts/bench_sam2.py", "last_arguments": given, "model": "sam2.1-tiny, random weights", "threads": args.threads,
                  "warm": WARM, "rows": rows}  # fmt: skip
    write_figure(figure, args.json)
    print(json.dumps(figure))


if __name__ == "__main__":
    main()
