"""Small clips for tests; a frame's brightness is its number, so that order and loss can be read from the pixels."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np

MILLISECOND = Fraction(1, 1000)
# One step of brightness; 30 of them fit between black and white, and no codec here errs by half of it.
STEP = 7


def grey(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """The picture of frame `number`, at most 30."""
    return np.full((height, width, 3), 20 + STEP * number, np.uint8)


def number(image: np.ndarray) -> int:
    """Which frame this is, from its brightness."""
    return round((float(image.mean()) - 20) / STEP)


def numbers(frames) -> list[int]:
    return [number(frame.image) for frame in frames]


def quarters(height: int = 48, width: int = 64) -> np.ndarray:
    """Red, green / blue, white: no turn of it looks like another."""
    image = np.zeros((height, width, 3), np.uint8)
    y, x = height // 2, width // 2
    image[:y, :x], image[:y, x:], image[y:, :x], image[y:, x:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
    return image


def corners(image: np.ndarray) -> str:
    """The four quarters' colours by reading order, such as "rgbw"."""
    height, width = image.shape[:2]
    named = {(1, 0, 0): "r", (0, 1, 0): "g", (0, 0, 1): "b", (1, 1, 1): "w"}
    points = [(y, x) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return "".join(named.get(tuple((image[point] > 127).astype(int).tolist()), "?") for point in points)


def encode(
    path: Path, images, codec="libx264", rate=25, ticks_ms=None, format=None, options=None, faststart=True, gop=250
) -> Path:
    """Write images as a video. ticks_ms: a timestamp for each frame; None: evenly, at `rate`."""
    import av

    movflags = {"movflags": "+faststart"} if faststart and path.suffix in {".mp4", ".mov"} else {}
    defaults = {"crf": "12", "preset": "ultrafast", "threads": "1"} if codec == "libx264" else {}
    with av.open(str(path), "w", format=format, options=movflags) as container:
        stream = container.add_stream(codec, rate=rate, options=defaults | (options or {}))
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = {"mjpeg": "yuvj420p", "libx264": "yuv420p"}.get(codec, "yuv444p")
        if stream.width % 2 or stream.height % 2:
            stream.pix_fmt = "yuv444p"  # libx264 refuses odd sides in 4:2:0
        stream.codec_context.gop_size = gop
        time_base = MILLISECOND if ticks_ms else Fraction(1, rate)
        stream.codec_context.time_base = time_base
        for i, image in enumerate(images):
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            picture.pts, picture.time_base = (ticks_ms[i] if ticks_ms else i), time_base
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def numbered(path: Path, count: int = 10, size=(48, 64), **how) -> Path:
    """A video of `count` frames whose brightness is their number."""
    return encode(path, [grey(i, *size) for i in range(count)], **how)


def noisy(path: Path, count: int = 20, **how) -> Path:
    """Noise over the numbers: packets of some kilobytes, so that damage hits pictures and not headers."""
    random = np.random.default_rng(0)
    images = [
        np.clip(grey(i).astype(int) + random.integers(-20, 20, (48, 64, 1)), 0, 255).astype(np.uint8)
        for i in range(count)
    ]
    return encode(path, images, **how)


def sound(path: Path) -> Path:
    """A tenth of a second of silence."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 8000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turn(path: Path, degrees: int) -> Path:
    """Tell players to turn an MP4's pictures clockwise, as phones do: the matrix of its track header (ISO 14496-12, 8.3.2)."""
    a, b, c, d = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    data = bytearray(path.read_bytes())
    header = data.index(b"tkhd")
    assert data[header + 4] == 0, "version 1 has longer times, and the matrix elsewhere"
    matrix = header + 4 + 4 + 20 + 16  # name, version and flags, times and ids, reserved to volume
    for place, value in zip((0, 1, 3, 4), (a, b, c, d)):
        at = matrix + 4 * place
        data[at : at + 4] = (value << 16).to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    return path


def boxes(path: Path) -> list[str]:
    """Names of an MP4's outermost boxes, in order."""
    data, at, names = path.read_bytes(), 0, []
    while at < len(data):
        names.append(data[at + 4 : at + 8].decode("latin-1"))
        at += int.from_bytes(data[at : at + 4], "big")
    return names


def save(path: Path, image: np.ndarray, **how) -> Path:
    """Write an image with Pillow."""
    from PIL import Image

    Image.fromarray(image).save(path, **how)
    return path


def pictures(folder: Path, names: list[str]) -> Path:
    """Numbered images by the order of `names`."""
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        save(folder / name, grey(i))
    return folder


def png(width: int, height: int, *more: bytes) -> bytes:
    """A PNG that says it is so large, with a thousand bytes of pixels; more: chunks before them."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def stream_of(path):
    """(codec, pixel format, (H, W), [seconds], average rate) of a video, as PyAV reads it."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = [f.time for f in container.decode(stream)]
        context = stream.codec_context
        return context.name, context.pix_fmt, (context.height, context.width), times, stream.average_rate
