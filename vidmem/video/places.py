"""A source as a sequence: `len(video)`, `video[7]`, `video[-1]`, `video[10:20]`; and how far it reaches, before anything is decoded."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Generator
from pathlib import Path
from typing import overload

from vidmem.errors import SourceError
from vidmem.types import Frame

IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000")
LAST = 1 << 62  # the number of frames where nobody knows it
ORIENTATION = 0x0112  # EXIF


class Indexed(ABC):
    """What a `Source` adds to its iteration; it looks at the file through a reader of its own, so that a running iteration does not
    notice."""

    path: Path
    frame_count: int | None
    _start: int
    _end: int | None
    _cursor: tuple[Generator[Frame], int] | None = None  # the reader, and the index that it gives next
    _stride = 1 << 30  # frames that are read over rather than to begin anew

    @abstractmethod
    def _reader(self, start: int) -> Generator[Frame]:
        """Frames from index `start` at full size, beside any iteration that runs."""

    @abstractmethod
    def _scaled(self, frame: Frame) -> Frame:
        """As iteration gives it."""

    @abstractmethod
    def _count(self) -> int:
        """Frames in the file; `LAST` where nobody knows."""

    def __len__(self) -> int:
        """`frame_count`. Raises `TypeError` where the container does not say it."""
        if self.frame_count is None:
            raise TypeError(f"{self.path} does not say how many frames it has; count them: len(list(video))")
        return self.frame_count

    def __bool__(self) -> bool:
        return True  # there is a first frame, also where nobody knows how many

    @overload
    def __getitem__(self, place: int) -> Frame: ...

    @overload
    def __getitem__(self, place: slice) -> list[Frame]: ...

    def __getitem__(self, place: int | slice) -> Frame | list[Frame]:
        """The frame at this place of the iteration, or a list of them; -1 is the last.

        A video is decoded up to there: going on from one place to a later one costs what lies between, going back begins again.
        Raises `IndexError` for a place that there is not.
        """
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        wanted = operator.index(place)
        wanted = self._start + (wanted + len(self) if wanted < 0 else wanted)
        if wanted >= self._start and (self._end is None or wanted < self._end):
            cursor = self._cursor
            if cursor is None or not cursor[1] <= wanted <= cursor[1] + self._stride:
                self._leave_cursor()
                cursor = self._cursor = self._reader(wanted), wanted
            reader, _ = cursor
            try:
                for frame in reader:
                    self._cursor = reader, frame.index + 1
                    if frame.index == wanted:
                        return self._scaled(frame)
                    if frame.index > wanted:
                        break
            except SourceError:  # past the end
                pass
            self._leave_cursor()
        raise IndexError(f"{self.path} has no frame {place} that can be read; it has {self.frame_count}")

    def _leave_cursor(self) -> None:
        if self._cursor is not None:
            self._cursor[0].close()
        self._cursor = None

    def reach(self, count: bool = True) -> tuple[int, int]:
        """Index of the first and of the last frame that iteration may give, without decoding; of the last an upper bound. count: look at the
        file's packets for it. Raises `SourceError` for what is known to be impossible."""
        return self._start, min(self._end or LAST, self._count() if count else LAST) - 1


def check_sizes(folder: Path, files: list[Path]) -> None:
    """Raises `SourceError` for images of several sizes; only their headers are read."""
    from PIL import Image

    first: dict[tuple[int, int], Path] = {}
    for file in files:
        try:
            with Image.open(file, formats=IMAGE_FORMATS) as image:
                turned = image.getexif().get(ORIENTATION, 1) > 4
                first.setdefault(image.size[::-1] if turned else image.size, file)
        except Exception:  # damaged; reading says so
            continue
        if len(first) > 1:
            (one, other), (name, odd) = first, (file.name for file in first.values())
            raise SourceError(
                f"{folder} holds images of {one[0]}x{one[1]} ({name}) and of {other[0]}x{other[1]} ({odd}); scale them to one size"
            )
