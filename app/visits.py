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

from .archive import restore
from .decode import decode
from .limits import WAITING, Limits, Refused
from .pools import Pools
from .project import Project, read_jpeg
from .roots import Root, sweep
from .turns import Place, Turns

PATIENCE = 30  # seconds for a job to notice that it is to end; it asks before each frame
CLOSING_SECONDS = 2  # in which a page may open the next socket while the one before is closing
EMPTY_SECONDS = (
    120  # without a request, after which a visit with nothing in it makes room; an open page asks every minute
)


class Visit:
    """One visitor. At any time at most one job (reading, tracking, exporting), which can be cancelled, one upload, one camera, and one request
    that does something with the session; a few more of these may wait, without a thread."""

    def __init__(self, limits: Limits, root: Path, turn: Place, pools: Pools):
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
        self.seen = time.monotonic()

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
    def read_video(self, path: Path, name: str, tracker) -> None:
        """Decode an upload, a video or a saved project, and make a project of it."""
        frames = self.folder / "frames"

        def job(stopped, progress):
            said: dict = {}
            saved: list[dict] = []
            work, incoming = self.work, self.folder / "incoming"

            def heard(line: dict):
                if "saved" in line:
                    saved.append(line["saved"])
                    return
                said.update(line)
                work["of"] = min(said.get("expected") or 0, self.limits.frames)
                progress(said.get("count", 0))

            try:
                shutil.rmtree(incoming, ignore_errors=True)
                incoming.mkdir()
                error = decode(path, incoming, self.limits, heard, stopped)
                if error or not said.get("count"):
                    raise Refused(error or "the video has no frame that can be read")
                project = Project(
                    tracker,
                    read_jpeg(frames),
                    said["count"],
                    tuple(said["size"]),
                    said["fps"],
                    self.turn,
                    self.limits.objects,
                    self.limits.pathways,
                )
                restore(project, saved)
                self.close_project()  # not before: a file that cannot be read costs nobody their work
                shutil.rmtree(frames, ignore_errors=True)
                incoming.rename(frames)
            finally:
                shutil.rmtree(incoming, ignore_errors=True)
            project.warm_up()
            self.project = project
            notes = (
                [f"only the first {said['count']} frames were read, which is the limit here"] if said.get("cut") else []
            ) + said.get("problems", [])
            self.video = {
                "name": name,
                "count": said["count"],
                "size": said["size"],
                "fps": project.fps,
                "notes": notes[:5],
            }

        self.begin("reading", job)
        self._job.add_done_callback(
            lambda _: path.unlink(missing_ok=True)
        )  # also when it is cancelled before it has begun

    def close_project(self) -> None:
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


class Visits:
    """All visitors. Those who say nothing for a while are let go, and their files with them."""

    def __init__(self, limits: Limits):
        sweep()
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
            visit = Visit(self.limits, self.root, self.turns.place(), self.pools)
            self._visits[visit.token] = visit
            return visit

    def make_room(self) -> None:
        """Whoever has nothing here loses nothing."""
        late = time.monotonic() - EMPTY_SECONDS
        for token, visit in list(self._visits.items()):
            if visit.seen < late and visit.project is None and not visit.busy and not visit.watching:
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
            if visit.seen < late:
                self.end(token)

    def _sweep(self) -> None:
        while not self._end.wait(10):
            self.sweep()

    def close(self) -> None:
        self._end.set()
        for token in list(self._visits):
            self.end(token)
        self.pools.close()
        self._root.close()
