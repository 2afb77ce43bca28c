"""A source from its end to its beginning."""

from __future__ import annotations

from collections.abc import Iterator

from vidmem.errors import SourceError
from vidmem.types import Frame
from vidmem.video.source import FORMATS, ImageFolder, Source, _moving, _upright

CHUNK = 128 << 20  # bytes of frames that are held at a time


class Backwards:
    """Frames with falling indices, from `last` (None: the end) to the first. source: what `open_video` gives.

    A video is decoded once for the times of its frames, without pictures, and then in stretches, the last first: what is held is
    bounded, whatever the length. Raises `SourceError` while iterating for a video whose frames have no times to go back to.
    """

    live = False

    def __init__(self, source: Source, last: int | None = None):
        self.source, self._last, self.problems = source, last, source.problems
        count = source.frame_count
        self.frame_count = count if last is None or count is None else min(count, last + 1 - source._start)

    def __iter__(self) -> Iterator[Frame]:
        return self._images(self.source) if isinstance(self.source, ImageFolder) else self._stretches()

    def _images(self, source: ImageFolder) -> Iterator[Frame]:
        first, last = source.reach()
        for i in range(last if self._last is None else min(last, self._last), first - 1, -1):
            try:
                yield source[i - first]
            except IndexError:  # one that cannot be read
                self.problems.append(f"{source.files[i].name}: not a readable image, skipped")

    def _stretches(self) -> Iterator[Frame]:
        import av

        source, at_a_time = self.source, max(1, CHUNK // (3 * source_pixels(self.source)))
        with av.open(
            str(source.path.absolute()),
            options={"format_whitelist": FORMATS, "protocol_whitelist": "file"},
            metadata_errors="replace",
        ) as container:
            stream = _moving(container)[0]
            stream.thread_type = "AUTO"
            times: list[int] = []
            keys: list[int] = []
            for frame in _decodable(container, stream):
                if frame.key_frame:
                    keys.append(len(times))
                times.append(frame.pts)
            place = {pts: i for i, pts in enumerate(times)}
            if None in place or len(place) < len(times):
                raise SourceError(
                    f"{source.path} has frames without times of their own, so it cannot be read backwards; convert it to MP4 first"
                )
            stop = min(len(times), source._end or len(times), len(times) if self._last is None else self._last + 1)
            while stop > source._start:
                start = max(source._start, stop - at_a_time)
                # One key frame further back than seems needed: pictures in front of a key frame may lean on those before it.
                before = [i for i in keys if i <= start][-2:]
                container.seek(times[before[0]] if before else 0, stream=stream, backward=True)
                stretch = {}
                for frame in _decodable(container, stream):
                    i = place.get(frame.pts)
                    if i is not None and start <= i < stop:
                        time = float(frame.pts * stream.time_base)
                        stretch[i] = source._scaled(Frame(i, time, _upright(frame)))
                    if i is not None and i >= stop - 1:
                        break
                for i in sorted(stretch, reverse=True):
                    yield stretch.pop(i)
                stop = start


def source_pixels(source: Source) -> int:
    return round(source.size[0] * source.size[1] / source.scale**2)


def _decodable(container, stream) -> Iterator:
    """Frames from where the container stands; packets that cannot be decoded are left out, as `VideoFile` does."""
    import av

    packets = container.demux(stream)
    for _ in range(10_000):  # errors, at most
        try:
            for packet in packets:
                yield from packet.decode()
            return
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            packets = container.demux(stream)
