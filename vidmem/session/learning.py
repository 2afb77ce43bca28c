"""Where an object has a learner: what it says of a frame, and what it takes in from one (`vidmem.learn`)."""

from __future__ import annotations

from vidmem.networks.base import Ask
from vidmem.session.now import Now
from vidmem.session.reading import Reading
from vidmem.session.tracks import Track
from vidmem.types import Candidates, Status


def judge(track: Track, candidates: Candidates, own: slice, ask: Ask | None, now: Now) -> list[float | None]:
    """Where the object has a learner, it settles with the network whether the object is there: on frames that nobody prompted, and
    by each row's best mask."""
    seen: list[float | None] = [None] * (own.stop - own.start)
    if track.learner is None or ask is not None or track.sought:
        return seen
    for i, row in enumerate(range(own.start, own.stop)):
        mask_logits = candidates.mask_logits[row, candidates.iou[row].argmax()]
        seen[i], logit = track.learner.presence(now.cells, mask_logits, float(candidates.object_logit[row]))
        candidates.object_logit[row] = logit
    return seen


def learn(reading: Reading, candidates: Candidates, now: Now) -> None:
    """The object's learner takes in what was chosen for the frame."""
    track, (row, candidate) = reading.track, reading.best
    if track.learner is None or track.sought:  # until words are credible there is nothing to learn
        return
    mask_logits, logit = candidates.mask_logits[row, candidate], float(candidates.object_logit[row])
    if reading.ask is not None:
        track.learner = track.learner.prompted(now.cells, mask_logits) if logit > 0 else track.learner
    else:
        tracked = track.hypotheses[reading.choices[0].parent].state.status is Status.TRACKED and not reading.yields
        iou = float(candidates.iou[row, candidate])
        track.learner = track.learner.after(now.cells, mask_logits, logit, iou, tracked)
