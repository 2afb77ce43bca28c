"""Decoding ahead and writing behind keep the order, lose no error and leave no thread."""

import threading
import time

import pytest
from results import frame, result

from vidmem.video import WriteBehind, prefetch

DEADLINE = 5.0  # seconds; only a hang takes as long


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("vidmem-")]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    until = time.monotonic() + DEADLINE
    while running() and time.monotonic() < until:
        time.sleep(0.01)
    assert running() == []


class Recorder:
    """A sink that remembers, and fails where it is told to."""

    def __init__(self, fail_at=None, fail_close=False, slow=0.0):
        self.written, self.closed, self.threads = [], 0, set()
        self.fail_at, self.fail_close, self.slow = fail_at, fail_close, slow

    def write(self, of, what):
        time.sleep(self.slow)
        if of.index == self.fail_at:
            raise OSError(f"frame {of.index} does not fit")
        assert what.frame_idx == of.index
        self.written.append(of.index)
        self.threads.add(threading.current_thread().name)

    def close(self):
        self.closed += 1
        if self.fail_close:
            raise OSError("the last block does not fit")


def pairs(count):
    for i in range(count):
        yield frame(i), result(frame(i))


def test_prefetch_gives_every_frame_in_order():
    assert [f.index for f in prefetch(frame(i) for i in range(50))] == list(range(50))


def test_prefetch_of_nothing_ends_at_once():
    assert list(prefetch([])) == []


def test_prefetch_decodes_in_a_thread_of_its_own():
    names = []

    def source():
        names.append(threading.current_thread().name)
        yield frame()

    list(prefetch(source()))
    assert names == ["vidmem-decode"]


def test_prefetch_runs_ahead_by_its_depth_and_no_further():
    given = []

    def source():
        for i in range(100):
            given.append(i)
            yield frame(i)

    frames = prefetch(source(), depth=3)
    next(frames)
    until = time.monotonic() + DEADLINE
    while len(given) < 5 and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.05)  # time to run too far
    assert len(given) == 5  # one taken, three waiting, one in hand
    frames.close()


def test_the_sources_exception_reaches_the_consumer_after_the_frames_before_it():
    def source():
        yield frame(0)
        yield frame(1)
        raise ValueError("the cable came loose")

    seen = []
    with pytest.raises(ValueError, match="the cable came loose"):
        for f in prefetch(source()):
            seen.append(f.index)
    assert seen == [0, 1]


def test_closing_prefetch_stops_its_thread_though_the_queue_is_full():
    frames = prefetch((frame(i) for i in range(10**6)), depth=2)
    next(frames)
    assert running() == ["vidmem-decode"]
    frames.close()
    assert running() == []


def test_prefetch_that_was_never_begun_starts_no_thread():
    frames = prefetch(frame(i) for i in range(3))
    assert running() == []
    frames.close()
    assert running() == []


def test_prefetch_lets_the_source_go_when_it_is_closed():
    released = []

    def source():
        try:
            for i in range(10**6):
                yield frame(i)
        finally:
            released.append(True)

    frames = prefetch(source())
    next(frames)
    frames.close()
    assert released == [True]


def test_write_behind_gives_every_sink_every_frame_in_order():
    sinks = [Recorder(), Recorder(slow=0.001)]
    with WriteBehind(sinks, depth=2) as writer:
        for pair in pairs(30):
            writer.write(*pair)
    assert [sink.written for sink in sinks] == [list(range(30))] * 2
    assert sinks[0].threads == {"vidmem-write"}
    assert [sink.closed for sink in sinks] == [1, 1]


def test_a_sinks_error_is_raised_by_a_later_write_and_not_again_by_the_block():
    sinks = [Recorder(fail_at=1), Recorder()]
    seen = 0
    with pytest.raises(OSError, match="frame 1 does not fit"):
        with WriteBehind(sinks) as writer:
            for pair in pairs(2000):
                writer.write(*pair)
                seen += 1
                time.sleep(0.001)
    assert seen < 2000
    assert [sink.closed for sink in sinks] == [1, 1]
    assert sinks[0].written == [0]


def test_an_error_in_the_last_frame_is_raised_by_close():
    sink, other = Recorder(fail_at=2), Recorder()
    writer = WriteBehind([sink, other])
    for pair in pairs(3):
        writer.write(*pair)
    with pytest.raises(OSError, match="frame 2 does not fit"):
        writer.close()
    assert (sink.closed, other.closed) == (1, 1)


def test_an_error_in_closing_one_sink_closes_the_others_and_is_raised():
    sinks = [Recorder(fail_close=True), Recorder(), Recorder(fail_close=True)]
    writer = WriteBehind(sinks)
    with pytest.raises(OSError, match="the last block"):
        writer.close()
    assert [sink.closed for sink in sinks] == [1, 1, 1]


def test_a_failed_sink_does_not_block_the_caller_for_ever():
    writer = WriteBehind([Recorder(fail_at=0)], depth=1)
    done = threading.Event()

    def caller():
        for pair in pairs(100):
            try:
                writer.write(*pair)
            except OSError:
                break
        done.set()

    threading.Thread(target=caller, daemon=True).start()
    assert done.wait(DEADLINE)
    with pytest.raises(OSError):
        writer.close()


def test_the_callers_own_error_is_the_one_that_is_seen():
    sink = Recorder(fail_close=True)
    with pytest.raises(KeyError, match="mine"):
        with WriteBehind([sink]):
            raise KeyError("mine")
    assert sink.closed == 1


def test_what_waits_is_written_before_the_sinks_are_closed_when_the_caller_fails():
    sink = Recorder(slow=0.005)
    with pytest.raises(KeyError):
        with WriteBehind([sink]) as writer:
            for pair in pairs(6):
                writer.write(*pair)
            raise KeyError
    assert sink.written == list(range(6))


def test_closing_twice_does_no_harm():
    sink = Recorder()
    writer = WriteBehind([sink])
    writer.close()
    writer.close()
    assert sink.closed >= 1
