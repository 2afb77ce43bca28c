"""Every prompt that cannot be meant is refused with what came and what was expected; the others arrive unchanged."""

import json

import numpy as np
import pytest
from PIL import Image

from vidmem.errors import PromptError
from vidmem.prompts import PromptAt, check_inside, load_mask, load_prompts, make_prompt, merge

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "bad, says",
    [
        ({}, "without points, box or mask"),
        ({"points": [[NAN, 1]]}, "points holds nan"),
        ({"points": [[1, INF]]}, "points holds inf"),
        ({"points": [[1, 2, 3]]}, r"shape \(1, 3\); expected \(N, 2\)"),
        ({"points": np.zeros((1, 1, 2))}, r"shape \(1, 1, 2\)"),
        ({"points": []}, "expected"),
        ({"points": np.zeros((0, 2))}, r"shape \(0, 2\)"),
        ({"points": "here"}, "expected numbers"),
        ({"points": [[1, 2], [3]]}, "expected numbers"),
        ({"points": 5}, "expected"),
        ({"points": [[1, 2]], "labels": [1, 0]}, "for 1 points"),
        ({"points": [[1, 2], [3, 4]], "labels": [1]}, "for 2 points"),
        ({"points": [[1, 2]], "labels": [2]}, "one 1 or 0"),
        ({"points": [[1, 2]], "labels": [-1]}, "one 1 or 0"),
        ({"points": [[1, 2]], "labels": [NAN]}, "nan"),
        ({"labels": [1]}, "without points"),
        ({"labels": [1], "box": [0, 0, 5, 5]}, "labels came without points"),
        ({"box": [1, 2, NAN, 4]}, "box holds nan"),
        ({"box": [5, 2, 1, 4]}, "reversed or empty"),
        ({"box": [1, 4, 5, 2]}, "reversed or empty"),
        ({"box": [1, 2, 1, 4]}, "reversed or empty"),
        ({"box": [1, 2, 3]}, r"box has shape \(3,\)"),
        ({"box": [[1, 2, 3, 4]]}, r"box has shape \(1, 4\)"),
        ({"mask": np.zeros((4, 5))}, "mask is empty"),
        ({"mask": np.ones((4, 5, 3))}, r"mask has shape \(4, 5, 3\)"),
        ({"mask": np.ones(4)}, r"mask has shape \(4,\)"),
        ({"mask": [[1, 0], [1]]}, "rows of different lengths"),
        ({"mask": "mask.png"}, r"expected \(H, W\)"),
    ],
)
def test_a_prompt_that_cannot_be_meant_is_refused(bad, says):
    with pytest.raises(PromptError, match=says):
        make_prompt(**bad)


def test_good_prompts_arrive_with_the_documented_types():
    prompt = make_prompt([3, 4], None, (1, 2, 3.5, 4), [[0, 7], [0, 0]])
    assert prompt.points.tolist() == [[3, 4]] and prompt.points.dtype == np.float32
    assert prompt.labels.tolist() == [1] and prompt.labels.dtype == np.uint8
    assert prompt.box.tolist() == [1, 2, 3.5, 4] and prompt.mask.dtype == bool and prompt.mask.sum() == 1


def test_torch_tensors_are_prompts_too():
    torch = pytest.importorskip("torch")
    prompt = make_prompt(torch.tensor([[3, 4]]), torch.tensor([0]), mask=torch.ones(2, 2))
    assert prompt.points.tolist() == [[3, 4]] and prompt.labels.tolist() == [0] and prompt.mask.all()


@pytest.mark.parametrize("point", [[-0.1, 5], [5, -1], [64.1, 5], [5, 48.1]])
def test_a_click_outside_the_frame_is_refused_with_the_frames_size(point):
    with pytest.raises(PromptError, match="outside; the frame is 64x48"):
        check_inside(make_prompt([[1, 1], point]), (48, 64))


@pytest.mark.parametrize("point", [[0, 0], [64, 48], [63.9, 47.9]])
def test_a_click_on_the_border_is_inside(point):
    assert check_inside(make_prompt(point), (48, 64)).points.tolist() == [pytest.approx(point)]


def test_a_box_that_sticks_out_is_clipped_and_one_outside_is_refused():
    assert check_inside(make_prompt(box=(-5, 10, 900, 900)), (48, 64)).box.tolist() == [0, 10, 64, 48]
    for box in ((70, 0, 80, 9), (-9, 0, -1, 9), (63.5, 0, 80, 9)):
        with pytest.raises(PromptError, match="outside"):
            check_inside(make_prompt(box=box), (48, 64))


def test_a_mask_of_another_size_is_refused_with_both_sizes():
    with pytest.raises(PromptError, match="the mask is 48x64 but the frame is 64x48"):
        check_inside(make_prompt(mask=np.ones((64, 48))), (48, 64))


def test_clicks_add_up_and_a_box_or_mask_starts_over():
    first, box, mask = make_prompt([1, 1]), make_prompt(box=(0, 0, 9, 9)), make_prompt(mask=np.ones((2, 2)))
    both = merge(first, make_prompt([2, 2], [0]))
    assert both.points.tolist() == [[1, 1], [2, 2]] and both.labels.tolist() == [1, 0]
    assert merge(box, first).box is not None and merge(box, first).points is not None
    assert merge(both, box) is box and merge(both, mask) is mask and merge(None, first) is first
    assert merge(mask, first).mask is None


# Scaling (`--max-size`) ---------------------------------------------------------------------------------------------
def test_scaling_takes_clicks_boxes_and_masks_along():
    mask = np.zeros((40, 60), bool)
    mask[10:20, 30:50] = True
    half = PromptAt(3, 7, [[10, 20]], [0], [2, 4, 20, 40], mask).scaled(0.5)
    assert (half.obj_id, half.frame_idx, half.labels) == (3, 7, [0])
    assert half.points.tolist() == [[5, 10]] and half.box.tolist() == [1, 2, 10, 20]
    assert half.mask.shape == (20, 30) and half.mask[5:10, 15:25].all() and half.mask.sum() == 50


def test_scaling_by_one_is_the_same_prompt_and_missing_parts_stay_missing():
    prompt = PromptAt(1, None, [[1, 1]])
    assert prompt.scaled(1.0) is prompt
    assert prompt.scaled(0.5).box is None and prompt.scaled(0.5).mask is None


# Mask files ---------------------------------------------------------------------------------------------------------
def save(path, array, mode=None):
    image = Image.fromarray(array)
    if mode == "P":
        image.putpalette(list(range(256)) * 3)
    elif mode:
        image = image.convert(mode)
    image.save(path)
    return path


LABELS = np.array([[0, 1, 1, 0], [0, 0, 5, 255]], np.uint8)


@pytest.mark.parametrize("mode", [None, "P"])
def test_a_grey_or_indexed_image_is_a_label_map_without_255(tmp_path, mode):
    masks = load_mask(save(tmp_path / "m.png", LABELS, mode))
    assert masks.keys() == {1, 5} and np.array_equal(masks[1], LABELS == 1) and np.array_equal(masks[5], LABELS == 5)


def test_a_16_bit_image_keeps_its_object_ids(tmp_path):
    labels = np.array([[0, 300], [7, 0]], np.uint16)
    assert load_mask(save(tmp_path / "m.png", labels)).keys() == {7, 300}


@pytest.mark.parametrize("value", [1, 38, 255])
@pytest.mark.parametrize("mode", [None, "1", "RGB", "RGBA"])
def test_an_image_with_two_values_is_object_one_whatever_the_value(tmp_path, value, mode):
    if mode == "1" and value < 128:
        pytest.skip("black and white has no such value")
    masks = load_mask(save(tmp_path / "m.png", (LABELS > 0).astype(np.uint8) * value, mode))
    assert masks.keys() == {1} and np.array_equal(masks[1], LABELS > 0)


def test_a_colour_image_is_one_object_where_it_is_not_black(tmp_path):
    image = np.zeros((4, 4, 3), np.uint8)
    image[0, 0], image[1, 1], image[2, 2] = (255, 0, 0), (0, 255, 0), (3, 3, 3)
    masks = load_mask(save(tmp_path / "m.png", image))
    assert masks.keys() == {1} and np.array_equal(masks[1], np.diag([True, True, True, False]))


def test_mask_files_that_cannot_be_used_are_named(tmp_path):
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "cut.png").write_bytes(
        save(tmp_path / "m.png", np.arange(250000, dtype=np.uint8).reshape(500, 500)).read_bytes()[:300]
    )
    save(tmp_path / "empty.png", np.zeros((4, 4), np.uint8))
    for name, says in (
        ("none.png", "does not exist"),
        ("text.png", "cannot be read"),
        ("cut.png", "cannot be read"),
        ("empty.png", "is empty"),
    ):
        with pytest.raises(PromptError, match=f"{name} {says}"):
            load_mask(tmp_path / name)
    with pytest.raises(PromptError, match="cannot be read"):
        load_mask(tmp_path)


# Prompt files -------------------------------------------------------------------------------------------------------
def prompts_file(tmp_path, content):
    path = tmp_path / "prompts.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    "content, says",
    [
        ("{", "is not JSON"),
        ("", "is not JSON"),
        ("{}", "holds dict; expected a list"),
        ("[]", "expected a list"),
        ("[3]", "item 0 is 3"),
        ([{"box": [0, 0, 5, 5]}], "item 0 .*expected obj_id"),
        ([{"obj_id": 1, "bbox": [0, 0, 5, 5]}], "item 0 .*expected obj_id and any of box, color, frame"),
        ([{"obj_id": 1, "box": [0, 0, 5, 5]}, {"obj_id": 2}], "item 1: a prompt without"),
        ([{"obj_id": 1, "box": [5, 0, 0, 5]}], "item 0: .*reversed"),
        ('[{"obj_id": 1, "points": [[NaN, 2]]}]', "item 0: points holds nan"),
        ([{"obj_id": 1, "points": [[1, 2]], "labels": [1, 1]}], "item 0: labels"),
        ([{"obj_id": 1, "frame": -1, "points": [[1, 2]]}], "frame -1; expected an index"),
        ([{"obj_id": 1, "frame": 1.5, "points": [[1, 2]]}], "frame 1.5"),
        ([{"obj_id": 1, "frame": True, "points": [[1, 2]]}], "frame True"),
        ([{"obj_id": "1", "points": [[1, 2]]}], "obj_id '1'; expected an integer"),
        ([{"obj_id": [1], "mask": "m.png"}], r"obj_id \[1\]; expected an integer"),
        ([{"obj_id": 1, "mask": "gone.png"}], "gone.png does not exist"),
        ([{"obj_id": 1, "mask": 5}], "item 0 has mask 5; expected the name"),
        ([{"obj_id": 3, "mask": "labels.png"}], r"labels.png has the objects \[1, 5\], not 3"),
    ],
)
def test_a_prompts_file_with_a_mistake_is_refused_and_the_item_named(tmp_path, content, says):
    save(tmp_path / "labels.png", LABELS)
    with pytest.raises(PromptError, match=says):
        load_prompts(prompts_file(tmp_path, content))


def test_a_prompts_file_that_is_missing_or_binary_is_refused(tmp_path):
    with pytest.raises(PromptError, match="does not exist"):
        load_prompts(tmp_path / "none.json")
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PromptError, match="b.json cannot be read .* in UTF-8"):
        load_prompts(tmp_path / "b.json")


def test_a_good_prompts_file_gives_each_item_in_order(tmp_path):
    save(tmp_path / "labels.png", LABELS)
    save(tmp_path / "one.png", (LABELS == 5).astype(np.uint8))
    items = [
        {"obj_id": 5, "mask": "labels.png"},
        {"obj_id": 9, "frame": 3, "mask": "one.png"},
        {"obj_id": 2, "frame": 0, "points": [[1, 2], [3, 4]], "labels": [1, 0], "box": [0, 0, 5, 5]},
    ]
    first, second, third = load_prompts(prompts_file(tmp_path, items))
    assert (first.obj_id, first.frame_idx) == (5, None) and np.array_equal(first.mask, LABELS == 5)
    assert (second.obj_id, second.frame_idx) == (9, 3) and np.array_equal(second.mask, LABELS == 5)
    assert (third.frame_idx, third.points, third.labels, third.box) == (0, [[1, 2], [3, 4]], [1, 0], [0, 0, 5, 5])
