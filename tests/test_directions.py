"""Frames backwards are the same frames; tracking to both ends gives each object the direction that its prompt came from."""

import numpy as np
import pytest
from clips import encode, noisy, number, numbered, numbers, pictures

from vidmem import PromptAt, Tracker
from vidmem.directions import track_back
from vidmem.errors import SourceError
from vidmem.memory import Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.search import Greedy
from vidmem.types import Frame
from vidmem.video import Sink, backwards, open_video
from vidmem.video.backwards import Backwards


def same(source, **more) -> None:
    """Backwards gives what forwards gives, in the opposite order."""
    with open_video(source, **more) as video:
        forth, back = list(video), list(Backwards(video))
    assert [f.index for f in back] == [f.index for f in reversed(forth)]
    for one, other in zip(back, reversed(forth)):
        assert (one.image == other.image).all() and one.pts_seconds == pytest.approx(other.pts_seconds)


@pytest.mark.parametrize("at_a_time", [1, 3, 100])
def test_a_video_backwards_is_the_same_frames(tmp_path, monkeypatch, at_a_time):
    monkeypatch.setattr(backwards, "CHUNK", at_a_time * 3 * 48 * 64)
    path = numbered(tmp_path / "a.mp4")
    same(path)
    same(path, start=2, end=7, max_size=32)
    assert numbers(Backwards(open_video(path), last=4)) == [4, 3, 2, 1, 0]


@pytest.mark.parametrize("gop", [1, 5, 250])
def test_frames_that_lean_on_others_come_whole(tmp_path, monkeypatch, gop):
    path = noisy(tmp_path / "a.mp4", gop=gop)
    with open_video(path) as video:
        monkeypatch.setattr(backwards, "CHUNK", 4 * 3 * video.size[0] * video.size[1])
    same(path)


def test_frames_that_are_stored_out_of_order_come_in_order(tmp_path, monkeypatch):
    path = numbered(tmp_path / "a.mp4", options={"bf": "3", "b_strategy": "0", "preset": "medium", "g": "6"})
    monkeypatch.setattr(backwards, "CHUNK", 2 * 3 * 48 * 64)
    same(path)


def test_a_folder_backwards_leaves_out_what_cannot_be_read(tmp_path):
    folder = pictures(tmp_path / "f", [f"{i}.png" for i in range(5)])
    (folder / "2.png").write_bytes(b"broken")
    video = open_video(folder)
    assert [number(f.image) for f in Backwards(video)] == [4, 3, 1, 0] and "2.png" in video.problems[0]


def test_a_video_without_times_is_refused(tmp_path):
    path = encode(tmp_path / "a.h264", [np.full((48, 64, 3), 9 * i, np.uint8) for i in range(5)])
    with open_video(path) as video:
        times = [f.pts_seconds for f in video]
        try:
            assert [f.index for f in Backwards(video)] == [4, 3, 2, 1, 0] and len(times) == 5
        except SourceError as error:
            assert "cannot be read backwards; convert it to MP4" in str(error)


class Kept(Sink):
    def __init__(self):
        self.results, self.closed = [], 0

    def write(self, frame: Frame, result) -> None:
        self.results.append((frame.index, result))

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def video(tmp_path):
    """A red square goes to the right for eight frames, and on all but the first two a green one stands below."""
    images = []
    for t in range(8):
        image = np.zeros((48, 64, 3), np.uint8)
        image[8:16, 4 + 5 * t : 14 + 5 * t] = (230, 20, 20)
        if t >= 2:
            image[30:42, 20:36] = (20, 230, 20)
        images.append(image)
    return open_video(encode(tmp_path / "v.mp4", images))


def new_tracker() -> Tracker:
    return Tracker(FakeNetwork(), Recent(), Greedy())


def test_each_object_goes_from_its_prompt_to_both_ends(video):
    sink = Kept()
    prompts = [PromptAt(1, 3, [[22, 12]]), PromptAt(2, 5, [[28, 36]])]
    report = track_back(video, new_tracker(), prompts, [sink], both_ways=True, progress=False)
    assert [i for i, _ in sink.results] == list(range(8)) == [r.frame_idx for _, r in sink.results] and sink.closed == 1
    assert all(r.obj_ids.tolist() == [1, 2] for _, r in sink.results)
    assert report.frames == 8 and sum(report.statuses[1].values()) == 8
    for t, r in sink.results:
        assert r.masks[0, 12, 8 + 5 * t] and r.masks.shape == (2, 48, 64) and r.mask_logits.dtype == np.float32


def test_reverse_goes_from_the_end_and_files_are_in_the_order_of_time(video):
    sink = Kept()
    report = track_back(video, new_tracker(), [PromptAt(1, None, [[44, 12]])], [sink], progress=False)
    assert [i for i, _ in sink.results] == list(range(8)) and report.frames == 8
    assert all(r.masks[0, 12, 8 + 5 * t] for t, r in sink.results)


def test_both_ways_from_the_first_frame_is_forwards_alone(video, monkeypatch):
    monkeypatch.setattr("vidmem.directions.Backwards", None)  # it would fail
    sink = Kept()
    track_back(video, new_tracker(), [PromptAt(1, None, [[8, 12]])], [sink], both_ways=True, progress=False)
    assert len(sink.results) == 8


def test_ctrl_c_keeps_what_was_found(video, monkeypatch):
    from vidmem.session import Session

    step = Session.step

    def interrupted(self, frame):
        if frame.index == 5:
            raise KeyboardInterrupt
        return step(self, frame)

    monkeypatch.setattr(Session, "step", interrupted)
    sink = Kept()
    report = track_back(video, new_tracker(), [PromptAt(1, 3, [[22, 12]])], [sink], both_ways=True, progress=False)
    assert report.interrupted and [i for i, _ in sink.results] == [3, 4] and sink.closed == 1
