"""Objects in a stream that does not wait: the newest answer at any moment, how old it is, and whether it may be acted on.

Three threads: one reads and keeps the newest frame (`feed.py`), one owns the session and answers it, one watches both. Nothing piles up: what is
slow loses frames, never time.
"""

from __future__ import annotations

import faulthandler
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vidmem.bounds import bounded, check
from vidmem.errors import ObjectError, SessionClosed, VidmemError
from vidmem.live.answer import Answer, Event, Validity, emptied
from vidmem.live.feed import Backoff, Captured, Feed, Opener
from vidmem.live.histogram import Histogram
from vidmem.live.systemd import notify
from vidmem.session import Session, ZoomedSession
from vidmem.types import Frame, FrameResult, Status

POLL = 0.05  # seconds between looks of whoever waits
LEAVE = 5.0  # seconds that leaving waits for each thread
EVENTS = 1000  # that a job remembers
WAITING = 256  # events that wait for a slow listener; what comes beyond them is counted and not told
KINDS = {Status.LOST: "lost", Status.OCCLUDED: "occluded", Status.AMBIGUOUS: "ambiguous", Status.TRACKED: "reacquired"}


@dataclass(frozen=True)
class Limits:
    """What counts as too late."""

    deadline_ms: float = bounded(50.0, 0.1, 60_000.0)
    """From a frame's capture to its answer. An inference that runs is not stopped: at the deadline the last answer is given as stale, and the true
    one follows as late."""
    stale_after_ms: float = bounded(150.0, 0.1, 600_000.0)
    invalid_after_ms: float = bounded(500.0, 0.1, 600_000.0)
    stall_seconds: float = bounded(2.0, 0.05, 3600.0)
    """Without a frame: `stalled`."""
    hang_seconds: float = bounded(10.0, 0.1, 3600.0)
    """With one frame: `failed`, and where every thread stands goes to standard error. Answers are invalid long before."""

    def __post_init__(self):
        check(self)
        if not self.deadline_ms <= self.stale_after_ms <= self.invalid_after_ms:
            raise ValueError(
                f"deadline_ms={self.deadline_ms:g}, stale_after_ms={self.stale_after_ms:g}, invalid_after_ms={self.invalid_after_ms:g}; expected "
                "them in this order, each at most the next"
            )


@dataclass(frozen=True, eq=False)
class Shown:
    """The newest answer as it was given."""

    result: FrameResult
    captured_ns: int
    late: bool
    dropped: int


class Live:
    """A running job. Its verbs may be called from any thread; `close`, or the end of its `with`, ends it."""

    def __init__(
        self,
        opener: Opener,
        session: Session | ZoomedSession,
        limits: Limits = Limits(),
        backoff: Backoff | None = Backoff(),
        max_objects: int | None = None,
        heard: Callable[[Event], None] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        seed: int | None = None,
        warm: Callable[[Frame], None] | None = None,
    ):
        """opener: opens the source, again after each break. session: this job's own from now on. backoff: None: the end of the source ends the job.
        max_objects: refuse more; 0: refuse one more as soon as it would break the deadline, judged by the slowest twentieth of the
        frames so far. heard: called with each event in a thread of its own. clock: nanoseconds that never go back. seed: of the
        waits between attempts. warm: called once, with the first frame and before its answer: engines compile for a size when they first see it."""
        self.limits, self.events, self.unheard = limits, deque[Event](maxlen=EVENTS), 0
        self.worked = self.duplicates = self.refused = self.dropped = 0
        self.timings = {"step": Histogram(), "answer": Histogram()}
        self._session, self._max_objects, self._clock, self._begun = session, max_objects, clock, clock()
        self._warm = warm
        self._shown: Shown | None = None
        self._serial = 0  # of `_shown`
        self._busy: Captured | None = None
        self._busy_since = 0
        self._commands: deque[tuple[Callable[[Frame], Any], Future]] = deque()
        self._status: dict[int, Status] = {}
        self._image: np.ndarray | None = None
        self._size: tuple[int, int] | None = None
        self._foreign = False  # frames of another size come
        self._behind = False  # the last answer was late
        self._over, self._stop, self._changed = False, threading.Event(), threading.Condition()
        self._heard, self._untold = heard, deque[Event]()
        self._feed = Feed(opener, clock, self._tell, backoff, self._changed, random.Random(seed))
        self._threads = [
            threading.Thread(target=target, name=f"vidmem-live-{target.__name__.strip('_')}", daemon=True)
            for target in (self._work, self._watch, self._listen)
        ]
        for thread in self._threads:
            thread.start()

    # What a user does ------------------------------------------------------------------------------------------------
    def latest(self) -> Answer:
        """The newest answer with its age. Never waits, whatever the network or the source does."""
        return self._as_of_now(self._shown)

    def __iter__(self) -> Iterator[Answer]:
        """Each answer as it comes, and at a deadline that passes the last one as stale. Whoever is slow misses some."""
        serial, announced = 0, -1
        while True:
            stale = False
            with self._changed:
                while self._serial == serial and not self._over:
                    left, busy = POLL, self._busy
                    if busy is not None and busy.frame.index != announced:
                        left = self.limits.deadline_ms / 1e3 - (self._clock() - busy.captured_ns) / 1e9
                        if left <= 0:
                            announced, stale = busy.frame.index, True
                            break
                    self._changed.wait(min(left, POLL))
                if not stale and self._serial == serial:
                    return
                serial, shown = self._serial, self._shown
            answer = self._as_of_now(shown)
            yield replace(answer, validity=Validity.STALE) if stale and answer.validity is Validity.FRESH else answer

    def add(self, obj_id: int, *, points=None, labels=None, box=None, mask=None) -> Future[FrameResult]:
        """Say where an object is, on the next frame that is taken -> a future of that frame's result. It raises as `Session.add` does, and
        `ObjectError` for an object too many."""
        given = {"points": points, "labels": labels, "box": box, "mask": mask}

        def begin(frame: Frame) -> None:
            if obj_id not in self._session.obj_ids:
                self._check_room()
            self._session.add(obj_id, frame_idx=frame.index, **given)

        return self._command(begin)

    def remove(self, obj_id: int) -> Future[FrameResult]:
        """Stop following an object with the next frame. The future raises `ObjectError` if it is unknown."""
        return self._command(lambda _: self._session.remove(obj_id))

    def stats(self) -> dict:
        """Counts of frames `captured`, `worked`, `dropped`, `duplicates`, `refused`; events `unheard`; percentiles in milliseconds of `step`, and from capture to `answer`."""
        counts = {name: getattr(self, name) for name in ("worked", "dropped", "duplicates", "refused", "unheard")}
        return {"captured": self._feed.captured} | counts | {name: kept.told() for name, kept in self.timings.items()}

    @property
    def over(self) -> bool:
        """No more answers come."""
        return self._over

    def close(self) -> None:
        """End the job; futures that wait are cancelled. Returns when its threads have ended, or after some seconds of a network that does not come back."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        self._feed.close(LEAVE)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(LEAVE)

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    # The worker ------------------------------------------------------------------------------------------------------
    def _work(self) -> None:
        try:
            while (captured := self._next()) is not None:
                if self._warm is not None:
                    warm, self._warm = self._warm, None
                    warm(captured.frame)
                    self.dropped += 1
                else:
                    self._answer(captured)
                with self._changed:
                    self._busy = None
            if self._feed.end[0]:
                self._tell(*self._feed.end)
        except Exception as error:
            self._tell("failed", f"{type(error).__name__}: {error}")
            raise
        finally:
            with self._changed:
                self._over, self._busy = True, None
                self._changed.notify_all()
            self._stop.set()
            while self._commands:
                self._commands.popleft()[1].cancel()
            self._session.close()

    def _next(self) -> Captured | None:
        with self._changed:
            while not self._stop.is_set():
                captured = self._feed.take()
                if captured is not None:
                    self._busy, self._busy_since = captured, self._clock()
                    self.dropped += captured.dropped
                    self._changed.notify_all()  # whoever waits for answers counts down from now on
                    return captured
                if self._feed.over:
                    return None
                self._changed.wait(POLL)
        return None

    def _answer(self, captured: Captured) -> None:
        frame = captured.frame
        if self._size not in (None, frame.size):
            if not self._foreign:
                self._foreign = True
                came, had = (f"{width}x{height}" for height, width in (frame.size, self._size or (0, 0)))
                self._tell(
                    "format_changed",
                    f"frames are {came} now, and the objects are known at {had}; close, and follow anew",
                    frame.index,
                )
            self.refused += 1
            return
        if self._foreign:
            self._foreign = False
            self._tell("resumed", "frames have the size again that the objects are known at", frame.index)
        same = self._image is not None and np.array_equal(frame.image, self._image)
        if self._shown is not None and not self._commands and same:
            self.duplicates += 1  # a source that repeats itself must not fill the memory with one picture
            self._publish(replace(self._shown, captured_ns=captured.captured_ns, dropped=captured.dropped))
            return
        waiting = []
        while self._commands:
            command, future = self._commands.popleft()
            try:
                command(frame)
                waiting.append(future)
            except Exception as error:
                future.set_exception(error)
        try:
            result = self._session.step(frame)
        except VidmemError as error:  # a prompt that does not fit the frame, for instance
            self.refused += 1
            self._tell("refused", str(error), frame.index)
            for future in waiting:
                future.set_exception(error)
            return
        self._image = frame.image
        if self._size is None:
            self._size = frame.size
            self._tell("started", f"frames of {frame.size[1]}x{frame.size[0]}", frame.index)
        took = (self._clock() - captured.captured_ns) / 1e6
        self.timings["step"].add((self._clock() - self._busy_since) / 1e6)
        self.timings["answer"].add(took)
        self.worked += 1
        self._publish(Shown(result, captured.captured_ns, took > self.limits.deadline_ms, captured.dropped))
        for future in waiting:
            future.set_result(result)
        self._notice(result, took)

    def _publish(self, shown: Shown) -> None:
        with self._changed:
            self._shown, self._serial = shown, self._serial + 1
            self._changed.notify_all()

    def _notice(self, result: FrameResult, took: float) -> None:
        late = took > self.limits.deadline_ms
        if late != self._behind:
            self._behind = late
            self._tell(
                "overrun" if late else "recovered",
                f"{took:.1f} ms; the deadline is {self.limits.deadline_ms:g} ms",
                result.frame_idx,
            )
        if result.cut:
            self._tell("cut", "another scene", result.frame_idx)
        now = dict(zip(result.obj_ids.tolist(), result.status))
        for obj_id, status in now.items():
            before = self._status.get(obj_id, Status.TRACKED)
            if status is not before:
                self._tell(KINDS[status], f"{before.value} before", result.frame_idx, obj_id)
        self._status = now

    def _check_room(self) -> None:
        count = len(self._session.obj_ids)
        if self._max_objects is None:
            return
        if self._max_objects and count >= self._max_objects:
            raise ObjectError(f"{count} objects are followed, and max_objects is {self._max_objects}; remove one first")
        expected = self.timings["step"].percentile(0.95) * (count + 1) / max(count, 1)
        if not self._max_objects and count and expected > self.limits.deadline_ms:
            raise ObjectError(
                f"with {count + 1} objects one frame in twenty would take {expected:.0f} ms, and the deadline is {self.limits.deadline_ms:g} ms; remove one "
                "first, or allow more time"
            )

    def _command(self, command: Callable[[Frame], Any]) -> Future:
        future: Future = Future()
        with self._changed:
            if self._over or self._stop.is_set():
                raise SessionClosed("this job is over; follow the source anew")
            self._commands.append((command, future))
        return future

    # What is said ----------------------------------------------------------------------------------------------------
    def _as_of_now(self, shown: Shown | None) -> Answer:
        if shown is None:
            return Answer(None, Validity.INVALID, float("inf"))
        age = (self._clock() - shown.captured_ns) / 1e6
        if age > self.limits.invalid_after_ms or self._foreign:
            return Answer(emptied(shown.result), Validity.INVALID, age, shown.captured_ns, shown.late, shown.dropped)
        validity = Validity.FRESH if age <= self.limits.stale_after_ms else Validity.STALE
        return Answer(shown.result, validity, age, shown.captured_ns, shown.late, shown.dropped)

    def _tell(self, kind: str, why: str = "", frame_idx: int | None = None, obj_id: int | None = None) -> None:
        event = Event(kind, (self._clock() - self._begun) / 1e9, frame_idx, obj_id, why)
        self.events.append(event)
        if self._heard is None:
            return
        if len(self._untold) >= WAITING:
            self.unheard += 1
            return
        self._untold.append(event)

    def _listen(self) -> None:
        """A slow or broken listener costs nobody but itself."""
        while self._heard is not None and (self._untold or not (self._stop.is_set() and self._over)):
            if not self._untold:
                time.sleep(POLL / 5)
                continue
            try:
                self._heard(self._untold.popleft())
            except Exception as error:
                print(f"vidmem: an event's listener failed: {type(error).__name__}: {error}", file=sys.stderr)

    def _watch(self) -> None:
        """Sees what does not come: frames, and answers."""
        stalled = hung = False
        notify("READY=1")
        while not self._stop.wait(POLL):
            quiet = (self._clock() - self._feed.newest_ns) / 1e9
            if (quiet > self.limits.stall_seconds) != stalled:
                stalled = not stalled
                self._tell(
                    "stalled" if stalled else "resumed",
                    f"{quiet:.1f} s without a frame" if stalled else "frames come again",
                )
            busy = self._busy
            took = (self._clock() - self._busy_since) / 1e9 if busy is not None else 0.0
            if took > self.limits.hang_seconds and not hung:
                self._tell("failed", f"one frame has taken {took:.0f} s", busy.frame.index if busy else None)
                faulthandler.dump_traceback(sys.__stderr__ or 2)
            hung = took > self.limits.hang_seconds
            if not hung:
                notify("WATCHDOG=1")
