"""Sinks write what others can read: label maps, lines of JSON, tables; and the folder that they share."""

import csv
import json
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image
from results import frame, rectangle, result, write

from vidmem.errors import OutputError
from vidmem.types import Frame, Status
from vidmem.video import SINKS, BoxSink, PngSink, RleSink, WriteBehind, open_sinks, rle_decode

BOX = (10, 20, 30, 40)


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
