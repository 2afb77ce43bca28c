"""A job fills its report, closes its sinks whatever happens, and says when a prompt's frame never came."""

import itertools
import threading

import numpy as np
import pytest
from clips import encode

from vidmem import Report, Tracker, track
from vidmem.errors import ModelError, ObjectError, OutputError, PromptError, SourceError
from vidmem.memory import Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.prompts import PromptAt
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
    assert sink.results == [(t, t, 1) for t in range(12)] and report.statuses == {
        1: {Status.TRACKED: 10, Status.OCCLUDED: 2}
    }


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
    with pytest.raises(
        PromptError, match="object 2 waits for frame 40, but the video ended after 6 frames .*last is 5"
    ):
        track(clip(6), new_session(), [CLICK, PromptAt(2, 40, [[12, 12]])], [sink], progress=False, report=report)
    assert len(sink.results) == 6 and sink.closed == 1 and report.frames == 6


@pytest.mark.parametrize(
    "prompts, error", [([PromptAt(1, None, [[float("nan"), 1]])], PromptError), ([CLICK, CLICK], ObjectError)]
)
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


class Listed(list):
    """Frames of a file: their number is known."""

    live, frame_count = False, property(len)


class Overlapping(FakeNetwork):
    """Notes in which thread each frame was encoded."""

    overlaps = True

    def __init__(self):
        super().__init__()
        self.threads = []

    def encode(self, image):
        if image.max() == 255:
            raise ValueError("this one cannot be encoded")
        self.threads.append(threading.current_thread().name.split("_")[0])
        return super().encode(image)


@pytest.mark.parametrize("source, ahead", [(Listed, 9), (iter, 0)])
def test_frames_of_a_file_are_encoded_ahead_and_say_the_same(source, ahead):
    """Not those of a camera: waiting for the next would make every answer a frame late."""
    network, kept, plain = Overlapping(), Kept(), Kept()
    with Session(network, Recent(), Greedy()) as session:
        report = track(source(list(clip(10, hidden=(4,)))), session, [CLICK], [kept], progress=False)
    track(clip(10, hidden=(4,)), new_session(), [CLICK], [plain], progress=False)
    assert kept.results == plain.results and report.statuses == {1: {Status.TRACKED: 9, Status.OCCLUDED: 1}}
    assert network.threads.count("vidmem-encode") == ahead and len(network.threads) == 10
    assert not [t for t in threading.enumerate() if t.name.startswith("vidmem-encode")]


def test_what_the_thread_meets_is_raised_at_its_frame_and_other_frames_may_come_instead():
    frames = list(clip(4))
    frames[2] = Frame(2, None, np.full((24, 32, 3), 255, np.uint8))
    with Session(Overlapping(), Recent(), Greedy()) as session:
        for frame, following in itertools.pairwise(frames[:3]):
            session.expect(following)
            session.step(frame)
        with pytest.raises(ValueError, match="cannot be encoded"):
            session.step(frames[2])
        session.expect(frames[2])
        assert session.step(frames[3]).frame_idx == 3


def test_a_source_that_breaks_loses_no_frame_before_it():
    class Breaking(Listed):
        def __iter__(self):
            return clip(8, broken_at=5)

    kept = Kept()
    with pytest.raises(SourceError, match="frame 5 is broken"):
        track(Breaking([0] * 8), new_session(), [CLICK], [kept], progress=False)
    assert [r[0] for r in kept.results] == [0, 1, 2, 3, 4]


# In one line


@pytest.fixture
def red(tmp_path):
    """Six frames of the red square, as a video; and a tracker that finds it."""
    return encode(tmp_path / "red.mp4", [f.image for f in clip(6)]), Tracker(FakeNetwork(), Recent(), Greedy())


def test_a_video_is_tracked_into_files_in_one_line(red, tmp_path):
    video, tracker = red
    out = tmp_path / "out"
    report = track(video, box=(8, 8, 16, 16), out=out, save=["csv", "png"], model=tracker, progress=False)
    assert report.frames == 6 and report.statuses[1].total() == 6
    assert report.files == [out / "boxes.csv", out / "masks"] and len(list(report.files[1].iterdir())) == 6
    assert repr(report).startswith("Report(6 frames of 1 objects")


def test_the_one_line_takes_a_prompts_file_and_a_look(red, tmp_path):
    video, tracker = red
    (tmp_path / "p.json").write_text('[{"obj_id": 3, "points": [[12, 12]], "label": "dog"}]')
    track(str(video), prompts=tmp_path / "p.json", out=tmp_path / "out", save=["csv"], model=tracker, progress=False)
    assert (tmp_path / "out/boxes.csv").read_text().splitlines()[1].endswith('tracking,"dog"')


def test_the_one_line_says_what_it_lacks_and_never_writes_over_its_source(red, tmp_path):
    video, tracker = red
    with pytest.raises(PromptError, match="nothing to track; give box="):
        track(video, out=tmp_path / "out", model=tracker)
    with pytest.raises(ModelError, match="no model 'giant'"):
        track(video, box=(8, 8, 16, 16), model="giant")
    with pytest.raises(OutputError, match="cannot save 'gif'"):
        track(video, box=(8, 8, 16, 16), out=tmp_path / "out", save=["gif"], model=tracker)
    video.rename(tmp_path / "overlay.mp4")
    with pytest.raises(OutputError, match="written over the source"):
        track(tmp_path / "overlay.mp4", box=(8, 8, 16, 16), out=tmp_path, model=tracker)
    assert track(clip(3), box=(8, 8, 16, 16), model=tracker, progress=False).frames == 3


def test_a_report_says_where_masks_are_unsure():
    from types import SimpleNamespace

    from vidmem.pipeline import Report, count
    from vidmem.types import Status

    report = Report()
    for i, score in enumerate([0.9, 0.5, 0.4, 0.9, 0.55, 0.9, 0.1]):
        status = Status.LOST if i == 6 else Status.TRACKED
        count(report, SimpleNamespace(frame_idx=i, obj_ids=np.array([1]), status=(status,), scores=np.array([score]), timings={"total": 1.0}, events=()))  # fmt: skip
    assert report.unsure == {1: [(1, 2), (4, 4)]}, "what is lost is said otherwise"
    assert "object 1: unsure, so worth a look: frames 1 to 2, 4" in report.summary()
