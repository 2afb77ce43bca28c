"""From a source through a session to sinks: decoding ahead and writing behind, each in a thread of its own."""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from vidmem.catalogue.tracker import Tracker, load
from vidmem.detect import Concept, Watcher, watched
from vidmem.errors import PromptError
from vidmem.prompts import PromptAt, check_inside, load_prompts, make_prompt
from vidmem.render import Look
from vidmem.session import Session, ZoomedSession
from vidmem.session.status import UNSURE
from vidmem.types import Event, Frame, Status
from vidmem.video import SINKS, Ledger, WriteBehind, is_camera, open_camera, open_sinks, open_video, prefetch

SAVED = ("overlay", "png", "rle", "csv")


STRETCHES = 100  # that a report remembers of an object


@dataclass(repr=False)
class Report:
    """What `track` did. It is filled while the job runs, so it tells the truth about a job that was cut short."""

    frames: int = 0
    """Frames stepped and handed to every sink."""
    seconds: float = 0.0
    """Wall-clock time of the whole job, from the first frame decoded to the last file closed."""
    files: list[Path] = field(default_factory=list)
    """What was written, in the order of `save`."""
    interrupted: bool = False
    """Ctrl-C ended it; the files hold every frame until then."""
    statuses: dict[int, Counter] = field(default_factory=dict)
    """obj_id -> frames in each `Status`."""
    dropped: int = 0
    """Frames of a camera that came while others were stepped, and were left out."""
    unsure: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """obj_id -> first and last frames of the stretches whose predicted IoU is under `UNSURE`, at most `STRETCHES`: where a person should look."""
    problems: list[str] = field(default_factory=list)
    """What of the source could not be read and was skipped, or not be kept in a file."""
    step_ms: deque[float] = field(default_factory=lambda: deque(maxlen=10_000))
    """The last 10,000 frames' milliseconds in `Session.step`."""
    events: deque[tuple[int, Event]] = field(default_factory=lambda: deque(maxlen=10_000))
    """What was found: frame index and event, the last 10,000."""
    sought: list[str] = field(default_factory=list)
    """Texts of which nothing was found."""

    @property
    def fps(self) -> float:
        return self.frames / self.seconds if self.seconds else 0.0

    def __repr__(self) -> str:
        files = f", {', '.join(map(str, self.files))}" if self.files else ""
        return f"Report({self.frames} frames of {len(self.statuses)} objects, {self.fps:.1f} fps{files})"

    def summary(self) -> str:
        """A line for each object and each find, and one for the job."""
        lines = [
            f"frame {frame_idx}: {event.kind.replace('_', ' ')}{f' object {event.obj_id}' if event.obj_id else ''}, {event.why}"
            for frame_idx, event in self.events
        ]
        lines += [f"{text!r}: nothing here was credible; the nearest way is a click or a box" for text in self.sought]
        for obj_id, counts in sorted(self.statuses.items()):
            lines.append(f"object {obj_id}: " + ", ".join(f"{counts[s]} frames {s.value}" for s in Status if counts[s]))
            if stretches := self.unsure.get(obj_id):
                longest = sorted(stretches, key=lambda s: -abs(s[1] - s[0]))[:5]
                shown = [f"{a} to {b}" if b != a else str(a) for a, b in longest]
                lines.append(f"object {obj_id}: unsure, so worth a look: frames {', '.join(shown)}")
        missed = f", {self.dropped} of the camera's were left out" if self.dropped else ""
        return "\n".join([*lines, f"{self.frames} frames in {self.seconds:.1f} s: {self.fps:.1f} fps{missed}"])


def track(
    source,
    session: Session | ZoomedSession | Watcher | None = None,
    prompts: str | Path | Iterable[PromptAt] = (),
    sinks: Iterable = (),
    *,
    points=None,
    labels=None,
    box=None,
    mask=None,
    text: str | None = None,
    out: str | Path | None = None,
    save: Iterable[str] = SAVED,
    model: str | Tracker = "nano",
    look: Look = Look(),
    sound: bool = True,
    zoom: bool = False,
    progress: bool | None = None,
    report: Report | None = None,
) -> Report:
    """Follow objects through a whole source: `vidmem.track("clip.mp4", box=(420, 130, 560, 300), out="results")`.

    source: a file, a folder, a camera (`"0"`, `"rtsp://..."`), what `open_video` gives, or any iterable of `Frame`. points, labels, box, mask: object 1 on the first
    frame, as `Session.add` takes them; text: words to look for instead, such as `"black dog"`. prompts: a prompts file, or `PromptAt`,
    each of which waits for its frame (a text is looked for from the first). out: a folder for
    the files that `save` names (see `vidmem.video.SINKS`), drawn as `look` says; sound: the overlay keeps the source's. model: a name,
    or a `Tracker`. zoom: follow small objects at full resolution (`Tracker.zoomed`). session, sinks: your own (a `Watcher` around the session where prompts hold texts) instead of what is made of `model` and `out`; sinks are closed whatever happens. progress: a
    bar on standard error; None: only on a terminal. report: a `Report` to fill, for callers that want to look while it runs.

    With a search that lags, frames wait in memory for their answer: `lag` of them, or with `lag=None` all of the video.

    Ctrl-C ends the job cleanly and sets `Report.interrupted`. Errors of the source or a sink are raised after every sink
    was closed, so the files hold all frames until then. Raises `PromptError` where nothing says what to track, for a text that is not
    understood or that nobody looks for, and at the end if a
    prompt's frame never came; `SourceError`, `OutputError`, `ModelError` and `RuntimeMissing` as the parts do.
    """
    report = report or Report()
    with ExitStack() as held:
        if isinstance(source, (str, Path)):
            source = held.enter_context(open_camera(str(source)) if is_camera(source) else open_video(source))
        prompts = load_prompts(prompts) if isinstance(prompts, (str, Path)) else list(prompts)
        if any(given is not None for given in (points, labels, box, mask)):
            prompts.append(PromptAt(1, None, points, labels, box, mask))
        if text is not None:
            prompts.append(PromptAt(max((p.obj_id for p in prompts), default=0) + 1, text=text))
        check_reach(source, prompts)
        if session is None:
            if not prompts:
                raise PromptError(
                    "nothing to track; give box=, points=, mask= or text=, or prompts= for several objects"
                )
            texts, tracker = any(p.text is not None for p in prompts), load(model) if isinstance(model, str) else model
            if zoom and texts:
                raise PromptError("zoom follows places, and a text was given; leave one of them")
            if zoom:
                session = held.enter_context(tracker.zoomed())
            else:
                plain = held.enter_context(tracker.session())
                session = watched(plain) if texts else plain
        sinks = list(sinks)
        if out is not None:
            path, out = getattr(source, "path", None), Path(out)
            names = list(save)
            rate = getattr(source, "frame_rate", None)
            sinks += open_sinks(names, out, rate, Ledger(out), path, look.of(prompts), path if sound else None)
            report.files = [out / SINKS[name][0] for name in names]
        return run(source, session, prompts, sinks, progress, report)


def check_reach(source, prompts: Iterable[PromptAt]) -> None:
    """Raises `PromptError` for a prompt outside the frame or on a frame that will not come, and `SourceError` for images of several sizes:
    before any work. Sources that cannot tell, such as iterables of frames, are not asked."""
    reach = getattr(source, "reach", None)
    if reach is None:
        if getattr(source, "live", False) and any(p.frame_idx for p in prompts):
            raise PromptError(
                "a prompt waits for a frame of a camera, which may be left out; say where the object is on the first"
            )
        return
    late = [p for p in prompts if p.frame_idx is not None]
    first, last = reach(count=bool(late))
    for p in late:
        if not first <= p.frame_idx <= last:
            raise PromptError(
                f"the prompt of object {p.obj_id} waits for frame {p.frame_idx}, but frames {first} to {last} are read; "
                "give a frame that exists"
            )
    for p in prompts:
        if any(given is not None for given in (p.points, p.box, p.mask)):
            try:
                check_inside(make_prompt(p.points, p.labels, p.box, p.mask), source.size)
            except PromptError as error:
                raise PromptError(f"object {p.obj_id}: {error}") from None


def run(
    source,
    session: Session | ZoomedSession | Watcher,
    prompts: list[PromptAt],
    sinks: list,
    progress: bool | None,
    report: Report,
) -> Report:
    """The loop itself; see `track`."""
    from tqdm import tqdm

    steps = session
    watcher, session = (session, session.session) if isinstance(session, Watcher) else (None, session)
    began = time.perf_counter()
    visible = sys.stderr.isatty() if progress is None else progress
    bar = tqdm(total=getattr(source, "frame_count", None), unit="frame", disable=not visible, dynamic_ncols=True)
    try:
        with bar, WriteBehind(sinks) as writer:
            for p in prompts:
                if p.text is not None:
                    _seek(watcher, session, p.obj_id, p.text)
                    continue
                session.add(p.obj_id, points=p.points, labels=p.labels, box=p.box, mask=p.mask, frame_idx=p.frame_idx)
            live = getattr(source, "live", None)  # None: an iterable of frames, of which nobody knows
            frames = iter(source) if live else prefetch(source)
            waiting: deque[Frame] = deque()
            try:
                for frame, following in _with_next(frames, live is not False):
                    if following is not None:
                        session.expect(following)
                    steps.step(frame)
                    waiting.append(frame)
                    _write(steps.settled(), waiting, writer, report)
                    bar.update()
            except KeyboardInterrupt:
                report.interrupted = True
            finally:
                frames.close()
                _write(steps.settled(end=True), waiting, writer, report)
                report.sought += session.sought.values()
                if watcher:
                    report.sought += [concept.text for concept, obj_ids in watcher.concepts.items() if not obj_ids]
    finally:
        report.seconds = time.perf_counter() - began
        report.problems += getattr(source, "problems", [])
        report.dropped = getattr(source, "dropped", 0)
        report.problems += [problem for sink in sinks for problem in getattr(sink, "problems", ())]
    late = {frame: ids for frame, ids in session.waiting().items() if frame >= 0}
    if late and not report.interrupted:
        frame_idx, obj_ids = next(iter(late.items()))
        raise PromptError(
            f"the prompt of object {obj_ids[0]} waits for frame {frame_idx}, but the video ended after {report.frames} frames"
            f"{'' if session.frame_idx is None else f' (the last is {session.frame_idx})'}; give a frame that exists"
        )
    return report


def _seek(watcher: Watcher | None, session: Session | ZoomedSession, obj_id: int, text: str) -> None:
    if watcher is None and session.reads_words:
        session.add(obj_id, text=text)
        return
    if watcher is None:
        raise PromptError(
            f"object {obj_id} is the text {text!r}, and this session has no detector; give track() a Watcher(session, detector), "
            "or a click, box or mask"
        )
    watcher.add(Concept(obj_id, text, watcher.detector.prepare(text).limit))


def _with_next(frames: Iterable[Frame], live: bool) -> Iterator[tuple[Frame, Frame | None]]:
    """Each frame with the one after it; live, or perhaps: without, for to wait for it would make every answer a frame late."""
    if live:
        yield from ((frame, None) for frame in frames)
        return
    last = None
    try:
        for frame in frames:
            if last is not None:
                yield last, frame
            last = frame
    except Exception:
        if last is not None:
            yield last, None  # the source broke after it
        raise
    if last is not None:
        yield last, None


def _write(results, waiting: deque, writer: WriteBehind, report: Report) -> None:
    """Hand settled results on, each with its frame; a search that lags leaves frames waiting for theirs."""
    for result in results:
        frame = waiting.popleft()
        writer.write(frame, result)
        count(report, result)


def count(report: Report, result) -> None:
    """Add a frame's result to the report."""
    report.frames += 1
    for obj_id, status, score in zip(result.obj_ids.tolist(), result.status, result.scores.tolist()):
        report.statuses.setdefault(obj_id, Counter())[status] += 1
        if status is Status.TRACKED and score < UNSURE:
            stretches = report.unsure.setdefault(obj_id, [])
            if stretches and abs(result.frame_idx - stretches[-1][1]) == 1:
                stretches[-1] = stretches[-1][0], result.frame_idx
            elif len(stretches) < STRETCHES:
                stretches.append((result.frame_idx, result.frame_idx))
    report.step_ms.append(result.timings["total"])
    report.events += [(result.frame_idx, event) for event in result.events]
