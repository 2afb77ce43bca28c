"""Live streams for those who build on the answers: deadlines, ages, validity, events, reconnection. Begin with `follow`."""

from __future__ import annotations

from pathlib import Path

from vidmem.catalogue.tracker import Tracker
from vidmem.live.answer import Answer, Event, Validity
from vidmem.live.feed import Backoff, Opener
from vidmem.live.follow import Limits, Live
from vidmem.live.histogram import Histogram
from vidmem.live.sources import opener, paced
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
    return Live(opener(source, max_size, limits.stall_seconds), session, limits, again, max_objects, heard)
