"""Frames from a source that may stall, break and come back: one thread reads, and keeps the newest frame alone."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import NamedTuple

from vidmem.bounds import bounded, check
from vidmem.errors import VidmemError
from vidmem.types import Frame

Opener = Callable[[], AbstractContextManager[Iterable[Frame]]]


@dataclass(frozen=True)
class Backoff:
    """How long to wait before the next attempt to open a source."""

    first: float = bounded(0.5, 0.0, 3600.0)
    """Seconds."""
    factor: float = bounded(2.0, 1.0, 10.0)
    most: float = bounded(10.0, 0.0, 3600.0)
    jitter: float = bounded(0.2, 0.0, 1.0)
    """Share of a wait by which it varies, so that many readers do not come back at once."""
    attempts: int = bounded(0, 0)
    """After so many in a row without a frame the job fails; 0: it never does."""

    def __post_init__(self):
        check(self)

    def wait(self, attempt: int, rng: random.Random) -> float:
        """attempt: from 0 -> seconds."""
        return min(self.most, self.first * self.factor ** min(attempt, 64)) * (1 + self.jitter * rng.uniform(-1, 1))


class Captured(NamedTuple):
    frame: Frame
    captured_ns: int
    dropped: int
    """Frames left out since the one taken before."""


class Feed:
    """`take` gives the newest frame once. Indices go on rising over reconnections."""

    def __init__(
        self,
        opener: Opener,
        clock: Callable[[], int],
        told: Callable[[str, str], None],
        backoff: Backoff | None,
        changed: threading.Condition,
        rng: random.Random,
    ):
        """clock: nanoseconds. told: what happened, and why. backoff: None: the end of the source is the end. changed: notified when a frame has come,
        and at the end."""
        self.captured, self.over, self.newest_ns = 0, False, clock()
        self.end = ("", "")
        """`ended` or `failed`, and why, once it is over by itself."""
        self._opener, self._clock, self._told, self._backoff, self._rng = opener, clock, told, backoff, rng
        self._changed, self._stop = changed, threading.Event()
        self._newest: Captured | None = None
        self._thread = threading.Thread(target=self._read, name="vidmem-live-reader", daemon=True)
        self._thread.start()

    def take(self) -> Captured | None:
        """The newest frame, if it was not taken yet. The caller holds `changed`."""
        captured, self._newest = self._newest, None
        return captured

    def close(self, patience: float) -> None:
        """patience: seconds to wait for the reader."""
        self._stop.set()
        self._thread.join(patience)

    def _read(self) -> None:
        begin, attempt, reason = 0, 0, ""
        while not self._stop.is_set():
            last = None
            try:
                with self._opener() as source:
                    for frame in source:
                        if self._stop.is_set():
                            break
                        if last is None and reason:
                            self._told("reconnected", f"after {attempt} {'attempt' if attempt == 1 else 'attempts'}")
                        attempt, last = 0, frame.index
                        self._put(replace(frame, index=begin + frame.index))
                reason = "the stream ended"
            except (VidmemError, OSError, ValueError) as error:
                reason = str(error) or type(error).__name__
            if last is not None:
                begin += last + 1
            if self._stop.is_set():
                break
            if self._backoff is None:
                self.end = "ended" if reason == "the stream ended" else "failed", reason
                break
            if self._backoff.attempts and attempt >= self._backoff.attempts:
                self.end = "failed", f"{reason}; {attempt} attempts"
                break
            wait = self._backoff.wait(attempt, self._rng)
            attempt += 1
            self._told("reconnecting", f"{reason}; attempt {attempt} in {wait:.1f} s")
            self._stop.wait(wait)
        with self._changed:
            self.over = True
            self._changed.notify_all()

    def _put(self, frame: Frame) -> None:
        now = self._clock()
        with self._changed:
            dropped = 0 if self._newest is None else self._newest.dropped + 1
            self._newest = Captured(frame, now, dropped)
            self.captured, self.newest_ns = self.captured + 1, now
            self._changed.notify_all()
