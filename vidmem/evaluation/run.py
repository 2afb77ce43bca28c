"""Track whole sequences as DAVIS's semi-supervised task asks, and score them: what `vidmem eval` does."""

from __future__ import annotations

import collections.abc
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vidmem.catalogue.tracker import Tracker
from vidmem.detect import Concept, Detector, Watcher
from vidmem.errors import PromptError
from vidmem.evaluation.davis import Sequence, SequenceScore, first_prompts, load_labels, score_sequence
from vidmem.evaluation.referring import ReferringScore, ReferringScorer
from vidmem.session import Session, ZoomedSession
from vidmem.types import Frame
from vidmem.video import Ledger, PngSink, open_video

SCORES = {"j": "J", "f": "F", "j_and_f": "J&F", "dice": "Dice", "objects": ""}
"""What a row may have -> what people call it; a count is no score."""


@dataclass(frozen=True)
class Row:
    """One sequence's result."""

    name: str
    frames: int
    score: SequenceScore | ReferringScore
    fps: float
    """Frames per second of tracking and decoding, without scoring and writing."""


def evaluate(
    sequence: Sequence,
    tracker: Tracker,
    prompt: str,
    masks_out: Path | None = None,
    texts: dict[int, str] | None = None,
    detector: Detector | None = None,
    zoom: bool = False,
) -> Row:
    """Prompt every object on the first frame from the ground truth, or look for it by its name; track, score.

    prompt: mask, box or click (see `first_prompts`), or text. masks_out: a folder for the label maps. texts: obj_id -> its name, for
    prompt text, which also needs the detector, but for networks that look for words themselves; objects without a name count as not found. zoom: as `Tracker.zoomed`.
    Raises `PromptError` for a text without a detector, or with zoom.
    """
    if zoom and prompt == "text":
        raise PromptError("zoom follows places, and prompt='text' gives none; choose mask, box or click")
    predicted: list[np.ndarray] = []
    spent, sink = 0.0, None
    scorer = ReferringScorer((texts or {}).keys()) if prompt == "text" and sequence.referring else None
    if masks_out:
        ledger = Ledger(masks_out.parent)
        ledger.claim(masks_out.name)
        sink = PngSink(masks_out, ledger.add)
    with tracker.zoomed() if zoom else tracker.session() as session, open_video(sequence.frames[0].parent) as video:
        steps: Session | ZoomedSession | Watcher = session
        if prompt == "text" and isinstance(session, Session):
            if detector is None and not session.reads_words:
                raise PromptError("prompt='text' needs a detector, which says where a text is; give one")
            watcher = None if detector is None else Watcher(session, detector)
            steps = watcher or session
            for obj_id, text in (texts or {}).items():
                if watcher is None:
                    session.add(obj_id, text=text)
                else:
                    watcher.add(Concept(obj_id, text))
        else:
            for obj_id, p in first_prompts(load_labels(sequence.masks[0]), prompt).items():
                session.add(obj_id, points=p.points, labels=p.labels, box=p.box, mask=p.mask)
        began = time.perf_counter()
        waiting: deque[Frame] = deque()

        def keep(results) -> None:
            """Settled answers, each with its frame."""
            for result in results:
                if scorer is None:
                    predicted.append(result.label_map())
                else:  # each object alone: masks may overlap
                    masks = dict(zip(result.obj_ids.tolist(), result.masks))
                    scorer.add(masks, load_labels(sequence.masks[result.frame_idx]))
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
    if scorer is not None:
        return Row(sequence.name, len(sequence), scorer.score(), len(sequence) / spent)
    score = score_sequence(predicted, (load_labels(path) for path in sequence.masks))
    return Row(sequence.name, len(predicted), score, len(predicted) / spent)


def scores_line(score: Mapping[str, float]) -> str:
    """For people: `J 0.851  F 0.870  J&F 0.861`."""
    return "  ".join(f"{SCORES[name]} {score[name]:.3f}" for name in SCORES if SCORES[name] and name in score)


def mean_scores(rows: collections.abc.Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Over sequences, as DAVIS has it; over objects where the rows say how many each has."""
    weights = [row.get("objects", 1) for row in rows]
    kept = [name for name in SCORES if SCORES[name] and name in rows[0]]
    return {name: sum(w * row[name] for w, row in zip(weights, rows)) / sum(weights) for name in kept}
