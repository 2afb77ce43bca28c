"""Sources give every frame that can be decoded, upright and in order, and say in one line what could not be."""

import shutil

import numpy as np
import pytest
from clips import boxes, corners, encode, noisy, number, numbered, numbers, pictures, quarters, sound, turn

from vidmem.errors import SourceError
from vidmem.video import Source, open_video


@pytest.fixture(scope="module")
def ten(tmp_path_factory):
    """Ten numbered frames, 25 a second."""
    return numbered(tmp_path_factory.mktemp("ten") / "ten.mp4")


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """Twenty noisy frames with a key frame in five; tests take the bytes and hurt them."""
    path = noisy(tmp_path_factory.mktemp("noisy") / "noisy.mp4", gop=5)
    assert boxes(path)[-1] == "mdat"
    return path.read_bytes()


def test_a_file_gives_every_frame_in_order_with_its_index_and_time(ten):
    with open_video(ten) as source:
        frames = list(source)
    assert numbers(frames) == list(range(10))
    assert [f.index for f in frames] == list(range(10))
    assert [f.pts_seconds for f in frames] == pytest.approx([i / 25 for i in range(10)])
    assert (source.size, source.frame_count, source.frame_rate, source.scale) == ((48, 64), 10, 25, 1.0)
    assert source.problems == []


def test_colours_are_rgb(tmp_path):
    assert corners(next(iter(open_video(encode(tmp_path / "a.mp4", [quarters()])))).image) == "rgbw"


@pytest.mark.parametrize("size", [(47, 63), (49, 66), (48, 65)])
def test_odd_sizes_come_whole(tmp_path, size):
    source = open_video(numbered(tmp_path / "odd.mp4", 4, size))
    frames = list(source)
    assert source.size == size
    assert {f.size for f in frames} == {size}
    assert numbers(frames) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mkv", "libx264"), ("a.avi", "mjpeg"), ("a.mov", "libx264"), ("a.webm", "libvpx-vp9")]
)
def test_the_common_containers_are_read(tmp_path, name, codec):
    source = open_video(numbered(tmp_path / name, codec=codec))
    assert numbers(source) == list(range(10))
    assert source.frame_count == 10


def test_frames_that_are_stored_out_of_order_come_in_order_of_display(tmp_path):
    options = {"bf": "3", "b_strategy": "0", "preset": "medium"}
    frames = list(open_video(numbered(tmp_path / "b.mp4", 20, options=options)))
    assert numbers(frames) == list(range(20))
    assert [f.pts_seconds for f in frames] == sorted(f.pts_seconds for f in frames)


@pytest.mark.parametrize(
    ("degrees", "shown", "size"), [(90, "brwg", (64, 48)), (180, "wbgr", (48, 64)), (270, "gwrb", (64, 48))]
)
def test_a_phones_rotation_turns_pixels_and_size_clockwise(tmp_path, degrees, shown, size):
    source = open_video(turn(encode(tmp_path / "phone.mp4", [quarters()] * 3), degrees))
    frames = list(source)
    assert [corners(f.image) for f in frames] == [shown] * 3
    assert shown == corners(np.rot90(quarters(), -degrees // 90))  # the table above is right
    assert source.size == size
    assert {f.size for f in frames} == {size}
    assert all(f.image.flags.c_contiguous for f in frames)


def test_max_size_of_a_turned_clip_shrinks_the_turned_picture(tmp_path):
    source = open_video(turn(encode(tmp_path / "phone.mp4", [quarters()]), 90), max_size=32)
    assert source.size == (32, 24)
    assert corners(next(iter(source)).image) == "brwg"


def test_variable_frame_rate_timestamps_are_kept(tmp_path):
    ticks = [0, 40, 50, 300, 301, 1000]
    frames = list(open_video(numbered(tmp_path / "vfr.mp4", 6, ticks_ms=ticks)))
    assert [f.pts_seconds for f in frames] == pytest.approx([t / 1000 for t in ticks], abs=1e-3)


@pytest.mark.parametrize(("name", "codec"), [("a.h264", "libx264"), ("a.mjpeg", "mjpeg")])
def test_a_raw_stream_without_timestamps_gets_the_times_of_its_rate(tmp_path, name, codec):
    source = open_video(numbered(tmp_path / name, codec=codec, format=name[2:]))
    frames = list(source)
    assert numbers(frames) == list(range(10))
    assert source.frame_count is None  # no container that says
    times = [f.pts_seconds for f in frames]
    assert times == pytest.approx([i / float(source.frame_rate) for i in range(10)])


def test_start_and_end_select_frames_by_index(ten):
    frames = list(source := open_video(ten, start=3, end=7))
    assert [f.index for f in frames] == numbers(frames) == [3, 4, 5, 6]
    assert source.frame_count == 4


def test_an_end_beyond_the_last_frame_gives_what_is_there(ten):
    source = open_video(ten, start=8, end=100)
    assert numbers(source) == [8, 9]
    assert source.frame_count == 2


def test_a_start_past_the_end_names_the_number_of_frames(ten, tmp_path):
    for path in (ten, pictures(tmp_path / "images", [f"{i}.png" for i in range(10)])):
        with pytest.raises(SourceError, match=r"start=10 is past the end.*10 frames \(0 to 9\)"):
            list(open_video(path, start=10))


@pytest.mark.parametrize(("start", "end"), [(-1, None), (3, 3), (5, 2), (0, 0)])
def test_a_range_that_holds_nothing_is_refused_before_reading(ten, start, end):
    with pytest.raises(SourceError, match=f"start={start}, end={end}; expected 0 <= start < end"):
        open_video(ten, start=start, end=end)


def test_max_size_shrinks_the_longer_side_and_says_the_scale(ten):
    source = open_video(ten, max_size=32)
    frames = list(source)
    assert (source.scale, source.size) == (0.5, (24, 32))
    assert {f.size for f in frames} == {(24, 32)}
    assert numbers(frames) == list(range(10))
    assert [f.pts_seconds for f in frames] == pytest.approx([i / 25 for i in range(10)])


def test_max_size_never_enlarges(ten):
    source = open_video(ten, max_size=640)
    assert (source.scale, source.size) == (1.0, (48, 64))


def test_a_max_size_too_small_to_see_is_refused(ten):
    with pytest.raises(SourceError, match="max_size=8; expected at least 16"):
        open_video(ten, max_size=8)


def test_each_iteration_begins_again(ten):
    source = open_video(ten, start=2)
    first = iter(source)
    assert [number(next(first).image) for _ in range(3)] == [2, 3, 4]
    assert numbers(source) == list(range(2, 10))
    assert numbers(source) == list(range(2, 10))


def test_closing_ends_the_iteration_and_another_may_follow(ten):
    source = open_video(ten)
    running = iter(source)
    next(running)
    source.close()
    source.close()
    assert list(running) == []
    assert numbers(source) == list(range(10))


def test_problems_of_one_iteration_are_not_told_again_in_the_next(tmp_path):
    folder = pictures(tmp_path / "images", ["0.png", "1.png", "2.png"])
    (folder / "1.png").write_bytes(b"no picture")
    source = open_video(folder)
    for _ in range(2):
        list(source)
        assert len(source.problems) == 1


# Damaged files


def test_a_file_cut_in_the_middle_gives_the_frames_before_the_cut(tmp_path, damaged):
    path = tmp_path / "cut.mp4"
    path.write_bytes(damaged[: len(damaged) // 2])
    seen = numbers(open_video(path))
    assert seen == list(range(len(seen)))
    assert 5 <= len(seen) < 15


def test_packets_that_fail_are_counted_and_placed(tmp_path):
    path = noisy(tmp_path / "cut.mp4", codec="mjpeg")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source = open_video(path)
    seen = numbers(source)
    assert seen == list(range(len(seen)))
    last = len(seen) - 1
    problem, *others = source.problems
    assert problem == f"cut.mp4: 1 unreadable packet(s) near {(last + 1) / 25:.2f} s skipped, after frame {last}"
    assert all("cut.mp4" in other for other in others)


@pytest.mark.parametrize("fill", ["noise", "zeros"])
def test_bytes_broken_in_the_middle_cost_those_frames_and_no_later_ones(tmp_path, damaged, fill):
    data, middle, broken = bytearray(damaged), len(damaged) // 2, 3000
    noise = np.random.default_rng(0).integers(0, 256, broken, dtype=np.uint8).tobytes()
    data[middle : middle + broken] = noise if fill == "noise" else bytes(broken)
    path = tmp_path / "broken.mp4"
    path.write_bytes(data)
    source = open_video(path)
    frames = list(source)
    assert [f.index for f in frames] == list(range(len(frames)))  # indices count decoded frames
    assert numbers(frames)[:8] == list(range(8))
    assert numbers(frames)[-5:] == list(range(15, 20))  # sound again from the next key frame on
    assert len(frames) < 20
    problem, *others = source.problems
    assert "unreadable packet(s) near 0." in problem and problem.startswith("broken.mp4: ")


def test_the_end_of_a_broken_file_loses_no_frame_to_the_decoders_threads(tmp_path, damaged):
    import av

    data = bytearray(damaged)
    data[-2500:-100] = bytes(2400)
    path = tmp_path / "tail.mp4"
    path.write_bytes(data)
    plain = 0
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "NONE"
        for packet in container.demux(video=0):
            try:
                plain += len(packet.decode())
            except av.error.FFmpegError:
                continue
    assert 10 < plain < 20
    assert len(list(open_video(path))) == plain


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mkv", "libx264"), ("a.avi", "mjpeg"), ("a.h264", "libx264"), ("a.webm", "libvpx-vp9")]
)
def test_damage_anywhere_raises_nothing_but_a_source_error(tmp_path, name, codec):
    """Six wounds a file; what comes is frames of the right size, or one error of ours."""
    path, random = tmp_path / name, np.random.default_rng(7)
    whole = noisy(path, codec=codec, gop=5, format="h264" if name.endswith("h264") else None).read_bytes()
    for cut in (False, True):
        for at in (0.01, 0.3, 0.7):
            data, place = bytearray(whole), int(at * len(whole))
            data[place : place + 400] = random.integers(0, 256, 400, dtype=np.uint8).tobytes()
            path.write_bytes(data[: place + 200] if cut else data)
            try:
                assert {f.size for f in open_video(path)} <= {(48, 64)}
            except SourceError as error:
                assert at == 0.01 or "is" in str(error)


def test_an_index_at_the_end_that_was_cut_off_is_a_source_error(tmp_path):
    path = numbered(tmp_path / "late.mp4", faststart=False)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moov") - 4])
    with pytest.raises(SourceError, match="late.mp4 is not a video that FFmpeg can read"):
        open_video(path)


def test_a_file_whose_pictures_are_all_broken_says_why(tmp_path, damaged):
    start = damaged.index(b"mdat") + 4
    path = tmp_path / "void.mp4"
    path.write_bytes(damaged[:start] + bytes(len(damaged) - start))
    with pytest.raises(
        SourceError, match=r"void.mp4 holds no frame that can be decoded \(void.mp4: \d+ unreadable packet"
    ):
        open_video(path)


def test_an_empty_file_is_named_as_empty(tmp_path):
    for name in ("empty.mp4", "empty.png"):
        (tmp_path / name).touch()
        with pytest.raises(SourceError, match=rf"{name} is empty \(0 bytes\)"):
            open_video(tmp_path / name)


def test_text_with_a_videos_name_is_no_video(tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_text("buy milk\n" * 500)
    with pytest.raises(SourceError, match=r"notes.mp4 is not a video that FFmpeg can read \(Invalid data"):
        open_video(path)


def test_a_file_with_sound_alone_has_no_picture(tmp_path):
    with pytest.raises(SourceError, match="song.m4a has no picture, only audio; expected a file with a video stream"):
        open_video(sound(tmp_path / "song.m4a"))


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SourceError, match="nowhere.mp4 does not exist"):
        open_video(tmp_path / "nowhere.mp4")


def test_a_file_that_vanishes_between_two_iterations_is_a_source_error(ten, tmp_path):
    path = tmp_path / "gone.mp4"
    shutil.copy(ten, path)
    source = open_video(path)
    path.unlink()
    with pytest.raises(SourceError, match="gone.mp4"):
        list(source)


def test_a_picture_size_that_changes_within_a_file_is_an_error_and_not_a_surprise(tmp_path):
    """Two raw streams one after the other, as a camera writes that is set to another resolution."""
    first = numbered(tmp_path / "first.h264", 3, format="h264")
    second = numbered(tmp_path / "second.h264", 3, (96, 128), format="h264")
    path = tmp_path / "both.h264"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    seen = []
    with pytest.raises(SourceError, match=r"both.h264.*128x96.*64x48"):
        seen.extend(open_video(path))
    assert numbers(seen) == [0, 1, 2]


def test_both_kinds_of_source_are_sources(ten, tmp_path):
    assert isinstance(open_video(str(ten)), Source)
    assert isinstance(open_video(str(pictures(tmp_path / "images", ["0.png"]))), Source)


# As a sequence


def test_a_video_has_a_length_and_places(ten):
    with open_video(ten) as video:
        assert len(video) == 10 and repr(video) == "VideoFile(ten.mp4, 64x48, 10 frames at 25 fps)"
        assert [number(video[i].image) for i in (0, 7, 3, -1, -10)] == [0, 7, 3, 9, 0]
        assert numbers(video[2:8:3]) == [2, 5] and video[4:4] == []
        for place in (10, -11, 99):
            with pytest.raises(IndexError, match="has no frame"):
                video[place]
        with pytest.raises(TypeError):
            video["3"]


def test_places_count_from_the_start_and_are_scaled_as_the_iteration_is(ten):
    with open_video(ten, start=3, end=7, max_size=32) as video:
        assert len(video) == 4 and (video[0].index, video[-1].index) == (3, 6)
        assert video[1].size == video.size == (24, 32)
        assert (video[1].image == list(video)[1].image).all()
        with pytest.raises(IndexError):
            video[4]


def test_looking_at_a_place_does_not_disturb_a_running_iteration(ten):
    with open_video(ten) as video:
        seen = []
        for frame in video:
            seen.append(number(frame.image))
            assert number(video[(3 * frame.index) % 10].image) == (3 * frame.index) % 10
        assert seen == list(range(10)) and video.problems == []


def test_a_video_that_does_not_say_its_length_is_still_true_and_can_be_read(ten):
    video = open_video(ten)
    video.frame_count = None
    assert video and len(list(video)) == 10 and number(video[9].image) == 9
    with pytest.raises(TypeError, match="does not say how many"):
        len(video)


def test_a_folder_has_places_too_and_one_that_cannot_be_read_is_none(tmp_path):
    pictures(tmp_path / "f", [f"{i}.png" for i in range(5)])
    video = open_video(tmp_path / "f")
    assert len(video) == 5 and [number(video[i].image) for i in (4, 0, -2)] == [4, 0, 3]
    video.files[2].write_bytes(b"broken")
    with pytest.raises(IndexError, match="no frame 2 that can be read"):
        video[2]
    assert number(video[3].image) == 3
