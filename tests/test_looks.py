"""Names, colours and sound reach the files."""

import csv
import json
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image
from results import rectangle, result

import vidmem
from vidmem.errors import PromptError
from vidmem.memory import Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.prompts import load_prompts
from vidmem.render import Look
from vidmem.search import Greedy
from vidmem.types import Frame
from vidmem.video import OverlaySink, open_sinks, open_video

NAMED = Look(names={1: "dog", 2: '=a "cat", black'}, colors={1: (255, 136, 0)})


def frames(count: int, fps: int = 10) -> list[Frame]:
    return [Frame(i, i / fps, np.full((48, 64, 3), 90, np.uint8)) for i in range(count)]


def with_sound(path, codec: str, seconds: float, video_seconds: float = 2.0):
    """A grey video at 10 fps, from 0, with a tone of 440 Hz; codec of the sound, or "" for none."""
    import av

    with av.open(str(path), "w") as out:
        picture = out.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        tone = out.add_stream(codec, rate=16000, layout="mono") if codec else None
        for i in range(round(video_seconds * 10)):
            image = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), format="rgb24")
            image.pts, image.time_base = i, Fraction(1, 10)
            out.mux(picture.encode(image))
        out.mux(picture.encode(None))
        for start in range(0, round(seconds * 16000), 1600) if tone else ():
            wave = np.sin(2 * np.pi * 440 * np.arange(start, start + 1600) / 16000)
            sound = av.AudioFrame.from_ndarray((wave * 20000).astype(np.int16)[None], format="s16", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = 16000, start, Fraction(1, 16000)
            out.mux(tone.encode(sound))
        if tone:
            out.mux(tone.encode(None))
    return path


def heard(path) -> tuple[str, float, float, float]:
    """Codec, first and last second, and the loudest frequency in Hz."""
    import av

    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        pieces, times = [], []
        for frame in file.decode(stream):
            pieces.append(frame.to_ndarray()[0].astype(float))
            times.append((frame.time, frame.time + frame.samples / frame.sample_rate))
        wave = np.concatenate(pieces)
        return (
            stream.codec_context.name,
            times[0][0],
            times[-1][1],
            np.abs(np.fft.rfft(wave)).argmax() * 16000 / len(wave),
        )


@pytest.fixture
def written(tmp_path):
    seen = {1: rectangle((0, 0, 10, 10)), 2: rectangle((20, 20, 40, 30))}
    sinks = open_sinks(["png", "rle", "csv", "sav", "vos", "mot"], tmp_path, Fraction(10), look=NAMED)
    for f in frames(2):
        for sink in sinks:
            sink.write(f, result(f, seen))
    for sink in sinks:
        sink.close()
    return tmp_path


def test_names_and_colours_are_in_every_file_that_has_a_place_for_them(written):
    assert Image.open(written / "masks/00000.png").getpalette()[3:9] == [255, 136, 0, 0, 128, 0]
    assert Image.open(written / "objects/001/00000.png").getpalette()[3:6] == [255, 136, 0]
    assert Image.open(written / "objects/002/00000.png").getpalette()[3:6] == [128, 0, 0]
    one, two = json.loads((written / "masks.jsonl").read_text().splitlines()[0])["objects"]
    assert (one["label"], one["color"]) == ("dog", "#ff8800") and two["label"] == NAMED.names[2] and "color" not in two
    assert [t["label"] for t in json.loads((written / "tracks.json").read_text())] == list(NAMED.names.values())
    rows = list(csv.DictReader((written / "boxes.csv").open()))
    assert [row["label"] for row in rows[:2]] == ["dog", '\'=a "cat", black']  # no formula for a spreadsheet


def test_without_names_the_table_is_as_it_always_was(tmp_path):
    (sink,) = open_sinks(["csv"], tmp_path)
    sink.write(frames(1)[0], result(frames(1)[0], {1: rectangle((0, 0, 9, 9))}))
    sink.close()
    head, row = (tmp_path / "boxes.csv").read_text().splitlines()
    assert head.endswith(",status") and row.endswith(",tracking")


def test_a_prompts_file_names_and_colours_its_objects(tmp_path):
    file = tmp_path / "p.json"
    file.write_text(json.dumps([{"obj_id": 1, "box": [1, 2, 3, 4], "label": " dog ", "color": "#ff8800"},
                                {"obj_id": 2, "points": [[1, 2]]}]))  # fmt: skip
    one, two = load_prompts(file)
    assert (one.label, one.color, two.label, two.color) == ("dog", (255, 136, 0), None, None)
    assert one.scaled(0.5).label == "dog"
    for wrong, says in (
        ({"label": ""}, "label is ''"),
        ({"label": 3}, "label is 3"),
        ({"color": "ff"}, "item 0: color is 'ff'"),
    ):
        file.write_text(json.dumps([{"obj_id": 1, "box": [1, 2, 3, 4], **wrong}]))
        with pytest.raises(PromptError, match=says):
            load_prompts(file)


def overlay_with(sound, path, start: int = 0, end: int = 20) -> OverlaySink:
    sink = OverlaySink(path, Fraction(10), sound=sound)
    for f in frames(20)[start:end]:
        sink.write(f, result(f))
    sink.close()
    return sink


@pytest.mark.parametrize(
    "name, codec, kept", [("a.mp4", "aac", "aac"), ("a.mkv", "libopus", "opus"), ("a.mkv", "pcm_s16le", "aac")]
)
def test_the_overlay_keeps_the_sound_and_every_picture(tmp_path, name, codec, kept):
    import av

    try:
        source = with_sound(tmp_path / name, codec, 2.0)
    except (av.error.FFmpegError, ValueError) as error:
        pytest.skip(f"this FFmpeg has no {codec}: {error}")
    sink = overlay_with(source, tmp_path / "overlay.mp4")
    what, first, last, _pitch = heard(sink.path)
    assert sink.problems == () and what == kept and abs(first) < 0.1 and abs(last - 2) < 0.15
    assert [round(f.pts_seconds, 3) for f in open_video(sink.path)] == [i / 10 for i in range(20)]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({name, "overlay.mp4"})


def test_the_sound_is_that_of_the_stretch(tmp_path):
    source = with_sound(tmp_path / "a.mp4", "aac", 2.0)
    what, first, last, pitch = heard(overlay_with(source, tmp_path / "o.mp4", 5, 15).path)
    assert what == "aac" and abs(first) < 0.1 and abs(last - 1) < 0.15 and abs(pitch - 440) < 5


def test_a_source_without_sound_or_with_none_that_can_be_read_leaves_the_video_as_it_is(tmp_path):
    silent = with_sound(tmp_path / "a.mp4", "", 0)
    assert overlay_with(silent, tmp_path / "o.mp4").problems == ()
    plain = overlay_with(None, tmp_path / "p.mp4")
    assert (tmp_path / "o.mp4").read_bytes() == plain.path.read_bytes()
    (problem,) = overlay_with(tmp_path / "gone.mp4", tmp_path / "o.mp4").problems
    assert "the sound of gone.mp4 could not be kept" in problem
    assert (tmp_path / "o.mp4").read_bytes() == plain.path.read_bytes()


def test_a_job_keeps_the_sound_of_its_source_unless_it_is_told_not_to(tmp_path):
    import av

    source = with_sound(tmp_path / "a.mp4", "aac", 2.0)
    tracker = vidmem.Tracker(FakeNetwork(), Recent(), Greedy())
    job = {"box": (5, 5, 30, 30), "save": ["overlay"], "model": tracker, "progress": False}
    kept = vidmem.track(source, out=tmp_path / "kept", **job)
    assert kept.problems == [] and heard(kept.files[0])[0] == "aac"
    dropped = vidmem.track(source, out=tmp_path / "dropped", sound=False, **job)
    with av.open(str(dropped.files[0])) as file:
        assert not file.streams.audio and file.streams.video
    with open_video(source, start=4, end=12) as video:
        _, first, last, _ = heard(vidmem.track(video, out=tmp_path / "part", **job).files[0])
        assert abs(first) < 0.1 and abs(last - 0.8) < 0.15
