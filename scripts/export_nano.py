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
    parser.add_argument(
        "--presence", type=float, default=0.0, help="logit that counts as present, chosen on validation; becomes 0"
    )
    args = parser.parse_args(argv)
    export_checkpoint(args.checkpoint, args.out, args.presence)
    for path in sorted(args.out.iterdir()):
        print(f"{path.name:20s} {path.stat().st_size / 1e6:6.2f} MB")


def export_checkpoint(checkpoint: Path, out: Path, presence: float) -> dict:
    """Write a checkpoint's averaged weights and graphs -> its step and minutes."""
    import torch

    from vidmem.networks.nano.export import export
    from vidmem.networks.nano.model import Nano
    from vidmem.networks.nano.weights import load_nano, save_nano

    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    model = Nano()
    model.load_state_dict(state["average"])
    with torch.no_grad():
        model.mask_decoder.presence[-1].bias -= presence
    save_nano(model, out / "nano.safetensors", {"steps": str(state["step"]), "presence": str(presence)})
    export(load_nano(out / "nano.safetensors"), out)  # the graphs hold the rounded weights, so both agree
    return {"step": state["step"], "minutes": round(state["minutes"], 1)}


if __name__ == "__main__":
    main()
