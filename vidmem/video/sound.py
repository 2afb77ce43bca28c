"""The sound of a video, put into another one."""

from __future__ import annotations

import heapq
from contextlib import suppress
from pathlib import Path

from vidmem.video.source import FORMATS

KEPT = {"aac", "mp3", "ac3", "eac3", "opus", "alac", "flac"}  # MP4 holds them as they are; anything else becomes AAC


def add_sound(video: Path, source: Path, first: float, end: float, part: Path) -> tuple[str, ...]:
    """Give the MP4 `video` the sound of `source` from `first` to `end`, seconds on the source's clock.

    Nothing is encoded anew where MP4 can hold it. part: a file to build the result in; `video` is replaced by it when it is whole,
    and stays as it is where the source has no sound or the sound cannot be kept. -> problems, a line each.
    """
    import av

    try:
        with av.open(
            str(Path(source).absolute()), options={"format_whitelist": FORMATS, "protocol_whitelist": "file"}
        ) as audio:
            if not audio.streams.audio:
                return ()
            with (
                av.open(str(video.absolute())) as seen,
                av.open(str(part.absolute()), "w", format="mp4", options={"movflags": "+faststart"}) as out,
            ):
                _join(out, seen, audio, first, end)
        part.replace(video)
        return ()
    except (av.error.FFmpegError, OSError, ValueError) as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        return (f"{video.name}: the sound of {source.name} could not be kept ({error})",)


def _join(out, seen, source, first: float, end: float) -> None:
    """Pictures and sound in the order of their time, as players want to read them."""
    picture = seen.streams.video[0]
    heard = source.streams.audio[0]
    pictures = out.add_stream_from_template(picture)
    copied = heard.codec_context.name in KEPT
    sounds = out.add_stream_from_template(heard) if copied else out.add_stream("aac", rate=heard.rate)

    def muted():
        for packet in seen.demux(picture):
            if packet.dts is not None:
                at = float(packet.dts * packet.time_base)
                packet.stream = pictures
                yield at, packet

    def audible():
        for packet in source.demux(heard):
            if packet.pts is None:
                continue
            at = float(packet.pts * packet.time_base) - first
            if at < 0 or at >= end - first:
                continue
            if not copied:
                for frame in packet.decode():
                    frame.pts -= round(first / frame.time_base)
                    for made in sounds.encode(frame):
                        yield at, made
                continue
            shift = round(first / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, None if packet.dts is None else packet.dts - shift
            packet.stream = sounds
            yield at, packet
        if not copied:
            for made in sounds.encode(None):
                yield end - first, made

    for _, packet in heapq.merge(muted(), audible(), key=lambda pair: pair[0]):
        out.mux(packet)
