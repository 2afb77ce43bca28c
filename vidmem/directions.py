"""Tracking against time: from the end to the beginning, or from prompts in the middle to both ends.

A session sees frames in one direction alone, so each direction is a pass of its own. What a pass finds is kept on disk, compressed;
when all passes are done the frames are read once more, and sinks get them in their order, as from `vidmem.track`.
"""

from __future__ import annotations

import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vidmem.catalogue.tracker import Tracker
from vidmem.pipeline import Report, count, run
from vidmem.prompts import PromptAt
from vidmem.types import Frame, FrameResult
from vidmem.video import Sink, Source, WriteBehind
from vidmem.video.backwards import Backwards
from vidmem.video.exact import result_from_json, result_to_json


def track_back(
    video: Source,
    tracker: Tracker,
    prompts: Iterable[PromptAt],
    sinks: Iterable,
    both_ways: bool = False,
    *,
    progress: bool | None = None,
    report: Report | None = None,
) -> Report:
    """As `vidmem.track`, from the last frame to the first; prompts without a frame belong to the last.

    both_ways: every object goes from its first prompt to both ends; prompts without a frame belong to the first. Costs a pass more over
    the frames before the last prompt.
    """
    report, began, prompts, sinks = report or Report(), time.perf_counter(), list(prompts), list(sinks)
    first, _ = video.reach(count=False)
    with tempfile.TemporaryDirectory(prefix="vidmem-") as folder:
        back, forth = Kept(Path(folder) / "back"), Kept(Path(folder) / "forth")
        begins: dict[int, int] = {}  # obj_id -> the frame of its first prompt
        last: int | None = None  # of the frames with a prompt
        if both_ways:
            placed = [(first if p.frame_idx is None else p.frame_idx, p) for p in prompts]
            prompts = [replace(p, frame_idx=at) for at, p in placed]
            for at, p in placed:
                begins[p.obj_id] = min(at, begins.get(p.obj_id, at))
            _pass(From(video, min(begins.values())), tracker, prompts, forth, report, progress)
            last = max(at for at, _ in placed)
        if not report.interrupted and last != first:
            _pass(Backwards(video, last), tracker, prompts, back, report, progress, reverse=True)
        with WriteBehind(sinks) as writer:
            for frame in video:
                result = _joined(frame, back.read(frame), forth.read(frame), begins)
                if result is not None:
                    writer.write(frame, result)
                    count(report, result)
    report.seconds = time.perf_counter() - began
    report.problems += [
        p
        for p in (*video.problems, *(p for s in sinks for p in getattr(s, "problems", ())))
        if p not in report.problems
    ]
    return report


def _pass(source, tracker, prompts, kept, report: Report, progress, reverse: bool = False) -> None:
    own = Report()
    with tracker.session(reverse=reverse) as session:
        run(source, session, prompts, [kept], progress, own)
    report.interrupted |= own.interrupted
    report.problems += [p for p in own.problems if p not in report.problems]


@dataclass
class From:
    """A source without the frames before `first`."""

    source: Source
    first: int

    live = False

    @property
    def frame_count(self) -> int | None:
        whole = self.source.frame_count
        return None if whole is None else max(1, whole - self.first + self.source.reach(count=False)[0])

    def __iter__(self) -> Iterator[Frame]:
        return (frame for frame in self.source if frame.index >= self.first)


class Kept(Sink):
    """Results in a folder, a file a frame: some kilobytes each."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()

    def write(self, frame: Frame, result: FrameResult) -> None:
        line = result_to_json(result, logits=True)  # objects of the other direction may overlap these
        (self.folder / str(result.frame_idx)).write_bytes(zlib.compress(line.encode(), 1))

    def read(self, frame: Frame) -> FrameResult | None:
        path = self.folder / str(frame.index)
        if not path.is_file():
            return None
        return result_from_json(zlib.decompress(path.read_bytes()).decode())

    def close(self) -> None:
        pass


def _joined(frame: Frame, back: FrameResult | None, forth: FrameResult | None, begins: dict) -> FrameResult | None:
    """Every object from the direction that it came from: forth from its first prompt on, back before it."""
    parts = []
    for result, wanted in ((back, False), (forth, True)):
        if result is not None:
            rows = [
                i for i, o in enumerate(result.obj_ids.tolist()) if not begins or (frame.index >= begins[o]) is wanted
            ]
            parts.append((result, rows))
    if not parts:
        return None
    base = parts[0][0]
    order = sorted((int(result.obj_ids[i]), n, i) for n, (result, own) in enumerate(parts) for i in own)

    def each(name: str) -> list:
        return [getattr(parts[n][0], name)[i] for _, n, i in order]

    def stacked(name: str) -> np.ndarray:
        found = each(name)
        return np.stack(found) if found else getattr(base, name)[:0]

    return replace(
        base,
        obj_ids=stacked("obj_ids"),
        masks=stacked("masks"),
        boxes=stacked("boxes"),
        scores=stacked("scores"),
        object_logits=stacked("object_logits"),
        mask_logits=stacked("mask_logits"),
        status=tuple(each("status")),
        search=tuple(each("search")),
        rivals=tuple(each("rivals")),
    )
