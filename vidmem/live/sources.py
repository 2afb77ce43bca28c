"""What a live job can follow, as something that can be opened again and again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vidmem.live.feed import Opener
from vidmem.types import Frame
from vidmem.video import is_camera, open_camera, open_video


def opener(source: str | Path, max_size: int | None = None, patience: float | None = None) -> Opener:
    """A camera's number or address, or a file, which then plays at its own speed. max_size: shrink frames to this longer side. patience: seconds
    without anything after which a camera counts as gone."""
    if is_camera(source):
        return lambda: open_camera(str(source), max_size=max_size, patience=patience)
    return lambda: _played(source, max_size)


@contextmanager
def _played(path: str | Path, max_size: int | None) -> Iterator[Iterable[Frame]]:
    with open_video(path, max_size=max_size) as video:
        yield paced(video, float(video.frame_rate or 25))


def paced(frames: Iterable[Frame], rate: float) -> Iterator[Frame]:
    """Frames at their own speed: by their time stamps, or where they have none at `rate` a second."""
    began, first = time.monotonic(), None
    for count, frame in enumerate(frames):
        at = frame.pts_seconds if frame.pts_seconds is not None else count / rate
        first = at if first is None else first
        time.sleep(max(0.0, began + at - first - time.monotonic()))
        yield frame
