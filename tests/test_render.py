"""Colours, boxes and overlays are what viewers and other tools expect."""

import numpy as np
import pytest
from results import frame, rectangle, result

from vidmem.errors import PromptError
from vidmem.prompts import PromptAt
from vidmem.render import PALETTE, Look, color, mask_boxes, overlay, parse_color
from vidmem.render.colors import readable_on
from vidmem.render.effects import GREEN
from vidmem.render.overlay import caption, written
from vidmem.types import Frame, Status, resize_logits

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
    out = overlay(f.image, result(f, {3: mask}), Look(opacity=0.5))
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
        pixel = overlay(f.image, result(f, {1: mask}), Look(opacity=alpha))[70, 60]
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


def test_the_text_says_which_object_and_in_what_state_and_cannot_be_read_as_one_number():
    assert caption("4", Status.TRACKED, 0.672) == "4  67%"
    assert caption("dog", Status.OCCLUDED, 0.9) == "dog  occluded  90%"
    assert caption("dog", Status.LOST) == "dog  lost"
    assert caption("dog", Status.AMBIGUOUS, 0.67, "cat") == "dog  ambiguous, or cat  67%"


# Looks


@pytest.fixture
def drawn():
    """A grey frame with one square, and what is drawn of it with a look."""
    f, mask = frame(**BIG), rectangle(BOX, **BIG)
    return lambda look=Look(): overlay(f.image, result(f, {1: mask}), look)


def test_an_outline_alone_leaves_the_inside_as_it_was(drawn):
    out = drawn(Look(opacity=0, labels=False))
    assert (out[45:75, 45:75] == 100).all() and (out[60, 40] == color(1)).all()


def test_thickness_is_in_pixels_and_zero_draws_none(drawn):
    width = [
        (drawn(Look(0, n, False))[60, :60] != 100).any(1).sum() for n in (0, 1, 3, 7)
    ]  # across the left edge of the square
    assert width[:2] == [0, 1] and all(
        n <= w <= n + 2 for n, w in zip((3, 7), width[2:])
    )  # OpenCV's lines have round ends


def test_labels_can_be_left_off(drawn):
    assert (drawn()[:38] != 100).any() and not (drawn(Look(labels=False))[:36] != 100).any()


def test_an_object_has_the_name_and_colour_that_a_person_gave_it(drawn):
    look = Look().of([PromptAt(1, label="dog", color=(255, 136, 0)), PromptAt(2), PromptAt(3, text=" black\x1b cat ")])
    assert look.name(3) == "black\\x1b cat"  # called what was looked for, harmless on a terminal
    assert look.name(1) == "dog" and look.name(2) == "2" and look.color(2) == color(2)
    assert look.about(1) == {"label": "dog", "color": "#ff8800"} and look.about(2) == {}
    assert (drawn(look)[60, 40] == (255, 136, 0)).all()
    assert (drawn(look) != drawn(Look(colors=look.colors))).any()  # another label


@pytest.mark.parametrize("name", ["Müller", "x" * 60, "a\nb", "犬"])
def test_any_name_is_drawn_inside_the_picture(drawn, name):
    out = drawn(Look(names={1: name}))
    assert out.shape == (96, 128, 3) and (out[:40] != 100).any()


def test_names_are_drawn_in_letters_that_the_font_has():
    look = Look(names={1: "Müller", 2: "犬", 3: "犬 dog"})
    assert [written(look, i) for i in (1, 2, 3, 4)] == ["Muller", "2", "dog", "4"]


def test_a_label_is_readable_on_dark_and_on_bright_plates():
    assert readable_on((0, 0, 60)) == (255, 255, 255) and readable_on((255, 220, 0)) == (0, 0, 0)


@pytest.mark.parametrize(
    "text, rgb", [("#ff8800", (255, 136, 0)), ("#F80", (255, 136, 0)), (" Orange ", (255, 136, 0))]
)
def test_a_colour_is_said_as_on_the_web(text, rgb):
    assert parse_color(text) == rgb


@pytest.mark.parametrize("text", ["ff8800", "#ff88", "#gg0000", "sunset", 5, None, ""])
def test_what_is_no_colour_is_refused_with_what_is_expected(text):
    with pytest.raises(PromptError, match="expected #ff8800"):
        parse_color(text)


@pytest.mark.parametrize(
    "wrong, says",
    [
        ({"opacity": 1.5}, "opacity is 1.5"),
        ({"opacity": float("nan")}, "opacity is nan"),
        ({"thickness": -1}, "thickness is -1"),
        ({"effect": "sepia"}, "no effect 'sepia'; choose from: blur, blur-object"),
    ],
)
def test_a_look_that_there_is_not_is_refused(wrong, says):
    with pytest.raises(PromptError, match=says):
        Look(**wrong)


# Effects


@pytest.fixture
def scene():
    """A frame of noise, with one square on it."""
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    return image, rectangle(BOX, **BIG)


def apply(scene, effect: str) -> np.ndarray:
    image, mask = scene
    before = image.copy()
    out = overlay(image, result(Frame(0, None, image), {1: mask}), Look(effect=effect))
    assert (image == before).all() and out.shape == image.shape and out.dtype == np.uint8
    return out


@pytest.mark.parametrize("effect", ["blur", "pixelate", "spotlight", "green"])
def test_what_changes_the_ground_leaves_the_object_as_it_was(scene, effect):
    out, (image, mask) = apply(scene, effect), scene
    assert (out[42:78, 42:78] == image[42:78, 42:78]).all()
    far = ~mask
    far[36:84, 36:84] = False
    assert (out[far] != image[far]).any(1).mean() > 0.95


@pytest.mark.parametrize("effect", ["blur-object", "pixelate-object"])
def test_what_hides_the_object_hides_all_of_it_and_leaves_the_ground(scene, effect):
    out, (image, mask) = apply(scene, effect), scene
    ground = ~mask
    ground[36:84, 36:84] = False
    assert (out[ground] == image[ground]).all()
    assert (out[mask] != image[mask]).any(1).mean() > 0.95
    assert (out[60, 38:82] != image[60, 38:82]).any(1).mean() > 0.9  # its edge, and a margin


def test_blurring_takes_the_detail_and_pixelating_makes_squares(scene):
    image = scene[0].astype(int)
    assert apply(scene, "blur")[:30].astype(int).std() < image.std() / 4
    assert len(np.unique(apply(scene, "pixelate")[:24].reshape(-1, 3), axis=0)) < 200


def test_the_green_screen_is_green_where_nothing_is_seen(scene):
    f = Frame(0, None, scene[0])
    for seen in (result(f), result(f, {1: rectangle((0, 0, 0, 0), **BIG)})):
        assert (overlay(f.image, seen, Look(effect="green")) == GREEN).all()


def test_an_effect_stands_alone_unless_outline_or_labels_are_asked_for(scene):
    f = Frame(0, None, scene[0])
    plain = overlay(f.image, result(f, {1: scene[1]}), Look(effect="green"))
    asked = overlay(f.image, result(f, {1: scene[1]}), Look(effect="green", thickness=2, labels=True))
    assert not (plain == color(1)).all(2).any() and (asked == color(1)).all(2).any()
