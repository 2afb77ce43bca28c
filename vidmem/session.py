"""A session follows objects through one stream of frames: the only place where network, memory and search meet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from vidmem.candidates import agreement
from vidmem.competition import compete
from vidmem.cuts import CutRule
from vidmem.errors import ObjectError, PromptError, SessionClosed
from vidmem.hypotheses import Hypothesis, Meta, Outcome, Snapshot, Track, collect, settle
from vidmem.memory import MemoryBank
from vidmem.prompts import check_id, check_inside, make_prompt, merge
from vidmem.render import mask_boxes
from vidmem.runtime.base import Ask, Network
from vidmem.runtime.timed import Timed
from vidmem.search import Choice, Search, View
from vidmem.status import StatusRule, StatusState
from vidmem.types import Candidates, Chosen, Cue, Entry, Frame, FrameResult, Prompt, Status, Verdict

UNDO_DEPTH = 64  # edits of one frame that can be taken back


class Reading(NamedTuple):
    """What a search chose for one object on one frame."""

    rows: slice  # of the batch
    ask: Ask | None
    choices: list[Choice]


class Session:
    """Objects are independent: each starts on any frame, is corrected on any later one, and is removed alone.

    Bounded: holds one frame's features, and of each object what its bank's capacity allows.
    """

    def __init__(
        self,
        network: Network,
        bank: Callable[[], MemoryBank],
        search: Callable[[], Search],
        status: StatusRule = StatusRule(),
        max_objects: int | None = None,
        reverse: bool = False,
        cuts: CutRule | None = CutRule(),
    ):
        """reverse: frames come with falling indices, as in a finite file that is followed from its end to its beginning; banks then
        count time as minus the index, and mirror what they recall. cuts: what counts as a cut between scenes; None: nothing does."""
        self._reverse, self._cuts, self._lag = reverse, cuts, search().lag
        self._cue, self._cut, self._histogram, self._shown = None, False, None, None
        self._unsettled: list[Meta] = []
        self._network, self._make_bank, self._make_search = Timed(network), bank, search
        self._status, self._max_objects = status, max_objects
        self._tracks: dict[int, Track] = {}
        self._queued: dict[int, dict[int, Prompt]] = {}  # frame -> object -> prompt; -1: the next frame, whichever it is
        self._undo: list[Snapshot] = []
        self._features, self._frame_idx, self._size, self._pts, self._closed = None, None, None, None, False

    # What a user does ------------------------------------------------------------------------------------------------
    def step(self, frame: Frame) -> FrameResult:
        """Take the next frame and follow every object on it.

        frame: `Frame`, or a (H, W, 3) uint8 RGB array (then it counts as the next index). Raises `PromptError` when a
        prompt that was queued for this frame does not fit its size; the prompt is dropped and the session stays usable. Raises
        `ValueError` for what is no frame, comes out of order or has another size than those before it. Whatever else fails, in the
        network for instance: the session is what it was before, so the frame can be stepped again.
        """
        began = self._open()
        if not isinstance(frame, Frame):
            if self._reverse:
                raise ValueError("a reversed session takes Frame objects: an array alone does not say its index")
            frame = Frame(0 if self._frame_idx is None else self._frame_idx + 1, None, frame)
        if self._frame_idx is not None and not self._precedes(self._frame_idx, frame.index):
            order = "falling order (a reversed session)" if self._reverse else "order"
            raise ValueError(f"frame {frame.index} came after frame {self._frame_idx}; frames must come in {order}")
        if self._size is not None and frame.size != self._size:
            came, had = (f"{width}x{height}" for height, width in (frame.size, self._size))
            raise ValueError(f"frame {frame.index} is {came}, and those before it were {had}; scale it, or make a new session for another stream")
        prompts = self._due(frame)
        with self._all_or_nothing():
            self._queued = {key: queue for key, queue in self._queued.items() if key not in (-1, frame.index)}
            self._network.take()
            self._features, self._cue = self._network.encode(frame.image), None
            self._look_for_cut(frame.image)
            self._frame_idx, self._size, self._pts = int(frame.index), frame.size, frame.pts_seconds
            for obj_id in prompts:
                self._tracks.setdefault(obj_id, self._new_track())
            for track in self._tracks.values():
                track.before = None
                track.before = track.fork()
                for hypothesis in track.hypotheses:
                    hypothesis.outcome = None
            self._advance({obj_id: prompts.get(obj_id) for obj_id in sorted(self._tracks)})
            result = self._result(began)
        self._undo.clear()
        self._unsettled.append(Meta(self._frame_idx, self._size, self._pts, result.timings, self._cut))
        if self._lag is not None and len(self._unsettled) > self._lag + 1:  # nobody asks for settled answers
            settle(self._tracks, self._unsettled.pop(0).frame_idx)
        return result

    def expect(self, frame: Frame) -> None:
        """Say which frame comes next, so that it can be encoded beside the one that is stepped, where the engine gains by it; its image
        must not change until it is stepped."""
        if not isinstance(frame, Frame):
            raise ValueError(f"expect() was given {type(frame).__name__}; expected a Frame")
        self._network.expect(frame.image)

    def settled(self, end: bool = False) -> list[FrameResult]:
        """Answers that later frames cannot change any more, each once, in the order of frames.

        With a search that decides at once that is the frame just stepped; with one that lags by L frames it is the frame L before
        it, from the branch that is best now. `step` returns the newest frame's answer in any case. end: the video is over, so all is
        settled. Objects that were removed meanwhile are not in it. A session whose caller never asks keeps no more than its lag;
        with `lag=None` every frame's mask is kept until the end.
        """
        self._open()
        keep = 0 if end else len(self._unsettled) if self._lag is None else self._lag
        due = self._unsettled[: max(0, len(self._unsettled) - keep)]
        if not due:
            return []
        self._unsettled = self._unsettled[len(due) :]
        if not self._lag and self._lag is not None:
            return [self.result()]
        said = {obj_id: dict(track.best.past) for obj_id, track in sorted(self._tracks.items())}
        results = [self._collect(meta, {o: past[meta.frame_idx] for o, past in said.items() if meta.frame_idx in past}) for meta in due]
        settle(self._tracks, due[-1].frame_idx)
        return results

    def add(self, obj_id: int, *, points=None, labels=None, box=None, mask=None, frame_idx=None) -> FrameResult | None:
        """Say where an object is: a new one, or a correction of one that is there.

        points (N, 2) [x, y] and labels (N,) 1 on the object, 0 beside it; box (4,) x0, y0, x1, y1; mask (H, W) bool; all in source
        pixels. Before the first frame the prompt waits for the first frame stepped. Afterwards it belongs to the current frame: the
        mask changes at once, the frame is remembered as a prompted one, and the new result is returned. `frame_idx` greater than the
        current one lets it wait for that frame (then None is returned). Raises `PromptError` for a prompt that cannot be used and
        `ObjectError` for an `obj_id` that is no integer from 1 to 65535, that waits for the same frame, or is beyond `max_objects`.
        """
        began = self._open()
        obj_id = self._check_id(obj_id)
        prompt = make_prompt(points, labels, box, mask)
        now = self._frame_idx
        if frame_idx is not None and (type(frame_idx) is bool or not isinstance(frame_idx, (int, np.integer)) or frame_idx < 0):
            raise PromptError(f"frame_idx is {frame_idx!r}; expected the index of a frame, from 0")
        if frame_idx is not None and now is not None and self._precedes(frame_idx, now):
            raise PromptError(f"frame_idx {frame_idx} has passed (the session is at {now}); prompt frame {now} or later")
        if now is None or (frame_idx is not None and self._precedes(now, frame_idx)):
            waiting = self._queued.get(-1 if frame_idx is None else frame_idx, {})
            if obj_id in waiting:
                raise ObjectError(f"object {obj_id} was added twice for the same frame; put all its points in one call")
            self._remember_for_undo()
            self._queued.setdefault(-1 if frame_idx is None else frame_idx, {})[obj_id] = prompt
            return None
        prompt = check_inside(prompt, self._size)
        self._network.take()
        with self._all_or_nothing() as before:
            if obj_id not in self._tracks:
                track = self._new_track()
                track.before = track.fork()
                self._tracks[obj_id] = track
            self._advance({obj_id: prompt})
            result = self._result(began)
        self._remember_for_undo(before)
        return result

    def remove(self, obj_id: int) -> None:
        """Stop following an object and free its memory; the others do not notice. Raises `ObjectError` if unknown."""
        self._open()
        obj_id = check_id(obj_id)
        waiting = [queue for queue in self._queued.values() if obj_id in queue]
        if obj_id not in self._tracks and not waiting:
            raise ObjectError(f"object {obj_id} is not in the session; it has {self.obj_ids or 'none'}")
        self._remember_for_undo()
        self._tracks.pop(obj_id, None)
        self._shown = None
        self._queued = {f: {o: p for o, p in queue.items() if o != obj_id} for f, queue in self._queued.items()}

    def clear(self) -> None:
        """Remove every object and every waiting prompt; the stream goes on."""
        self._open()
        self._remember_for_undo()
        self._tracks, self._queued, self._shown = {}, {}, None

    def undo(self) -> bool:
        """Take back the last `add`, `remove` or `clear` since the last `step`; False when there is none."""
        self._open()
        if not self._undo:
            return False
        self._set(self._undo.pop())
        return True

    def result(self) -> FrameResult:
        """The current frame's result again, after `remove` or `undo` for instance. Raises `ValueError` before a frame."""
        began = self._open()
        if self._frame_idx is None:
            raise ValueError("no frame was stepped yet; call step(frame) first")
        return self._shown or self._result(began)

    def snapshot(self) -> Snapshot:
        """The whole state, to come back to with `restore`. Costs references, not copies of memories."""
        self._open()
        return Snapshot(
            {obj_id: track.fork() for obj_id, track in self._tracks.items()},
            {frame_idx: dict(queue) for frame_idx, queue in self._queued.items()},
            self._frame_idx, self._size, self._pts, self._features, self._cue, self._cut, self._histogram, tuple(self._unsettled),
        )  # fmt: skip

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot of this session; it can be restored any number of times."""
        self._open()
        self._undo.clear()
        self._set(snapshot)

    def close(self) -> None:
        """Free everything; any later call raises `SessionClosed`. Closing twice is fine."""
        self._tracks, self._queued, self._undo, self._features, self._closed = {}, {}, [], None, True
        self._unsettled, self._shown, self._cue = [], None, None
        self._network.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    @property
    def obj_ids(self) -> list[int]:
        """Objects followed or waiting for their frame, ascending."""
        return sorted({*self._tracks, *(obj_id for queue in self._queued.values() for obj_id in queue)})

    @property
    def frame_idx(self) -> int | None:
        """Index of the current frame; None before the first."""
        return self._frame_idx

    @property
    def nbytes(self) -> int:
        """Bytes that all memory banks hold now; what hypotheses share counts once."""
        return sum({id(e): e.held for track in self._tracks.values() for bank in track.banks for e in bank.entries()}.values())

    def waiting(self) -> dict[int, list[int]]:
        """Frame index -> objects whose prompts still wait for that frame (-1: the next one)."""
        return {frame_idx: sorted(queue) for frame_idx, queue in self._queued.items() if queue}

    # One frame, in the order of the data -----------------------------------------------------------------------------
    def _advance(self, prompts: dict[int, Prompt | None]) -> None:
        """Do the current frame for these objects, from their state before it. A prompt merges with earlier ones here."""
        work, rows = {}, []
        for obj_id, prompt in prompts.items():
            earlier = self._tracks[obj_id].best.outcome
            if prompt is not None and earlier is not None:
                prompt = merge(earlier.prompt, prompt)
            track = self._tracks[obj_id].before.fork()
            track.before = self._tracks[obj_id].before
            work[obj_id] = track
            fresh = prompt is not None and (earlier is None or earlier.fresh)
            ask = prompt and Ask(prompt, self._size, earlier.mask_logits if earlier else None, fresh)
            rows += [(bank, ask) for bank in track.banks]

        plans = [bank.read(self._time, self._cue_for(bank)) for bank, _ in rows]
        conditioned = self._network.attend(self._features, plans)
        if any(plan.watch for plan in plans):
            for (bank, _), plan, used in zip(rows, plans, self._network.usage(self._features, conditioned, plans)):
                if plan.watch:
                    bank.observe(plan, used)
        candidates = self._network.decode(self._features, conditioned, [ask for _, ask in rows])

        owned, first = {}, 0
        for obj_id, track in work.items():
            own, ask = slice(first, first + len(track.hypotheses)), rows[first][1]
            owned[obj_id], first = self._choose(track, candidates, own, ask), own.stop
        if self._network.competes and len(work) > 1:
            self._compete(candidates, owned)
        kept: list[tuple[Hypothesis, Chosen, Verdict]] = []
        for obj_id, track in work.items():
            kept += self._take(track, candidates, owned[obj_id])
            self._tracks[obj_id] = track
        self._memorize(candidates, kept)
        self._shown = None

    def _choose(self, track: Track, candidates: Candidates, own: slice, ask: Ask | None) -> Reading:
        """Let the object's search choose among its rows."""
        logits = candidates.mask_logits[own]
        view = View(
            candidates.iou[own], candidates.object_logit[own], ask is not None, self._cut,
            lambda: np.stack([mask_boxes(row > 0) for row in logits]),
        )  # fmt: skip
        return Reading(own, ask, track.search.advance(view))

    @staticmethod
    def _compete(candidates: Candidates, owned: dict[int, Reading]) -> None:
        """Where the best readings of two objects claim the same cells, one of them loses these."""
        visible = [r for r in owned.values() if candidates.object_logit[r.rows.start + r.choices[0].parent] > 0]
        places = [(r.rows.start + r.choices[0].parent, r.choices[0].candidate) for r in visible]
        won = compete([candidates.mask_logits[place] for place in places], [r.ask is not None for r in visible])
        for place, logits in zip(places, won):
            candidates.mask_logits[place] = logits

    def _take(self, track: Track, candidates: Candidates, reading: Reading) -> list:
        """What was chosen becomes the object's hypotheses -> those, what each took, and the verdicts."""
        (own, ask, choices), kept = reading, []
        parents, logits = track.hypotheses, candidates.mask_logits[own]
        first_use = {c.parent: c for c in reversed(choices)}
        track.hypotheses = []
        for c in choices:
            parent, chosen = parents[c.parent], Chosen(own.start + c.parent, c.candidate, ask is not None)
            state = parent.state.advance(bool(candidates.object_logit[chosen.row] > 0), ask is not None)
            outcome = self._outcome(candidates, chosen, ask, state.status)
            bank = parent.bank if first_use[c.parent] is c else parent.bank.fork()
            past = () if self._lag == 0 else (*parent.past, (self._frame_idx, outcome))
            track.hypotheses.append(Hypothesis(bank, state, outcome, past))
            area = float((logits[c.parent, c.candidate] > 0).mean()) if outcome.object_logit > 0 else 0.0
            apart = agreement(logits[c.parent], c.candidate) if "distractor" in bank.needs else None
            verdict = Verdict(
                self._time, outcome.iou, outcome.object_logit, area, ask is not None, ask is not None and not ask.fresh,
                state.status is Status.TRACKED, self._cut, apart, c.motion,
            )  # fmt: skip
            kept.append((track.hypotheses[-1], chosen, verdict))
        return kept

    def _memorize(self, candidates: Candidates, kept: list[tuple[Hypothesis, Chosen, Verdict]]) -> None:
        wanted = [(h.bank, chosen, verdict) for h, chosen, verdict in kept if h.bank.wants(verdict)]
        if wanted:
            memories = self._network.memorize(self._features, candidates, [chosen for _, chosen, _ in wanted])
            for (bank, _, verdict), memory in zip(wanted, memories):
                cue = self._cue_for(bank)
                bank.write(Entry(verdict, memory.payload, memory.nbytes, memory.pointer, cue and cue.frame))

    def _cue_for(self, bank: MemoryBank) -> Cue | None:
        if "cue" not in bank.needs:
            return None
        if self._cue is None:
            self._cue = Cue(self._network.describe(self._features), self._cut)
        return self._cue

    def _look_for_cut(self, image: np.ndarray) -> None:
        if self._cuts:
            histogram = self._cuts.histogram(image)
            self._cut, self._histogram = self._cuts.is_cut(self._histogram, histogram), histogram

    def _outcome(self, candidates: Candidates, chosen: Chosen, ask: Ask | None, status: Status) -> Outcome:
        prompt, row = ask and ask.prompt, chosen.row
        mask_logits = candidates.mask_logits[row, chosen.candidate]
        return Outcome(
            mask_logits if self._lag == 0 else mask_logits.copy(),  # a view would keep all candidates
            float(candidates.iou[row, chosen.candidate]),
            float(candidates.object_logit[row]),
            status,
            prompt.mask if prompt is not None and prompt.points is None and prompt.box is None else None,
            prompt,
            ask is not None and ask.fresh,
        )

    def _result(self, began: float) -> FrameResult:
        """What the current frame gave."""
        outcomes = {obj_id: track.best.outcome for obj_id, track in sorted(self._tracks.items()) if track.best.outcome}
        meta = Meta(self._frame_idx, self._size, self._pts, self._network.take(), self._cut)
        self._shown = self._collect(meta, outcomes)
        meta.timings["total"] = 1000 * (time.perf_counter() - began)
        return self._shown

    def _collect(self, meta: Meta, outcomes: dict[int, Outcome]) -> FrameResult:
        return collect(meta, outcomes, tuple(self._tracks[obj_id].search.report() for obj_id in outcomes))

    @property
    def _time(self) -> int:
        """The banks' clock."""
        return -self._frame_idx if self._reverse else self._frame_idx

    def _precedes(self, one: int, other: int) -> bool:
        """Whether frame `one` comes before frame `other` in this session."""
        return one > other if self._reverse else one < other

    # Small parts -----------------------------------------------------------------------------------------------------
    def _open(self) -> float:
        if self._closed:
            raise SessionClosed("the session is closed; make a new one with tracker.session()")
        return time.perf_counter()

    def _check_id(self, obj_id) -> int:
        obj_id, known = check_id(obj_id), self.obj_ids
        if self._max_objects is not None and obj_id not in known and len(known) >= self._max_objects:
            raise ObjectError(f"object {obj_id} would be number {len(known) + 1}; max_objects is {self._max_objects}")
        return obj_id

    def _new_track(self) -> Track:
        return Track([Hypothesis(self._make_bank(), StatusState(self._status))], self._make_search())

    def _due(self, frame: Frame) -> dict[int, Prompt]:
        """Take the prompts that wait for this frame, checked against its size; those of skipped frames are refused."""
        late = [f for f, queue in self._queued.items() if f >= 0 and queue and self._precedes(f, frame.index)]
        if late:
            del self._queued[late[0]]
            raise PromptError(f"a prompt waits for frame {late[0]}, but frame {frame.index} came; step every frame")
        due: dict[int, Prompt] = {}
        for key in dict.fromkeys((-1, frame.index)):
            for obj_id, prompt in list(self._queued.get(key, {}).items()):
                try:
                    due[obj_id] = merge(due.get(obj_id), check_inside(prompt, frame.size))
                except PromptError as error:
                    del self._queued[key][obj_id]  # this one alone: the others still wait when the frame comes again
                    raise PromptError(f"object {obj_id}: {error}") from None
        return due

    @contextmanager
    def _all_or_nothing(self) -> Iterator[Snapshot]:
        """What fails, or is interrupted, leaves the session as it was; -> its state before."""
        before = self.snapshot()
        try:
            yield before
        except BaseException:
            self._set(before)
            raise

    def _remember_for_undo(self, state: Snapshot | None = None) -> None:
        self._undo = [*self._undo[1 - UNDO_DEPTH :], state or self.snapshot()]

    def _set(self, snapshot: Snapshot) -> None:
        self._tracks = {obj_id: track.fork() for obj_id, track in snapshot.tracks.items()}
        self._queued = {frame_idx: dict(queue) for frame_idx, queue in snapshot.queued.items()}
        self._frame_idx, self._size, self._pts = snapshot.frame_idx, snapshot.size, snapshot.pts_seconds
        self._features, self._cue, self._cut = snapshot.features, snapshot.cue, snapshot.cut
        self._histogram, self._unsettled, self._shown = snapshot.histogram, list(snapshot.unsettled), None
