#!/usr/bin/env python3
"""Train the embedded model from scratch on clips made from still frames.

    python scripts/train_nano.py --data ../shared/data/clips --run runs/nano --steps 2500
    python scripts/train_nano.py --run runs/nano --resume            # goes on where the last checkpoint stands

Each of `--processes` trainers runs one thread and makes its clips in one more process; they average their gradients (two
single threads use two cores better than one trainer with two). Checkpoints hold weights, their moving average,
the optimizer and the step. The log is `RUN/log.jsonl`. `scripts/export_nano.py` turns a checkpoint into shipped files.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class Clips:
    """An endless stream of batches for `torch.utils.data.DataLoader`; `seed` differs by step, so a resumed run goes on."""

    def __init__(self, cache: Path, labels: list[dict], config, batch: int, seed: list[int]):
        self.cache, self.labels, self.config, self.batch, self.seed = cache, labels, config, batch, seed

    def __getitem__(self, step: int):
        import numpy as np
        import torch

        from vidmem.training.clips import ClipGenerator

        if not hasattr(self, "generator"):
            self.generator = ClipGenerator(self.cache, self.labels, self.config)
        self.generator.rng = np.random.default_rng([*self.seed, step])
        images, masks = zip(*(self.generator.sample() for _ in range(self.batch)))
        return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(masks))


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/clips")
    parser.add_argument("--cache", type=Path, default=ROOT / "runs/cache")
    parser.add_argument("--labels", type=Path, default=ROOT / "vidmem/training/labels")
    parser.add_argument("--run", type=Path, default=ROOT / "runs/nano")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--batch", type=int, default=4, help="clips a step and process")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--frames", type=int, default=3, help="frames a clip")
    parser.add_argument("--size", type=int, nargs=2, default=(160, 256), metavar=("H", "W"))
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--init", type=Path, help="start from the weights of this checkpoint")
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args(argv)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads starve the clip makers

    import torch

    from vidmem.training.cache import build_cache
    from vidmem.training.clips import load_labels

    args.run.mkdir(parents=True, exist_ok=True)
    if not (args.cache / "index.json").exists():
        build_cache(args.data, args.cache, load_labels(args.labels))
    if args.processes == 1:
        return train(0, args)
    (args.run / "rendezvous").unlink(missing_ok=True)
    torch.multiprocessing.spawn(train, (args,), nprocs=args.processes)


def average_gradients(model, processes: int) -> None:
    import torch

    grads = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in grads])
    torch.distributed.all_reduce(flat)
    for grad, part in zip(grads, flat.div_(processes).split([g.numel() for g in grads])):
        grad.copy_(part.view_as(grad))


def train(rank: int, args) -> None:
    import numpy as np
    import torch

    from vidmem.nn.nano.model import Nano
    from vidmem.training.clips import ClipConfig, load_labels
    from vidmem.training.loop import Step

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    torch.set_flush_denormal(True)
    if args.processes > 1:
        meeting = (args.run / "rendezvous").resolve().as_uri()
        torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=args.processes)
    model = Nano().to(args.device, memory_format=torch.channels_last)
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.02)
    start, path = 0, args.run / "last.pt"
    if args.init:
        model.load_state_dict(torch.load(args.init, weights_only=True)["average"])
        average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    if args.resume and path.exists():
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average, start = state["average"], state["step"]
    config = ClipConfig(size=tuple(args.size), frames=args.frames)
    clips = Clips(args.cache, load_labels(args.labels), config, args.batch, [args.seed, rank])
    loader = torch.utils.data.DataLoader(
        clips, batch_size=None, sampler=range(start, args.steps), num_workers=args.workers, prefetch_factor=4
    )
    log = (args.run / "log.jsonl").open("a")
    began = time.time()
    step_fn = Step(model, np.random.default_rng(args.seed))
    for step, (images, masks) in enumerate(loader, start):
        step_fn.rng = np.random.default_rng([args.seed, rank, step, 1])
        # Linear warm-up, then a cosine to zero.
        lr = args.lr * min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / args.steps))
        for group in optimizer.param_groups:
            group["lr"] = lr
        images = images.permute(0, 1, 4, 2, 3).to(args.device, torch.float32) / 255
        loss = step_fn(images, masks.to(args.device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if args.processes > 1:
            average_gradients(model, args.processes)
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
        if rank:
            continue
        if (step + 1) % 20 == 0:
            row = {"step": step + 1, "minutes": round((time.time() - began) / 60, 2), "lr": round(lr, 6)}
            row |= {k: round(float(np.mean(v)), 4) for k, v in step_fn.parts.items()}
            step_fn.parts = {}
            log.write(json.dumps(row) + "\n")
            log.flush()
        if (step + 1) % 50 == 0 or step + 1 == args.steps:
            state = {"model": model.state_dict(), "average": average, "optimizer": optimizer.state_dict(), "step": step + 1}
            torch.save(state, path.with_suffix(".tmp"))
            path.with_suffix(".tmp").replace(path)


if __name__ == "__main__":
    main()
