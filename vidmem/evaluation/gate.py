"""The numeric gate: an engine follows real objects beside the reference before anybody believes it.

Half precision can be silently wrong (fused attention, layer normalisation that overflows) while every tool says that it passed;
so what counts here is the mask, after each engine has lived with its own memories through an occlusion.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from vidmem.catalogue.verdict import GateVerdict
from vidmem.errors import SourceError
from vidmem.installed import demo_folder
from vidmem.networks.base import Network
from vidmem.render import mask_boxes
from vidmem.session import Session
from vidmem.types import Frame

LENGTH = 50  # frames of a clip
DEMO_STARTS = (0, 77, 201)
"""Clips of the demo: a look-alike passes; a rock covers the object; it comes back and is covered again."""


class GateClip(NamedTuple):
    """Frames, and a box (4,) around the object on the first of them."""

    frames: list[Frame]
    box: Sequence[float]


def demo_clips(length: int = LENGTH, starts: Sequence[int] = DEMO_STARTS) -> list[GateClip]:
    """Raises `SourceError` where the demo clip is not there."""
    from vidmem.video import open_video

    folder = demo_folder()
    path = folder / "demo.mp4"
    if not path.is_file():
        raise SourceError(
            f"{path} is not there; the gate's own clips come with vidmem; reinstall it, or give a video of yours and a box"
        )
    with np.load(folder / "demo_masks.npz") as truth:
        masks = np.unpackbits(truth["packed"], axis=1).reshape(truth["shape"]).astype(bool)
    with open_video(path) as video:
        frames = list(video)
    return [GateClip(frames[start : start + length], mask_boxes(masks[start : start + 1])[0]) for start in starts]


class Noted:
    """A `Network` that keeps what its four functions said last."""

    def __init__(self, network: Network):
        self.network = network
        self.answers: dict[str, Any] = {}

    def __getattr__(self, name):
        return getattr(self.network, name)

    def _call(self, stage: str, *args):
        out = getattr(self.network, stage)(*args)
        self.answers[stage] = out
        return out

    def encode(self, image):
        return self._call("encode", image)

    def attend(self, features, plans):
        return self._call("attend", features, plans)

    def decode(self, features, conditioned, asks):
        return self._call("decode", features, conditioned, asks)

    def memorize(self, features, candidates, chosen):
        return self._call("memorize", features, candidates, chosen)


def arrays_in(what) -> list[np.ndarray]:
    """Every array in it, as float32 of the host, in order; objects of payloads give their `memory`."""
    if what is None or isinstance(what, (str, bytes, int, float, bool)):
        return []
    if isinstance(what, np.ndarray):
        return [what.astype(np.float32)] if what.dtype.kind == "f" else []
    if hasattr(what, "detach"):
        return [what.detach().float().cpu().numpy()] if what.is_floating_point() else []
    if isinstance(what, dict):
        return [a for value in what.values() for a in arrays_in(value)]
    if isinstance(what, (list, tuple)):
        return [a for value in what for a in arrays_in(value)]
    named = next((getattr(what, name) for name in ("memory", "maps") if hasattr(what, name)), None)
    return arrays_in(named if named is not None else getattr(what, "__dict__", None))


def error(mine, theirs) -> float:
    """The greatest difference over the greatest value; infinite where shapes differ or something is not a number."""
    a, b = arrays_in(mine), arrays_in(theirs)
    if len(a) != len(b) or any(x.shape != y.shape or not np.isfinite(x).all() for x, y in zip(a, b)):
        return float("inf")
    return max(
        (float(np.abs(x - y).max() / max(float(np.abs(y).max()), 1e-6)) for x, y in zip(a, b) if x.size), default=0.0
    )


def mask_iou(one: np.ndarray, other: np.ndarray) -> float:
    """Of (H, W) bool; 1 where both are empty."""
    union = (one | other).sum()
    return float((one & other).sum() / union) if union else 1.0


def gate(
    candidate: Network, reference: Network, bank, search, clips: Sequence[GateClip], precision: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> GateVerdict:  # fmt: skip
    """Follow each clip with both networks, frame by frame in turn -> the verdict. bank, search: as for a `Session`."""
    both = [Noted(candidate), Noted(reference)]
    times: tuple[list[float], list[float]] = [], []
    stages = dict.fromkeys(("encode", "attend", "decode", "memorize"), 0.0)
    ious, done, total = [], 0, sum(len(clip.frames) for clip in clips)
    for clip in clips:
        own: list[float] = []
        with Session(both[0], bank, search) as mine, Session(both[1], bank, search) as theirs:
            for session in (mine, theirs):
                session.add(1, box=clip.box)
            for t, frame in enumerate(clip.frames):
                results = []
                for session, spent in zip((mine, theirs), times):
                    began = time.perf_counter()
                    results.append(session.step(frame))
                    spent.append(1000 * (time.perf_counter() - began))
                own.append(mask_iou(results[0].masks[0], results[1].masks[0]))
                if t < 2:
                    for name in stages:
                        if all(name in network.answers for network in both):
                            stages[name] = max(stages[name], error(both[0].answers[name], both[1].answers[name]))
                done += 1
                progress(done, total)
        ious.append(own)
    return GateVerdict(
        candidate.runtime, precision, f"{reference.runtime} fp32", float(np.mean([iou for own in ious for iou in own])),
        float(min(np.mean(own) for own in ious)), stages, total, median(times[0]), median(times[1]),
    )  # fmt: skip
