"""Live streams for those who build on the answers: deadlines, ages, validity, events, reconnection. Begin with `follow`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from vidmem.catalogue.tracker import Tracker
from vidmem.live.answer import Answer, Event, Validity
from vidmem.live.feed import Backoff, Opener
from vidmem.live.follow import Limits, Live
from vidmem.live.histogram import Histogram
from vidmem.live.sources import opener, paced
from vidmem.types import Frame
from vidmem.video import is_camera

__all__ = [
    "Answer",
    "Backoff",
    "Event",
    "Histogram",
    "Limits",
    "Live",
    "Opener",
    "Validity",
    "follow",
    "opener",
    "paced",
    "warm_up",
]


def follow(
    source: str | Path,
    tracker: Tracker,
    limits: Limits = Limits(),
    *,
    backoff: Backoff | None = None,
    max_size: int | None = None,
    max_objects: int | None = None,
    heard=None,
    zoom: bool = False,
) -> Live:
    """Follow objects in a camera (`0`, `rtsp://...`) or a file that plays at its own speed:

        with follow("rtsp://camera/1", vidmem.load("nano"), Limits(deadline_ms=50)) as live:
            live.add(1, box=(420, 130, 560, 300))
            while True:
                answer = live.latest()          # never waits; answer.validity, answer.age_ms, answer.result

    The source is opened in the background; a camera that breaks is opened again as `backoff` says (None: as `Backoff()`), a file ends. limits,
    max_objects, heard: as `Live`. zoom: as `Tracker.zoomed`. Raises `ModelError` as `Tracker.session` does.
    """
    session = tracker.zoomed() if zoom else tracker.session()
    again = (backoff or Backoff()) if is_camera(source) else None
    came = opener(source, max_size, limits.stall_seconds)
    return Live(came, session, limits, again, max_objects, heard, warm=partial(warm_up, tracker))


def warm_up(tracker: Tracker, frame: Frame) -> None:
    """Follow an object over the frame in a session of its own, so that no later frame waits for an engine to compile for this size."""
    height, width = frame.size
    with tracker.session() as scratch:
        scratch.add(1, box=(0, 0, max(1, width // 2), max(1, height // 2)))
        for index in range(3):
            scratch.step(replace(frame, index=index))
