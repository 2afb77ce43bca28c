"""The overlay video: what plays it, which timestamps it keeps, and what a kill leaves of it."""

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from clips import boxes, grey, noisy, number, numbered, stream_of
from results import frame, rectangle, result, write

from vidmem.types import Frame
from vidmem.video import OverlaySink, WriteBehind, open_video

BOX = (10, 20, 30, 40)


def test_the_overlay_is_h264_that_browsers_play_and_has_every_frame(tmp_path):
    path = tmp_path / "overlay.mp4"
    write(OverlaySink(path, Fraction(25)), [Frame(i, i / 25, grey(i)) for i in range(12)])
    codec, pixels, size, times, rate = stream_of(path)
    assert (codec, pixels, size, rate) == ("h264", "yuv420p", (48, 64), 25)
    assert times == pytest.approx([i / 25 for i in range(12)])
    assert [number(f.image) for f in open_video(path)] == list(range(12))


KILLED = """
import os, sys
from fractions import Fraction
import numpy as np
from vidmem.types import Frame
from vidmem.video import OverlaySink
from tests.results import result
sink = OverlaySink(sys.argv[1], Fraction(25))
noise = np.random.default_rng(0)
for i in range(120):
    frame = Frame(i, i / 25, noise.integers(0, 255, (48, 64, 3)).astype(np.uint8))
    sink.write(frame, result(frame))
os._exit(9)
"""


def test_an_overlay_whose_writer_was_killed_plays_up_to_its_last_fragment(tmp_path):
    path = tmp_path / "overlay.mp4"
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)], cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert done.returncode == 9
    assert 48 <= sum(1 for _ in open_video(path)) <= 120


def test_a_closed_overlay_is_a_plain_mp4(tmp_path):
    path = tmp_path / "overlay.mp4"
    write(OverlaySink(path), [frame(i) for i in range(3)])
    assert "moof" not in boxes(path) and "moov" in boxes(path)


@pytest.mark.parametrize("size", [(47, 63), (48, 63), (47, 64), (1, 1)])
def test_odd_sides_are_padded_to_even_and_the_picture_stays_in_its_corner(tmp_path, size):
    height, width = size
    image = np.full((height, width, 3), 200, np.uint8)
    image[: height // 2] = 50
    path = tmp_path / "overlay.mp4"
    write(OverlaySink(path), [Frame(0, None, image)])
    shown = next(iter(open_video(path))).image
    assert shown.shape[:2] == (height + height % 2, width + width % 2)
    assert np.abs(shown[:height, :width].astype(int) - image).mean() < 4
    assert np.abs(shown[-1, :].astype(int) - 200).mean() < 12  # the edge repeats: no black line


def test_the_overlay_keeps_the_timestamps_of_a_variable_rate(tmp_path):
    ticks = [0, 40, 50, 300, 301, 1000]
    source = open_video(numbered(tmp_path / "vfr.mp4", 6, ticks_ms=ticks))
    path = tmp_path / "overlay.mp4"
    write(OverlaySink(path, source.frame_rate), source)
    assert stream_of(path)[3] == pytest.approx([t / 1000 for t in ticks], abs=1e-3)


def test_the_overlay_of_a_part_begins_at_zero_and_keeps_the_pace(tmp_path):
    path = tmp_path / "overlay.mp4"
    write(OverlaySink(path), [Frame(i, i / 10, grey(i)) for i in range(5, 9)])
    assert stream_of(path)[3] == pytest.approx([0, 0.1, 0.2, 0.3], abs=1e-4)


def test_images_without_a_clock_play_at_the_given_rate(tmp_path):
    for rate, step in ((None, 1 / 25), (Fraction(10), 0.1), (Fraction(30000, 1001), 1001 / 30000)):
        path = tmp_path / "overlay.mp4"
        write(OverlaySink(path, rate), [frame(i) for i in range(4)])
        assert stream_of(path)[3] == pytest.approx([i * step for i in range(4)], abs=1e-4)


def test_timestamps_that_stand_still_or_go_back_lose_no_frame(tmp_path):
    path = tmp_path / "overlay.mp4"
    write(OverlaySink(path), [Frame(i, t, grey(i)) for i, t in enumerate([5.0, 5.0, 4.0, 5.2, -1.0, 5.4])])
    times = stream_of(path)[3]
    assert len(times) == 6
    assert times == sorted(set(times))
    assert (times[0], times[3], times[5]) == pytest.approx((0, 0.2, 0.4), abs=1e-3)


def test_no_overlay_is_left_where_no_frame_came(tmp_path):
    OverlaySink(tmp_path / "overlay.mp4").close()
    assert list(tmp_path.iterdir()) == []


def test_an_overlay_that_ends_early_can_be_played(tmp_path):
    source, path = open_video(noisy(tmp_path / "noisy.mp4")), tmp_path / "overlay.mp4"
    with pytest.raises(KeyboardInterrupt):
        with WriteBehind([OverlaySink(path)]) as writer:
            for f in source:
                writer.write(f, result(f, {1: rectangle(BOX)}))
                if f.index == 6:
                    raise KeyboardInterrupt
    assert len(stream_of(path)[3]) == 7


def test_closing_an_overlay_twice_does_no_harm(tmp_path):
    sink = OverlaySink(tmp_path / "overlay.mp4")
    sink.write(frame(), result(frame()))
    sink.close()
    sink.close()
    assert len(stream_of(sink.path)[3]) == 1


def test_the_overlay_shows_the_masks_and_not_the_bare_frames(tmp_path):
    path = tmp_path / "overlay.mp4"
    write(OverlaySink(path), [frame(height=96, width=128)], {1: rectangle((64, 48, 112, 80), 96, 128)})
    image = next(iter(open_video(path))).image.astype(int)
    assert np.ptp(image[64, 88]) > 40  # tinted
    assert np.ptp(image[5:20, 5:30].mean((0, 1))) < 8  # grey as before
