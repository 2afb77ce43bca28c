"""How fast is one tracker, stage by stage: the middle and the slowest frames, and what it holds. `vidmem bench` prints it."""

from __future__ import annotations

import dataclasses
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vidmem.catalogue.tracker import Tracker
from vidmem.networks.base import Network
from vidmem.types import Frame

STAGES = ("encode", "attend", "decode", "memorize")


class Synchronised:
    """A network on a GPU that waits for it after every call, so that each stage is charged with its own work."""

    def __init__(self, network: Network):
        self.network = network

    def __getattr__(self, name):
        import torch

        member = getattr(self.network, name)
        if name not in STAGES:
            return member

        def waiting(*args):
            out = member(*args)
            torch.cuda.synchronize()
            return out

        return waiting


def spread(milliseconds: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and max in milliseconds, and jitter: p99 over p50."""
    p50, p95, p99 = (float(np.percentile(milliseconds, q)) for q in (50, 95, 99))
    out = {"p50": p50, "p95": p95, "p99": p99, "max": float(max(milliseconds)), "jitter": p99 / p50 if p50 else 1.0}
    return {name: round(value, 3) for name, value in out.items()}


def boxes(objects: int, height: int, width: int) -> list[np.ndarray]:
    """A box for each object, a quarter of the sides, spread over the frame."""
    at = (np.arange(objects) + 0.5) / objects
    x, y = at * 0.75 * width, (at * 7.3 % 1) * 0.75 * height
    return [np.array([a, b, a + width / 4, b + height / 4]) for a, b in zip(x, y)]


def bench(tracker: Tracker, images: Sequence[np.ndarray], objects: int = 1, frames: int = 60, warm: int = 20) -> dict:
    """Follow `objects` boxes over `images` (each (H, W, 3) uint8 RGB), there and back until `warm + frames` are done.

    Only the frames after `warm` count; by then compiled graphs and memories are there. -> milliseconds of each stage, of the
    network (their sum) and of the whole step; frames per second; bytes of the memories and of the process at its most.
    """
    network = tracker.network
    if getattr(getattr(network, "device", None), "type", "cpu") == "cuda":
        network = Synchronised(network)
    back_and_forth = [*range(len(images)), *range(len(images) - 2, 0, -1)]
    times: dict[str, list[float]] = {}
    with dataclasses.replace(tracker, network=network).session() as session:
        for obj_id, box in enumerate(boxes(objects, *images[0].shape[:2]), 1):
            session.add(obj_id, box=box)
        for t in range(warm + frames):
            frame = Frame(t, None, images[back_and_forth[t % len(back_and_forth)]])
            began = time.perf_counter()
            result = session.step(frame)
            session.settled()
            step = 1000 * (time.perf_counter() - began)
            if t >= warm:
                own = {stage: result.timings.get(stage, 0.0) for stage in STAGES}
                for name, value in {**own, "network": sum(own.values()), "step": step}.items():
                    times.setdefault(name, []).append(value)
        held = session.nbytes
    figures = {name: spread(values) for name, values in times.items()}
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "model": network.name, "runtime": network.runtime, "bank": repr(tracker.bank), "search": repr(tracker.search),
        "objects": objects, "frames": frames, "warm": warm, "size": list(images[0].shape[:2]),
        "ms": figures, "network_fps": round(1000 / figures["network"]["p50"], 2), "fps": round(1000 / figures["step"]["p50"], 2),
        "memory_bytes": held, "process_mb": round(most / (2**20 if sys.platform == "darwin" else 1024)),
    }  # fmt: skip


def load_images(video: Path | None, size: tuple[int, int], count: int) -> list[np.ndarray]:
    """The first frames of a video, or noise that moves, at (H, W)."""
    import cv2

    if video is None:
        random = np.random.default_rng(0)
        blocks = cv2.resize(random.integers(0, 256, (12, 20, 3), np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)
        return [np.ascontiguousarray(np.roll(blocks, 3 * t, 1)) for t in range(count)]
    from vidmem.video import open_video

    with open_video(video, end=count) as frames:
        return [cv2.resize(frame.image, size[::-1]) for frame in frames]
