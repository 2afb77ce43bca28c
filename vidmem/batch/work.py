"""One video from its file to published results, or to a line that says why not."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vidmem.batch.places import open_place
from vidmem.batch.plan import Item
from vidmem.batch.resume import EVERY, Resumable, forget
from vidmem.errors import VidmemError
from vidmem.installed import file_hash
from vidmem.names import regular, shown
from vidmem.render import Look
from vidmem.video import Ledger, Sink
from vidmem.video.ledger import DONE

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
    look: Look = field(default_factory=Look)
    sound: bool = True
    detector: str | None = None  # None: the model itself where it looks for words, else `words`
    detector_weights: str | None = None
    learner: Any = None
    """Makes each object's learner; None: what `load` says."""

    def of(self, item: Item) -> str:
        """A hash of all that decides what the results of an item look like, but for the video itself."""
        settings = {
            k: v for k, v in asdict(self).items() if k not in ("source", "out", "bank", "search", "load", "learner")
        }
        if (self.look, self.sound) == (Look(), True):
            del settings["look"], settings["sound"]  # so that what was done before there was a choice is not done again
        if not any("text" in p for p in item.prompts):  # a detector that nobody asks changes nothing
            settings = {k: v for k, v in settings.items() if not k.startswith("detector")}
        load = {k: str(v) for k, v in self.load.items() if k not in ("threads", "device") and v is not None}
        masks = [Path(item.base) / p["mask"] for p in item.prompts if isinstance(p.get("mask"), str)] + (
            [Path(item.mask)] if item.mask else []
        )
        settings |= {
            "load": load,
            "bank": repr(self.bank),
            "search": repr(self.search),
            "prompts": item.prompts,
        } | ({} if self.learner is None else {"learner": repr(self.learner)})
        settings["masks"] = [_mask_hash(mask) for mask in masks]
        return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]


class Worker:
    """Holds the model; does items one after another. What goes wrong with an item is its result, never an exception."""

    every = EVERY
    """Seconds of work after which a video's state is written."""

    def __init__(self, settings: Settings):
        from vidmem.catalogue.tracker import load

        _one_thread_each(settings.load.get("threads") or 1)
        tracker = load(**settings.load)
        bank, search = settings.bank or tracker.bank, settings.search or tracker.search
        self.tracker = dataclasses.replace(
            tracker, bank=bank, search=search, learner=settings.learner or tracker.learner
        )
        self.settings, self._opened = settings, None
        self.source, self.out = open_place(settings.source), open_place(settings.out)

    def do(self, item: Item, alive: Callable[[], None] = lambda: None) -> dict:
        """-> the item's record, which is also in its `done.json`, or below `.failed`. alive: called again and again while it goes on."""
        began, work = time.perf_counter(), None
        record = {"video": item.name, "state": "done", "stamp": item.stamp, "worker": os.getpid()}
        try:
            record["settings"] = self.settings.of(item)
            work = self.out.work()
            record |= self._track(item, work, alive, f"{item.stamp} {record['settings']}")
            record["seconds"] = round(time.perf_counter() - began, 3)
            results = work / "results"
            Ledger(results).add(results / DONE)
            (results / DONE).write_text(json.dumps(record, indent=1))
            with awake(alive):
                self.out.publish(results, item.name)
            self.out.remove(failed_name(item.name))
            forget(self.out, item.name)
        except Exception as error:
            record |= failure(error) | {"seconds": round(time.perf_counter() - began, 3)}
            keep_failed(self.out, record)
        finally:
            if work is not None:
                shutil.rmtree(work, ignore_errors=True)
        return record

    def _track(self, item: Item, work: Path, alive: Callable[[], None], key: str) -> dict:
        from vidmem.detect import Watcher
        from vidmem.pipeline import track
        from vidmem.video import open_sinks, open_video

        prompts = item.load()
        with awake(alive):
            path = self.source.fetch(item.name, work)
        with open_video(path, max_size=self.settings.max_size) as video:
            results = work / "results"
            look, sound = self.settings.look.of(prompts), path if self.settings.sound else None
            files = open_sinks(
                list(self.settings.save), results, video.frame_rate, Ledger(results), look=look, sound=sound
            )
            sinks = [*files, Pulse(alive)]
            with self.tracker.session() as session:
                follower: Any = Resumable(session, self.out, item.name, key, self.every)
                resumed = follower.resumed
                if any(p.text for p in prompts) and (self.settings.detector or not session.reads_words):
                    follower = Watcher(session, self._detector())
                report = track(
                    Watched(video, alive), follower, [p.scaled(video.scale) for p in prompts], sinks, progress=False
                )
        if report.interrupted:
            raise KeyboardInterrupt
        return {
            "frames": report.frames, "objects": len(report.statuses), "fps": round(report.fps, 2), "warnings": report.problems,
            "not_found": report.sought, "resumed": resumed,
            "statuses": {str(o): {s.value: n for s, n in counts.items()} for o, counts in report.statuses.items()},
            "sha256": content_hash(path, alive), "runtime": self.tracker.network.runtime,
        }  # fmt: skip

    def _detector(self):
        """Opened when the first text comes; it keeps nothing of a video."""
        from vidmem.detect import open_detector

        if self._opened is None:
            threads, name = self.settings.load.get("threads"), self.settings.detector or "words"
            self._opened = open_detector(name, self.settings.detector_weights, threads)
        return self._opened


@contextmanager
def awake(alive: Callable[[], None]):
    """Tells that work goes on, while a store sends or takes a file: it has deadlines of its own."""
    over = threading.Event()

    def tell() -> None:
        while not over.wait(1):
            alive()

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Pulse(Sink):
    """Tells that a frame was written."""

    def __init__(self, alive: Callable[[], None]):
        self._alive = alive

    def write(self, frame, result) -> None:
        self._alive()

    def close(self) -> None:
        pass


class Watched:
    """A source that tells of each frame it gives: a search that answers at the end of a video writes none until then."""

    def __init__(self, source, alive: Callable[[], None]):
        self._source, self._alive = source, alive

    def __iter__(self):
        for frame in self._source:
            self._alive()
            yield frame

    def __getattr__(self, name: str):
        return getattr(self._source, name)


def failure(error: BaseException) -> dict:
    """What a record says of an error."""
    message = str(error) if isinstance(error, VidmemError) else f"internal error, {type(error).__name__}: {error}"
    if isinstance(error, MemoryError):
        message = "out of memory; use fewer --workers or --streams, or a smaller --max-size"
    code = error.exit_code if isinstance(error, VidmemError) else 1
    return {"state": "failed", "error": shown(" ".join(message.split())), "exit_code": code}


def _mask_hash(path: Path) -> str:
    """Part of the settings. A mask that cannot be read is the item's own problem, said when it is tried."""
    try:
        return file_hash(path) if regular(path) else "none"
    except OSError:
        return "none"


def failed_name(video: str) -> str:
    return f"{FAILED}/{video}.json"


def keep_failed(out, record: dict) -> None:
    """On a full disk there is no place for the record either; the report has it."""
    try:
        out.write(failed_name(record["video"]), json.dumps(record, indent=1).encode())
    except (VidmemError, OSError):
        pass


def content_hash(path: Path, alive: Callable[[], None] = lambda: None) -> str:
    """Of a file, or of a folder's images with their names."""
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.name.encode() if path.is_dir() else b"")
            with file.open("rb") as data:
                while block := data.read(1 << 20):
                    digest.update(block)
                    alive()
    return digest.hexdigest()


def _one_thread_each(threads: int) -> None:
    """Workers share the cores; threads of many pools would only wait for each other."""
    import cv2

    cv2.setNumThreads(threads)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))
