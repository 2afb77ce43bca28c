"""Sinks write what others can read, keep the order, and say in one line what could not be written."""

import csv
import errno
import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from clips import boxes, grey, noisy, number, numbered
from PIL import Image
from results import frame, rectangle, result

from vidmem.errors import OutputError
from vidmem.types import Frame, Status
from vidmem.video import SINKS, BoxSink, OverlaySink, PngSink, RleSink, WriteBehind, open_sinks, open_video, rle_decode
from vidmem.video.sink import PART

FULL = "/dev/full"  # Linux: every write to it fails as on a full disk
needs_full = pytest.mark.skipif(not os.path.exists(FULL), reason="no /dev/full here")
BOX = (10, 20, 30, 40)


def write(sink, frames, masks=None):
    with sink:
        for f in frames:
            sink.write(f, result(f, masks))


def stream_of(path):
    """(codec, pixel format, (H, W), [seconds], average rate) of a video, as PyAV reads it."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = [f.time for f in container.decode(stream)]
        context = stream.codec_context
        return context.name, context.pix_fmt, (context.height, context.width), times, stream.average_rate


# Overlay


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


# Label maps


def test_label_maps_are_palette_pngs_with_the_colours_of_davis(tmp_path):
    f = frame(7)
    write(PngSink(tmp_path / "masks"), [f], {1: rectangle((0, 0, 10, 10)), 3: rectangle((20, 20, 40, 30))})
    image = Image.open(tmp_path / "masks" / "00007.png")
    assert image.mode == "P" and image.size == (64, 48)
    assert image.getpalette()[3:12] == [128, 0, 0, 0, 128, 0, 128, 128, 0]
    assert image.getpalette()[:3] == [0, 0, 0]
    labels = np.asarray(image)
    assert set(np.unique(labels)) == {0, 1, 3}
    assert ((labels == 1) == rectangle((0, 0, 10, 10))).all() and ((labels == 3) == rectangle((20, 20, 40, 30))).all()
    assert image.convert("RGB").getpixel((5, 5)) == (128, 0, 0)


def test_there_is_a_label_map_for_every_frame_by_its_index_also_without_objects(tmp_path):
    write(PngSink(tmp_path / "masks"), [frame(i) for i in (0, 9, 10, 123_456)])
    assert sorted(p.name for p in (tmp_path / "masks").iterdir()) == [
        "00000.png",
        "00009.png",
        "00010.png",
        "123456.png",
    ]
    image = Image.open(tmp_path / "masks" / "00000.png")
    assert image.mode == "P" and not np.asarray(image).any()


def test_object_255_fits_a_palette_and_256_makes_sixteen_bits(tmp_path):
    for obj_id, mode in ((255, "P"), (256, "I;16"), (40_000, "I;16")):
        write(PngSink(tmp_path), [frame(0)], {1: rectangle((0, 0, 4, 4)), obj_id: rectangle(BOX)})
        image = Image.open(tmp_path / "00000.png")
        assert image.mode == mode
        labels = np.asarray(image)
        assert set(np.unique(labels)) == {0, 1, obj_id}
        assert ((labels == obj_id) == rectangle(BOX)).all()


def test_where_masks_overlap_the_greater_logit_decides(tmp_path):
    f, left, right = frame(0), rectangle((0, 0, 40, 48)), rectangle((20, 0, 64, 48))
    for strong, _weak in ((1, 2), (2, 1)):
        logits = np.stack([np.full((48, 64), 6.0 if obj_id == strong else 2.0) for obj_id in (1, 2)])
        sink = PngSink(tmp_path)
        sink.write(f, result(f, {1: left, 2: right}, logits=logits))
        labels = np.asarray(Image.open(tmp_path / "00000.png"))
        assert (labels[:, 20:40] == strong).all()
        assert (labels[:, :20] == 1).all() and (labels[:, 40:] == 2).all()


def test_a_logit_beside_its_own_mask_wins_no_pixel(tmp_path):
    f, shared = frame(0), rectangle((20, 0, 40, 48))
    logits = np.stack([np.full((48, 64), v) for v in (1.0, 2.0, 9.0)])
    sink = PngSink(tmp_path)
    sink.write(f, result(f, {1: shared, 2: shared, 3: rectangle((0, 0, 4, 4))}, logits=logits))
    assert (np.asarray(Image.open(tmp_path / "00000.png"))[:, 20:40] == 2).all()


# Lines


def test_every_json_line_is_whole_as_soon_as_it_is_written(tmp_path):
    sink = RleSink(tmp_path / "masks.jsonl")
    for i in range(3):
        f = frame(i, i / 25)
        sink.write(f, result(f, {1: rectangle(BOX), 4: rectangle((0, 0, 0, 0))}))
        text = sink.path.read_text()
        assert text.endswith("\n")
        assert [json.loads(line)["frame_idx"] for line in text.splitlines()] == list(range(i + 1))
    sink.close()


def test_a_json_line_holds_what_the_result_says(tmp_path):
    f, mask = frame(5, 0.2), rectangle(BOX)
    write(RleSink(tmp_path / "masks.jsonl"), [f], {1: mask, 4: np.zeros_like(mask)})
    line = json.loads((tmp_path / "masks.jsonl").read_text())
    assert (line["frame_idx"], line["pts_seconds"], line["size"]) == (5, 0.2, [48, 64])
    seen, gone = line["objects"]
    assert (rle_decode(seen.pop("segmentation")) == mask).all()
    assert seen == {"obj_id": 1, "bbox": [10, 20, 20, 20], "score": 0.9, "object_logit": 5.0, "status": "tracking"}
    assert not rle_decode(gone["segmentation"]).any()
    assert (gone["obj_id"], gone["bbox"], gone["status"]) == (4, [0, 0, 0, 0], "lost")


def test_a_frame_without_objects_or_clock_still_has_its_json_line(tmp_path):
    write(RleSink(tmp_path / "masks.jsonl"), [frame(0), frame(1)])
    lines = [json.loads(line) for line in (tmp_path / "masks.jsonl").read_text().splitlines()]
    assert [(line["frame_idx"], line["pts_seconds"], line["objects"]) for line in lines] == [
        (0, None, []),
        (1, None, []),
    ]


def test_pycocotools_reads_the_json_lines(tmp_path):
    coco = pytest.importorskip("pycocotools.mask")
    write(RleSink(tmp_path / "masks.jsonl"), [frame()], {1: rectangle(BOX)})
    (item,) = json.loads((tmp_path / "masks.jsonl").read_text())["objects"]
    assert coco.area(item["segmentation"]) == 400
    assert coco.toBbox(item["segmentation"]).tolist() == item["bbox"]


def test_the_table_of_boxes_has_a_row_for_each_object_and_frame(tmp_path):
    sink = BoxSink(tmp_path / "boxes.csv")
    assert sink.path.read_text().strip() == "frame_idx,pts_seconds,obj_id,x0,y0,x1,y1,score,object_logit,status"
    f, g = frame(0, 0.04), frame(1)
    sink.write(f, result(f, {2: rectangle(BOX), 7: rectangle((0, 0, 0, 0))}, status=Status.OCCLUDED))
    sink.write(g, result(g))
    sink.write(g, result(g, {2: rectangle(BOX)}))
    with sink.path.open() as file:  # before close: whole at any moment
        rows = list(csv.DictReader(file))
    sink.close()
    assert [tuple(row.values()) for row in rows] == [
        ("0", "0.040000", "2", "10", "20", "30", "40", "0.9000", "5.000", "occluded"),
        ("0", "0.040000", "7", "0", "0", "0", "0", "0.0000", "-5.000", "lost"),
        ("1", "", "2", "10", "20", "30", "40", "0.9000", "5.000", "tracking"),
    ]


def test_coordinates_of_the_largest_videos_are_not_rounded(tmp_path):
    f = Frame(0, None, np.zeros((2, 100_003, 3), np.uint8))
    write(BoxSink(tmp_path / "boxes.csv"), [f], {1: rectangle((99_999, 0, 100_003, 2), 2, 100_003)})
    assert ",1,99999,0,100003,2," in (tmp_path / "boxes.csv").read_text()


# Opening


def test_every_sink_of_the_registry_writes_into_a_folder_that_is_made(tmp_path):
    folder = tmp_path / "new" / "folder"
    with WriteBehind(open_sinks(list(SINKS), folder, Fraction(25))) as writer:
        for i in range(3):
            f = frame(i, i / 25)
            writer.write(f, result(f, {1: rectangle(BOX)}))
    found = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert found == sorted(
        ["boxes.csv", "cutout.webm", "masks.jsonl", "mot.txt", "overlay.mp4", "tracks.json"]
        + [f"{place}/0000{i}.png" for place in ("cutout", "masks", "objects/001") for i in range(3)]
    )


def test_an_unknown_sink_names_the_known_ones_and_makes_nothing(tmp_path):
    with pytest.raises(OutputError, match="cannot save 'gif'; choose from: overlay, png, rle, csv"):
        open_sinks(["png", "gif"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_a_file_is_named_and_another_one_asked_for(tmp_path):
    (tmp_path / "out").write_text("mine")
    for place in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(OutputError, match=r"out\S* cannot be written .*; choose another folder"):
            open_sinks(["csv"], place)
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("name", SINKS)
def test_a_place_that_is_taken_is_found_before_the_work_begins(tmp_path, name):
    """Permissions do not stop root, who runs tests in containers: a folder where the file should be does, and a file."""
    taken = {"overlay": "overlay.mp4", "png": "masks", "rle": "masks.jsonl", "csv": "boxes.csv", "sav": "objects", "vos": "tracks.json",
             "mot": "mot.txt", "webm": "cutout.webm", "rgba": "cutout"}[name]  # fmt: skip
    (tmp_path / taken).mkdir() if "." in taken else (tmp_path / taken).write_text("")
    with pytest.raises(OutputError, match=f"{taken} cannot be written"):
        open_sinks([name], tmp_path)


def test_nothing_stays_when_a_later_sink_cannot_be_opened(tmp_path):
    (tmp_path / "boxes.csv").mkdir()
    with pytest.raises(OutputError, match="boxes.csv"):
        open_sinks(["overlay", "rle", "csv"], tmp_path)
    assert not (tmp_path / "overlay.mp4").exists()


# Full disks


def no_space(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def failing(*args, **kwargs):
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@needs_full
@pytest.mark.parametrize(("kind", "name"), [(RleSink, "masks.jsonl"), (BoxSink, "boxes.csv")])
def test_a_full_disk_is_called_that_by_the_sinks_of_lines(tmp_path, kind, name):
    os.symlink(FULL, tmp_path / name)
    with pytest.raises(OutputError, match=rf"the disk is full while writing .*{name}; frames written before are kept"):
        with kind(tmp_path / name) as sink:
            sink.write(frame(), result(frame(), {1: rectangle(BOX)}))


@needs_full
def test_a_disk_that_is_full_from_the_start_is_found_before_the_work_begins(tmp_path):
    os.symlink(FULL, tmp_path / "overlay.mp4")
    with pytest.raises(OutputError, match="the disk is full while writing .*overlay.mp4"):
        OverlaySink(tmp_path / "overlay.mp4")


class FullContainer:
    """A PyAV container on a disk that has filled up since the header."""

    def __init__(self, container, error):
        self.container, self.mux = container, error

    def close(self):
        self.container.close()
        self.mux()


@pytest.mark.parametrize(
    ("error", "words"), [(no_space, "the disk is full while writing"), (failing, "cannot be written")]
)
def test_an_overlay_that_cannot_be_finished_is_left_as_it_is_and_the_reason_told(tmp_path, error, words):
    """The first error is the one that is raised, though closing fails as well."""
    path = tmp_path / "overlay.mp4"
    sink, other = OverlaySink(path), BoxSink(tmp_path / "boxes.csv")
    f = frame()
    sink.write(f, result(f))
    sink._container = FullContainer(sink._container, error)
    with pytest.raises(OutputError, match=words):
        with WriteBehind([other, sink]) as writer:
            writer.write(f, result(f, {1: rectangle(BOX)}))
    assert len(other.path.read_text().splitlines()) == 2  # other files stay, closed and whole
    assert other._file.closed


def test_a_disk_that_fills_up_keeps_the_label_maps_before(tmp_path, monkeypatch):
    sink = PngSink(tmp_path)
    sink.write(frame(0), result(frame(0), {1: rectangle(BOX)}))
    monkeypatch.setattr(Image.Image, "save", no_space)
    with pytest.raises(OutputError, match="the disk is full while writing .*00001.png; frames written before are kept"):
        sink.write(frame(1), result(frame(1)))
    assert np.asarray(Image.open(tmp_path / "00000.png")).any()


@needs_full
def test_a_half_written_label_map_is_not_left(tmp_path):
    os.symlink(FULL, tmp_path / PART)
    with pytest.raises(OutputError, match="the disk is full"):
        PngSink(tmp_path).write(frame(0), result(frame(0), {1: rectangle(BOX)}))
    assert not (tmp_path / "00000.png").exists()


def test_a_sinks_error_reaches_the_caller_and_every_other_sink_is_closed(tmp_path, monkeypatch):
    sinks = open_sinks(["overlay", "png", "rle", "csv"], tmp_path)
    monkeypatch.setattr(Image.Image, "save", no_space)
    f = frame()
    with pytest.raises(OutputError, match="00000.png"):
        with WriteBehind(sinks) as writer:
            writer.write(f, result(f, {1: rectangle(BOX)}))
    overlay, _, rle, table = sinks
    assert len(stream_of(overlay.path)[3]) == 1
    assert rle._file.closed and table._file.closed
