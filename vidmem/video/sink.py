"""What becomes of results: an overlay video, label maps, RLE lines, a table of boxes.

A sink takes `write(frame, result)` and `close()`, in order of frame. Files are whole after `close`, however it came to it.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidmem.errors import OutputError
from vidmem.names import cell
from vidmem.render import PALETTE, Look, overlay
from vidmem.types import Frame, FrameResult
from vidmem.video.rle import rle_encode
from vidmem.video.sound import add_sound

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import OutputContainer

CLOCK = 90_000  # ticks a second: the video stream's time base
PART = ".vidmem-part"  # a file that is being written
FRAGMENT = 48  # frames between key frames, which begin a fragment: what a kill may cost


@contextmanager
def writing(path: Path):
    """Say in one line what could not be written, and what is left."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise OutputError(
                f"the disk is full while writing {path}; frames written before are kept: free some space"
            ) from error
        raise OutputError(f"{path} cannot be written ({error.strerror or error}); choose another folder") from error


class Sink:
    """A context manager that closes itself."""

    problems: tuple[str, ...] = ()
    """After `close`: what could not be kept, a line each."""

    def write(self, frame: Frame, result: FrameResult) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self):
        return self

    def __exit__(self, *exc) -> None:
        self.close()


class OverlaySink(Sink):
    """H.264 in MP4 that browsers play, masks drawn over the frames; keeps the source's timestamps where it has them.

    The file is fragmented while it grows and becomes a plain MP4 in `close`: after a full disk or a kill it plays up to the
    last fragment.
    """

    container, codec, pixels = "mp4", "libx264", "yuv420p"
    options = {"preset": "ultrafast", "crf": "21", "threads": "1", "g": str(FRAGMENT)}
    muxing = {"movflags": "+hybrid_fragmented", "flush_packets": "1"}
    clock = CLOCK

    def picture(self, frame: Frame, result: FrameResult) -> np.ndarray:
        """(H, W, 3) uint8 RGB, or (H, W, 4) with alpha: what is written of a frame."""
        return overlay(frame.image, result, self.look)

    def __init__(self, path: Path, frame_rate: Fraction | None = None, look: Look = Look(), sound: Path | None = None):
        """sound: a video file whose sound, between the first and the last frame, goes into this one."""
        self.look, self._sound = look, sound
        self.path, self._rate = Path(path), Fraction(frame_rate or 25).limit_denominator(100_000)
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._last = -1
        self._first: float | None = None
        self._whole, self._begun = True, False  # the last write succeeded; the file has a header
        with writing(self.path), self.path.open("wb") as file:
            # A folder or disk that cannot be written is found before the work begins; FFmpeg would crash on its header.
            file.write(bytes(65536))
            file.flush()
            file.truncate(0)

    def _open(self, image: np.ndarray) -> tuple[OutputContainer, VideoStream]:
        import av

        # An absolute path: FFmpeg takes what stands before a colon for a protocol.
        self._container = av.open(str(self.path.absolute()), "w", format=self.container, options=self.muxing)
        stream = self._container.add_stream(self.codec, rate=self._rate, options=self.options)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = image.shape[0] + image.shape[0] % 2, image.shape[1] + image.shape[1] % 2
        stream.pix_fmt = self.pixels
        stream.codec_context.time_base = Fraction(1, self.clock)
        self._stream = stream
        return self._container, stream

    def write(self, frame: Frame, result: FrameResult) -> None:
        import av

        image = self.picture(frame, result)
        with writing(self.path):
            container, stream = self._container, self._stream
            if container is None or stream is None:
                container, stream = self._open(image)
            odd = image.shape[0] % 2, image.shape[1] % 2
            if any(odd):  # yuv420p needs even sides: repeat the last row or column
                image = np.pad(image, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge")
            picture = av.VideoFrame.from_ndarray(image, format="rgba" if image.shape[2] == 4 else "rgb24")
            picture.pts, picture.time_base = self._time(frame), Fraction(1, self.clock)
            packets = stream.encode(picture)
            self._whole = False  # until the packets are in the file
            container.mux(packets)
            self._whole, self._begun = True, self._begun or bool(packets)

    def _time(self, frame: Frame) -> int:
        """Ticks; always later than the frame before."""
        step = round(self.clock / self._rate)
        if frame.pts_seconds is None:
            ticks = self._last + step if self._last >= 0 else 0
        else:
            first = self._first = frame.pts_seconds if self._first is None else self._first
            ticks = round((frame.pts_seconds - first) * self.clock)
        self._last = ticks if ticks > self._last else self._last + 1
        return self._last

    def close(self) -> None:
        if self._container is None or self._stream is None:
            if self.path.is_file() and self.path.stat().st_size == 0:  # no frame came: an empty file is no video
                self.path.unlink()
            return
        container, self._container = self._container, None
        if not self._whole and not self._begun:
            return  # the header could not be written; FFmpeg crashes when it is tried twice
        with writing(self.path):
            try:
                container.mux(self._stream.encode())
            finally:
                container.close()
            if self._sound is not None and self._first is not None:
                end = self._first + self._last / self.clock + float(1 / self._rate)
                self.problems = add_sound(self.path, self._sound, self._first, end, self.path.with_name(PART))


class FolderSink(Sink):
    """A folder of images, known to take files before the work begins. begin: told of each file before it is written."""

    def __init__(self, folder: Path, begin: Callable[[Path], None] = lambda path: None, look: Look = Look()):
        self.folder, self._begin, self.look = Path(folder), begin, look
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.folder).close()

    def save(self, image, name: str) -> None:
        """Whole or not at all: what a kill leaves is the part, which the next run takes for its own."""
        path, part = self.folder / name, self.folder / PART
        self._begin(path)
        with writing(path):
            path.parent.mkdir(exist_ok=True)
            image.save(part, "PNG", compress_level=1)
            part.replace(path)

    def close(self) -> None:
        pass


def palette(look: Look) -> np.ndarray:
    """(256, 3) uint8: DAVIS's, with the colours that a person chose at the places of their objects."""
    own = PALETTE.copy()
    for obj_id, rgb in look.colors.items():
        if obj_id < len(own):
            own[obj_id] = rgb
    return own


class PngSink(FolderSink):
    """Label maps as indexed PNGs with the DAVIS palette, `00000.png` by frame index; 16-bit grey beyond object 255."""

    def write(self, frame: Frame, result: FrameResult) -> None:
        from PIL import Image

        labels = result.label_map()
        if len(result.obj_ids) and result.obj_ids.max() > 255:
            image = Image.fromarray(labels)
        else:
            image = Image.fromarray(labels.astype(np.uint8))
            image.putpalette(palette(self.look).tobytes())
        self.save(image, f"{result.frame_idx:05d}.png")


class LineSink(Sink):
    """A text file that is whole at any moment: what there is to say of a frame goes into it in one piece, or not at all."""

    header = ""

    def __init__(self, path: Path, look: Look = Look()):
        self.path, self.look = Path(path), look
        with writing(self.path):
            self._file = self.path.open("wb", buffering=0)
        self._add(self.header)

    def lines(self, result: FrameResult) -> list[str]:
        raise NotImplementedError

    def write(self, frame: Frame, result: FrameResult) -> None:
        self._add("".join(line + "\n" for line in self.lines(result)))

    def _add(self, text: str) -> None:
        data, whole = text.encode(), self._file.tell()
        with writing(self.path):
            try:
                if self._file.write(data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                with suppress(OSError):  # a device
                    self._file.truncate(whole)
                    self._file.seek(whole)
                raise

    def close(self) -> None:
        with writing(self.path):
            self._file.close()


class RleSink(LineSink):
    """JSON lines, one a frame, masks as COCO compressed RLE; objects that were given a label or a color have it."""

    def lines(self, result: FrameResult) -> list[str]:
        objects = [
            {
                "obj_id": int(obj_id), "segmentation": rle_encode(mask),
                "bbox": [float(x0), float(y0), float(x1 - x0), float(y1 - y0)], "score": round(float(score), 4),
                "object_logit": round(float(logit), 3), "status": status.value,
                **self.look.about(int(obj_id)),
            }
            for obj_id, mask, (x0, y0, x1, y1), score, logit, status in zip(
                result.obj_ids, result.masks, result.boxes, result.scores, result.object_logits, result.status
            )
        ]  # fmt: skip
        line = {
            "frame_idx": result.frame_idx,
            "pts_seconds": result.pts_seconds,
            "size": list(result.size),
            "objects": objects,
        }
        return [json.dumps(line)]


class BoxSink(LineSink):
    """CSV: a line for each object and frame; x1 and y1 are exclusive, an unseen object has zeros. Where objects have names, a last
    column `label`."""

    columns = "frame_idx,pts_seconds,obj_id,x0,y0,x1,y1,score,object_logit,status"

    def __init__(self, path: Path, look: Look = Look()):
        self.header = f"{self.columns}{',label' if look.names else ''}\n"
        super().__init__(path, look)

    def lines(self, result: FrameResult) -> list[str]:
        pts = "" if result.pts_seconds is None else f"{result.pts_seconds:.6f}"
        return [
            f"{result.frame_idx},{pts},{obj_id},{x0:g},{y0:g},{x1:g},{y1:g},{score:.4f},{logit:.3f},{status.value}{self._label(obj_id)}"
            for obj_id, (x0, y0, x1, y1), score, logit, status in zip(
                result.obj_ids, result.boxes, result.scores, result.object_logits, result.status
            )
        ]

    def _label(self, obj_id: int) -> str:
        if not self.look.names:
            return ""
        name = cell(self.look.names.get(int(obj_id), "")).replace('"', '""')
        return f',"{name}"'
