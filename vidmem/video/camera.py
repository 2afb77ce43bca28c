"""Cameras: frames as they come. Whoever is slow misses some, and is never late."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from urllib.parse import urlsplit

import numpy as np

from vidmem.bounds import MOST_PIXELS
from vidmem.errors import SourceError
from vidmem.names import shown
from vidmem.types import Frame

ADDRESSES = ("rtsp", "http", "https")
PROTOCOLS = "http,https,tcp,udp,rtp,rtsp,tls,crypto,httpproxy"  # no file, no concat: an address must not reach into this machine
DEVICES = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}"), "win32": ("dshow", "video={}")}
PATIENCE = 5.0  # seconds without anything after which a camera counts as gone
LEAVE = 2.0  # seconds that leaving waits for the reading thread
POLL = 0.2  # seconds between looks at whether somebody wants to stop


def is_camera(source) -> bool:
    """Whether a text names a camera: a number, a Linux device, or an address."""
    text = str(source)
    return bool(re.fullmatch(r"\d{1,3}|/dev/video\d{1,3}", text)) or (
        text.partition("://")[0].lower() in ADDRESSES and "://" in text
    )


class Camera:
    """An iterator of `Frame` and a context manager. One thread reads and keeps the newest frame alone; what it replaces before anyone has taken
    it counts in `dropped`.

    `Frame.index` counts what the camera sent, so dropped frames leave gaps; `Frame.pts_seconds` is the camera's clock, or where it has
    none the time since the start. The stream may end: then the iteration does. Where it breaks, `SourceError` is raised.
    """

    live = True
    frame_count = None

    def __init__(
        self,
        address: str,
        end: int | None = None,
        max_size: int | None = None,
        most_pixels: int = MOST_PIXELS,
        came: Callable[[], None] = lambda: None,
        patience: float | None = None,
    ):
        """address: a number, `/dev/video0`, or rtsp://, http:// or https://. end: the index after the last frame. max_size: shrink frames to
        this longer side. came: called from the reading thread when a frame is there, or the end. patience: seconds without anything after which it counts as gone; None: `PATIENCE`. Returns at once: what goes wrong is in `error`."""
        if not is_camera(address):
            raise SourceError(
                f"{shown(str(address))[:200]} is no address of a camera; expected a number, rtsp://, http:// or https://"
            )
        self.name, self.dropped, self.error, self.scale = without_password(str(address)), 0, "", 1.0
        self.frame_rate: Fraction | None = None
        self._address, self._end, self._max_size, self._most, self._came = (
            str(address),
            end,
            max_size,
            most_pixels,
            came,
        )
        self._patience = PATIENCE if patience is None else patience
        self._newest: Frame | None = None
        self.over, self._stop, self._there = False, threading.Event(), threading.Condition()
        self._thread = threading.Thread(target=self._read, name="vidmem-camera", daemon=True)
        self._thread.start()

    def take(self) -> Frame | None:
        """The newest frame, once."""
        with self._there:
            frame, self._newest = self._newest, None
        return frame

    def wait(self) -> bool:
        """Until a frame is there; False when there will be none."""
        with self._there:
            while self._newest is None and not self.over:
                self._there.wait(POLL)
            return self._newest is not None

    def __iter__(self) -> Iterator[Frame]:
        while self.wait():
            frame = self.take()
            if frame is None:  # somebody else took it
                continue
            if self._end is not None and frame.index >= self._end:
                return
            yield frame
        if self.error:
            raise SourceError(self.error)

    def close(self) -> None:
        """The reading thread lets the camera go at its next packet."""
        self._stop.set()

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *exc) -> None:
        """Waits a little for the reading thread: a program that ends while it decodes may hang."""
        self.close()
        self._thread.join(LEAVE)

    def __repr__(self) -> str:
        return f"Camera({self.name})"

    def _read(self) -> None:
        import av

        try:
            with self._open() as container:
                stream = container.streams.video[0]
                self.frame_rate = stream.average_rate or stream.guessed_rate
                began = time.monotonic()
                for index, frame in enumerate(self._pictures(container)):
                    if frame.width * frame.height > self._most:
                        raise ValueError(
                            f"its pictures are {frame.width}x{frame.height}; expected at most {self._most} pixels"
                        )
                    pts = frame.time if frame.time is not None else time.monotonic() - began
                    image = self._shrunk(frame.to_ndarray(format="rgb24"))
                    with self._there:
                        self.dropped += self._newest is not None
                        self._newest = Frame(index, pts, image)
                        self._there.notify_all()
                    self._came()
        except (av.FFmpegError, OSError, ValueError, IndexError) as error:
            self.error = f"the camera {self.name} cannot be read: {getattr(error, 'strerror', None) or error}"
        with self._there:
            self.over = True
            self._there.notify_all()
        self._came()

    def _open(self):
        import av

        if "://" in self._address:
            options = {"protocol_whitelist": PROTOCOLS, "rtsp_transport": "tcp"}
            return av.open(self._address, options=options, timeout=(PATIENCE, self._patience))
        if sys.platform not in DEVICES:
            raise ValueError(f"devices are not known on {sys.platform}; give rtsp:// or http://")
        kind, name = DEVICES[sys.platform]
        if not any(kind in names.split(",") for names in av.formats_available):
            raise ValueError(f"this PyAV was built without {kind}; give rtsp:// or http://")
        number = self._address if self._address.isdigit() else self._address.removeprefix("/dev/video")
        return av.open(name.format(int(number)), format=kind, timeout=(PATIENCE, self._patience))

    def _pictures(self, container) -> Iterator:
        """Until `close`, which is noticed at each packet: they come also where pictures do not."""
        for packet in container.demux(video=0):
            if self._stop.is_set():
                return
            yield from packet.decode()

    def _shrunk(self, image: np.ndarray) -> np.ndarray:
        import cv2

        scale = min(1.0, (self._max_size or max(image.shape)) / max(image.shape[:2]))
        self.scale = scale
        return image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def open_camera(
    address: str, *, end: int | None = None, max_size: int | None = None, patience: float | None = None
) -> Camera:
    """A camera whose first frame has come: then `scale` and `frame_rate` are known. Raises `SourceError` where none comes."""
    if max_size is not None and max_size < 16:
        raise SourceError(f"max_size={max_size}; expected at least 16 pixels")
    if end is not None and end < 1:
        raise SourceError(f"end={end}; expected 1 or more frames")
    camera = Camera(address, end, max_size, patience=patience)
    if not camera.wait():
        raise SourceError(camera.error or f"the camera {camera.name} sent no picture; check that it is on")
    return camera


def without_password(address: str) -> str:
    """An address as it may be shown."""
    if "://" not in address:
        return address
    parts = urlsplit(address)
    return shown(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl())[:200]
