#!/usr/bin/env python3
"""Turn a training checkpoint into what is shipped: `nano.safetensors` (float16) and the four ONNX graphs.

    python scripts/export_nano.py --checkpoint runs/nano/last.pt --out models/nano
"""

from __future__ import annotations

import argparse
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "runs/nano/last.pt")
    parser.add_argument("--out", type=Path, default=ROOT / "models/nano")
    args = parser.parse_args(argv)

    import torch

    from vidmem.nn.nano.export import export
    from vidmem.nn.nano.model import Nano
    from vidmem.weights import load_nano, save_nano

    state = torch.load(args.checkpoint, weights_only=True)
    model = Nano()
    model.load_state_dict(state["average"])
    save_nano(model, args.out / "nano.safetensors", {"steps": str(state["step"])})
    export(load_nano(args.out / "nano.safetensors"), args.out)  # the graphs hold the rounded weights, so both agree
    for path in sorted(args.out.iterdir()):
        print(f"{path.name:20s} {path.stat().st_size / 1e6:6.2f} MB")


if __name__ == "__main__":
    main()
