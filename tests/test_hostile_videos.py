"""Videos and their names: a name is a name, no other file is opened, nothing is waited for, nothing swells."""

import os
import struct

import pytest
from clips import encode, grey, numbered, numbers, png

from vidmem.errors import SourceError
from vidmem.video import open_sinks, open_video


@pytest.mark.parametrize(
    "name",
    [
        "cam-12:30:05.mp4",
        "concat:a.mp4",
        "http:x.mp4",
        "pct%03d.mp4",
        "-dash.mp4",
        "new\nline.mp4",
        "sp ace'q\".mp4",
        "file:b.mp4",
    ],
)
def test_a_name_is_a_name_and_no_protocol(tmp_path, monkeypatch, name):
    numbered(tmp_path / "plain.mp4", 3)
    numbered(tmp_path / "a.mp4", 5)
    monkeypatch.chdir(tmp_path)
    os.rename("plain.mp4", name)
    with open_video(name) as video:
        assert numbers(video) == [0, 1, 2]


def test_results_go_into_folders_with_colons(tmp_path, monkeypatch):
    from results import frame, write

    monkeypatch.chdir(tmp_path)
    (sink,) = open_sinks(["overlay"], "run-12:30")
    write(sink, [frame(0), frame(1)])
    assert (tmp_path / "run-12:30/overlay.mp4").stat().st_size > 0


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile a.mp4\n",
        "#EXTM3U\n#EXTINF:1,\na.mp4\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    ],
)
def test_a_playlist_opens_no_other_file(tmp_path, text):
    numbered(tmp_path / "a.mp4", 3)
    (tmp_path / "list.mp4").write_text(text)
    with pytest.raises(SourceError, match="list.mp4 is not a video"):
        open_video(tmp_path / "list.mp4")


def test_a_pipe_or_a_name_that_no_file_can_have_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    for path, says in ((tmp_path / "pipe.mp4", "is a pipe or a device"), ("/dev/zero", "is a pipe or a device"), ("a\0b.mp4", "cannot be opened"),
                       (tmp_path / ("n" * 300), "cannot be opened")):  # fmt: skip
        with pytest.raises(SourceError, match=says):
            open_video(path)


@pytest.mark.parametrize("rate", [1, 2])
def test_a_slow_video_is_not_called_cut_off(tmp_path, rate):
    encode(tmp_path / "lapse.avi", [grey(i) for i in range(5)], codec="mjpeg", rate=rate)
    with open_video(tmp_path / "lapse.avi") as video:
        assert len(list(video)) == 5 and video.problems == []


def test_a_picture_larger_than_any_is_refused_before_it_takes_memory(tmp_path):
    import resource

    from PIL import Image

    small = tmp_path / "a.gif"
    Image.fromarray(grey(0)).save(small)
    data = bytearray(small.read_bytes())
    data[6:10] = struct.pack("<HH", 9000, 9000)
    small.write_bytes(data)
    (tmp_path / "f").mkdir()
    (tmp_path / "f/0.png").write_bytes(png(9000, 9000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SourceError, match="holds no frame that can be decoded"):
        open_video(small)
    with pytest.raises(SourceError, match="an image of 81000000 pixels, more than 67108864"):
        open_video(tmp_path / "f")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_a_damaged_title_is_no_reason_to_give_up_a_video(tmp_path):
    numbered(tmp_path / "a.mkv", 3, codec="ffv1")
    data = (tmp_path / "a.mkv").read_bytes()
    assert b"Lavf" in data
    (tmp_path / "a.mkv").write_bytes(data.replace(b"Lavf", b"\xff\xfe\xb2\x80"))
    with open_video(tmp_path / "a.mkv") as video:
        assert numbers(video) == [0, 1, 2]


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_an_animation_is_not_taken_for_one_picture(tmp_path, suffix):
    from PIL import Image

    images = [Image.fromarray(grey(i)) for i in range(4)]
    (tmp_path / "f").mkdir()
    images[0].save(tmp_path / f"f/a{suffix}", save_all=True, append_images=images[1:], duration=100)
    with pytest.raises(SourceError, match="is an animation of 4 frames; save them as a video"):
        open_video(tmp_path / f"f/a{suffix}")
    with open_video(tmp_path / "f") as video:
        assert len(list(video)) == 1 and "an animation, of which only the first picture is read" in video.problems[0]
