"""What a session holds: of one object its hypotheses, and what they said of frames that are not settled yet; of all, a snapshot."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from vidmem.learn import Learner
from vidmem.memory import MemoryBank
from vidmem.memory.credible import CredibleStart
from vidmem.networks.base import Ask
from vidmem.networks.trust import Trust
from vidmem.prompts import merge
from vidmem.render import mask_boxes
from vidmem.search import Search
from vidmem.session.now import Now
from vidmem.session.status import StatusState
from vidmem.session.told import Told
from vidmem.types import Candidates, Chosen, Event, FrameResult, Prompt, Remembered, Status, resize_logits


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one frame gave for one object."""

    mask_logits: np.ndarray  # (h, w) float32 at the network's mask size
    iou: float
    object_logit: float
    status: Status
    mask: np.ndarray | None = None  # (H, W) bool, where a person gave the mask itself
    prompt: Prompt | None = None  # all that a person said on this frame
    fresh: bool = False  # the frame was not tracked before the first prompt on it
    rival: int | None = None  # the other object, where the status is ambiguous
    seen: float | None = None  # how well the mask fits what the object's learner knows

    @classmethod
    def of(
        cls, candidates: Candidates, chosen: Chosen, ask: Ask | None, state: StatusState, doubt: float, seen: float | None,
        trust: Trust | None, keep: bool,
    ) -> Outcome:  # fmt: skip
        """doubt: presence up to which the object is believed to be there, and its mask is not shown. keep: it outlives the frame,
        so it must not be a view that holds all candidates."""
        prompt, row = ask and ask.prompt, chosen.row
        logit = float(candidates.object_logit[row])
        hidden = 0 < logit <= doubt and state.status is not Status.LOST
        mask_logits = candidates.mask_logits[row, chosen.candidate]
        iou = float(candidates.iou[row, chosen.candidate])
        return cls(
            mask_logits.copy() if keep else mask_logits,
            trust(iou, mask_logits) if trust is not None else iou,
            logit - doubt,
            Status.OCCLUDED if hidden else state.status,
            prompt.answer if prompt is not None else None,
            prompt,
            ask is not None and ask.fresh,
            None if hidden else state.rival,
            seen,
        )


class Meta(NamedTuple):
    """A frame whose answer is not settled."""

    frame_idx: int
    size: tuple[int, int]
    pts_seconds: float | None
    timings: dict[str, float]
    cut: bool
    events: tuple[Event, ...] = ()


@dataclass
class Hypothesis:
    """One reading of everything so far."""

    bank: MemoryBank
    state: StatusState
    outcome: Outcome | None = None  # on the current frame; None before the first
    past: tuple[
        tuple[int, Outcome], ...
    ] = ()  # frames that are not settled, this one last; none if answers settle at once

    def fork(self) -> Hypothesis:
        return Hypothesis(self.bank.fork(), self.state, self.outcome, self.past)


@dataclass
class Track:
    """One object: its hypotheses, the best first, and its search."""

    hypotheses: list[Hypothesis]
    search: Search
    learner: Learner | None = None
    before: Track | None = None  # the same before this frame, so that a correction can do the frame again
    told: Told | None = None

    @property
    def best(self) -> Hypothesis:
        return self.hypotheses[0]

    @property
    def banks(self) -> list[MemoryBank]:
        return [hypothesis.bank for hypothesis in self.hypotheses]

    @property
    def sought(self) -> bool:
        """Its words are looked for still: nothing is remembered of it."""
        return self.told is not None and self.began is None

    @property
    def began(self) -> int | None:
        """The frame that an object known by words began with."""
        bank = self.best.bank
        return bank.began if isinstance(bank, CredibleStart) else None

    def begin(self) -> None:
        """A new frame: what is so far is what came before it."""
        self.before = None
        self.before = self.fork()
        for hypothesis in self.hypotheses:
            hypothesis.outcome = None

    def again(self, prompt: Prompt | None, size: tuple[int, int]) -> tuple[Track, Ask | None]:
        """The state before the current frame, to do it with, and what to ask; a prompt merges with earlier ones here."""
        earlier = self.best.outcome
        assert self.before is not None  # `begin` came first
        track = self.before.fork()
        track.before = self.before
        if prompt is None:
            return track, None
        if earlier is None:
            return track, Ask(prompt, size)
        return track, Ask(merge(earlier.prompt, prompt), size, earlier.mask_logits, earlier.fresh)

    def memories(self, now: Now) -> list[Remembered]:
        """What the best hypothesis' bank holds, the oldest first, and which of it the frame after `now` would read."""
        bank, plan = self.best.bank, None
        if now.features is not None or "cue" not in bank.needs:
            plan = bank.read(now.clock + 1, now.cue_for(bank))
        read = {id(recall.entry) for recall in plan.recalls} if plan else set()
        return [
            Remembered(e.verdict.source_idx, e.verdict, e.prompted, e.payload is not None, id(e) in read)
            for e in sorted(bank.entries(), key=lambda entry: entry.frame_idx)
        ]

    def fork(self) -> Track:
        before = self.before.fork() if self.before else None
        hypotheses = [hypothesis.fork() for hypothesis in self.hypotheses]
        return Track(hypotheses, self.search.fork(), self.learner, before, self.told)


def settle(tracks: dict[int, Track], frame_idx: int) -> None:
    """Let go of this frame and all before it, on every branch."""
    for hypothesis in (h for track in tracks.values() for h in track.hypotheses):
        at = next((i for i, (f, _) in enumerate(hypothesis.past) if f == frame_idx), -1)
        hypothesis.past = hypothesis.past[at + 1 :]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A session's state at one moment, for `restore`; holds references to immutable entries, so it is cheap."""

    tracks: dict[int, Track] = field(default_factory=dict)
    queued: dict[int, dict[int, Prompt | Told]] = field(
        default_factory=dict
    )  # frame -> object -> prompt; -1: the next frame, whichever it is
    now: Now | None = None
    unsettled: tuple[Meta, ...] = ()

    def fork(self) -> Snapshot:
        """The same, whose tracks and queues may be changed."""
        tracks = {obj_id: track.fork() for obj_id, track in self.tracks.items()}
        return replace(self, tracks=tracks, queued={frame_idx: dict(queue) for frame_idx, queue in self.queued.items()})

    def light(self) -> Snapshot:
        """The same without the current frame's features: it can be stepped on from, and not corrected where it is."""
        return replace(self, now=self.now and replace(self.now, features=None, past=()))


def collect(meta: Meta, outcomes: dict[int, Outcome], reports: tuple[dict[str, float], ...]) -> FrameResult:
    """A frame's outcomes, by object in ascending order, as a result. Without objects: N = 0."""
    masks = np.zeros((len(outcomes), *meta.size), bool)
    for mask, outcome in zip(masks, outcomes.values()):
        if outcome.mask is not None:
            mask[:] = outcome.mask
        elif outcome.object_logit > 0:
            np.greater(resize_logits(outcome.mask_logits, meta.size), 0, out=mask)
    every = list(outcomes.values())
    return FrameResult(
        frame_idx=meta.frame_idx,
        pts_seconds=meta.pts_seconds,
        size=meta.size,
        obj_ids=np.array(list(outcomes), np.int64),
        masks=masks,
        boxes=mask_boxes(masks),
        scores=np.array([o.iou for o in every], np.float32),
        object_logits=np.array([o.object_logit for o in every], np.float32),
        status=tuple(o.status for o in every),
        rivals=tuple(o.rival for o in every),
        seen=np.array([np.nan if o.seen is None else o.seen for o in every], np.float32),
        mask_logits=np.stack([o.mask_logits for o in every]) if every else np.zeros((0, 1, 1), np.float32),
        timings=meta.timings,
        search=reports,
        cut=meta.cut,
        events=meta.events,
    )
