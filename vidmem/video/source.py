"""Frames from any file that FFmpeg reads, and from folders of images.

PyAV reads the files: its wheels hold FFmpeg, timestamps are exact, and it will read network streams and devices through
the same calls. decord has had no release since 2021 and leaks, OpenCV seeks inexactly, torchcodec wants an installed
FFmpeg and cannot read live streams; all decode at the same speed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from vidmem.bounds import MOST_PIXELS
from vidmem.errors import SourceError
from vidmem.names import shown
from vidmem.types import Frame
from vidmem.video.places import IMAGE_FORMATS, LAST, Indexed, check_sizes

# What FFmpeg may take a file for, whatever its name. Playlists (HLS, DASH, concat, SDP ...) would open other files and addresses, and
# FFmpeg draws any text as a terminal's screen.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,ogg,flv,asf,gif,apng,mxf,m4v,h264,hevc,av1,obu,ivf,vc1,yuv4mpegpipe,"
    "dv,nut,rm,swf,wtv,nsv,roq,bink,mjpeg,dnxhd,dirac,h263,h261,cavsvideo,vvc,mp3,aac,wav,flac,ac3"
)
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".jp2"}


class Source(Indexed):
    """An iterator of `Frame` and a context manager. Made by `open_video`; both kinds differ in `_read` alone.

    Each `iter()` begins again at `start`.
    """

    path: Path
    live = False
    """Frames come when they come, as from a camera (`vidmem.video.camera`): whoever is slow misses some, and whoever waits for the next one is late."""
    frame_rate: Fraction | None = None
    """Frames per second on average; None where the source has no clock."""
    frame_count: int | None = None
    """How many frames iteration will give, as the container says; an estimate. None: unknown."""

    def __init__(self, path: Path, start: int, end: int | None, max_size: int | None):
        if start < 0 or (end is not None and end <= start):
            raise SourceError(f"start={start}, end={end}; expected 0 <= start < end")
        if max_size is not None and max_size < 16:
            raise SourceError(f"max_size={max_size}; expected at least 16 pixels")
        self.path, self._start, self._end = path, start, end
        self.problems: list[str] = []  # what could not be read, a line each
        self._running: Generator[Frame] | None = None
        first = next(self._read(start=0), None)
        if first is None:
            raise SourceError(
                f"{path} holds no frame that can be decoded{self._why()}; check the file, or fetch it again"
            )
        full = max(first.size)
        self.scale = min(1.0, max_size / full) if max_size else 1.0
        """Pixels of a `Frame` per pixel of the file; below 1 when `max_size` shrinks it."""
        height, width = (max(1, round(side * self.scale)) for side in first.size)
        self.size = height, width
        """(H, W) of every frame, after rotation and `max_size`."""
        self.problems.clear()

    def __repr__(self) -> str:
        count = "" if self.frame_count is None else f", {self.frame_count} frames"
        rate = "" if self.frame_rate is None else f" at {float(self.frame_rate):g} fps"
        return f"{type(self).__name__}({self.path.name}, {self.size[1]}x{self.size[0]}{count}{rate})"

    def _why(self) -> str:
        return f" ({self.problems[0]})" if self.problems else ""

    def _read(self, start: int) -> Iterator[Frame]:
        """Frames of the file from index `start` at full size."""
        raise NotImplementedError

    def _reader(self, start: int) -> Generator[Frame]:
        return iter(type(self)(self.path, start, self._end, None))

    def __iter__(self) -> Generator[Frame]:
        self._stop()
        self.problems.clear()
        self._running = self._frames()
        return self._running

    def _frames(self) -> Generator[Frame]:
        last = -1
        for frame in self._read(self._start):
            if self._end is not None and frame.index >= self._end:
                break
            last = frame.index
            yield self._scaled(frame)
        if last >= 0:
            return
        if self._start < self._seen:  # images that are there, but none that can be read
            until = "on" if self._end is None else f"to {self._end - 1}"
            raise SourceError(
                f"{self.path} holds no frame that can be decoded from {self._start} {until}{self._why()}; choose another range"
            )
        raise SourceError(
            f"start={self._start} is past the end: {self.path} has {self._seen} frames (0 to {self._seen - 1}){self._why()}"
        )

    def _scaled(self, frame: Frame) -> Frame:
        import cv2

        if self.scale == 1.0:
            return frame
        small = cv2.resize(frame.image, self.size[::-1], interpolation=cv2.INTER_AREA)
        return Frame(frame.index, frame.pts_seconds, small)

    _seen = 0  # frames decoded by the last `_read`; of a folder, its images
    _full: tuple[int, int] | None = None  # (H, W) of the first frame in the file

    def _check(self, name: str, image: np.ndarray) -> None:
        """`size` is a promise for every frame, also where cameras and folders change theirs."""
        size = image.shape[:2]
        self._full = self._full or size
        if size != self._full:
            raise SourceError(
                f"{name} is {size[1]}x{size[0]}, but those before it are {self._full[1]}x{self._full[0]}; expected one size"
            )

    def close(self) -> None:
        """Let the file go. Iterating again opens it again."""
        self._stop()
        self._leave_cursor()

    def _stop(self) -> None:
        if self._running is not None:
            self._running.close()
            self._running = None

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exc) -> None:
        self.close()


class VideoFile(Source):
    _announced = 0  # frames that the container says it holds; 0 where it does not say

    def __init__(self, path: Path, start: int, end: int | None, max_size: int | None):
        super().__init__(path, start, end, max_size)
        count = self._announced
        if count:
            self.frame_count = max(1, min(count, end if end is not None else count) - start)

    def _read(self, start: int) -> Iterator[Frame]:
        import av

        try:
            # An absolute path: FFmpeg takes what stands before a colon for a protocol.
            container = av.open(
                str(self.path.absolute()),
                options={"format_whitelist": FORMATS, "protocol_whitelist": "file"},
                metadata_errors="replace",
            )
        except (av.error.FFmpegError, OSError) as error:
            raise SourceError(
                f"{self.path} is not a video that FFmpeg can read ({_reason(error)}); expected a video file"
            ) from None
        with container:
            if not _moving(container):
                kinds = ", ".join(sorted({s.type for s in container.streams} - {"video"})) or "a still cover"
                raise SourceError(f"{self.path} has no picture, only {kinds}; expected a file with a video stream")
            stream = _moving(container)[0]
            if stream.codec_context is None:
                raise SourceError(
                    f"{self.path} has pictures in a format that this FFmpeg does not know; convert it to H.264"
                )
            stream.thread_type = "AUTO"
            stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # a damaged header may announce any size
            self.frame_rate = rate = stream.average_rate or stream.guessed_rate
            self._announced = stream.frames
            if not self._announced and container.duration and rate:
                self._announced = round(container.duration / 1_000_000 * rate)
            self._seen = 0
            for index, frame in enumerate(self._decode(container, stream)):
                pts = frame.time
                if pts is None and rate:
                    pts = float(index / rate)
                if index >= start:
                    image = _upright(frame)
                    self._check(f"frame {index} of {self.path}", image)
                    yield Frame(index, pts, image)
                self._seen = index + 1

    def _decode(self, container, stream) -> Iterator:
        """Frames of every packet that can be decoded; what cannot is noted in `problems`."""
        import av

        packets, bad, where = container.demux(stream), 0, None
        whole, damaged, first, last = 0, [], None, None
        while True:
            packet = None
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                whole += bool(packet.size) and not packet.is_corrupt
                if where is None and packet.pts is not None and packet.time_base:
                    where = float(packet.pts * packet.time_base)
                for frame in packet.decode():
                    if frame.is_corrupt:  # the decoder patched it from its neighbours
                        damaged.append(self._seen)
                    if frame.time is not None:
                        first, last = frame.time if first is None else first, frame.time
                    yield frame
                if bad:
                    self._note(bad, where)
                bad, where = 0, None
            except av.error.EOFError:
                break
            except av.error.FFmpegError as error:
                bad += 1
                if packet is None:  # a generator that raised is spent; a new one reads on behind the bad stretch
                    packets = container.demux(stream)
                if bad > 10_000:  # demuxers that fail for ever
                    self.problems.append(
                        f"{self.path.name}: reading stopped after {self._seen} frames: {_reason(error)}"
                    )
                    return
        if bad:
            self._note(bad, where)
        if damaged:
            listed = ", ".join(map(str, damaged[:10])) + (" ..." if len(damaged) > 10 else "")
            many = len(damaged)
            self.problems.append(f"{self.path.name}: {many} damaged frame(s) were patched by the decoder: {listed}")
        self._note_what_is_missing(container, stream, whole, None if last is None else last - first)

    def _note_what_is_missing(self, container, stream, packets: int, seconds: float | None) -> None:
        """A file that was cut off just ends, without an error; only its own table of contents tells."""
        listed = len(getattr(stream, "index_entries", ())) if "mp4" in container.format.name else 0
        if packets < listed:
            self.problems.append(
                f"{self.path.name}: the file was cut off: {listed - packets} of {listed} frames are missing; "
                f"{self._seen} were read"
            )
        elif not listed and seconds is not None and container.duration and len(container.streams) == 1:
            # With sound the container's length is no measure, for sound may go on after the picture.
            announced = container.duration / 1_000_000
            last = (
                float(1 / stream.average_rate) if stream.average_rate else 0.0
            )  # a frame is shown for a while: at 1 fps, for a second
            if announced - seconds - last > 0.5:
                self.problems.append(
                    f"{self.path.name}: the file was cut off: it announces {announced:.2f} s, "
                    f"and ends after {seconds:.2f} s"
                )

    def _note(self, packets: int, where: float | None) -> None:
        at = "" if where is None else f" near {where:.2f} s"
        self.problems.append(
            f"{self.path.name}: {packets} unreadable packet(s){at} skipped, after frame {self._seen - 1}"
        )

    def _count(self) -> int:
        import av

        try:
            with av.open(
                str(self.path.absolute()), options={"format_whitelist": FORMATS, "protocol_whitelist": "file"}
            ) as container:
                return sum(1 for packet in container.demux(_moving(container)[0]) if packet.size) or LAST
        except (av.error.FFmpegError, OSError):  # damaged somewhere: nobody knows
            return LAST


class ImageFolder(Source):
    _stride = 0

    def _count(self) -> int:
        return len(self.files)

    def reach(self, count: bool = True) -> tuple[int, int]:
        check_sizes(self.path, self.files[self._start : self._end])
        return super().reach()

    def __init__(self, path: Path, start: int, end: int | None, max_size: int | None):
        files = [path] if path.is_file() else [p for p in path.iterdir() if _is_image(p)]
        if path.is_file() and (count := look(path)[1]) > 1:
            raise SourceError(
                f"{path} is an animation of {count} frames; save them as a video, or as a folder of images"
            )
        self.files = sorted(files, key=natural_key)
        if not self.files:
            raise SourceError(f"{path} holds no images; expected files such as {', '.join(sorted(IMAGE_SUFFIXES)[:5])}")
        super().__init__(path, start, end, max_size)
        self.frame_count = max(1, min(len(self.files), end if end is not None else len(self.files)) - start)

    def _read(self, start: int) -> Iterator[Frame]:
        self._seen = len(self.files)
        for index, file in enumerate(self.files[start:], start):
            pixels, pictures = look(file)
            image = _load_image(file) if 0 < pixels <= MOST_PIXELS else None
            if image is None:
                why = (
                    "not a readable image"
                    if pixels <= MOST_PIXELS
                    else f"an image of {pixels} pixels, more than {MOST_PIXELS}"
                )
                self.problems.append(f"{file.name}: {why}, skipped")
                continue
            if pictures > 1:
                self.problems.append(f"{file.name}: an animation, of which only the first picture is read")
            if self._end is not None and index >= self._end:
                return  # its size is nobody's business
            self._check(str(file), image)
            yield Frame(index, None, image)


def _is_image(path: Path) -> bool:
    """Hidden files are left out: macOS puts a "._1.jpg" beside a "1.jpg"."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def look(file: Path) -> tuple[int, int]:
    """An image file's pixels and pictures, from its header; (0, 0) where it has none. WebP and PNG may be animations, of which OpenCV
    reads the first picture without a word, and any header may announce more pixels than there is memory."""
    from PIL import Image

    try:
        with Image.open(file, formats=IMAGE_FORMATS) as image:
            return image.width * image.height, getattr(image, "n_frames", 1) if image.format in ("PNG", "WEBP") else 1
    except Exception:  # damaged in one of many ways
        return 0, 0


def _moving(container) -> list:
    """The video streams that are no cover picture of a song."""
    return [s for s in container.streams.video if "attached_pic" not in str(s.disposition.name)]


def natural_key(path: Path) -> list:
    """frame2 before frame10; the name itself decides between 1 and 01."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts] + [(2, 0, path.name)]


def _load_image(path: Path) -> np.ndarray | None:
    """Any depth, grey, palette or alpha -> (H, W, 3) uint8 RGB, turned as its EXIF says; None if it cannot be read."""
    import cv2

    try:
        data = np.fromfile(path, np.uint8)
        return cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if data.size else None
    except (OSError, cv2.error):  # gone since it was listed; or it claims more pixels than OpenCV allows
        return None


def _upright(frame) -> np.ndarray:
    """The picture in RGB, turned as the display matrix says."""
    image = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4  # counter-clockwise
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def open_video(source, *, start: int = 0, end: int | None = None, max_size: int | None = None) -> Source:
    """Open a video file, a folder of images (in natural order) or one image.

    start, end: indices of the first frame and of the one after the last, counted in decode order from 0. max_size: shrink
    frames so that the longer side has at most this many pixels. Raises `SourceError` when there is nothing to read;
    stretches that cannot be decoded are skipped while iterating and listed in `Source.problems`.
    """
    path = Path(source)
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        why = (
            "does not exist"
            if isinstance(error, FileNotFoundError)
            else f"cannot be opened ({getattr(error, 'strerror', error)})"
        )
        raise SourceError(f"{shown(str(path))} {why}; expected a video file or a folder of images") from None
    if not path.is_dir() and not path.is_file():
        raise SourceError(
            f"{path} is a pipe or a device, which may never end; expected a video file or a folder of images"
        )
    if path.is_file() and found.st_size == 0:
        raise SourceError(f"{path} is empty (0 bytes); expected a video file")
    images = path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES
    kind: type[Source] = ImageFolder if images else VideoFile
    return kind(path, start, end, max_size)
