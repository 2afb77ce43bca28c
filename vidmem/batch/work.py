"""One video from its file to published results, or to a line that says why not."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vidmem.batch.places import DONE, place
from vidmem.batch.plan import Item
from vidmem.errors import VidmemError

FAILED = ".failed"  # a folder of records of what could not be done


@dataclass(frozen=True)
class Settings:
    """What is the same for every video; sent to each worker once."""

    source: str
    out: str
    load: dict[str, Any] = field(default_factory=dict)
    """Arguments of `vidmem.load`."""
    bank: Any = None
    """A policy object; None: the model's own."""
    search: Any = None
    save: tuple[str, ...] = ("overlay", "png", "rle", "csv")
    max_size: int | None = None

    def of(self, item: Item) -> str:
        """A hash of all that decides what the results of an item look like, but for the video itself."""
        said = {k: v for k, v in asdict(self).items() if k not in ("source", "out", "bank", "search", "load")}
        load = {k: str(v) for k, v in self.load.items() if k not in ("threads", "device") and v is not None}
        masks = [Path(item.base) / p["mask"] for p in item.prompts if isinstance(p.get("mask"), str)] + ([Path(item.mask)] if item.mask else [])
        said |= {"load": load, "bank": repr(self.bank), "search": repr(self.search), "prompts": item.prompts}
        said["masks"] = [hashlib.sha256(m.read_bytes()).hexdigest() if m.is_file() else "none" for m in masks]
        return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:16]


class Worker:
    """Holds the model; does items one after another. What goes wrong with an item is its result, never an exception."""

    def __init__(self, settings: Settings):
        from vidmem.tracker import Tracker, load

        _one_thread_each(settings.load.get("threads") or 1)
        tracker = load(**settings.load)
        self.tracker = Tracker(tracker.network, settings.bank or tracker.bank, settings.search or tracker.search, tracker.why)
        self.settings = settings
        self.source, self.out = place(settings.source), place(settings.out)

    def do(self, item: Item) -> dict:
        """-> the item's record, which is also in its `done.json`, or below `.failed`."""
        began = time.time()
        record = {"video": item.name, "state": "done", "stamp": item.stamp, "settings": self.settings.of(item), "worker": os.getpid()}
        work = None
        try:
            work = self.out.work()
            record |= self._track(item, work)
            record["seconds"] = round(time.time() - began, 3)
            (work / "results" / DONE).write_text(json.dumps(record, indent=1))
            self.out.publish(work / "results", item.name)
            self.out.remove(failed_name(item.name))
        except (Exception, MemoryError) as error:
            said = str(error) if isinstance(error, VidmemError) else f"internal error, {type(error).__name__}: {error}"
            record |= {"state": "failed", "error": " ".join(said.split()), "seconds": round(time.time() - began, 3)}
            keep_failed(self.out, record)
        finally:
            if work is not None:
                shutil.rmtree(work, ignore_errors=True)
        return record

    def _track(self, item: Item, work: Path) -> dict:
        from vidmem.pipeline import track
        from vidmem.video import open_sinks, open_video

        prompts = item.load()
        path = self.source.fetch(item.name, work)
        with open_video(path, max_size=self.settings.max_size) as video:
            sinks = open_sinks(list(self.settings.save), work / "results", video.frame_rate)
            with self.tracker.session() as session:
                report = track(video, session, [p.scaled(video.scale) for p in prompts], sinks, progress=False)
        if report.interrupted:
            raise KeyboardInterrupt
        return {
            "frames": report.frames, "objects": len(report.statuses), "fps": round(report.fps, 2), "warnings": report.problems,
            "statuses": {str(o): {s.value: n for s, n in counts.items()} for o, counts in report.statuses.items()},
            "sha256": content_hash(path), "runtime": self.tracker.network.runtime,
        }  # fmt: skip


def failed_name(video: str) -> str:
    return f"{FAILED}/{video}.json"


def keep_failed(out, record: dict) -> None:
    """On a full disk there is no place for the record either; the report has it."""
    try:
        out.write(failed_name(record["video"]), json.dumps(record, indent=1).encode())
    except (VidmemError, OSError):
        pass


def content_hash(path: Path) -> str:
    """Of a file, or of a folder's images with their names."""
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.name.encode() if path.is_dir() else b"")
            with file.open("rb") as data:
                while block := data.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


def _one_thread_each(threads: int) -> None:
    """Workers share the cores; threads of many pools would only wait for each other."""
    import cv2

    cv2.setNumThreads(threads)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))
