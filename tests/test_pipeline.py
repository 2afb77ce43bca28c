"""A job fills its report, closes its sinks whatever happens, and says when a prompt's frame never came."""

import numpy as np
import pytest

from vidmem import Report, track
from vidmem.errors import ObjectError, PromptError, SourceError
from vidmem.memory import Recent
from vidmem.prompts import PromptAt
from vidmem.runtime.fake import FakeNetwork
from vidmem.search import Greedy, Tree
from vidmem.session import Session
from vidmem.types import Frame, Status
from vidmem.video import Sink


class Kept(Sink):
    """Keeps what it is given."""

    def __init__(self, fail_at=None):
        self.results, self.closed, self.fail_at = [], 0, fail_at

    def write(self, frame, result):
        if frame.index == self.fail_at:
            raise OSError("no space")
        self.results.append((frame.index, result.frame_idx, len(result.obj_ids)))

    def close(self):
        self.closed += 1


def clip(count: int, hidden=(), broken_at=None):
    """A red square on black."""
    for t in range(count):
        if t == broken_at:
            raise SourceError(f"frame {t} is broken")
        image = np.zeros((24, 32, 3), np.uint8)
        if t not in hidden:
            image[8:16, 8:16] = (220, 30, 30)
        yield Frame(t, None, image)


def new_session() -> Session:
    return Session(FakeNetwork(), Recent(), Greedy())


CLICK = PromptAt(1, None, [[12, 12]])


def test_every_frame_reaches_every_sink_in_order_and_the_report_counts_them():
    sinks = [Kept(), Kept()]
    report = track(clip(12, hidden=(4, 5)), new_session(), [CLICK], sinks, progress=False)
    assert all(s.results == [(t, t, 1) for t in range(12)] and s.closed == 1 for s in sinks)
    assert report.frames == 12 == len(report.step_ms) and not report.interrupted
    assert report.statuses == {1: {Status.TRACKED: 10, Status.OCCLUDED: 2}}
    assert report.fps > 0 and "object 1: 10 frames tracking, 2 frames occluded" in report.summary()


@pytest.mark.parametrize("lag", [0, 4, 40, None])
def test_a_search_that_lags_loses_no_frame_and_mixes_none_up(lag):
    sink = Kept()
    session = Session(FakeNetwork(), Recent(), Tree(3, lag=lag))
    report = track(clip(12, hidden=(4, 5)), session, [CLICK], [sink], progress=False)
    assert sink.results == [(t, t, 1) for t in range(12)] and report.statuses == {1: {Status.TRACKED: 10, Status.OCCLUDED: 2}}


def test_ctrl_c_writes_the_frames_that_wait_for_a_lagging_search(monkeypatch):
    session, sink = Session(FakeNetwork(), Recent(), Tree(3)), Kept()
    step = session.step

    def interrupted(frame):
        if frame.index == 7:
            raise KeyboardInterrupt
        return step(frame)

    monkeypatch.setattr(session, "step", interrupted)
    report = track(clip(9), session, [CLICK], [sink], progress=False)
    assert report.interrupted and sink.results == [(t, t, 1) for t in range(7)] and sink.closed == 1


def test_prompts_wait_for_their_frames():
    sink = Kept()
    track(clip(6), new_session(), [CLICK, PromptAt(2, 3, [[12, 12]])], [sink], progress=False)
    assert [count for *_, count in sink.results] == [1, 1, 1, 2, 2, 2]


def test_a_prompt_past_the_end_is_reported_after_all_results_are_written():
    sink, report = Kept(), Report()
    with pytest.raises(PromptError, match="object 2 waits for frame 40, but the video ended after 6 frames .*last is 5"):
        track(clip(6), new_session(), [CLICK, PromptAt(2, 40, [[12, 12]])], [sink], progress=False, report=report)
    assert len(sink.results) == 6 and sink.closed == 1 and report.frames == 6


@pytest.mark.parametrize("prompts, error", [([PromptAt(1, None, [[float("nan"), 1]])], PromptError), ([CLICK, CLICK], ObjectError)])
def test_a_bad_prompt_closes_the_sinks_before_any_frame(prompts, error):
    sink, read = Kept(), []
    with pytest.raises(error):
        track((read.append(f) or f for f in clip(6)), new_session(), prompts, [sink], progress=False)
    assert sink.closed == 1 and sink.results == [] and read == []


def test_an_error_of_the_source_keeps_the_frames_before_it():
    sink, report = Kept(), Report()
    with pytest.raises(SourceError, match="frame 4 is broken"):
        track(clip(9, broken_at=4), new_session(), [CLICK], [sink], progress=False, report=report)
    assert len(sink.results) == 4 == report.frames and sink.closed == 1


def test_an_error_of_a_sink_closes_the_others():
    good, bad = Kept(), Kept(fail_at=2)
    with pytest.raises(OSError, match="no space"):
        track(clip(50), new_session(), [CLICK], [good, bad], progress=False)
    assert good.closed == bad.closed == 1 and len(good.results) >= 2


def test_ctrl_c_ends_a_job_with_all_frames_until_then(monkeypatch):
    session, sink = new_session(), Kept()
    step = session.step

    def interrupted(frame):
        if frame.index == 3:
            raise KeyboardInterrupt
        return step(frame)

    monkeypatch.setattr(session, "step", interrupted)
    report = track(clip(9), session, [CLICK, PromptAt(2, 8, [[12, 12]])], [sink], progress=False)
    assert report.interrupted and report.frames == 3 == len(sink.results) and sink.closed == 1
