"""Decoding ahead and writing behind: a thread on each side of the network, with bounded queues between."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable

from vidmem.errors import OutputError
from vidmem.types import Frame, FrameResult

POLL_SECONDS = 0.1  # how soon a waiting thread notices that the other side is gone


def prefetch(source: Iterable[Frame], depth: int = 4) -> Generator[Frame]:
    """Yield the source's frames, decoded up to `depth` ahead in a thread. What the source raises is raised here;
    closing this generator stops the thread."""
    ready: queue.Queue = queue.Queue(depth)
    stop = threading.Event()

    def hand_over(item) -> bool:
        while not stop.is_set():
            try:
                ready.put(item, timeout=POLL_SECONDS)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for frame in source:
                if not hand_over((frame, None)):
                    return
            hand_over((None, None))
        except BaseException as error:  # handed to the consumer, which raises it
            hand_over((None, error))

    thread = threading.Thread(target=work, name="vidmem-decode", daemon=True)
    thread.start()
    try:
        while True:
            frame, error = ready.get()
            if error is not None:
                raise error
            if frame is None:
                return
            yield frame
    finally:
        stop.set()
        thread.join()


class WriteBehind:
    """Writes to sinks in a thread. An error of a sink is raised by the next `write` or by `close`; `close` writes what
    waits and closes every sink, whatever happened."""

    def __init__(self, sinks: list, depth: int = 8):
        self.sinks = sinks
        self._waiting: queue.Queue = queue.Queue(depth)
        self._error: BaseException | None = None
        self._failed: set[int] = set()  # places in `sinks` that get no more frames
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="vidmem-write", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            for place, sink in enumerate(self.sinks):
                if place in self._failed:
                    continue
                try:
                    sink.write(*item)
                except BaseException as error:  # raised in the caller's thread; the other sinks still get this frame
                    self._failed.add(place)
                    self._error = self._error or error

    def write(self, frame: Frame, result: FrameResult) -> None:
        if self._closed:
            raise OutputError("a frame was written after close(); make a new WriteBehind")
        if self._error is not None:
            raise self._error
        self._waiting.put((frame, result))

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._waiting.put(None)
            self._thread.join()
        except BaseException as error:  # a second Ctrl-C: drop what waits, but let the sink in hand finish
            self._failed.update(range(len(self.sinks)))
            self._error = error
            self._waiting.put(None)
            self._thread.join()
        for sink in self.sinks:
            try:
                sink.close()
            except BaseException as error:  # the other sinks are closed first
                self._error = self._error or error
        failed, self._error = self._error, None
        if failed is not None:
            raise failed

    def __enter__(self) -> WriteBehind:
        return self

    def __exit__(self, kind, error, traceback) -> None:
        try:
            self.close()
        except BaseException as closing:
            if error is None or error is closing:
                raise
