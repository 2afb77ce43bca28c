"""Small objects at full resolution: each is followed in a window of its own, which goes with it.

A network sees a frame at a size of its own; an object of twenty pixels in a frame of 1920x1080 is five pixels to it, and nothing. Here
the network is shown the part of the frame around the object instead (ConSlide's two scales, Huang et al., ICCV 2023, in its simplest form),
and the whole frame only where the object is not small, or has not been seen for a while.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from vidmem.errors import FrameError, ModelError, ObjectError, PromptError, SessionClosed
from vidmem.memory import MemoryBank
from vidmem.networks.base import Network
from vidmem.prompts import check_id, check_inside, make_prompt, merge
from vidmem.render import mask_boxes
from vidmem.search import Search
from vidmem.session.incoming import due, next_frame, waits_for
from vidmem.session.session import Session
from vidmem.session.status import StatusRule
from vidmem.session.told import Told
from vidmem.session.tracks import Snapshot
from vidmem.session.window import Gaze, Window, ZoomRule, extent_of, holding, in_view, view_of, whole
from vidmem.types import Frame, FrameResult, Prompt, Remembered
from vidmem.types.result import resize_logits


@dataclass(frozen=True, eq=False)
class Eye:
    """One object: the session that follows it in its window, and what it was before the current frame."""

    session: Session
    gaze: Gaze
    before: tuple[Snapshot, Gaze] | None = None
    prompt: Prompt | None = None
    """All that was said on the current frame, in source pixels."""

    def kept(self) -> tuple[Eye, Snapshot]:
        return self, self.session.snapshot()


@dataclass(frozen=True)
class ZoomedState:
    """What `ZoomedSession.snapshot` returns."""

    frame: Frame | None
    eyes: dict[int, tuple[Eye, Snapshot]]
    queued: dict[int, dict[int, Prompt | Told]] = field(default_factory=dict)


class ZoomedSession:
    """Steps as a `Session` does, with the same verbs; objects know nothing of each other, and each costs an encoded frame.

    Bounded as sessions are, one for each object. A click alone says nothing of an object's size: it is looked for in the whole frame first, so
    a box is better for one that is hardly to be seen there. No texts, no state as bytes, no cuts; searches that decide at once.
    """

    reads_words = False

    def __init__(
        self,
        network: Network,
        bank: Callable[[], MemoryBank],
        search: Callable[[], Search],
        status: StatusRule = StatusRule(),
        max_objects: int | None = None,
        reverse: bool = False,
        clean: bool | None = None,
        rule: ZoomRule = ZoomRule(),
    ):
        """As `Session`. rule: how windows follow. Raises `ModelError` for a search that lags."""
        if search().lag != 0:
            raise ModelError(
                f"zoom follows objects with searches that decide at once, and {type(search).__name__.lower()} waits; choose greedy or motion"
            )
        self._make = lambda: Session(network, bank, search, status, None, reverse, cuts=None, clean=clean)
        self._max_objects, self._reverse, self._rule = max_objects, reverse, rule
        self._eyes: dict[int, Eye] = {}
        self._queued: dict[int, dict[int, Prompt | Told]] = {}
        self._frame: Frame | None = None
        self._undo: list[ZoomedState] = []
        self._settled: list[FrameResult] = []
        self._closed = False

    # What a user does ------------------------------------------------------------------------------------------------
    def step(self, frame: Frame | np.ndarray, color: str = "rgb") -> FrameResult:
        """As `Session.step`."""
        self._open()
        last = self._frame
        frame = next_frame(frame, color, None if last is None else (last.index, last.size), self._reverse)
        prompts, _ = due(self._queued, frame, self._reverse)
        before = self.snapshot()
        try:
            eyes = {}
            for obj_id in sorted({*self._eyes, *prompts}):
                prompt = prompts.get(obj_id)
                known = obj_id in self._eyes
                eyes[obj_id] = (
                    self._looked(self._eyes[obj_id], frame, prompt) if known else self._begun(frame, prompts[obj_id])
                )
        except BaseException:
            self._set(before)
            raise
        self._eyes, self._frame = eyes, frame
        self._queued = {key: queue for key, queue in self._queued.items() if key not in (-1, frame.index)}
        self._undo.clear()
        result = self.result()
        self._settled = [result]
        return result

    def add(
        self, obj_id: int, *, points=None, labels=None, box=None, mask=None, text=None, frame_idx=None
    ) -> FrameResult | None:
        """As `Session.add`, without texts."""
        self._open()
        obj_id = check_id(obj_id)
        if text is not None:
            raise PromptError(f"object {obj_id} is a text, and zoom follows places; give a click, box or mask")
        if obj_id not in self.obj_ids and self._max_objects is not None and len(self.obj_ids) >= self._max_objects:
            raise ObjectError(
                f"object {obj_id} would be one more than max_objects={self._max_objects}; remove one first"
            )
        prompt = make_prompt(points, labels, box, mask)
        when = waits_for(frame_idx, self.frame_idx, self._reverse)
        if when is not None:
            if obj_id in self._queued.get(when, {}):
                raise ObjectError(f"object {obj_id} was added twice for the same frame; put all its points in one call")
            self._undo.append(self.snapshot())
            self._queued.setdefault(when, {})[obj_id] = prompt
            return None
        assert self._frame is not None  # else it would wait
        prompt = check_inside(prompt, self._frame.size)
        before, eye = self.snapshot(), self._eyes.get(obj_id)
        try:
            self._eyes[obj_id] = (
                self._begun(self._frame, prompt) if eye is None else self._corrected(eye, self._frame, prompt)
            )
        except BaseException:
            self._set(before)
            raise
        self._undo.append(before)
        self._settled = [result := self.result()]
        return result

    def remove(self, obj_id: int) -> None:
        """As `Session.remove`."""
        self._open()
        if check_id(obj_id) not in self.obj_ids:
            raise ObjectError(f"object {obj_id} is not in the session; it has {self.obj_ids or 'none'}")
        self._undo.append(self.snapshot())
        self._eyes.pop(obj_id, None)
        for queue in self._queued.values():
            queue.pop(obj_id, None)

    def clear(self) -> None:
        """As `Session.clear`."""
        self._open()
        self._undo.append(self.snapshot())
        self._eyes, self._queued = {}, {}

    def undo(self) -> bool:
        """As `Session.undo`."""
        self._open()
        if not self._undo:
            return False
        self._set(self._undo.pop())
        return True

    def snapshot(self) -> ZoomedState:
        """As `Session.snapshot`."""
        self._open()
        queued = {key: dict(queue) for key, queue in self._queued.items()}
        return ZoomedState(self._frame, {obj_id: eye.kept() for obj_id, eye in self._eyes.items()}, queued)

    def restore(self, state: ZoomedState) -> None:
        """Go back to a snapshot of this session, any number of times."""
        self._open()
        self._undo.clear()
        self._set(state)

    def result(self) -> FrameResult:
        """As `Session.result`."""
        self._open()
        if self._frame is None:
            raise FrameError("no frame was stepped yet; call step(frame) first")
        return pasted(self._frame, self._eyes)

    def settled(self, end: bool = False) -> list[FrameResult]:
        """As `Session.settled`: the frame just stepped, once."""
        self._open()
        ready, self._settled = self._settled, []
        return ready

    def expect(self, frame: Frame) -> None:
        """Nothing is encoded ahead: where the windows will be is not known yet."""
        self._open()

    def memories(self, obj_id: int) -> list[Remembered]:
        """As `Session.memories`."""
        self._open()
        return self._eye(obj_id).session.memories(obj_id=1)

    def window(self, obj_id: int) -> Window:
        """Where an object is looked for on the current frame, in source pixels. Raises `ObjectError` if it is not followed."""
        return self._eye(obj_id).gaze.window

    def close(self) -> None:
        """As `Session.close`."""
        for eye in self._eyes.values():
            eye.session.close()
        self._eyes, self._queued, self._undo, self._settled, self._frame, self._closed = {}, {}, [], [], None, True

    def __enter__(self) -> ZoomedSession:
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    @property
    def obj_ids(self) -> list[int]:
        """Objects followed or waiting for their frame, ascending."""
        return sorted({*self._eyes, *(obj_id for queue in self._queued.values() for obj_id in queue)})

    @property
    def followed(self) -> list[int]:
        """Objects that are followed on the current frame, ascending."""
        return sorted(self._eyes)

    @property
    def sought(self) -> dict[int, str]:
        """No object has a text."""
        return {}

    @property
    def frame_idx(self) -> int | None:
        """Index of the current frame; None before the first."""
        return None if self._frame is None else self._frame.index

    @property
    def nbytes(self) -> int:
        """Bytes that all memory banks hold now."""
        return sum(eye.session.nbytes for eye in self._eyes.values())

    def waiting(self) -> dict[int, list[int]]:
        """As `Session.waiting`."""
        return {frame_idx: sorted(queue) for frame_idx, queue in self._queued.items() if queue}

    def _eye(self, obj_id: int) -> Eye:
        eye = self._eyes.get(check_id(obj_id))
        if eye is None:
            raise ObjectError(f"object {obj_id} is not followed; the session follows {self.followed or 'none'}")
        return eye

    # One object ------------------------------------------------------------------------------------------------------
    def _begun(self, frame: Frame, prompt: Prompt) -> Eye:
        """An object on its first frame. Where clicks alone say where it is, the whole frame says how large it is."""
        extent = extent_of(prompt)
        if extent is not None:
            return self._shown(Eye(self._make(), Gaze.on(extent, frame.size, self._rule)), frame, prompt)
        eye = self._shown(Eye(self._make(), Gaze(whole(frame.size), 0)), frame, prompt)
        if eye.gaze.box is None:
            return eye
        closer = Gaze.on(holding(eye.gaze.box, prompt), frame.size, self._rule)
        return self._shown(Eye(self._make(), closer), frame, prompt) if closer.shrink else eye

    def _looked(self, eye: Eye, frame: Frame, prompt: Prompt | None) -> Eye:
        """The next frame of an object that is followed."""
        before = eye.session.snapshot(), eye.gaze
        gaze = eye.gaze.next(frame.size, self._rule)
        if prompt is not None:
            gaze = self._moved(gaze, frame, prompt)
        return self._shown(replace(eye, gaze=gaze, before=before), frame, prompt)

    def _corrected(self, eye: Eye, frame: Frame, prompt: Prompt) -> Eye:
        """A prompt on the current frame. Beyond the window, the frame is done again in one that holds it."""
        gaze = self._moved(eye.gaze, frame, prompt)
        everything = merge(eye.prompt, prompt)
        if gaze.window == eye.gaze.window:
            said = in_view(prompt, gaze.window, frame.size)
            result = eye.session.add(1, points=said.points, labels=said.labels, box=said.box, mask=said.mask)
            assert result is not None  # it is the current frame
            return self._seen(replace(eye, prompt=everything), result)
        if eye.before is None:
            return self._shown(Eye(self._make(), gaze), frame, everything)
        eye.session.restore(eye.before[0])
        return self._shown(replace(eye, gaze=gaze), frame, everything)

    def _moved(self, gaze: Gaze, frame: Frame, prompt: Prompt) -> Gaze:
        """The same, or a gaze whose window holds what a person says."""
        extent = extent_of(prompt)
        if extent is not None:
            near = gaze.window.holds(extent) and abs(Gaze.on(extent, frame.size, self._rule).shrink - gaze.shrink) <= 1
            return gaze if near else Gaze.on(extent, frame.size, self._rule)
        if gaze.window.holds(box := holding(None, prompt)):
            return gaze
        return Gaze.on(holding(gaze.box, prompt) if gaze.box else box, frame.size, self._rule)

    def _shown(self, eye: Eye, frame: Frame, prompt: Prompt | None) -> Eye:
        """Its session steps on what the window shows."""
        import cv2

        view, window = view_of(frame.size), eye.gaze.window
        image = np.ascontiguousarray(window.crop(frame.image))
        if image.shape[:2] != view:
            shrinks = image.shape[0] > view[0]
            image = cv2.resize(image, view[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        if prompt is not None:
            said = in_view(prompt, window, frame.size)
            eye.session.add(
                1, points=said.points, labels=said.labels, box=said.box, mask=said.mask, frame_idx=frame.index
            )
        result = eye.session.step(Frame(frame.index, frame.pts_seconds, image))
        return self._seen(replace(eye, prompt=prompt), result)

    def _seen(self, eye: Eye, result: FrameResult) -> Eye:
        """With where the object is now, counted from the frame before."""
        gaze = eye.gaze
        before = eye.before[1] if eye.before is not None else replace(gaze, missed=1)
        box = None
        if result.boxes[0, 2] > 0:
            scale = gaze.window.width / result.size[1], gaze.window.height / result.size[0]
            box = tuple((result.boxes[0] * np.tile(scale, 2) + np.tile(gaze.window[:2], 2)).tolist())
        told = replace(gaze, box=before.box, velocity=before.velocity, missed=before.missed)
        return replace(eye, gaze=told.after(box))

    def _set(self, state: ZoomedState) -> None:
        self._frame, self._eyes, self._settled = state.frame, {}, []
        for obj_id, (eye, snapshot) in state.eyes.items():
            eye.session.restore(snapshot)
            self._eyes[obj_id] = eye
        self._queued = {key: dict(queue) for key, queue in state.queued.items()}

    def _open(self) -> None:
        if self._closed:
            raise SessionClosed("this session is closed; make a new one")


def pasted(frame: Frame, eyes: dict[int, Eye]) -> FrameResult:
    """What the windows show, as one result of the whole frame."""
    count = len(eyes)
    masks, rows, windows = np.zeros((count, *frame.size), bool), [], np.zeros((count, 4), np.int64)
    timings: dict[str, float] = {"total": 0.0}
    for mask, window, eye in zip(masks, windows, eyes.values()):
        row, place = eye.session.result(), eye.gaze.window
        rows.append(row)
        window[:] = place
        for stage, ms in row.timings.items():
            timings[stage] = timings.get(stage, 0.0) + ms
        if eye.prompt is not None and eye.prompt.answer is not None:
            mask[:] = eye.prompt.answer
        elif row.masks[0].any():
            np.greater(resize_logits(row.mask_logits[0], (place.height, place.width)), 0, out=place.crop(mask))
    return FrameResult(
        frame_idx=frame.index,
        pts_seconds=frame.pts_seconds,
        size=frame.size,
        obj_ids=np.array(list(eyes), np.int64),
        masks=masks,
        boxes=mask_boxes(masks),
        scores=np.array([row.scores[0] for row in rows], np.float32),
        object_logits=np.array([row.object_logits[0] for row in rows], np.float32),
        status=tuple(row.status[0] for row in rows),
        rivals=(None,) * count,
        seen=np.full(count, np.nan, np.float32),
        mask_logits=np.concatenate([row.mask_logits for row in rows]) if rows else np.zeros((0, 1, 1), np.float32),
        windows=windows,
        timings=timings,
        search=tuple(row.search[0] for row in rows),
    )
