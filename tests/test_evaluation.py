"""J and F against a reference of their own and against cases worked out by hand; sequences; prompts."""

import numpy as np
import pytest

from tests.davis_reference import f_measure, score
from vidmem.errors import PromptError, SourceError, UserError
from vidmem.evaluation import (
    boundary_f,
    find_sequences,
    first_prompts,
    jaccard,
    load_labels,
    score_sequence,
)

SAME = 1e-12  # both divide the same whole numbers; only the order of the means differs


def square(y, x, side=20, shape=(100, 120)):
    mask = np.zeros(shape, bool)
    mask[y : y + side, x : x + side] = True
    return mask


def blobs(rng, shape):
    import cv2

    field = cv2.GaussianBlur(rng.random(shape).astype(np.float32), (0, 0), rng.uniform(1, 9))
    return field > np.quantile(field, rng.uniform(0.3, 0.99))


def write_png(path, array):
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def make_sequence(folder, labels, masks=True):
    for i, label in enumerate(labels):
        write_png(folder / "frames" / f"{i}.png", np.zeros((*label.shape, 3), np.uint8))
        if masks:
            write_png(folder / "masks" / f"{i}.png", label)


# 1 to 40 by 50 pixels give radius 1; 480 by 854 gives 8, as DAVIS; odd sizes and masks that touch the border included.
@pytest.mark.parametrize("shape", [(40, 50), (97, 61), (240, 432), (480, 854)])
def test_boundary_f_is_that_of_the_reference(shape):
    rng = np.random.default_rng(shape[0])
    for _ in range(12):
        pred, gt = blobs(rng, shape), blobs(rng, shape)
        if rng.random() < 0.5:
            gt = np.roll(pred, rng.integers(-12, 13, 2), (0, 1))
        assert abs(boundary_f(pred, gt) - f_measure(pred, gt)) < SAME


EDGES = [np.s_[0:9, 5:30], np.s_[31:40, 5:30], np.s_[5:30, 0:9], np.s_[5:30, 41:50], np.s_[:, :]]


@pytest.mark.parametrize("edge", EDGES, ids=["top", "bottom", "left", "right", "all"])
def test_boundary_f_agrees_for_masks_that_touch_the_frame(edge):
    pred, gt = np.zeros((40, 50), bool), square(8, 8, 25, (40, 50))
    pred[edge] = True
    assert abs(boundary_f(pred, gt) - f_measure(pred, gt)) < SAME
    assert abs(boundary_f(gt, pred) - f_measure(gt, pred)) < SAME


def test_score_sequence_is_that_of_the_reference():
    rng = np.random.default_rng(3)
    truth, guess = [], []
    for _ in range(7):
        a, b, c = (blobs(rng, (60, 80)) for _ in range(3))
        truth.append(np.where(a, 1, np.where(b, 4, np.where(c, 255, 0))).astype(np.uint8))
        guess.append(np.where(np.roll(a, 2, 1), 1, np.where(c, 4, 0)).astype(np.uint8))
    guess[3][:] = 0
    j, f = score(truth, guess)
    mine = score_sequence(guess, truth)
    assert list(mine.per_object) == [1, 4] and 0.1 < j < 0.9
    assert abs(mine.j - j) < SAME and abs(mine.f - f) < SAME


def test_identical_masks_score_one_and_empty_ones_agree():
    mask, empty = square(10, 10), np.zeros((100, 120), bool)
    assert jaccard(mask, mask) == boundary_f(mask, mask) == 1.0
    assert jaccard(empty, empty) == boundary_f(empty, empty) == 1.0
    assert jaccard(mask, empty) == boundary_f(mask, empty) == boundary_f(empty, mask) == 0.0


def test_a_mask_shifted_by_a_quarter_of_its_side_has_j_of_three_fifths():
    assert jaccard(square(10, 10), square(10, 15)) == pytest.approx(15 / 25, abs=SAME)


def test_boundary_f_forgives_a_shift_of_the_radius_and_no_more():
    gt = square(40, 40)  # the frame's diagonal is 156.2 pixels, so that the radius is ceil(1.25) = 2
    assert boundary_f(square(40, 42), gt) == 1.0
    # Shifted by 3 the upright sides are lost. A boundary is 21 + 21 + 19 + 19 = 80 pixels: rows 39 and 59, columns 39
    # and 59, of which columns 42 and 62 of the prediction find a match only within 2 pixels of a row of the truth.
    value = boundary_f(square(40, 43), gt)
    near = 0
    for x, y in _ring(42, 39):
        near += min((x - a) ** 2 + (y - b) ** 2 for a, b in _ring(39, 39)) <= 4
    assert value == pytest.approx(near / 80, abs=SAME) and 0.5 < value < 0.8


def _ring(x0, y0):
    """Boundary pixels of a square of 20 whose upper left pixel is (x0 + 1, y0 + 1)."""
    return [(x, y) for x in range(x0, x0 + 21) for y in range(y0, y0 + 21) if x in (x0, x0 + 20) or y in (y0, y0 + 20)]


def test_two_objects_are_averaged_per_frame_and_the_outer_frames_are_left_out():
    gt = square(10, 10) * np.uint8(1) + square(60, 60) * np.uint8(2)
    half = square(10, 10) * np.uint8(1)
    wrong = np.zeros_like(gt)
    score = score_sequence([wrong, half, gt, wrong], [gt] * 4)
    assert score.j == pytest.approx(0.75) and score.f == pytest.approx(0.75)
    assert (score.per_object[1].j, score.per_object[2].j) == (1.0, 0.5)
    assert score.frame_j.tolist() == [[1.0, 0.0], [1.0, 1.0]]


def test_ids_come_from_the_first_map_and_255_is_none_of_them():
    first = square(10, 10) * np.uint8(3) + square(60, 60) * np.uint8(255)
    later = square(10, 10) * np.uint8(3) + square(60, 10) * np.uint8(9)
    assert list(score_sequence(iter([first, later, later]), iter([first, later, later])).per_object) == [3]


def test_what_cannot_be_scored_is_refused():
    gt = square(10, 10) * np.uint8(1)
    lengths, short = ([gt] * 3, [gt] * 4), ([gt] * 2, [gt] * 2)
    sizes, empty = ([gt[:50]] * 3, [gt] * 3), ([gt] * 3, [gt * 0] * 3)
    for pred, truth in (lengths, short, sizes, empty):
        with pytest.raises(UserError):
            score_sequence(pred, truth)


def test_sequences_are_found_in_natural_order_and_those_without_masks_skipped(tmp_path):
    labels = [np.ones((4, 5), np.uint8)] * 11
    for name in ("clip10", "clip2"):
        make_sequence(tmp_path / name, labels)
    make_sequence(tmp_path / "bare", labels, masks=False)
    found = find_sequences(tmp_path)
    assert [sequence.name for sequence in found] == ["clip2", "clip10"]
    assert [path.stem for path in found[0].frames] == [str(i) for i in range(11)]
    assert [path.stem for path in found[0].masks] == [str(i) for i in range(11)]
    assert [sequence.name for sequence in find_sequences(tmp_path / "clip10")] == ["clip10"]


def test_no_sequence_or_a_missing_mask_is_an_error(tmp_path):
    with pytest.raises(SourceError):
        find_sequences(tmp_path)
    make_sequence(tmp_path / "a", [np.ones((4, 5), np.uint8)] * 3)
    (tmp_path / "a" / "masks" / "1.png").unlink()
    with pytest.raises(SourceError, match="1.png"):
        find_sequences(tmp_path)


@pytest.mark.parametrize("dtype, top", [(np.uint8, 7), (np.uint16, 900)])
def test_label_maps_keep_their_ids(tmp_path, dtype, top):
    labels = np.array([[0, 1, top], [2, 0, 0]], dtype)
    write_png(tmp_path / "a.png", labels)
    loaded = load_labels(tmp_path / "a.png")
    assert loaded.dtype == dtype and (loaded == labels).all()


def test_indexed_pngs_give_indices_and_colour_is_refused(tmp_path):
    from PIL import Image

    image = Image.fromarray(np.array([[0, 2]], np.uint8), "L").convert("P")
    image.putpalette([0, 0, 0, 9, 9, 9, 200, 0, 0])
    image.putdata([0, 2])
    image.save(tmp_path / "p.png")
    assert load_labels(tmp_path / "p.png").tolist() == [[0, 2]]
    write_png(tmp_path / "rgb.png", np.zeros((2, 2, 3), np.uint8))
    for name in ("rgb.png", "none.png"):
        with pytest.raises(SourceError):
            load_labels(tmp_path / name)


def test_prompts_are_tight_boxes_whole_masks_and_the_deepest_pixels_middle():
    labels = square(10, 30, 21) * np.uint8(5)
    labels[0, 0] = 255
    labels[50:53, 0:9] = 2
    assert list(first_prompts(labels, "mask")) == [2, 5]
    assert (first_prompts(labels, "mask")[5].mask == (labels == 5)).all()
    assert first_prompts(labels, "box")[5].box.tolist() == [30, 10, 51, 31]
    click = first_prompts(labels, "click")
    assert click[5].points.tolist() == [[40.5, 20.5]] and click[5].labels.tolist() == [1]
    # At the left border the outside of the frame is outside of the object, so column 0 is not deepest.
    assert click[2].points.tolist() == [[1.5, 51.5]]
    with pytest.raises(PromptError):
        first_prompts(labels, "scribble")


def test_a_click_lies_inside_a_ring():
    y, x = np.mgrid[:80, :80]
    distance = np.hypot(y - 40, x - 40)
    labels = ((distance > 20) & (distance < 30)).astype(np.uint8)
    cx, cy = first_prompts(labels, "click")[1].points[0]
    assert labels[int(cy), int(cx)] == 1 and abs(np.hypot(cx - 40.5, cy - 40.5) - 25) < 1.5
