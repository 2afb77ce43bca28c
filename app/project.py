"""What one visitor works on: frames, objects, what was said about them, and what the tracker made of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from vidmem.render import mask_boxes
from vidmem.types import Frame, FrameResult, Remembered, Status
from vidmem.video import rle_decode, rle_encode

from .limits import POINTS, PROMPTS, UNDO, Refused
from .said import arguments, shown
from .said import obj_id as checked_id

EVERY = 10  # frames between states that a correction can go back to
AHEAD = (
    3 * EVERY
)  # frames that are caught up with where nothing was tracked yet; a click further on is answered without them


@dataclass
class Thing:
    """An object as its user sees it."""

    name: str
    color: str
    visible: bool = True


@dataclass(frozen=True)
class Seen:
    """What one frame gave for one object."""

    rle: dict
    score: float
    object_logit: float
    status: str


@dataclass(frozen=True)
class Edit:
    """Something a person said."""

    frame_idx: int
    obj_id: int
    prompt: dict[str, Any]
    """Arguments of `Session.add` as JSON can hold them: a mask is a COCO RLE."""


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
    fresh_until: int = -1  # results of later frames do not know the last edits yet

    def __post_init__(self):
        self._lock = threading.RLock()
        self._session, self._states, self._jumped, self.closed = None, {}, False, False

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
            self._keep(result)

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
            if self.edits:
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
            kept_fresh = self.fresh_until
            self._edit([e for e in self.edits if e.obj_id != obj_id], first)
            self._forget(first)
            self.fresh_until = kept_fresh  # the others' results do not depend on it

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
            self.things = things
            self._edit(edits, changed)
            self._forget(changed)
            for frame_idx in list(self.results):
                left = {
                    o: s
                    for o, s in self.results[frame_idx].items()
                    if any(e.obj_id == o and e.frame_idx <= frame_idx for e in edits)
                }
                if left != self.results[frame_idx]:
                    self.results[frame_idx] = left
                    self.touch(frame_idx)
            self._go(changed)
            self._keep(self._session.result())
            return changed

    def track(self, start: int, heard: Callable[[int], bool]) -> None:
        """Follow everything from `start` to the end; heard: called with each frame done, False stops."""
        self._affordable(len(self.things), self.tracker.search)
        frame_idx = max(start, min((e.frame_idx for e in self.edits), default=0))
        while frame_idx < self.count:
            with self._lock:
                if not self.edits:
                    raise Refused("say what to track first: click on it, or draw a box around it")
                self._go(frame_idx)
                self._keep(self._session.result())
                self.fresh_until = max(self.fresh_until, frame_idx)
            if not heard(frame_idx):
                return
            frame_idx += 1

    def configure(self, bank, search) -> None:
        """Other memories from now on; everything is to be tracked again."""
        with self._lock:
            self._affordable(len(self.things), search)
            self.tracker = replace(self.tracker, bank=bank, search=search)
            self.fresh_until = -1
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
    def _go(self, frame_idx: int, then: Callable[[], Any] = lambda: None) -> Any:
        """Bring the session to a frame, with all edits until there -> then(), called in the turn of the last step, for a click should wait for
        one turn of others and no more. No object before the first edit: nothing to do before it."""
        if self.closed:
            raise Refused("this video is closed; load the page again", 404)
        if not 0 <= frame_idx < self.count:
            raise Refused(f"there is no frame {shown(frame_idx)}; the video has {self.count}")
        at = self._session.frame_idx if self._session else None
        if at == frame_idx:
            with self.turn:
                return then()
        if self._jumped and frame_idx - 1 != at:
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
        jump = frame_idx - start > AHEAD and frame_idx > self.fresh_until + 1
        if not jump:
            for i in range(start, frame_idx):
                self._step(i)
        said = self._step(frame_idx, then)
        self._jumped = jump or (self._jumped and at is not None)
        return said

    def _step(self, i: int, then: Callable[[], Any] = lambda: None) -> Any:
        frame = Frame(i, i / self.fps, self.frames(i))
        given = [(e.obj_id, arguments(e.prompt, self.size)) for e in self.edits if e.frame_idx == i]
        try:
            with self.turn:
                self._session.step(frame)
                for obj_id, prompt in given:
                    self._session.add(obj_id, **prompt)
                said = then()
        except BaseException:
            self._forget(i)  # half of what was said on this frame is worse than coming here again
            raise
        if i % EVERY == EVERY - 1:
            self._states[i] = self._session.snapshot().light()  # only ever stepped on from
        return said

    def _edit(self, edits: list[Edit], frame_idx: int) -> None:
        self.edits = edits
        self.fresh_until = min(self.fresh_until, frame_idx) if self.fresh_until >= 0 else frame_idx
        self._states = {i: s for i, s in self._states.items() if i < frame_idx}

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
        self.results[result.frame_idx] = {
            int(o): Seen(rle_encode(mask), round(float(score), 4), round(float(logit), 3), status.value)
            for o, mask, score, logit, status in zip(
                result.obj_ids, result.masks, result.scores, result.object_logits, result.status
            )
        }
        self.touch(result.frame_idx)

    def touch(self, frame_idx: int) -> None:
        self.revision += 1
        self.revisions[frame_idx] = self.revision

    def close(self) -> None:
        """Frees what it holds; whoever still waits to say something gets `Refused`."""
        with self._lock:
            self.closed = True
            self._forget(0)
            self.results.clear()


def remembered(memories: list[Remembered]) -> list[dict]:
    """An object's memories, the oldest first, and why each is there."""
    said = []
    for frame_idx, verdict, prompted, _, read in memories:
        why = (
            "you prompted it"
            if prompted
            else f"predicted IoU {verdict.iou:.2f}" + (", present" if verdict.visible else ", absent")
        )
        said.append({"frame_idx": frame_idx, "why": why, "prompted": bool(prompted), "read": read})
    return said


def read_jpeg(folder: Path) -> Callable[[int], np.ndarray]:
    """Frames as `decode` wrote them."""
    import cv2

    def read(i: int) -> np.ndarray:
        image = cv2.imread(str(folder / f"{i:05d}.jpg"))
        if image is None:
            raise Refused(f"frame {i} is not there any more; load the video again")
        return np.ascontiguousarray(image[..., ::-1])

    return read
