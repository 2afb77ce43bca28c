"""Track whole sequences as DAVIS's semi-supervised task asks, and score them: what `vidmem eval` does."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidmem.catalogue.tracker import Tracker
from vidmem.detect import Concept, Detector, Watcher
from vidmem.errors import PromptError
from vidmem.evaluation.davis import Sequence, SequenceScore, first_prompts, load_labels, score_sequence
from vidmem.session import Session
from vidmem.types import Frame
from vidmem.video import Ledger, PngSink, open_video


@dataclass(frozen=True)
class Row:
    """One sequence's result."""

    name: str
    frames: int
    score: SequenceScore
    fps: float
    """Frames per second of tracking and decoding, without scoring and writing."""


def evaluate(
    sequence: Sequence,
    tracker: Tracker,
    prompt: str,
    masks_out: Path | None = None,
    texts: dict[int, str] | None = None,
    detector: Detector | None = None,
) -> Row:
    """Prompt every object on the first frame from the ground truth, or look for it by its name; track, score.

    prompt: mask, box or click (see `first_prompts`), or text. masks_out: a folder for the label maps. texts: obj_id -> its name, for
    prompt text, which also needs the detector; objects without a name count as not found.
    """
    predicted: list[np.ndarray] = []
    spent, sink = 0.0, None
    if masks_out:
        ledger = Ledger(masks_out.parent)
        ledger.claim(masks_out.name)
        sink = PngSink(masks_out, ledger.add)
    with tracker.session() as session, open_video(sequence.frames[0].parent) as video:
        steps: Session | Watcher = session
        if prompt == "text":
            if detector is None:
                raise PromptError("prompt='text' needs a detector, which says where a text is; give one")
            steps = watcher = Watcher(session, detector)
            for obj_id, text in (texts or {}).items():
                watcher.add(Concept(obj_id, text))
        else:
            for obj_id, p in first_prompts(load_labels(sequence.masks[0]), prompt).items():
                session.add(obj_id, points=p.points, labels=p.labels, box=p.box, mask=p.mask)
        began = time.perf_counter()
        waiting: deque[Frame] = deque()

        def keep(results) -> None:
            """Settled answers, each with its frame."""
            for result in results:
                predicted.append(result.label_map())
                frame = waiting.popleft()
                if sink:
                    sink.write(frame, result)

        for frame in video:
            steps.step(frame)
            waiting.append(frame)
            results = session.settled()
            spent += time.perf_counter() - began
            keep(results)
            began = time.perf_counter()
        keep(session.settled(end=True))
    score = score_sequence(predicted, (load_labels(path) for path in sequence.masks))
    return Row(sequence.name, len(predicted), score, len(predicted) / spent)
