"""What a table, a JSON file or a folder of masks says about the videos of a folder."""

# ruff: noqa: F811  (fixtures are imported, and then named)

import json

import numpy as np
import pytest
from clips import encode as write_clip

from tests.batches import BOX, ROOT, SIZE, Here, finished, go, images, settings_for, tree  # noqa: F401
from vidmem.batch import find_items, load_table, open_place
from vidmem.batch.plan import Item
from vidmem.errors import PromptError, SourceError

pytestmark = pytest.mark.skipif(not (ROOT / "models/nano/encode.onnx").is_file(), reason="no nano weights")


def test_a_table_names_boxes_clicks_objects_and_frames(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text(
        "video, obj_id, frame, x0, y0, x1, y1, x, y, label\na.mp4,1,,1,2,3,4,,,\na.mp4,2,5,,,,,7,8,\na.mp4,2,5,,,,,9,9,0\n\nb,1,,,,,,3,,\n"
    )
    said = load_table(path)
    assert said["a.mp4"]["prompts"] == (
        {"obj_id": 1, "box": [1, 2, 3, 4]},
        {"obj_id": 2, "frame": 5, "points": [[7, 8], [9, 9]], "labels": [1, 0]},
    )
    assert "line 6: x without y" in said["b"]["problem"]
    loaded = Item("a.mp4", **said["a.mp4"]).load()
    assert [(p.obj_id, p.frame_idx) for p in loaded] == [(1, None), (2, 5)]


def test_json_and_folders_of_masks_say_the_same_in_other_words(tmp_path):
    from PIL import Image

    path = tmp_path / "p.json"
    path.write_text(json.dumps({"a.mp4": [{"obj_id": 3, "box": [1, 2, 3, 4]}], "b.mp4": "box"}))
    said = load_table(path)
    assert (
        said["a.mp4"]["prompts"] == ({"obj_id": 3, "box": [1, 2, 3, 4]},)
        and "expected a list of prompts" in said["b.mp4"]["problem"]
    )
    masks = tmp_path / "masks"
    (masks / "deep/c").mkdir(parents=True)
    labels = np.zeros(SIZE, np.uint8)
    labels[:9, :9], labels[20:, 20:] = 1, 2
    for name in ("a.png", "deep/c/00000.png", "deep/c/00001.png"):
        Image.fromarray(labels).save(masks / name)
    said = load_table(masks)
    assert set(said) == {"a", "deep/c"} and said["deep/c"]["mask"].endswith("00000.png")
    assert [p.obj_id for p in Item("a.mp4", **said["a"]).load()] == [1, 2]


@pytest.mark.parametrize("name, text, message", [
    ("p.csv", "clip,box\n1,2\n", "has the columns box, clip; expected video, obj_id"), ("p.csv", "video,obj_id\n", "no line that names a video"),
    ("p.json", "[1]", "holds list; expected"), ("p.json", "{", "is not JSON"), ("p.txt", "\xff", "is not JSON"), ("none.csv", None, "cannot be read"),
])  # fmt: skip
def test_a_table_that_cannot_be_read_is_refused_before_the_work(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(PromptError, match=message):
        load_table(tmp_path / name)


def test_every_video_is_found_by_name_and_slips_in_names_are_items_too(tree):
    folder, table, _ = tree
    (folder / "notes.txt").write_text("no video")
    (folder / ".hidden.mp4").write_bytes(b"")
    write_clip(folder / "unasked.mp4", images(2))
    table.write_text(table.read_text() + f"gone.mp4,1,{BOX}\n")
    items = {item.name: item for item in find_items(open_place(folder).files(), load_table(table))}
    assert set(items) == {"a.mp4", "deep/b.mp4", "deep/stills", "unasked.mp4", "gone.mp4"}
    assert "no prompts for unasked.mp4" in items["unasked.mp4"].problem and "no such video" in items["gone.mp4"].problem
    assert (
        items["deep/stills"].stamp.startswith("5 images") and items["a.mp4"].size == (folder / "a.mp4").stat().st_size
    )
    with pytest.raises(SourceError, match="is no folder"):
        open_place(folder / "none").files()
