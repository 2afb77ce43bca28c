"""Who is here: each visitor has a token nobody can guess, a folder, a project, and a fair share of the network."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
import time
import zipfile
from collections import deque
from contextlib import contextmanager
from pathlib import Path

from .decode import decode
from .export import restore, unpack
from .limits import Limits, Refused
from .project import Project, read_jpeg


class Turns:
    """A lock that goes round: whoever asked first is next, so a long job of one visitor waits a frame for another's click."""

    def __init__(self):
        self._waiting: deque = deque()
        self._free = threading.Condition()
        self._holder: int | None = None

    def __enter__(self):
        me, who = object(), threading.get_ident()
        with self._free:
            self._waiting.append(me)
            self._free.wait_for(lambda: self._holder is None and self._waiting[0] is me)
            self._waiting.popleft()
            self._holder = who
        return self

    def __exit__(self, *exc):
        with self._free:
            self._holder = None
            self._free.notify_all()


class Visit:
    """One visitor. At most one long piece of work (reading, tracking, exporting) at a time, in a thread, which can be cancelled."""

    def __init__(self, limits: Limits, root: Path):
        self.token, self.limits = secrets.token_urlsafe(24), limits
        self.folder = Path(tempfile.mkdtemp(prefix="visit-", dir=root))
        self.seen = time.monotonic()
        self.watching = False  # a camera is on: requests come through its socket
        self.project: Project | None = None
        self.video: dict = {}
        self.work: dict = {"kind": "", "done": 0, "of": 0, "error": ""}
        self._thread: threading.Thread | None = None
        self._stop, self._begin = threading.Event(), threading.Lock()

    @property
    def busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def begin(self, kind: str, job, of: int = 0) -> None:
        """Run job(stopped, progress) in a thread. Raises `Refused` while other work goes on."""
        with self._begin:
            if self.busy:
                raise Refused(f"still {self.work['kind']}; wait, or cancel it", 409)
            self._stop.clear()
            self.work = work = {"kind": kind, "done": 0, "of": of, "error": ""}

            def run():
                try:
                    job(self._stop.is_set, lambda done: work.update(done=done))
                except Exception as error:  # shown to its visitor
                    work["error"] = str(error) or type(error).__name__
                finally:
                    work["kind"] = ""

            self._thread = threading.Thread(target=run, name=f"vidmem-app-{kind}", daemon=True)
            self._thread.start()

    def cancel(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def read_video(self, path: Path, name: str, tracker, turn) -> None:
        """Decode an upload, a video or a saved project, and make a project of it."""
        frames = self.folder / "frames"

        def job(stopped, progress):
            said: dict = {}

            def heard(line: dict):
                said.update(line)
                self.work["of"] = min(said.get("expected") or 0, self.limits.frames)
                progress(said.get("count", 0))

            saved, incoming, unpacked = None, self.folder / "incoming", self.folder / "unpacked"
            for folder in (incoming, unpacked):
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
            try:
                if zipfile.is_zipfile(path):
                    saved = unpack(path, unpacked, self.limits)
                error = decode(unpacked if saved else path, incoming, self.limits, heard, stopped)
            finally:
                path.unlink(missing_ok=True)
                shutil.rmtree(unpacked, ignore_errors=True)
            if error or not said.get("count"):
                raise Refused(error or "the video has no frame that can be read")
            project = Project(tracker, read_jpeg(frames), said["count"], tuple(said["size"]), said["fps"], turn, self.limits.objects)
            if saved:
                project.fps = restore(project, saved)
            self.close_project()  # not before: a file that cannot be read costs nobody their work
            shutil.rmtree(frames, ignore_errors=True)
            incoming.rename(frames)
            project.warm_up()
            self.project = project
            notes = ([f"only the first {said['count']} frames were read, which is the limit here"] if said.get("cut") else []) + said.get("problems", [])
            self.video = {"name": name, "count": said["count"], "size": said["size"], "fps": project.fps, "notes": notes[:5]}

        self.begin("reading", job)

    def close_project(self) -> None:
        if self.project is not None:
            self.project.close()
        self.project, self.video = None, {}

    def close(self) -> None:
        self.cancel()
        self.close_project()
        shutil.rmtree(self.folder, ignore_errors=True)


class Visits:
    """All visitors. Those who say nothing for a while are let go, and their files with them."""

    def __init__(self, limits: Limits):
        self.limits, self.turn = limits, Turns()
        self.root = Path(tempfile.mkdtemp(prefix="vidmem-app-"))
        self._visits: dict[str, Visit] = {}
        self._lock = threading.Lock()
        self._end = threading.Event()
        threading.Thread(target=self._sweep, name="vidmem-app-sweep", daemon=True).start()

    def __len__(self) -> int:
        return len(self._visits)

    def new(self) -> Visit:
        with self._lock:
            if len(self._visits) >= self.limits.visitors:
                raise Refused(f"{len(self._visits)} people are here already, which is the limit; try again in a while", 503)
            visit = Visit(self.limits, self.root)
            self._visits[visit.token] = visit
            return visit

    def get(self, token: str) -> Visit:
        visit = self._visits.get(token)
        if visit is None:
            raise Refused("this visit has ended; load the page again", 404)
        visit.seen = time.monotonic()
        return visit

    def end(self, token: str) -> None:
        with self._lock:
            visit = self._visits.pop(token, None)
        if visit is not None:
            visit.close()

    def sweep(self) -> None:
        late = time.monotonic() - 60 * self.limits.idle_minutes
        for token, visit in list(self._visits.items()):
            if visit.seen < late and not visit.watching:
                self.end(token)

    def _sweep(self) -> None:
        while not self._end.wait(10):
            self.sweep()

    def close(self) -> None:
        self._end.set()
        for token in list(self._visits):
            self.end(token)
        shutil.rmtree(self.root, ignore_errors=True)


@contextmanager
def visiting(limits: Limits):
    visits = Visits(limits)
    try:
        yield visits
    finally:
        visits.close()
