"""The text field: what a text means, and where on one frame it could be. A person accepts a candidate; nothing starts by itself here.

A model that looks for words itself takes the text as a prompt, unless the app was started with another detector.
"""

from __future__ import annotations

import base64
import threading
from pathlib import Path

import numpy as np

from vidmem.detect import Concept, Detector, Find, View, open_detector
from vidmem.detect.words.detector import WordDetector
from vidmem.prompts import check_text
from vidmem.types import Frame

from .limits import Refused

MOST = 6  # candidates that are shown
BEFORE = 3  # frames before the one that is looked at, for what moves
LEAST = 0.1  # of a candidate's score


class Words:
    """One detector for all visits. name: of `vidmem.detect.DETECTORS`, opened at once, so that what is wrong is said at the start; None: the
    model's own words where it has them, else `words`, opened when the first text comes. Raises as `open_detector`."""

    def __init__(self, name: str | None = None, weights: Path | None = None, threads: int | None = None):
        self._named, self._weights, self._threads, self._lock = name, weights, threads, threading.Lock()
        self._detector = open_detector(name, weights, threads) if name else None

    def detector(self) -> Detector:
        with self._lock:
            self._detector = self._detector or open_detector("words", self._weights, self._threads)
        return self._detector

    def of_model(self, network) -> bool:
        """Whether a text is a prompt for the model itself."""
        return self._named is None and network.reads_words

    def find(self, project, frame_idx: int, text) -> dict:
        """-> `words`: each with its role, or none and words near it, and a heat map where it has a place; `problem`: why it is no phrase;
        `finds`: the best first, a box in source pixels with its score and parts; `prompt`: the text, where the model looks for it itself.
        Raises `VidmemError` for what is no text, or a frame that is not there."""
        if not 0 <= frame_idx < project.count:
            raise Refused(f"there is no frame {frame_idx}; the video has {project.count}")
        text = check_text(text)
        if self.of_model(project.tracker.network):
            return {"words": [chip(text, "text")], "problem": None, "finds": [], "prompt": text}
        detector = self.detector()
        if not isinstance(detector, WordDetector):
            prepared = detector.prepare(text)
            with project.turn:
                found = detector.detect(frame_of(project, frame_idx), [(Concept(1, text), prepared)], View())
            return {"words": [chip(text, "text")], "problem": None, "finds": shown(found)}
        phrase = detector.read(text)
        answer = {"problem": phrase.problem, "finds": []}
        if phrase.unknown or phrase.problem:
            near = [detector.vocabulary.near(word) if role is None else [] for word, role in phrase.words]
            return answer | {"words": [chip(*word, near=some) for word, some in zip(phrase.words, near)]}
        with project.turn:
            past = before(project, frame_idx) if phrase.motion else ()
            found, heats = detector.explain(frame_of(project, frame_idx), phrase, View((), past))
        return answer | {"words": [chip(*word, heat) for word, heat in zip(phrase.words, heats)], "finds": shown(found)}


def chip(word: str, role: str | None, heat: np.ndarray | None = None, near=()) -> dict:
    answer = {"word": word, "role": role, "near": list(near)}
    if heat is None:
        return answer
    levels = (255 * heat.clip(0, 1)).astype(np.uint8)
    return answer | {"heat": {"size": list(levels.shape), "levels": base64.b64encode(levels.tobytes()).decode()}}


def shown(found: list[Find]) -> list[dict]:
    return [
        {
            "box": [round(float(v), 1) for v in find.box],
            "score": round(find.score, 3),
            "parts": {k: round(v, 2) for k, v in find.parts.items()},
        }
        for find in found
        if find.score >= LEAST
    ][:MOST]


def frame_of(project, frame_idx: int) -> Frame:
    return Frame(frame_idx, None, project.frames(frame_idx))


def before(project, frame_idx: int) -> tuple[tuple[int, np.ndarray], ...]:
    """Small pictures of the frames before this one."""
    import cv2

    height, width = project.size
    size = 160, max(1, round(160 * height / width))
    return tuple(
        (i, cv2.resize(project.frames(i), size, interpolation=cv2.INTER_AREA))
        for i in range(max(0, frame_idx - BEFORE), frame_idx)
    )
