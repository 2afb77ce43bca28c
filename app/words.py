"""The text field: what a text means, and where on one frame it could be. A person accepts a candidate; nothing starts by itself here."""

from __future__ import annotations

import threading

from vidmem.detect import Concept, Prepared, View, open_detector
from vidmem.types import Frame

from .limits import Refused

MOST = 6  # candidates that are shown
BEFORE = 3  # frames before the one that is looked at, for what moves
LEAST = 0.1  # of a candidate's score


class Words:
    """One detector for all visits, opened when the first text comes. threads: of its network."""

    def __init__(self, threads: int | None = None):
        self._threads, self._lock, self._detector = threads, threading.Lock(), None

    def detector(self):
        with self._lock:
            self._detector = self._detector or open_detector("words", None, self._threads)
        return self._detector

    def find(self, project, frame_idx: int, text) -> dict:
        """-> `words`: each with its role, or none and words near it; `problem`: why it is no phrase; `finds`: the best first, a box in
        source pixels with its score and parts. Raises `VidmemError` for what is no text, or a frame that is not there."""
        if not 0 <= frame_idx < project.count:
            raise Refused(f"there is no frame {frame_idx}; the video has {project.count}")
        detector = self.detector()
        phrase = detector.read(text)
        words = [
            {"word": word, "role": role, "near": detector.vocabulary.near(word) if role is None else []}
            for word, role in phrase.words
        ]
        answer = {"words": words, "problem": phrase.problem, "finds": []}
        if phrase.unknown or phrase.problem:
            return answer
        with project.turn:
            found = self._look(detector, project, frame_idx, text, Prepared(phrase, phrase.limit))
        answer["finds"] = [
            {
                "box": [round(float(v), 1) for v in find.box],
                "score": round(find.score, 3),
                "parts": {k: round(v, 2) for k, v in find.parts.items()},
            }
            for find in found
            if find.score >= LEAST
        ][:MOST]
        return answer

    def _look(self, detector, project, frame_idx: int, text: str, prepared: Prepared) -> list:
        import cv2

        past = ()
        if prepared.payload.motion:
            before = range(max(0, frame_idx - BEFORE), frame_idx)
            height, width = project.size
            size = 160, max(1, round(160 * height / width))
            past = tuple((i, cv2.resize(project.frames(i), size, interpolation=cv2.INTER_AREA)) for i in before)
        frame = Frame(frame_idx, None, project.frames(frame_idx))
        return detector.detect(frame, [(Concept(1, text), prepared)], View((), past))
