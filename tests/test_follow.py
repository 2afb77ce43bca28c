"""Live jobs: the newest answer never waits, what is old says so, what breaks is opened again, and nothing piles up."""

import socket
import threading
import time
from collections import deque
from contextlib import contextmanager

import numpy as np
import pytest

from vidmem.errors import ObjectError, PromptError, SessionClosed, SourceError
from vidmem.live import Backoff, Histogram, Limits, Live, Validity, paced
from vidmem.live.systemd import notify
from vidmem.memory import Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.search import Greedy
from vidmem.session import Session
from vidmem.types import Frame

SIZE = (48, 64)
NOW = Backoff(first=0.01, most=0.02, jitter=0)
PATIENT = Limits(deadline_ms=5_000, stale_after_ms=20_000, invalid_after_ms=60_000, stall_seconds=60)
BOX = (16, 16, 32, 32)


def frame(index: int, x: int = 16, size=SIZE) -> Frame:
    image = np.full((*size, 3), 40, np.uint8)
    image[16:32, x : x + 16] = (250, 30, 30)
    image[-1, -1] = index % 251  # no two frames are the same picture
    return Frame(index, index / 30, image)


class Slow(FakeNetwork):
    seconds = 0.0

    def encode(self, image):
        time.sleep(self.seconds)
        return super().encode(image)


class Script:
    """A source: each opening plays the next part, a list of frames, or of what to wait for and raise."""

    def __init__(self, *parts):
        self.parts, self.opened, self.gone = list(parts), 0, threading.Event()

    @contextmanager
    def __call__(self):
        part = self.parts[min(self.opened, len(self.parts) - 1)]
        self.opened += 1
        if isinstance(part, Exception):
            raise part
        yield self._play(part)

    def _play(self, part):
        for item in part:
            if isinstance(item, float):
                time.sleep(item)
            elif isinstance(item, threading.Event):
                item.wait(20)
            elif isinstance(item, Exception):
                raise item
            else:
                yield item


@contextmanager
def job(source, limits=PATIENT, network=None, **how):
    session = Session(network or FakeNetwork(), Recent(), Greedy, cuts=None)
    with Live(source, session, limits, **({"backoff": None} | how)) as live:
        yield live


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)


def at(live) -> int | None:
    """The newest answer's frame."""
    result = live.latest().result
    return None if result is None else result.frame_idx


def kinds(live) -> list[str]:
    return [event.kind for event in live.events]


def test_the_newest_answer_says_how_old_it_is_and_never_shows_a_frozen_mask():
    now, hold = [0], threading.Event()
    limits = Limits(deadline_ms=50, stale_after_ms=150, invalid_after_ms=500)
    with job(Script([hold, frame(0), frame(1), threading.Event()]), limits, clock=lambda: now[0]) as live:
        first = live.latest()
        assert first.validity is Validity.INVALID and first.result is None and first.age_ms == float("inf")
        asked = live.add(1, box=BOX)
        hold.set()
        assert asked.result(20).masks[0].any()
        until(lambda: at(live) == 1)
        for ms, validity in ((0, "fresh"), (150, "fresh"), (151, "stale"), (500, "stale"), (501, "invalid")):
            now[0] = ms * 1_000_000
            answer = live.latest()
            assert (answer.validity, answer.age_ms) == (validity, ms)
            assert answer.result.masks.any() == answer.result.boxes.any() == (validity != "invalid")
        assert live.latest().result.obj_ids.tolist() == [1]


def test_asking_never_waits_for_the_worker():
    network = Slow()
    with job(Script([frame(0), 0.2, frame(1), threading.Event()]), network=network) as live:
        until(lambda: live.latest().result is not None)
        network.seconds = 1.0
        until(lambda: live._busy is not None)
        spent = []
        while live._busy is not None:
            began = time.perf_counter()
            live.latest()
            spent.append(time.perf_counter() - began)
            time.sleep(0.0005)
        assert len(spent) > 50 and sorted(spent)[int(0.9 * len(spent))] < 0.005


def test_a_deadline_that_passes_is_answered_with_the_last_as_stale_and_the_true_one_comes_late():
    network = Slow()
    limits = Limits(deadline_ms=60, stale_after_ms=5_000, invalid_after_ms=20_000)
    hold = threading.Event()
    with job(Script([frame(0), hold, frame(1), threading.Event()]), limits, network) as live:
        answers = iter(live)
        assert next(answers).result.frame_idx == 0
        network.seconds = 0.5
        hold.set()
        stale, late = next(answers), next(answers)
        assert stale.validity is Validity.STALE and stale.result.frame_idx == 0
        assert late.result.frame_idx == 1 and late.late and "overrun" in kinds(live)


def test_whoever_is_slow_loses_frames_and_not_time():
    network = Slow()
    network.seconds = 0.05
    with job(Script([frame(t) if t % 2 == 0 else 0.005 for t in range(80)]), network=network) as live:
        until(lambda: live.over)
    stats = live.stats()
    assert stats["captured"] == 40 and stats["worked"] < 20
    assert stats["worked"] + stats["dropped"] == 40 and live.latest().result.frame_idx == 78
    assert stats["answer"]["count"] == stats["worked"] and stats["step"]["p50"] >= 45


def test_a_source_that_breaks_is_opened_again_and_indices_go_on():
    source = Script(
        SourceError("no camera"), SourceError("no camera"), [frame(0), 0.05, frame(1), 0.05, SourceError("pulled out")],
        [frame(0), 0.05, frame(3), 0.05], [frame(0), threading.Event()],
    )  # fmt: skip
    with job(source, backoff=NOW) as live:
        live.add(1, box=BOX)
        until(lambda: source.opened == 5 and at(live) == 6)
        seen = kinds(live)
        assert seen.count("reconnecting") == 4 and seen.count("reconnected") == 3 and "failed" not in seen
        assert live.latest().result.masks[0].any(), "the session was kept"
    assert any("pulled out" in event.why for event in live.events)


def test_it_gives_up_where_it_is_told_to_and_says_so():
    with job(Script(SourceError("no camera")), backoff=Backoff(first=0.001, most=0.001, attempts=3)) as live:
        until(lambda: live.over)
    assert kinds(live) == ["reconnecting"] * 3 + ["failed"] and live.latest().validity is Validity.INVALID
    with job(Script([frame(0)])) as live:
        until(lambda: live.over)
        assert kinds(live)[-1] == "ended"
        with pytest.raises(SessionClosed):
            live.add(1, box=BOX)


def test_waits_grow_up_to_their_limit_and_vary():
    rule = Backoff(first=0.5, factor=2, most=10, jitter=0.2)

    class Middle:
        def uniform(self, low, high):
            return (low + high) / 2

    assert [rule.wait(k, Middle()) for k in (0, 1, 2, 3, 4, 5, 10_000)] == [0.5, 1, 2, 4, 8, 10, 10]


def test_frames_of_another_size_are_refused_and_nothing_is_shown_until_they_are_back():
    hold, back = threading.Event(), threading.Event()
    source = Script(
        [frame(0), hold, frame(1, size=(60, 80)), frame(2, size=(60, 80)), back, frame(3), threading.Event()]
    )
    with job(source) as live:
        live.add(1, box=BOX)
        until(lambda: live.latest().result is not None)
        hold.set()
        until(lambda: "format_changed" in kinds(live))
        answer = live.latest()
        assert answer.validity is Validity.INVALID and not answer.result.masks.any()
        back.set()
        until(lambda: at(live) == 3)
        assert live.latest().validity is Validity.FRESH and kinds(live).count("format_changed") == 1


def test_a_picture_that_comes_again_is_answered_without_a_step():
    same = frame(0)
    source = Script([part for t in range(60) for part in (Frame(t, None, same.image), 0.02)])
    with job(source) as live:
        until(lambda: live.over)
    assert live.worked == 1 and live.duplicates >= 3


def test_prompts_that_cannot_be_used_are_told_to_who_gave_them_alone():
    with job(Script([frame(t) if t % 2 else 0.02 for t in range(2000)]), max_objects=1) as live:
        assert live.add(1, box=BOX).result(20).obj_ids.tolist() == [1]
        for wrong, error in (
            ({"obj_id": 2, "box": BOX}, ObjectError), ({"obj_id": 1, "points": [(900, 3)]}, PromptError), ({"obj_id": 1}, PromptError),
        ):  # fmt: skip
            with pytest.raises(error):
                live.add(**wrong).result(20)
        with pytest.raises(ObjectError):
            live.remove(5).result(20)
        live.remove(1).result(20)
        until(lambda: live.latest().result.obj_ids.size == 0)
        assert "failed" not in kinds(live)


def test_an_object_that_would_break_the_deadline_is_refused_where_that_is_asked_for():
    network = Slow()
    network.seconds = 0.04
    limits = Limits(deadline_ms=60, stale_after_ms=5_000, invalid_after_ms=20_000)
    with job(Script([frame(t) if t % 2 else 0.01 for t in range(2000)]), limits, network, max_objects=0) as live:
        live.add(1, box=BOX).result(20)
        until(lambda: live.worked > 3)
        with pytest.raises(ObjectError, match="deadline is 60 ms"):
            live.add(2, box=BOX).result(20)


def test_silence_and_its_end_are_events_and_so_is_a_network_that_hangs(capfd):
    network, hold = Slow(), threading.Event()
    limits = Limits(stall_seconds=0.3, hang_seconds=0.3)
    with job(Script([frame(0), hold, frame(1), 0.01, frame(2), 0.3]), limits, network) as live:
        until(lambda: "stalled" in kinds(live))
        network.seconds = 1.0
        hold.set()
        until(lambda: "failed" in kinds(live))
        assert live.latest().validity is Validity.INVALID and "resumed" in kinds(live)
    assert "in encode" in capfd.readouterr().err, "where every thread stands"


def test_status_changes_are_told_and_a_listener_that_is_slow_or_broken_costs_only_itself():
    away = [Frame(t, None, np.full((*SIZE, 3), 40 + t, np.uint8)) for t in range(2, 40)]
    parts = [part for f in (frame(0), frame(1), *away, *map(frame, range(40, 60))) for part in (f, 0.02)]
    heard, wait = [], threading.Event()

    def listen(event):
        wait.wait(20)
        heard.append(event.kind)
        raise ValueError("my own fault")

    with job(Script(parts), heard=listen) as live:
        live.add(1, box=BOX)
        until(lambda: live.over)
        wait.set()
        until(lambda: len(heard) >= 4)
    assert [kind for kind in kinds(live) if kind in ("occluded", "lost", "reacquired")] == [
        "occluded",
        "lost",
        "reacquired",
    ]
    assert heard[0] == "started"


def test_a_broken_network_ends_the_job_and_says_why():
    class Broken(FakeNetwork):
        def encode(self, image):
            raise RuntimeError("out of memory")

    threading.excepthook, kept = (lambda _: None), threading.excepthook
    try:
        with job(Script([frame(0), threading.Event()]), network=Broken()) as live:
            until(lambda: live.over)
            assert "out of memory" in live.events[-1].why and kinds(live)[-1] == "failed"
    finally:
        threading.excepthook = kept


def test_nothing_grows_over_many_frames():
    import gc

    running = []

    @contextmanager
    def in_step():
        """The next frame when the last one is answered."""

        def frames():
            for t in range(2_000):
                yield frame(t)
                while not running or running[0].worked <= t:
                    time.sleep(0.0002)

        yield frames()

    network = FakeNetwork()
    network.reads = deque(maxlen=1)
    with job(in_step, network=network) as live:
        live.add(1, box=BOX)
        running.append(live)
        until(lambda: live.worked > 300, 60)
        gc.collect()
        before, threads = len(gc.get_objects()), threading.active_count()
        until(lambda: live.worked > 1_900, 120)
        gc.collect()
        assert len(gc.get_objects()) < before + 1500 and threading.active_count() <= threads
        until(lambda: live.over)
    assert live.worked == 2_000 and live.dropped == 0


def test_percentiles_of_a_histogram_are_within_a_few_per_cent():
    kept, rng = Histogram(), np.random.default_rng(0)
    values = rng.lognormal(3, 0.7, 20_000)
    for value in values:
        kept.add(value)
    for share in (0.5, 0.95, 0.99):
        assert kept.percentile(share) == pytest.approx(np.quantile(values, share), rel=0.05)
    assert kept.told()["max"] == pytest.approx(values.max(), abs=1e-3) and kept.jitter == pytest.approx(
        values.std(), rel=0.01
    )
    assert Histogram().told() == {"p50": 0, "p95": 0, "p99": 0, "max": 0, "jitter": 0, "count": 0}
    kept.add(1e9), kept.add(-1.0)


def test_a_file_plays_at_its_own_speed():
    began = time.monotonic()
    assert len(list(paced([Frame(t, t / 20, frame(0).image) for t in range(7)], 25))) == 7
    assert 0.29 < time.monotonic() - began < 3


def test_systemd_is_told_where_it_listens(tmp_path, monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("WATCHDOG=1")
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        assert notify("WATCHDOG=1") and listener.recv(64) == b"WATCHDOG=1"
    path.unlink()
    assert not notify("WATCHDOG=1"), "nobody listens any more"


def test_limits_out_of_order_are_refused():
    with pytest.raises(ValueError, match="in this order"):
        Limits(deadline_ms=200, stale_after_ms=100)
    with pytest.raises(ValueError, match="deadline_ms"):
        Limits(deadline_ms=float("nan"))
