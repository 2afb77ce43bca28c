#!/usr/bin/env python3
"""Build every exported graph with TensorRT for RTX, ahead of time and without a GPU: which ones it takes.

    pip install tensorrt-rtx-cu12-libs tensorrt-rtx-cu12-bindings
    python scripts/build_tensorrt.py --json assets/figures/tensorrt_build.json

nano with its weights; SAM 2.1 with random ones, for a builder looks at shapes and types. Each model in float32, float16 and bfloat16,
with fixed shapes for 1 and for 5 objects, for each compute capability. `encode` is the same whatever the number of objects, and is
built once. The JSON is written after each export, so that a run that was stopped leaves what it knows; `--resume` goes on from there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("nano", "sam2.1-tiny@512", "sam2.1-tiny@1024")
SMS = (75, 80, 86, 89, 90, 120)
OBJECTS = (1, 5)


def random_weights(model: str, folder: Path) -> Path:
    """A checkpoint of random numbers, as an official one."""
    import torch

    from vidmem.networks.sam2.config import CONFIGS
    from vidmem.networks.sam2.model import Sam2

    torch.manual_seed(0)
    network = Sam2(CONFIGS[model])
    for parameter in network.parameters():
        if not parameter.any():  # learned vectors that begin as zeros
            torch.nn.init.normal_(parameter, std=0.05)
    path = folder / f"{model}.pt"
    torch.save({"model": network.state_dict()}, path)
    return path


def try_to_build(trt, path: Path, sm: int) -> dict:
    """-> bytes and seconds of the engine, or the refusal."""
    from vidmem.engines.tensorrt_rtx import build
    from vidmem.errors import ModelError

    began = time.perf_counter()
    try:
        size = len(build(trt, path, sm))
    except ModelError as error:
        return {"refused": str(error).replace(str(path), path.name), "seconds": round(time.perf_counter() - began, 1)}
    return {"bytes": size, "seconds": round(time.perf_counter() - began, 1)}


def build_export(trt, name: str, precision: str, objects: int, work: Path, skip_encode: bool) -> list[dict]:
    """Every graph of one export, for every capability."""
    from vidmem.catalogue.export import export_model
    from vidmem.engines.base import GRAPHS

    model, _, size = name.partition("@")
    weights = None if model == "nano" else work / f"{model}.pt"
    if weights and not weights.is_file():
        random_weights(model, work)
    out, rows = work / "export", []
    export_model(
        model, out, to="tensorrt", weights=weights, size=int(size or 1024), objects=objects, precision=precision
    )
    for graph in GRAPHS[skip_encode:]:
        for sm in SMS:
            row = {"model": name, "precision": precision, "objects": objects, "graph": graph, "sm": sm}
            rows.append(row | try_to_build(trt, out / f"{graph}.onnx", sm))
            print(json.dumps(rows[-1])[:240], flush=True)
    shutil.rmtree(out)
    return rows


def main() -> None:
    from vidmem.catalogue.export import PRECISIONS
    from vidmem.engines.tensorrt_rtx import capabilities, find_tensorrt_rtx
    from vidmem.evaluation.machine import check_writable, write_figure

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, help="NAME or NAME@PIXELS (default: %(default)s)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--resume", action="store_true", help="keep what the JSON has, and build the rest")
    args = parser.parse_args()
    check_writable(args.json)
    trt, rows = find_tensorrt_rtx(), []
    if args.resume and args.json and args.json.is_file():
        rows = json.loads(args.json.read_text())["builds"]
    with tempfile.TemporaryDirectory() as work:
        for name in args.models:
            for precision in PRECISIONS:
                for objects in OBJECTS:
                    if any((r["model"], r["precision"], r["objects"]) == (name, precision, objects) for r in rows):
                        continue
                    rows += build_export(trt, name, precision, objects, Path(work), objects != OBJECTS[0])
                    figure = {"command": "scripts/build_tensorrt.py", "tensorrt_rtx": trt.__version__,
                              "capabilities": capabilities(trt), "builds": rows}  # fmt: skip
                    write_figure(figure, args.json)
    for name in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == name]
        print(f"{name}: {sum('bytes' in row for row in own)} of {len(own)} built")


if __name__ == "__main__":
    main()
