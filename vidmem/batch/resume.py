"""What a killed worker leaves of a long video: the session's state and the results until then, so that no frame is tracked twice.

Beside the results of a video, below `.resume`, every `EVERY` seconds of work: first the results since the last time, then the state, which
says how many such parts there are. Whoever takes the video up again hands those results to fresh sinks (frames are decoded and drawn
again, which takes a part of the time), and steps on from the state.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress

from vidmem.errors import VidmemError
from vidmem.session import Session
from vidmem.types import Frame, FrameResult
from vidmem.video.exact import result_from_json, result_to_json

RESUME = ".resume"
EVERY = 60.0  # seconds of work that a kill may cost; shorter videos never write a state
MOST_PART = 1 << 30  # bytes of one part's results


class Resumable:
    """A `Session` whose work outlives its process, for `vidmem.track`. key: changes with all that decides about the results; a state of
    another one, or one that cannot be read, is left aside, and the video begins from its start."""

    def __init__(self, session: Session, out, video: str, key: str, every: float = EVERY):
        self._session, self._out, self._video, self._key, self._every = session, out, video, key, every
        self._parts, self._saved = 0, time.monotonic()
        self._new: list[str] = []
        self._old: Iterator[FrameResult] = iter(())
        self._until = -1  # frames that were stepped by the process before
        self._open()

    def add(self, obj_id: int, **prompt) -> None:
        if self._until < 0:  # else the state has it
            self._session.add(obj_id, **prompt)

    def expect(self, frame: Frame) -> None:
        if frame.index > self._until:
            self._session.expect(frame)

    def step(self, frame: Frame) -> None:
        if frame.index > self._until:
            self._session.step(frame)

    def settled(self, end: bool = False) -> list[FrameResult]:
        if (result := next(self._old, None)) is not None:
            return [] if end else [result]  # the source ended before it came to where it was: its error says why
        results = self._session.settled(end)
        self._new += map(result_to_json, results)
        if not end and time.monotonic() - self._saved > self._every:
            self._save()
        return results

    def __getattr__(self, name: str):
        return getattr(self._session, name)

    @property
    def resumed(self) -> int | None:
        """The frame that the process before came to; None where there was none."""
        return None if self._until < 0 else self._until

    def _name(self, what: str) -> str:
        return f"{RESUME}/{self._video}/{what}"

    def _save(self) -> None:
        """A disk that is full, or a store that is away, costs the chance to resume, not the video."""
        try:
            part = zlib.compress("\n".join(self._new).encode(), 1)
            self._out.write(self._name(f"{self._parts:06d}"), part)
            head = {"key": self._key, "parts": self._parts + 1, "frame": self._session.frame_idx}
            self._out.write(self._name("state"), json.dumps(head).encode() + b"\n" + self._session.to_bytes(light=True))
            self._parts, self._new = self._parts + 1, []
        except (VidmemError, OSError):
            pass
        self._saved = time.monotonic()

    def _open(self) -> None:
        data = self._out.read(self._name("state"))
        if data is None:
            return
        try:
            line, _, state = data.partition(b"\n")
            head = json.loads(line)
            if head["key"] != self._key or head["parts"] < 1:
                return
            for number in range(head["parts"]):  # all of them, before the session is another one
                self._results(number)
            self._session.restore(state)
        except (VidmemError, ValueError, KeyError, TypeError, IndexError, RecursionError, zlib.error):
            return
        self._parts, self._until = head["parts"], self._session.frame_idx or 0
        self._old = (result for number in range(self._parts) for result in self._results(number))

    def _results(self, number: int) -> list[FrameResult]:
        """Of one part. Raises `ValueError` and its like for what no run of ours wrote."""
        pack = zlib.decompressobj()
        text = pack.decompress(self._out.read(self._name(f"{number:06d}")) or b"", MOST_PART)
        if not pack.eof:
            raise ValueError("a part that is cut off, or larger than any")
        return [result_from_json(line) for line in text.decode().split("\n") if line]


def forget(out, video: str) -> None:
    """The results are published: nothing is left to resume."""
    with suppress(VidmemError, OSError):
        for name in sorted(out.below(f"{RESUME}/{video}"), key=lambda name: name != "state"):
            out.remove(f"{RESUME}/{video}/{name}")
