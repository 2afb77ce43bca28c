#!/usr/bin/env python3
"""Train the embedded model from scratch on clips made from still frames.

    python scripts/train_nano.py --data ../shared/data/clips --pictures FOLDER ... --run runs/nano --minutes 120
    python scripts/train_nano.py --run runs/nano --resume            # goes on where the last checkpoint stands

The learning rate falls with the time that was spent, not with the steps, because a shared machine's speed is not known
beforehand. Pictures are optional: photographs of whole objects on transparent ground, and of anything else, below the
folders given (models/nano/README.md names those that the shipped weights saw). Each of `--processes` trainers runs one thread and makes its clips in one more process; they average their gradients (two
single threads use two cores better than one trainer with two). Checkpoints hold weights, their moving average,
the optimizer and the step. The log is `RUN/log.jsonl`. `scripts/export_nano.py` turns a checkpoint into shipped files.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class Clips:
    """An endless stream of batches for `torch.utils.data.DataLoader`; `seed` differs by step, so a resumed run goes on.

    Every batch takes one of `shapes`, (H, W, clips), so that the model meets objects and memories of several sizes.
    """

    def __init__(self, cache: Path, labels: list[dict], config, shapes: list[tuple[int, int, int]], seed: list[int]):
        self.cache, self.labels, self.config, self.shapes, self.seed = cache, labels, config, shapes, seed

    def __getitem__(self, step: int):
        import numpy as np
        import torch

        from vidmem.training.clips import ClipGenerator

        if not hasattr(self, "generator"):
            self.generator = ClipGenerator(self.cache, self.labels, self.config)
        self.generator.rng = rng = np.random.default_rng([*self.seed, step])
        height, width, batch = self.shapes[rng.integers(len(self.shapes))]
        self.generator.config = replace(self.config, size=(height, width))
        images, masks = zip(*(self.generator.sample() for _ in range(batch)))
        return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(masks))


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/clips")
    parser.add_argument("--cache", type=Path, default=ROOT / "runs/cache")
    parser.add_argument("--labels", type=Path, default=ROOT / "vidmem/training/labels")
    parser.add_argument("--run", type=Path, default=ROOT / "runs/nano")
    parser.add_argument("--pictures", type=Path, nargs="*", default=[], help="folders of photographs, for a new cache")
    parser.add_argument("--minutes", type=float, default=120, help="the rate reaches zero then, and training ends")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--frames", type=int, default=3, help="frames a clip")
    parser.add_argument("--shapes", type=shape, nargs="+", default=[(160, 256, 4), (192, 320, 3)], metavar="HxWxCLIPS",
                        help="frame size and clips a step and process; one is drawn for each step")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--half", action="store_true", help="convolutions in bfloat16; where the processor has it")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--init", type=Path, help="start from these weights (.safetensors)")
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args(argv)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads starve the clip makers

    import torch

    from vidmem.training.cache import build_cache
    from vidmem.training.clips import load_labels

    args.run.mkdir(parents=True, exist_ok=True)
    if not (args.cache / "index.json").exists():
        build_cache(args.data, args.cache, load_labels(args.labels), args.pictures)
    if args.processes == 1:
        return train(0, args)
    (args.run / "rendezvous").unlink(missing_ok=True)
    torch.multiprocessing.spawn(train, (args,), nprocs=args.processes)


def shape(text: str) -> tuple[int, ...]:
    height, width, clips = (int(part) for part in text.split("x"))
    return height, width, clips


def average_gradients(model, minutes: float, processes: int) -> float:
    """Also averages the minutes, and returns them, so that all processes have one learning rate."""
    import torch

    grads = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([*(g.reshape(-1) for g in grads), torch.tensor([minutes], device=grads[0].device)])
    torch.distributed.all_reduce(flat)
    *parts, minutes = flat.div_(processes).split([*(g.numel() for g in grads), 1])
    for grad, part in zip(grads, parts):
        grad.copy_(part.view_as(grad))
    return float(minutes)


def train(rank: int, args) -> None:
    import numpy as np
    import torch

    from vidmem.nn.nano.model import Nano
    from vidmem.training.clips import ClipConfig, load_labels
    from vidmem.training.loop import Step
    from vidmem.weights import load_nano

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    torch.set_flush_denormal(True)
    if args.processes > 1:
        meeting = (args.run / "rendezvous").resolve().as_uri()
        torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=args.processes)
    model = Nano().to(args.device, memory_format=torch.channels_last)
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.02)
    start, spent, path = 0, 0.0, args.run / "last.pt"
    if args.init:
        model.load_state_dict(load_nano(args.init).state_dict())
        average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    if args.resume and path.exists():
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average, start, spent = state["average"], state["step"], state["minutes"]
    clips = Clips(args.cache, load_labels(args.labels), ClipConfig(frames=args.frames), args.shapes, [args.seed, rank])
    loader = torch.utils.data.DataLoader(
        clips, batch_size=None, sampler=range(start, 10**9), num_workers=args.workers, prefetch_factor=4
    )
    log = (args.run / "log.jsonl").open("a")
    began = time.time()
    step_fn = Step(model, np.random.default_rng(args.seed), args.half)
    for step, (images, masks) in enumerate(loader, start):
        step_fn.rng = np.random.default_rng([args.seed, rank, step, 1])
        images = images.permute(0, 1, 4, 2, 3).to(args.device, torch.float32) / 255
        loss = step_fn(images, masks.to(args.device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        minutes = spent + (time.time() - began) / 60
        if args.processes > 1:
            minutes = average_gradients(model, minutes, args.processes)
        # Linear warm-up, then a cosine to zero.
        left = max(0.0, 1 - minutes / args.minutes)
        lr = args.lr * min(1.0, (step + 1) / 100) * 0.5 * (1 - math.cos(math.pi * left))
        for group in optimizer.param_groups:
            group["lr"] = lr
        torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
        keep = min(0.995, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, value in model.state_dict().items():
                if value.is_floating_point():
                    average[name].lerp_(value, 1 - keep)
                else:
                    average[name].copy_(value)
        step_fn.parts.setdefault("loss", []).append(float(loss.detach()))
        if (step + 1) % 20 == 0:
            row = {"step": step + 1, "minutes": round(minutes, 2), "lr": round(lr, 6)}
            row |= {k: round(float(np.mean(v)), 4) for k, v in step_fn.parts.items()}
            step_fn.parts = {}
        if rank == 0 and (step + 1) % 20 == 0:
            log.write(json.dumps(row) + "\n")
            log.flush()
        if rank == 0 and ((step + 1) % 50 == 0 or not left):
            state = {"model": model.state_dict(), "average": average, "optimizer": optimizer.state_dict()}
            state |= {"step": step + 1, "minutes": minutes}
            torch.save(state, path.with_suffix(".tmp"))
            path.with_suffix(".tmp").replace(path)
        if not left:
            break


if __name__ == "__main__":
    main()
