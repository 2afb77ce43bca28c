"""Workers: processes here, or actors on a Ray cluster. Either may die at any moment; then it is replaced and its item handed back."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import wait
from typing import Protocol

from vidmem.batch.plan import Item
from vidmem.batch.work import Settings, Worker, failure
from vidmem.errors import RuntimeMissing, VidmemError

GRACE = 1.0  # seconds that a worker has to leave by itself
STALL = 600.0  # seconds without a frame after which a worker counts as dead
PULSE = 1.0  # seconds between a worker's signs of life


class Crew(Protocol):
    """`count` places to work at, each with at most one item."""

    count: int

    def give(self, place: int, item: Item) -> None: ...

    def next(self, seconds: float) -> tuple[int, dict | str] | None:
        """The next place that is done: its number and the item's record, or as text why its worker died. None: nothing within that time."""
        ...

    def close(self) -> None: ...


class LocalCrew:
    """Processes that were started afresh: no thread or lock of ours is copied into them. streams: items at a time in each, which share
    its model; on a GPU one stream's host work then hides behind another's kernels, on a CPU it saves memory. stall: seconds without a
    frame, or while the model loads, after which a worker counts as dead."""

    def __init__(self, settings: Settings, workers: int, streams: int = 1, stall: float = STALL):
        self.count, self._streams, self._settings, self._stall = workers * streams, streams, settings, stall
        self._context = multiprocessing.get_context("spawn")
        self._busy: dict[int, float] = {}  # place -> when it was last heard of, on the monotonic clock
        self._died: list[tuple[int, str]] = []
        self._workers = [self._start() for _ in range(workers)]

    def _start(self):
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_serve, args=(theirs, self._settings, self._streams, os.getpid()), name="vidmem-worker", daemon=True
        )
        process.start()
        theirs.close()
        return process, ours

    def give(self, place: int, item: Item) -> None:
        self._busy[place] = time.monotonic()
        try:
            self._workers[place // self._streams][1].send((place, item))
        except OSError:
            pass  # it is dead, which `next` will find

    def next(self, seconds: float) -> tuple[int, dict | str] | None:
        if self._died:
            return self._died.pop()
        ready = wait([pipe for _, pipe in self._workers], seconds)
        for number, pipe in [(n, pipe) for n, (_, pipe) in enumerate(self._workers) if pipe in ready]:
            try:
                message = pipe.recv()
            except (EOFError, OSError):
                self._replace(number)
                return self._died.pop() if self._died else None
            if isinstance(message, VidmemError):  # the model cannot be loaded: no worker ever will
                raise message
            place, record = message
            if record is not None:
                self._busy.pop(place, None)
                return place, record
            if place in self._busy:
                self._busy[place] = time.monotonic()
        late = [place for place, heard in self._busy.items() if time.monotonic() - heard > self._stall]
        if late:
            number = late[0] // self._streams
            self._workers[number][0].kill()
            self._replace(number, f"no frame for {self._stall:g} s")
        return self._died.pop() if self._died else None

    def _replace(self, number: int, why: str = "") -> None:
        """A dead worker by a new one; what it was at goes back."""
        process, pipe = self._workers[number]
        process.join()
        pipe.close()
        self._workers[number] = self._start()
        code = process.exitcode
        died = (
            f"signal {-code}" + (" (killed: perhaps the machine ran out of memory)" if code == -9 else "")
            if code < 0
            else f"exit code {code}"
        )
        lost = sorted(place for place in self._busy if place // self._streams == number)
        self._died += [(place, why or died) for place in lost]
        for place in lost:
            del self._busy[place]

    def close(self) -> None:
        for _, pipe in self._workers:
            pipe.close()  # who waits for an item goes home
        for process, _ in self._workers:
            process.join(GRACE)
            process.terminate()
            process.join(GRACE)
            process.kill()  # a decoder that hangs lets no signal handler run
            process.join()


def _serve(pipe, settings: Settings, streams: int, driver: int) -> None:
    """A worker's life. Ctrl-C reaches the whole group of processes; the driver decides what it means."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with, args=(driver,), daemon=True).start()
    try:
        worker = Worker(settings)
    except VidmemError as error:
        pipe.send(error)
        return
    speaking = threading.Lock()

    def say(place: int, record: dict | None) -> None:
        with speaking:
            pipe.send((place, record))

    def work(place: int, item: Item) -> None:
        last = [time.monotonic()]

        def alive() -> None:
            if time.monotonic() - last[0] > PULSE:
                last[0] = time.monotonic()
                say(place, None)

        try:
            record = worker.do(item, alive)
        except BaseException as error:  # nobody else hears of it: every item gets an answer
            record = {"video": item.name, "stamp": item.stamp} | failure(error)
        say(place, record)

    with ThreadPoolExecutor(streams) as pool:
        while True:
            try:
                pool.submit(work, *pipe.recv())
            except (EOFError, OSError):
                return


def _die_with(driver: int) -> None:
    """A driver that is killed cannot stop its workers; they must not go on beside those of the next run. It says its own number:
    by the time a worker can ask who its parent is, that may be another."""
    while os.getppid() == driver:
        time.sleep(0.2)
    os._exit(1)


class Hand:
    """What a Ray actor is: a `Worker` that is made with its first item, for an actor that still loads must be able to say that it lives."""

    def __init__(self, settings: Settings):
        self._settings, self._making = settings, threading.Lock()
        self._worker: Worker | None = None
        self._heard: dict[str, float] = {}  # item -> when it last went on

    def do(self, item: Item) -> dict:
        def alive() -> None:
            self._heard[item.name] = time.monotonic()

        alive()
        try:
            with self._making:
                worker = self._worker = self._worker or Worker(self._settings)
            alive()
            return worker.do(item, alive)
        finally:
            self._heard.pop(item.name, None)

    def silent(self) -> dict[str, float]:
        """Item -> seconds since it last went on: no clock of another machine is believed."""
        now = time.monotonic()
        return {name: now - heard for name, heard in list(self._heard.items())}


class RayCrew:
    """Actors that hold the model. Only items and records go through Ray; frames stay in the worker, files in the places.

    address: `local`, or of a cluster (`ray://host:10001`, `auto`). stall: seconds without a frame, or while the model loads, after which
    an actor counts as dead; how long one waits for a place in the cluster is the cluster's matter. Raises `RuntimeMissing` without ray.
    """

    def __init__(self, settings: Settings, workers: int, address: str, streams: int = 1, stall: float = STALL):
        try:
            import ray
        except ImportError as error:
            raise RuntimeMissing("--ray needs ray: pip install ray") from error
        self.count, self._streams, self._settings, self._ray = workers * streams, streams, settings, ray
        self._stall = stall
        if not ray.is_initialized():
            os.environ.setdefault(
                "RAY_USAGE_STATS_ENABLED", "0"
            )  # a cluster that is begun here would report to its maker
            here = {"num_cpus": workers, "include_dashboard": False} if address == "local" else {}
            ray.init(address, configure_logging=False, log_to_driver=False, **here)
        device = str(settings.load.get("device") or "cpu")
        needs = {"num_cpus": settings.load.get("threads") or 1, "num_gpus": 0 if device == "cpu" else 1}
        self._actor = ray.remote(**needs, max_concurrency=streams + 1)(Hand)  # one thread more, to say that it lives
        self._workers = [self._actor.remote(settings) for _ in range(workers)]
        self._running: dict = {}  # reference of a record -> place, actor
        self._busy: dict[int, Item] = {}
        self._heard: dict[
            int, float
        ] = {}  # place -> when its item last went on; none before its actor has first answered
        self._asked: dict = {}  # reference of an answer -> number of the actor
        self._next_ask = [0.0] * workers
        self._died: list[tuple[int, str]] = []

    def give(self, place: int, item: Item) -> None:
        actor = self._workers[place // self._streams]
        self._busy[place] = item
        self._running[actor.do.remote(item)] = place, actor
        self._ask()

    def next(self, seconds: float) -> tuple[int, dict | str] | None:
        if self._died:
            return self._died.pop()
        self._ask()
        waits = [*self._running, *self._asked]
        ready, _ = self._ray.wait(waits, num_returns=1, timeout=seconds) if waits else ([], [])
        if ready and ready[0] in self._running:
            place, actor = self._running.pop(ready[0])
            self._forget(place)
            return self._said(ready[0], place, actor)
        if ready:
            self._listen(ready[0])
        for number in {place // self._streams for place in self._silent()}:
            self._give_up(number)
        return self._died.pop() if self._died else None

    def _said(self, answer, place: int, actor) -> tuple[int, dict | str]:
        try:
            return place, self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            if isinstance(cause := getattr(error, "cause", None) or error.__cause__, VidmemError):
                raise cause from None  # the model cannot be loaded: no actor ever will
            self._replace(place // self._streams, actor)
            why = "the Ray actor died: " if isinstance(error, self._ray.exceptions.ActorDiedError) else ""
            return place, why + " ".join(str(error).split())[:300]

    def _ask(self) -> None:
        """Each actor at work, once in a while, how its items go on. One that does not answer is not asked again."""
        now, asked = time.monotonic(), set(self._asked.values())
        for number in {place // self._streams for place in self._busy} - asked:
            if now >= self._next_ask[number]:
                self._next_ask[number] = now + PULSE
                self._asked[self._workers[number].silent.remote()] = number

    def _listen(self, answer) -> None:
        number = self._asked.pop(answer)
        try:
            silent = self._ray.get(answer)
        except self._ray.exceptions.RayError:
            return  # it died, of which the record's reference tells
        now = time.monotonic()
        for place in self._of(number):
            self._heard[place] = now - silent.get(self._busy[place].name, 0.0)

    def _of(self, number: int) -> list[int]:
        return sorted(place for place in self._busy if place // self._streams == number)

    def _silent(self) -> list[int]:
        now = time.monotonic()
        return [place for place, heard in self._heard.items() if now - heard > self._stall]

    def _give_up(self, number: int) -> None:
        """An actor that hangs: by a new one; what it was at goes back."""
        actor = self._workers[number]
        self._ray.kill(actor)
        self._running = {ref: (place, a) for ref, (place, a) in self._running.items() if a is not actor}
        for place in self._of(number):
            self._died.append((place, f"no frame for {self._stall:g} s"))
            self._forget(place)
        self._replace(number, actor)

    def _forget(self, place: int) -> None:
        self._busy.pop(place, None)
        self._heard.pop(place, None)

    def _replace(self, number: int, actor) -> None:
        """Once, though each of its streams reports its death."""
        if self._workers[number] is actor:
            self._workers[number] = self._actor.remote(self._settings)
            self._asked = {answer: n for answer, n in self._asked.items() if n != number}
            self._next_ask[number] = 0.0
            for place in self._of(number):
                self._heard.pop(place, None)

    def close(self) -> None:
        for worker in self._workers:
            self._ray.kill(worker)
        self._ray.shutdown()
