"""What one visitor works on: frames, objects, what was said about them, and what the tracker made of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vidmem.render import mask_boxes
from vidmem.types import Frame, FrameResult, Status
from vidmem.video import rle_decode

from .limits import POINTS, PROMPTS, UNDO, Refused
from .requests import arguments, shown
from .requests import obj_id as checked_id
from .seen import Edit, Seen, Thing, remembered, seen_in

EVERY = 10  # frames between states that a correction can go back to
AHEAD = (
    3 * EVERY
)  # frames that are caught up with where nothing was tracked yet; a click further on is answered without them


@dataclass
class Project:
    """frames: reads frame i as (H, W, 3) uint8 RGB. turn: a context manager around each use of the network.

    The edits are the truth; sessions and results are made from them. A session is at one frame at a time: going elsewhere means going on from the
    nearest state before it, with the same edits, which gives the same masks. Whatever a person said is read before `turn` is taken.
    """

    tracker: Any
    frames: Callable[[int], np.ndarray]
    count: int
    size: tuple[int, int]
    fps: float
    turn: Any
    max_objects: int = 20
    max_pathways: int = 24
    things: dict[int, Thing] = field(default_factory=dict)
    edits: list[Edit] = field(default_factory=list)
    undone: list[tuple[list[Edit], dict[int, Thing]]] = field(default_factory=list)
    done: list[tuple[list[Edit], dict[int, Thing]]] = field(default_factory=list)
    results: dict[int, dict[int, Seen]] = field(default_factory=dict)
    revisions: dict[int, int] = field(default_factory=dict)  # frame -> when its results changed last
    revision: int = 0
    fresh: dict[int, tuple[int, int]] = field(default_factory=dict)
    """obj_id -> the first and the last frame whose results know everything that was said about it."""
    cuts: set[int] = field(default_factory=set)  # first frames of scenes

    def __post_init__(self):
        self._lock = threading.RLock()
        self._session, self._states, self._jumped, self.closed = None, {}, False, False

    @property
    def fresh_until(self) -> int:
        """The last frame until which all objects are up to date; -1: there is none, or an object was never tracked."""
        return min((self.fresh.get(o, (0, -1))[1] for o in self.things), default=-1)

    def stale_from(self) -> int | None:
        """The first frame that is to be tracked again for some object; None: all is up to date."""
        starts = []
        for o in self.things:
            after = self.fresh[o][1] + 1 if o in self.fresh else self.first(o)
            if after is not None and after < self.count:
                starts.append(after)
        return min(starts, default=None)

    def first(self, obj_id: int) -> int | None:
        """The first frame on which something was said about an object; None: nothing was."""
        return min((e.frame_idx for e in self.edits if e.obj_id == obj_id), default=None)

    # What a person does ----------------------------------------------------------------------------------------------
    def say(self, frame_idx: int, obj_id: int, prompt: dict[str, Any]) -> None:
        """A prompt (points with labels, box or mask) -> the frame's new results. Raises `VidmemError`; then nothing has changed."""
        checked_id({"obj_id": obj_id})
        given = arguments(prompt, self.size)
        with self._lock:
            self._room(frame_idx, obj_id, prompt)
            result = self._go(frame_idx, lambda: self._session.add(obj_id, **given))
            self._remember()
            self.things.setdefault(obj_id, Thing(f"object {obj_id}", ""))
            self._edit([*self.edits, Edit(frame_idx, obj_id, prompt)], frame_idx)
            self._outdate(obj_id, frame_idx)
            self._keep(result)

    def unsay(self, frame_idx: int, obj_id: int, edit: int, point: int | None) -> None:
        """Take back the `edit`th thing that was said about an object on a frame, or one `point` of it; an object about which nothing is left
        goes. Raises `Refused` where there is no such thing."""
        with self._lock:
            here = [e for e in self.edits if (e.frame_idx, e.obj_id) == (frame_idx, obj_id)]
            old = here[edit] if 0 <= edit < len(here) else None
            points = (old.prompt.get("points") or []) if old else []
            if old is None or (point is not None and not 0 <= point < len(points)):
                raise Refused("this click is not there any more; it may have been taken back already")
            left = None
            if point is not None and (len(points) > 1 or old.prompt.get("box")):
                labels = old.prompt.get("labels") or [1] * len(points)
                kept = {"points": without(points, point) or None, "labels": without(labels, point) or None}
                left = replace(old, prompt=old.prompt | kept)
            edits = [left if e is old else e for e in self.edits if e is not old or left]
            things = {o: t for o, t in self.things.items() if o != obj_id or any(e.obj_id == o for e in edits)}
            self._restart(edits, things, frame_idx, self._remember)

    def _room(self, frame_idx: int, obj_id: int, prompt: dict[str, Any]) -> None:
        """Raises `Refused` where one prompt more is too many."""
        if obj_id not in self.things and len(self.things) >= self.max_objects:
            raise Refused(f"there are {len(self.things)} objects already, which is the limit here; delete one first")
        self._affordable(len({*self.things, obj_id}), self.tracker.search)
        if len(self.edits) >= PROMPTS:
            raise Refused(
                f"there are {len(self.edits)} prompts already, which is the limit here; delete an object that has many"
            )
        here = [e.prompt for e in self.edits if (e.frame_idx, e.obj_id) == (frame_idx, obj_id)]
        if sum(len(p.get("points") or ()) for p in [*here, prompt]) > POINTS:
            raise Refused(f"more than {POINTS} points of one object on one frame; a box or a painted mask says more")

    def _affordable(self, objects: int, search) -> None:
        width = getattr(search, "width", 1)
        if objects * width > self.max_pathways:
            raise Refused(
                f"{objects} objects with a search of width {width} are {objects * width} pathways; the limit here is {self.max_pathways}: follow fewer, or search less broadly"
            )

    def look(self, frame_idx: int) -> None:
        """Somebody looks at this frame: bring the session there, so that a click is answered at once."""
        with self._lock:
            self._go(frame_idx)

    def remove(self, obj_id: int) -> None:
        """Forget an object everywhere."""
        with self._lock:
            if obj_id not in self.things:
                raise Refused(f"there is no object {obj_id}")
            self._remember()
            first = min((e.frame_idx for e in self.edits if e.obj_id == obj_id), default=0)
            del self.things[obj_id]
            for frame_idx, seen in self.results.items():
                if obj_id in seen:
                    self.results[frame_idx] = {o: s for o, s in seen.items() if o != obj_id}
                    self.touch(frame_idx)
            self._edit([e for e in self.edits if e.obj_id != obj_id], first)
            self._forget(first)
            self.fresh.pop(obj_id, None)

    def undo(self, again: bool = False) -> int:
        """Take the last edit back, or the last undo -> the frame it belonged to. Raises `Refused` when there is none."""
        with self._lock:
            source, target = (self.undone, self.done) if again else (self.done, self.undone)
            if not source:
                raise Refused("there is nothing to redo" if again else "there is nothing to undo")
            target.append((self.edits, dict(self.things)))
            before, (edits, things) = self.edits, source.pop()
            differing = [
                e for e in [*before, *edits] if not (any(e is b for b in before) and any(e is a for a in edits))
            ]
            changed = min((e.frame_idx for e in differing), default=0)
            self._restart(edits, things, changed)
            return changed

    def _restart(self, edits: list[Edit], things: dict[int, Thing], frame_idx: int, begin=lambda: None) -> None:
        """Other edits from now on, which differ from `frame_idx` on; the session goes there. begin: called before anything is changed."""
        begin()
        before, self.things = self.edits, things
        self._edit(edits, frame_idx)
        self._forget(frame_idx)
        for o in {*self.fresh, *things}:
            one, other = ([e for e in edited if e.obj_id == o] for edited in (before, edits))
            differing = [e.frame_idx for e in [*one, *other] if not (e in one and e in other)]
            if differing:
                self._outdate(o, min(differing))
        for i in list(self.results):
            left = {o: s for o, s in self.results[i].items() if self._belongs(o, i)}
            if left != self.results[i]:
                self.results[i] = left
                self.touch(i)
        self._go(frame_idx)
        self._keep(self._session.result())

    def track(self, start: int | None, heard: Callable[[int], bool], until: int | None = None) -> None:
        """Follow what is out of date, and from `start` on everything, to the frame `until` or the end. heard: called with each frame that is
        done, False stops. Objects claim pixels from each other, so a frame that is tracked again is so for all objects on it."""
        self._affordable(len(self.things), self.tracker.search)
        i = min((i for i in (start, self.stale_from()) if i is not None), default=self.count)
        i = max(i, min((e.frame_idx for e in self.edits), default=0))
        while i <= (self.count - 1 if until is None else until):
            with self._lock:
                if not self.edits:
                    raise Refused("say what to track first: click on it, or draw a box around it")
                self._go(i, leap=False)
                result = self._session.result()
                self._keep(result)
                (self.cuts.add if result.cut else self.cuts.discard)(i)
                for o in map(int, result.obj_ids):
                    first, last = self.fresh.get(o, (i, i))
                    self.fresh[o] = first, max(last, i)
            if not heard(i):
                return
            i += 1

    def to_do(self, start: int | None, way: str, until: int | None) -> int:
        """How many frames `track` or `track_back` will do, or both of them."""
        begin = min((i for i in (start, self.stale_from()) if i is not None), default=self.count)
        forward = max(0, (self.count if until is None or way != "forward" else until + 1) - begin)
        back = (
            max(0, (self.back_from(until or 0) or 0) - (until or 0) + 1)
            if self.back_from(until or 0) is not None
            else 0
        )
        return (forward if way != "back" else 0) + (back if way != "forward" else 0)

    def back_from(self, until: int = 0) -> int | None:
        """The frame from which objects are followed back to `until`: the latest first prompt of one that was not; None: all were."""
        return max((self.first(o) for o in self._unbacked(until)), default=None)

    def _unbacked(self, until: int) -> list[int]:
        firsts = {o: self.first(o) for o in self.things}
        return [o for o, i in firsts.items() if i is not None and until < min(i, self.fresh.get(o, (i, i))[0])]

    def track_back(self, until: int, heard: Callable[[int], bool]) -> None:
        """Follow each object from its first prompt back to the frame `until`, where that was not done yet: a session of its own, in which
        frames come in falling order (see `vidmem.directions`). heard: as for `track`."""
        with self._lock:
            start, firsts = self.back_from(until), {o: self.first(o) for o in self._unbacked(until)}
            edits = list(self.edits)
        if start is None:
            return
        with self.tracker.session(max_objects=self.max_objects, reverse=True) as session:
            for i in range(start, until - 1, -1):
                given = [(e.obj_id, arguments(e.prompt, self.size)) for e in edits if e.frame_idx == firsts.get(e.obj_id) == i]  # fmt: skip
                frame = Frame(i, i / self.fps, self.frames(i))
                with self.turn:
                    result = session.step(frame)
                    for obj_id, prompt in given:
                        result = session.add(obj_id, **prompt)
                with self._lock:
                    if self.closed or self.edits != edits:
                        return  # of another project by now
                    early = {o: s for o, s in seen_in(result).items() if i < firsts[o]}
                    if early:
                        self.results[i] = dict(sorted((self.results.get(i, {}) | early).items()))
                        self.touch(i)
                    for o in early:
                        self.fresh[o] = i, self.fresh.get(o, (0, firsts[o] - 1))[1]
                if not heard(i):
                    return

    def configure(self, bank, search) -> None:
        """Other memories from now on; everything is to be tracked again."""
        with self._lock:
            self._affordable(len(self.things), search)
            self.tracker = replace(self.tracker, bank=bank, search=search)
            self.fresh = {}
            self._forget(0)

    # What comes out --------------------------------------------------------------------------------------------------
    def result(self, frame_idx: int) -> FrameResult:
        """As a session would have returned it, but that mask logits are only +-8 inside and outside."""
        things = self.things  # which may lose one meanwhile
        seen = {o: s for o, s in sorted(self.results.get(frame_idx, {}).items()) if o in things and things[o].visible}
        masks = np.stack([rle_decode(s.rle) for s in seen.values()]) if seen else np.zeros((0, *self.size), bool)
        return FrameResult(
            frame_idx, frame_idx / self.fps, self.size, np.array(list(seen), np.int64), masks, mask_boxes(masks),
            np.array([s.score for s in seen.values()], np.float32), np.array([s.object_logit for s in seen.values()], np.float32),
            tuple(Status(s.status) for s in seen.values()), np.where(masks, 8, -8).astype(np.float32),
            rivals=tuple(s.rival if s.rival in seen else None for s in seen.values()),
        )  # fmt: skip

    def prompted(self) -> dict[int, list[int]]:
        """obj_id -> frames on which something was said about it."""
        return {o: sorted({e.frame_idx for e in self.edits if e.obj_id == o}) for o in self.things}

    def memory(self) -> dict:
        """What each object's bank holds at the frame where the session is, and which of it the next frame would read."""
        with self._lock:
            if self._session is None or self._session.frame_idx is None:
                return {"frame_idx": None, "objects": {}}
            return {
                "frame_idx": self._session.frame_idx,
                "objects": {o: remembered(self._session.memories(o)) for o in self._session.followed},
            }

    def warm_up(self) -> None:
        """The first frames compile graphs and fill caches; better while the video is read than at the first click."""
        height, width = self.size
        with self.tracker.session() as session:
            for i in range(min(3, self.count)):
                frame = Frame(i, None, self.frames(i))
                with self.turn:
                    session.step(frame)
                    if i == 0:
                        session.add(1, points=[[width / 2, height / 2]])

    # The session -----------------------------------------------------------------------------------------------------
    def _go(self, frame_idx: int, then: Callable[[], Any] = lambda: None, leap: bool = True) -> Any:
        """Bring the session to a frame, with all edits until there -> then(), called in the turn of the last step, for a click should wait for
        one turn of others and no more. No object before the first edit: nothing to do before it. leap: frames far ahead of what was tracked
        may be gone to without those between."""
        if self.closed:
            raise Refused("this video is closed; load the page again", 404)
        if not 0 <= frame_idx < self.count:
            raise Refused(f"there is no frame {shown(frame_idx)}; the video has {self.count}")
        at = self._session.frame_idx if self._session else None
        if at == frame_idx:
            with self.turn:
                return then()
        if self._jumped and (frame_idx - 1 != at or not leap):
            at = None
        first = min((e.frame_idx for e in self.edits), default=frame_idx)
        state = max((i for i in self._states if first <= i < frame_idx), default=None)
        if at is None or not first <= at < frame_idx or (state is not None and state > at):
            if self._session is not None:
                self._session.close()
            self._session, at = self.tracker.session(max_objects=self.max_objects), state
            if state is not None:
                self._session.restore(self._states[state])
        start = min(first, frame_idx) if at is None else at + 1
        jump = leap and frame_idx - start > AHEAD and frame_idx > self.fresh_until + 1
        if not jump:
            for i in range(start, frame_idx):
                self._step(i)
        result = self._step(frame_idx, then)
        self._jumped = jump or (self._jumped and at is not None)
        return result

    def _step(self, i: int, then: Callable[[], Any] = lambda: None) -> Any:
        frame = Frame(i, i / self.fps, self.frames(i))
        given = [(e.obj_id, arguments(e.prompt, self.size)) for e in self.edits if e.frame_idx == i]
        try:
            with self.turn:
                self._session.step(frame)
                for obj_id, prompt in given:
                    self._session.add(obj_id, **prompt)
                result = then()
        except BaseException:
            self._forget(i)  # half of what was said on this frame is worse than coming here again
            raise
        if i % EVERY == EVERY - 1:
            self._states[i] = self._session.snapshot().light()  # only ever stepped on from
        return result

    def _edit(self, edits: list[Edit], frame_idx: int) -> None:
        self.edits = edits
        self._states = {i: s for i, s in self._states.items() if i < frame_idx}

    def _outdate(self, obj_id: int, frame_idx: int) -> None:
        """Something else is said now about an object on a frame: what followed from there is out of date, the frame itself is about to be kept."""
        first, kept = self.first(obj_id), self.fresh.get(obj_id)
        if first is None or frame_idx < first:
            self.fresh.pop(obj_id, None)
        elif frame_idx == first:
            self.fresh[obj_id] = frame_idx, frame_idx
        elif kept is not None:
            self.fresh[obj_id] = kept[0], min(kept[1], frame_idx)

    def _belongs(self, obj_id: int, frame_idx: int) -> bool:
        """Whether an object can be on a frame: from its first prompt on, and where it was followed back from there."""
        first = self.first(obj_id)
        return first is not None and (first <= frame_idx or self.fresh.get(obj_id, (first, 0))[0] <= frame_idx)

    def _forget(self, frame_idx: int) -> None:
        """The session knows edits that are no more."""
        self._states = {i: s for i, s in self._states.items() if i < frame_idx}
        if self._session is not None:
            self._session.close()
            self._session = None

    def _remember(self) -> None:
        self.done = [*self.done[1 - UNDO :], (self.edits, dict(self.things))]
        self.undone.clear()

    def _keep(self, result: FrameResult) -> None:
        """What a session found on a frame; what was found on the way back stays, for no session that goes forth knows of it."""
        i, seen = result.frame_idx, seen_in(result)
        back = {o: s for o, s in self.results.get(i, {}).items() if o not in seen and self._belongs(o, i)}
        self.results[i] = dict(sorted((back | seen).items()))
        self.touch(i)

    def touch(self, frame_idx: int) -> None:
        self.revision += 1
        self.revisions[frame_idx] = self.revision

    def close(self) -> None:
        """Frees what it holds; whoever still waits to say something gets `Refused`."""
        with self._lock:
            self.closed = True
            self._forget(0)
            self.results.clear()


def without(values: list, index: int) -> list:
    return values[:index] + values[index + 1 :]
