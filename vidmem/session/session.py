"""What a user does with a session: add, step, correct, remove, undo."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from vidmem.errors import FrameError, ObjectError, SessionClosed
from vidmem.learn import Learner
from vidmem.memory import MemoryBank
from vidmem.memory.credible import CredibleStart
from vidmem.networks.base import Network
from vidmem.networks.timed import Timed
from vidmem.prompts import check_id, check_inside, make_prompt
from vidmem.search import Search
from vidmem.session.cuts import CutRule
from vidmem.session.frame_step import frame_step
from vidmem.session.incoming import due, next_frame, waits_for
from vidmem.session.now import Now, look
from vidmem.session.state import StateFormat
from vidmem.session.status import StatusRule, StatusState
from vidmem.session.told import Told, found, sought, understood
from vidmem.session.tracks import Hypothesis, Meta, Snapshot, Track, collect, settle
from vidmem.types import Frame, FrameResult, Prompt, Remembered

UNDO_DEPTH = 64  # edits of one frame that can be taken back


class Session:
    """Objects are independent: each starts on any frame, is corrected on any later one, and is removed alone.

    Bounded: holds one frame's features (three where the network looks for words), and of each object what its bank's capacity allows.
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
        clean: bool | None = None,
        learner: Callable[[], Learner] | None = None,
    ):
        """reverse: frames come with falling indices, as in a finite file that is followed from its end to its beginning; banks then
        count time as minus the index, and mirror what they recall. cuts: what counts as a cut between scenes; None: nothing does. clean: drop stray
        parts of masks and fill small holes (`vidmem.session.cleaning`); None: where the network's objects compete, so not on SAM 2,
        whose masks are the original's. learner: makes each object's learner
        (`vidmem.learn`); None: objects have none."""
        self._network, self._make_bank, self._make_search = Timed(network), bank, search
        self._status, self._max_objects, self._reverse = status, max_objects, reverse
        self._cuts, self._lag = cuts, search().lag
        self._make_learner = learner
        self._clean = network.competes if clean is None else clean
        self._state = Snapshot()
        self._undo: list[Snapshot] = []
        self._shown: FrameResult | None = None  # of the current frame, while nothing changed it
        self._closed = False

    # What a user does ------------------------------------------------------------------------------------------------
    def step(self, frame: Frame | np.ndarray, color: str = "rgb") -> FrameResult:
        """Take the next frame and follow every object on it.

        frame: `Frame`, or a (H, W, 3) uint8 array (then it counts as the next index). color: the order of an array's channels, `rgb`, or
        `bgr` as OpenCV has it. Raises `PromptError` when a
        prompt that was queued for this frame does not fit its size; the prompt is dropped and the session stays usable. Raises
        `FrameError` for what is no frame, comes out of order or has another size than those before it. Whatever else fails, in the
        network for instance: the session is what it was before, so the frame can be stepped again.
        """
        began, now = self._open(), self._state.now
        frame = next_frame(frame, color, None if now is None else (now.frame_idx, now.size), self._reverse)
        prompts, names = due(self._state.queued, frame, self._reverse)
        with self._all_or_nothing():
            self._network.spent()
            now = look(self._network, frame, now, self._cuts, self._reverse)
            queued = {key: queue for key, queue in self._state.queued.items() if key not in (-1, frame.index)}
            self._state = replace(self._state, queued=queued, now=now)
            tracks = self._state.tracks
            for obj_id in names | prompts:
                tracks.setdefault(obj_id, self._new_track(names.get(obj_id)))
            for track in tracks.values():
                track.begin()
            self._follow({obj_id: prompts.get(obj_id) for obj_id in sorted(tracks)})
            result = self._result(began)
        self._undo.clear()
        unsettled = (
            *self._state.unsettled,
            Meta(result.frame_idx, result.size, result.pts_seconds, result.timings, result.cut, result.events),
        )
        if self._lag is not None and len(unsettled) > self._lag + 1:  # nobody asks for settled answers
            settle(self._state.tracks, unsettled[0].frame_idx)
            unsettled = unsettled[1:]
        self._state = replace(self._state, unsettled=unsettled)
        return result

    def expect(self, frame: Frame) -> None:
        """Say which frame comes next, so that it can be encoded beside the one that is stepped, where the engine gains by it; its image
        must not change until it is stepped."""
        if not isinstance(frame, Frame):
            raise FrameError(f"expect() was given {type(frame).__name__}; expected a Frame")
        self._network.expect(frame.image)

    def settled(self, end: bool = False) -> list[FrameResult]:
        """Answers that later frames cannot change any more, each once, in the order of frames.

        With a search that decides at once that is the frame just stepped; with one that lags by L frames it is the frame L before
        it, from the branch that is best now. `step` returns the newest frame's answer in any case. end: the video is over, so all is
        settled. Objects that were removed meanwhile are not in it. A session whose caller never asks keeps no more than its lag;
        with `lag=None` every frame's mask is kept until the end.
        """
        self._open()
        unsettled, tracks = self._state.unsettled, self._state.tracks
        keep = 0 if end else len(unsettled) if self._lag is None else self._lag
        ready = unsettled[: max(0, len(unsettled) - keep)]
        if not ready:
            return []
        self._state = replace(self._state, unsettled=unsettled[len(ready) :])
        if not self._lag and self._lag is not None:
            return [self.result()]
        pasts = {obj_id: dict(track.best.past) for obj_id, track in sorted(tracks.items())}
        results = [
            self._collect(meta, {o: past[meta.frame_idx] for o, past in pasts.items() if meta.frame_idx in past})
            for meta in ready
        ]
        settle(tracks, ready[-1].frame_idx)
        return results

    def add(
        self, obj_id: int, *, points=None, labels=None, box=None, mask=None, text=None, frame_idx=None
    ) -> FrameResult | None:
        """Say where an object is: a new one, or a correction of one that is there; or what it is.

        points (N, 2) [x, y] and labels (N,) 1 on the object, 0 beside it; box (4,) x0, y0, x1, y1; mask (H, W) bool; all in source
        pixels. text: what a new object is called, for networks that look for words themselves (`reads_words`; for others see
        `vidmem.detect.Watcher`): its mask is what the words mean on each frame, until it is credible and followed (an event `found`).
        Before the first frame the prompt waits for it. Afterwards it belongs to the current frame: the mask changes at once, the frame is
        remembered as a prompted one, and the new result is returned. `frame_idx` greater than the current one lets it wait for that frame
        (then None is returned). Raises `PromptError` for a prompt that cannot be used and `ObjectError` for an `obj_id` that is no integer
        from 1 to 65535, that waits for the same frame, is beyond `max_objects`, or is followed and gets a text.
        """
        began = self._open()
        obj_id = self._check_id(obj_id)
        said: Prompt | Told
        if text is None:
            said = make_prompt(points, labels, box, mask)
        else:
            placed = any(given is not None for given in (points, labels, box, mask))
            said = understood(self._network.network, text, placed, obj_id, self._state)
        when = waits_for(frame_idx, self.frame_idx, self._reverse)
        if when is not None:
            if obj_id in self._state.queued.get(when, {}):
                raise ObjectError(f"object {obj_id} was added twice for the same frame; put all its points in one call")
            self._remember_for_undo()
            self._state.queued.setdefault(when, {})[obj_id] = said
            return None
        here, told = self._now(), said if isinstance(said, Told) else None
        prompt = None if isinstance(said, Told) else check_inside(said, here.size)
        if here.features is None:
            raise FrameError(
                f"frame {here.frame_idx} was not kept with this state, which is a light one; step the next frame, then correct"
            )
        self._network.spent()
        with self._all_or_nothing() as before:
            if obj_id not in self._state.tracks:
                self._state.tracks[obj_id] = self._new_track(told)
                self._state.tracks[obj_id].begin()
            self._follow({obj_id: prompt})
            result = self._result(began)
        self._remember_for_undo(before)
        return result

    def remove(self, obj_id: int) -> None:
        """Stop following an object and free its memory; the others do not notice. Raises `ObjectError` if unknown."""
        self._open()
        obj_id = check_id(obj_id)
        if obj_id not in self.obj_ids:
            raise ObjectError(f"object {obj_id} is not in the session; it has {self.obj_ids or 'none'}")
        self._remember_for_undo()
        self._shown = None
        self._state.tracks.pop(obj_id, None)
        for queue in self._state.queued.values():
            queue.pop(obj_id, None)

    def clear(self) -> None:
        """Remove every object and every waiting prompt; the stream goes on."""
        self._open()
        self._remember_for_undo()
        self._state, self._shown = replace(self._state, tracks={}, queued={}), None

    def undo(self) -> bool:
        """Take back the last `add`, `remove` or `clear` since the last `step`; False when there is none."""
        self._open()
        if not self._undo:
            return False
        self._set(self._undo.pop())
        return True

    def result(self) -> FrameResult:
        """The current frame's result again, after `remove` or `undo` for instance. Raises `FrameError` before a frame."""
        began = self._open()
        if self._state.now is None:
            raise FrameError("no frame was stepped yet; call step(frame) first")
        return self._shown or self._result(began)

    def snapshot(self) -> Snapshot:
        """The whole state, to come back to with `restore`. Costs references, not copies of memories."""
        self._open()
        return self._state.fork()

    def restore(self, state: Snapshot | bytes) -> None:
        """Go back to a snapshot of this session, any number of times; or go on from where another one was when it gave these bytes, which
        then needs the same model, engine, bank, search and settings. Raises `StateError` for other bytes, and for damaged ones; the
        session then is what it was."""
        self._open()
        snapshot = state if isinstance(state, Snapshot) else self._format().read(state)
        self._undo.clear()
        self._set(snapshot)

    def to_bytes(self, light: bool = False) -> bytes:
        """The whole state, for `restore` in another session or process, which goes on with the same masks, bit for bit; what could be undone
        is left out. light: without the current frame's features, so that it can be stepped on from, and not corrected where it is.
        Raises `StateError` where the bank, the search or the network is of a kind that cannot be written."""
        state = self.snapshot()
        return self._format().write(state.light() if light else state)

    def _format(self) -> StateFormat:
        settings: dict[str, object] = {
            "search": repr(self._make_search), "learner": repr(self._make_learner), "clean": self._clean, "cuts": repr(self._cuts), "reverse": self._reverse,
        }  # fmt: skip
        learner = self._make_learner and self._make_learner()
        return StateFormat(self._network, self._make_bank(), self._make_search(), learner, self._status, settings)

    def close(self) -> None:
        """Free everything; any later call raises `SessionClosed`. Closing twice is fine."""
        self._state, self._undo, self._shown, self._closed = Snapshot(), [], None, True
        self._network.close()

    def __repr__(self) -> str:
        if self._closed:
            return "Session(closed)"
        at = "before the first frame" if self.frame_idx is None else f"frame {self.frame_idx}"
        return f"Session({at}, objects {', '.join(map(str, self.obj_ids)) or 'none'})"

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    @property
    def obj_ids(self) -> list[int]:
        """Objects followed or waiting for their frame, ascending."""
        return sorted({*self._state.tracks, *(obj_id for queue in self._state.queued.values() for obj_id in queue)})

    @property
    def followed(self) -> list[int]:
        """Objects that are followed on the current frame, ascending."""
        return sorted(self._state.tracks)

    @property
    def reads_words(self) -> bool:
        """Whether `add` takes a text."""
        return self._network.reads_words

    @property
    def sought(self) -> dict[int, str]:
        """Objects whose text is looked for still -> that text."""
        return sought(self._state)

    @property
    def frame_idx(self) -> int | None:
        """Index of the current frame; None before the first."""
        return None if self._state.now is None else self._state.now.frame_idx

    @property
    def nbytes(self) -> int:
        """Bytes that all memory banks hold now; what hypotheses share counts once."""
        entries = [e for track in self._state.tracks.values() for bank in track.banks for e in bank.entries()]
        return sum({id(e): e.held for e in entries}.values())

    def memories(self, obj_id: int) -> list[Remembered]:
        """What the object's bank holds, the oldest first, and which of it the next frame would read. Raises `ObjectError` if unknown."""
        self._open()
        track = self._state.tracks.get(check_id(obj_id))
        if track is None:
            raise ObjectError(f"object {obj_id} is not followed; the session follows {self.followed or 'none'}")
        return track.memories(self._now())

    def waiting(self) -> dict[int, list[int]]:
        """Frame index -> objects whose prompts still wait for that frame (-1: the next one)."""
        return {frame_idx: sorted(queue) for frame_idx, queue in self._state.queued.items() if queue}

    # One frame -------------------------------------------------------------------------------------------------------
    def _follow(self, prompts: dict[int, Prompt | None]) -> None:
        self._state.tracks.update(
            frame_step(self._network, self._now(), self._state.tracks, prompts, self._lag, self._clean)
        )
        self._shown = None

    def _result(self, began: float) -> FrameResult:
        """What the current frame gave."""
        now, tracks = self._now(), self._state.tracks
        outcomes = {obj_id: track.best.outcome for obj_id, track in sorted(tracks.items()) if track.best.outcome}
        meta = Meta(now.frame_idx, now.size, now.pts_seconds, self._network.spent(), now.cut, found(tracks))
        self._shown = self._collect(meta, outcomes)
        meta.timings["total"] = 1000 * (time.perf_counter() - began)
        return self._shown

    def _collect(self, meta: Meta, outcomes: dict) -> FrameResult:
        return collect(meta, outcomes, tuple(self._state.tracks[obj_id].search.report() for obj_id in outcomes))

    # Small parts -----------------------------------------------------------------------------------------------------
    def _open(self) -> float:
        if self._closed:
            raise SessionClosed("the session is closed; make a new one with tracker.session()")
        return time.perf_counter()

    def _now(self) -> Now:
        """The current frame; asked after the first."""
        assert self._state.now is not None
        return self._state.now

    def _check_id(self, obj_id) -> int:
        obj_id, known = check_id(obj_id), self.obj_ids
        if self._max_objects is not None and obj_id not in known and len(known) >= self._max_objects:
            raise ObjectError(f"object {obj_id} would be number {len(known) + 1}; max_objects is {self._max_objects}")
        return obj_id

    def _new_track(self, told: Told | None = None) -> Track:
        """told: it is to be looked for by its words, from the current frame on."""
        bank: MemoryBank = self._make_bank()
        if told is not None:
            bank, told = CredibleStart(bank), replace(told, since=self._now().clock)
        learner = self._make_learner and self._make_learner()
        return Track([Hypothesis(bank, StatusState(self._status))], self._make_search(), learner, told=told)

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
        self._state, self._shown = snapshot.fork(), None
