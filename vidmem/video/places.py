"""A source as a sequence: `len(video)`, `video[7]`, `video[-1]`, `video[10:20]`; and how far it reaches, before anything is decoded."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from pathlib import Path

from vidmem.errors import SourceError
from vidmem.types import Frame

IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000")
LAST = 1 << 62  # the number of frames where nobody knows it
ORIENTATION = 0x0112  # EXIF


class Sequence:
    """What a `Source` adds to its iteration; it looks at the file through a reader of its own, so that a running iteration does not
    notice."""

    _cursor: tuple[Iterator[Frame], int] | None = None  # the reader, and the index that it gives next
    _stride = 1 << 30  # frames that are read over rather than to begin anew

    def __len__(self) -> int:
        """`frame_count`. Raises `TypeError` where the container does not say it."""
        if self.frame_count is None:
            raise TypeError(f"{self.path} does not say how many frames it has; count them: len(list(video))")
        return self.frame_count

    def __bool__(self) -> bool:
        return True  # there is a first frame, also where nobody knows how many

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
            if self._cursor is None or not self._cursor[1] <= wanted <= self._cursor[1] + self._stride:
                self._leave_cursor()
                reader = iter(type(self)(self.path, wanted, self._end, None))  # of its own; scaled below
                self._cursor = reader, wanted
            reader, _ = self._cursor
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
