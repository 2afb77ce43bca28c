"""Who is here: each visitor has a token nobody can guess, a folder, a project, and a fair share of the network."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from .archive import records, restore
from .decode import decode
from .limits import WAITING, Limits, Refused
from .pools import Pools
from .project import Project
from .roots import Root, sweep
from .seen import read_jpeg
from .shelf import Shelf
from .turns import Place, Turns

KEEP_SECONDS, KEEP_BUSY_SECONDS = 2, 10  # after which work is written to the shelf; the second while a job goes on
PATIENCE = 30  # seconds for a job to notice that it is to end; it asks before each frame
CLOSING_SECONDS = 2  # in which a page may open the next socket while the one before is closing
RELOAD_SECONDS = 10  # in which a page that was closed may be there again
EMPTY_SECONDS = (
    120  # without a request, after which a visit with nothing in it makes room; an open page asks every minute
)


class Visit:
    """One visitor. At any time at most one job (reading, tracking, exporting), which can be cancelled, one upload, one camera, and one request
    that does something with the session; a few more of these may wait, without a thread."""

    def __init__(self, limits: Limits, root: Path, turn: Place, pools: Pools, shelf: Shelf | None = None):
        self.token, self.limits, self.turn = secrets.token_urlsafe(24), limits, turn
        self.folder = Path(tempfile.mkdtemp(prefix="visit-", dir=root))
        self.seen = time.monotonic()
        self.ended = False
        self.project: Project | None = None
        self.video: dict = {}
        self.work: dict = {"kind": "", "done": 0, "of": 0, "error": ""}
        self._pools, self._job, self._stop, self._begin = pools, None, threading.Event(), threading.Lock()
        self._one, self._waiting = asyncio.Lock(), 0
        self._uploading, self._leave = False, None
        self.away: float | None = None  # since when its page is closed
        self.kept: dict = {"id": None, "at": None, "error": ""}  # of the project, on the shelf
        self._shelf, self._keeping, self._said = shelf, threading.Lock(), None

    @property
    def busy(self) -> bool:
        return self._job is not None and not self._job.done()

    @property
    def watching(self) -> bool:
        """A camera is on."""
        return self._leave is not None

    def here(self) -> None:
        """Somebody asked for something. Raises `Refused` when the visit has ended."""
        if self.ended:
            raise Refused("this visit has ended; load the page again", 404)
        self.seen, self.away = time.monotonic(), None

    @property
    def unkept(self) -> bool:
        """Something would be lost if it ended now."""
        return self.busy or (
            self.project is not None and bool(self.project.edits) and self._said != said_in(self.project)
        )

    # One of each -----------------------------------------------------------------------------------------------------
    def begin(self, kind: str, job: Callable, of: int = 0) -> None:
        """Run job(stopped, progress) in the pool of its kind. Raises `Refused` while other work goes on."""
        with self._begin:
            self.here()
            if self.busy:
                raise Refused(f"still {self.work['kind'] or 'busy'}; wait, or cancel it", 429)
            self._stop = stop = threading.Event()
            self.work = work = {"kind": kind, "done": 0, "of": of, "error": ""}

            def run():
                try:
                    job(stop.is_set, lambda done: work.update(done=done))
                except Exception as error:  # shown to its visitor
                    work["error"] = str(error) or type(error).__name__
                finally:
                    work["kind"] = ""

            self._job = self._pools.of[kind].submit(run)

    def cancel(self) -> None:
        """Returns when the job is over."""
        job: Future | None = self._job
        self._stop.set()
        if job is not None and not job.cancel():
            wait([job], PATIENCE)
        self.work["kind"] = ""

    async def cancelled(self) -> None:
        """The same, without a thread that waits."""
        self._stop.set()
        if (job := self._job) is not None and not job.cancel():
            await asyncio.wait([asyncio.wrap_future(job)], timeout=PATIENCE)
        self.work["kind"] = ""

    async def edit(self, function: Callable, *given):
        """function(*given), in the pool for that and alone -> what it returns. Raises `Refused` when too many of this visit wait already."""
        if self._waiting >= WAITING:
            raise Refused(f"{self._waiting} requests of yours wait already; send the next when one is answered", 429)
        self._waiting += 1
        try:
            async with self._one:
                self.here()
                return await asyncio.get_running_loop().run_in_executor(self._pools.of["editing"], function, *given)
        finally:
            self._waiting -= 1

    @contextmanager
    def uploading(self):
        """-> a file for it, which is gone afterwards unless a job has taken it. Raises `Refused` during another upload, or a job."""
        if self.busy or self._uploading:
            raise Refused(
                f"still {'sending' if self._uploading else self.work['kind'] or 'busy'}; wait, or cancel it", 429
            )
        self._uploading = True
        try:
            with tempfile.NamedTemporaryFile(
                prefix="upload-", dir=self.folder, delete=False
            ) as file:  # its own name, never the visitor's
                try:
                    yield file
                except BaseException:
                    Path(file.name).unlink(missing_ok=True)
                    raise
        finally:
            self._uploading = False

    @asynccontextmanager
    async def camera(self, leave: Callable[[], None]):
        """While it is on. leave: called, from any thread, when the visit ends. Raises `Refused` when there is one, and not about to be over."""
        self.here()
        until = time.monotonic() + CLOSING_SECONDS
        while self._leave is not None and time.monotonic() < until:
            await asyncio.sleep(0.05)
        if self._leave is not None:
            raise Refused("a camera of this visit is on; end it first", 429)
        self._leave = leave
        try:
            yield
        finally:
            self._leave, self.seen = None, time.monotonic()

    # Its video -------------------------------------------------------------------------------------------------------
    def read_video(self, path: Path, name: str, tracker, ours: bool = False) -> None:
        """Decode an upload, a video or a saved project, and make a project of it. ours: the file is none that was sent, and stays."""

        def fill(folder: Path, heard: Callable[[dict], None], stopped: Callable[[], bool]) -> None:
            error = decode(path, folder, self.limits, heard, stopped)
            if error:
                raise Refused(error)

        self._read(name, tracker, fill)
        if not ours:
            self._job.add_done_callback(
                lambda _: path.unlink(missing_ok=True)
            )  # also when cancelled before it has begun

    def read_kept(self, kept: str, name: str, tracker) -> None:
        """Go on with a project of the shelf."""

        def fill(folder: Path, heard: Callable[[dict], None], stopped: Callable[[], bool]) -> None:
            saved = self._shelf.take(kept, folder)
            count, size = len(list(folder.iterdir())), read_jpeg(folder)(0).shape[:2]
            heard({"count": count, "size": list(size), "fps": 25.0})
            for record in records(saved, count, size, self.limits):
                heard({"saved": record})

        self._read(name, tracker, fill, kept)

    def _read(self, name: str, tracker, fill: Callable, kept: str | None = None) -> None:
        """A job: fill(folder, heard, stopped) puts frames there and says what they are, as `decode` does; then they are this visit's project."""
        frames = self.folder / "frames"

        def job(stopped, progress):
            about: dict = {}
            saved: list[dict] = []
            work, incoming = self.work, self.folder / "incoming"

            def heard(line: dict):
                if "saved" in line:
                    saved.append(line["saved"])
                    return
                about.update(line)
                work["of"] = min(about.get("expected") or 0, self.limits.frames)
                progress(about.get("count", 0))

            try:
                shutil.rmtree(incoming, ignore_errors=True)
                incoming.mkdir()
                fill(incoming, heard, stopped)
                if not about.get("count"):
                    raise Refused("the video has no frame that can be read")
                project = Project(
                    tracker, read_jpeg(frames), about["count"], tuple(about["size"]), about["fps"], self.turn,
                    self.limits.objects, self.limits.pathways,
                )  # fmt: skip
                restore(project, saved)
                self.close_project()  # not before: a file that cannot be read costs nobody their work
                shutil.rmtree(frames, ignore_errors=True)
                incoming.rename(frames)
            finally:
                shutil.rmtree(incoming, ignore_errors=True)
            project.warm_up()
            cut = (
                [f"only the first {about['count']} frames were read, which is the limit here"]
                if about.get("cut")
                else []
            )
            notes = cut + about.get("problems", [])
            self.kept = {"id": kept, "at": None, "error": ""}
            self._said = said_in(project) if kept else None
            self.project, self.video = project, {
                "name": name, "count": about["count"], "size": about["size"], "fps": project.fps, "notes": notes[:5],
            }  # fmt: skip

        self.begin("reading", job)

    def keep(self) -> None:
        """Write to the shelf what was said and found since the last time. What is wrong is said in `kept`: nobody waits for this."""
        with self._keeping:
            project, video = self.project, self.video
            if self._shelf is None or project is None or not video or not (project.edits or self.kept["id"]):
                return
            said = said_in(project)
            if said == self._said:
                return
            try:
                name = self.kept["id"] or self._shelf.begin(self.folder / "frames", project.count)
                self.kept = self.kept | {"id": name}
                self._shelf.save(name, project, video)
                self._said, self.kept = said, {"id": name, "at": time.time(), "error": ""}
            except (Refused, OSError) as error:
                self.kept = self.kept | {"error": getattr(error, "strerror", None) or str(error)}

    def close_project(self) -> None:
        self.keep()
        with self._keeping:
            if self.project is not None:
                self.project.close()
            self.project, self.video = None, {}

    def close(self) -> None:
        """Everything of it ends: its camera, its job, its files."""
        with self._begin:
            self.ended = True
        if (leave := self._leave) is not None:
            leave()
        self.cancel()
        self.close_project()
        shutil.rmtree(self.folder, ignore_errors=True)


def said_in(project: Project) -> tuple:
    """Differs when something is to be kept again."""
    things = tuple((o, t.name, t.visible) for o, t in dict(project.things).items())
    return project.revision, tuple(map(id, project.edits)), things, tuple(dict(project.fresh).items())


class Visits:
    """All visitors. Those who say nothing for a while are let go, and their files with them; what they worked on stays on the shelf, if there is one."""

    def __init__(self, limits: Limits, shelf: Shelf | None = None):
        sweep()
        self.shelf = shelf
        self.limits, self.turns, self.pools = limits, Turns(), Pools(limits.visitors)
        self._root = Root()
        self._visits: dict[str, Visit] = {}
        self._lock = threading.Lock()
        self._end = threading.Event()
        threading.Thread(target=self._sweep, name="vidmem-app-sweep", daemon=True).start()

    @property
    def root(self) -> Path:
        return self._root.path

    def __len__(self) -> int:
        return len(self._visits)

    def new(self) -> Visit:
        if len(self._visits) >= self.limits.visitors:
            self.make_room()
        with self._lock:
            if len(self._visits) >= self.limits.visitors:
                raise Refused(
                    f"{len(self._visits)} people are here already, which is the limit; try again in a while", 503
                )
            visit = Visit(self.limits, self.root, self.turns.place(), self.pools, self.shelf)
            self._visits[visit.token] = visit
            return visit

    def make_room(self) -> None:
        """Whoever has nothing here loses nothing; then whoever closed the page the longest ago."""
        late = time.monotonic() - EMPTY_SECONDS
        for token, visit in list(self._visits.items()):
            if visit.seen < late and visit.project is None and not visit.busy and not visit.watching:
                self.end(token)
        soon = time.monotonic() - RELOAD_SECONDS
        gone = [
            v
            for v in list(self._visits.values())
            if v.away is not None and (v.away < late or (self.shelf is not None and not v.unkept and v.away < soon))
        ]
        if gone and len(self._visits) >= self.limits.visitors:
            self.end(min(gone, key=lambda visit: visit.away).token)

    def leave(self, token: str) -> None:
        """Its page was closed, or is loaded again: what was done stays for a while, and with nothing done there is nothing to stay for."""
        visit = self._visits.get(token)
        if visit is None:
            return
        if visit.project is None and not visit.busy:
            self.end(token)
        else:
            visit.away = time.monotonic()

    def free(self, kept: str) -> None:
        """Nobody else works on a kept project. Raises `Refused` where somebody does; a visit whose page is gone ends."""
        late = time.monotonic() - EMPTY_SECONDS
        for token, visit in list(self._visits.items()):
            if visit.kept["id"] == kept:
                if visit.away is None and visit.seen > late:
                    raise Refused("this project is open in another tab; go on there, or close it first", 409)
                self.end(token)

    def get(self, token: str) -> Visit:
        visit = self._visits.get(token)
        if visit is None:
            raise Refused("this visit has ended; load the page again", 404)
        visit.here()
        return visit

    def end(self, token: str) -> None:
        with self._lock:
            visit = self._visits.pop(token, None)
        if visit is not None:
            visit.close()

    def sweep(self) -> None:
        late = time.monotonic() - 60 * self.limits.idle_minutes
        for token, visit in list(self._visits.items()):
            closed = visit.away is not None and visit.away < time.monotonic() - EMPTY_SECONDS
            if visit.seen < late or (closed and self.shelf is not None and not visit.unkept):
                self.end(token)

    def keep(self) -> None:
        for visit in list(self._visits.values()):
            if not visit.busy or time.time() - (visit.kept["at"] or 0) > KEEP_BUSY_SECONDS:
                visit.keep()

    def _sweep(self) -> None:
        """Every two seconds: work is kept; and visits that are over end."""
        while not self._end.wait(KEEP_SECONDS):
            self.keep()
            self.sweep()

    def close(self) -> None:
        self._end.set()
        for token in list(self._visits):
            self.end(token)
        self.pools.close()
        self._root.close()
