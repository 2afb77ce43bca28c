"""Colours, boxes and overlays are what viewers and other tools expect."""

import numpy as np
import pytest
from results import frame, rectangle, result

from vidmem.render import PALETTE, color, mask_boxes, overlay
from vidmem.types import Status, resize_logits

BOX = (40, 40, 80, 80)
BIG = {"height": 96, "width": 128}


def test_the_palette_is_that_of_voc_and_davis():
    """The first entries as PASCAL's VOClabelcolormap lists them, and one far up."""
    known = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        2: (0, 128, 0),
        3: (128, 128, 0),
        4: (0, 0, 128),
        5: (128, 0, 128),
        6: (0, 128, 128),
    }
    known |= {7: (128, 128, 128), 8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192)}
    for index, rgb in known.items():
        assert tuple(PALETTE[index].tolist()) == rgb
    assert PALETTE.shape == (256, 3) and PALETTE.dtype == np.uint8
    assert len(np.unique(PALETTE, axis=0)) == 256


def test_neighbouring_objects_have_bright_and_different_colours():
    colors = np.array([color(i) for i in range(1, 21)])
    assert colors.max(1).min() > 200
    for i, one in enumerate(colors):
        for other in colors[i + 1 : i + 4]:
            assert np.abs(one - other).max() > 60


def test_boxes_end_one_after_the_last_pixel():
    for box in ((10, 20, 30, 40), (0, 0, 64, 48), (63, 47, 64, 48), (5, 0, 6, 48)):
        assert mask_boxes(rectangle(box)[None]).tolist() == [list(box)]


def test_the_box_of_an_empty_mask_is_zeros():
    found = mask_boxes(np.stack([rectangle((0, 0, 0, 0)), rectangle((1, 2, 3, 4))]))
    assert found.tolist() == [[0, 0, 0, 0], [1, 2, 3, 4]]
    assert found.dtype == np.float32
    assert mask_boxes(np.zeros((0, 48, 64), bool)).shape == (0, 4)


def test_a_box_holds_all_parts_of_a_mask():
    mask = rectangle((2, 3, 4, 5)) | rectangle((50, 40, 52, 41))
    assert mask_boxes(mask[None]).tolist() == [[2, 3, 52, 41]]


def test_boxes_of_views_are_those_of_copies():
    masks = np.random.default_rng(0).random((3, 40, 60)) > 0.995
    for view in (masks.transpose(0, 2, 1), masks[:, ::-1], masks[:, 5:30, 7:40]):
        np.testing.assert_array_equal(mask_boxes(view), mask_boxes(view.copy()))


def test_logits_are_resized_by_pixel_centres():
    """Torch's bilinear with align_corners=False: a doubled edge has its quarter steps around the middle."""
    np.testing.assert_allclose(resize_logits(np.array([[0, 4], [0, 4]]), (2, 4))[0], [0, 1, 3, 4])
    assert resize_logits(np.zeros((16, 16)), (48, 65)).shape == (48, 65)


def test_an_overlay_leaves_its_input_as_it_was():
    f = frame(**BIG)
    f.image.setflags(write=False)
    out = overlay(f.image, result(f, {1: rectangle(BOX, **BIG)}))
    assert (f.image == 100).all()
    assert out.shape == f.image.shape and out.dtype == np.uint8
    assert not np.shares_memory(out, f.image)


def test_an_overlay_of_no_objects_is_the_frame():
    f = frame(**BIG)
    assert (overlay(f.image, result(f)) == f.image).all()


def test_the_inside_is_tinted_and_the_outside_is_not():
    import cv2

    f, mask = frame(**BIG), rectangle(BOX, **BIG)
    mask[50:60, 50:60] = False  # a hole
    out = overlay(f.image, result(f, {3: mask}), alpha=0.5)
    near = np.ones((7, 7), np.uint8)  # the contour is two pixels wide
    inside = cv2.erode(mask.astype(np.uint8), near).astype(bool)
    inside[:48] = False  # the label stands on the upper edge
    outside = ~cv2.dilate(mask.astype(np.uint8), near).astype(bool)
    outside[:48, 30:] = False
    tint = np.array(color(3)) * 0.5 + 50
    assert inside.sum() > 200 and outside.sum() > 5000
    assert np.abs(out[inside] - tint).max() <= 1
    assert (out[outside] == 100).all()
    assert (out[54:56, 54:56] == 100).all()  # the hole shows the frame


def test_alpha_is_the_share_of_the_tint():
    f, mask = frame(**BIG), rectangle(BOX, **BIG)
    for alpha in (0.0, 0.25, 1.0):
        pixel = overlay(f.image, result(f, {1: mask}), alpha=alpha)[70, 60]
        np.testing.assert_allclose(pixel, np.array(color(1)) * alpha + 100 * (1 - alpha), atol=1)


def test_the_outline_is_drawn_in_the_objects_colour():
    f, mask = frame(**BIG), rectangle(BOX, **BIG)
    out = overlay(f.image, result(f, {2: mask}))
    assert (out[60, 40] == color(2)).all() and (out[60, 79] == color(2)).all() and (out[79, 60] == color(2)).all()


@pytest.mark.parametrize(
    "box", [(5, 5, 6, 30), (5, 5, 30, 6), (5, 5, 6, 6), (0, 0, 128, 96), (0, 95, 128, 96), (127, 95, 128, 96)]
)
def test_thin_masks_and_masks_at_the_border_are_drawn(box):
    f, mask = frame(**BIG), rectangle(box, **BIG)
    out = overlay(f.image, result(f, {1: mask}))
    assert (out != f.image).any(2)[mask].all()


def test_an_object_that_is_not_seen_is_named_in_the_corner():
    f, nothing = frame(**BIG), rectangle((0, 0, 0, 0), **BIG)
    out = overlay(f.image, result(f, {1: nothing}))
    changed = (out != f.image).any(2)
    assert changed[:24, :70].sum() > 50
    assert not changed[30:].any()


def test_every_unseen_object_has_its_own_line_and_colour():
    f, nothing = frame(**BIG), rectangle((0, 0, 0, 0), **BIG)
    one = (overlay(f.image, result(f, {1: nothing})) != f.image).any(2)
    two = (overlay(f.image, result(f, {1: nothing, 2: nothing})) != f.image).any(2)
    assert np.flatnonzero(two.any(1)).max() > np.flatnonzero(one.any(1)).max()


def test_the_text_says_which_object_and_in_what_state(monkeypatch):
    import vidmem.render

    said = []
    monkeypatch.setattr(vidmem.render, "_text", lambda image, text, *rest: said.append(text))
    f, mask = frame(**BIG), rectangle(BOX, **BIG)
    overlay(f.image, result(f, {4: mask}))
    overlay(f.image, result(f, {4: mask}, status=Status.OCCLUDED))
    overlay(f.image, result(f, {9: ~mask & False}))
    assert said == ["4 0.90", "4 occluded 0.90", "9 lost"]
