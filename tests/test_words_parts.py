"""Colour, place, size and motion, each on what was made by hand."""

import numpy as np
import pytest

from vidmem.detect.words import colour, motion
from vidmem.detect.words.place import ordinal_shares, place_shares, ranked, relation_shares, size_shares
from vidmem.detect.words.proposals import boxes_of_maps, pairwise
from vidmem.detect.words.sight import AREA, crop, input_size, region_mean, window

PATCHES = {
    "red": (200, 30, 30), "orange": (240, 130, 20), "yellow": (235, 220, 30), "green": (40, 150, 50), "blue": (40, 70, 200),
    "purple": (120, 40, 170), "pink": (240, 130, 180), "brown": (110, 65, 30), "black": (20, 20, 22), "white": (240, 240, 238),
    "grey": (128, 128, 130),
}  # fmt: skip
LIGHTS = {"day": (1, 1, 1), "warm": (1.0, 0.9, 0.75), "cold": (0.85, 0.95, 1.0), "dim": (0.75, 0.75, 0.75)}


def patch(name: str, light: str) -> np.ndarray:
    """A square of the colour on a grey street, in some light."""
    image = np.full((90, 160, 3), (115, 112, 108), np.float32)
    image[:20] = (170, 190, 205)
    image[30:70, 60:100] = PATCHES[name]
    noise = np.random.default_rng(0).normal(0, 4, image.shape)
    return ((image + noise) * LIGHTS[light]).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("light", LIGHTS)
@pytest.mark.parametrize("name", sorted(set(PATCHES) - {"grey"}))
def test_a_colour_is_called_by_its_name_in_any_light(name, light):
    hsv = colour.balanced(patch(name, light))
    shares = {other: colour.share(hsv, other, np.array([60, 30, 100, 70])) for other in PATCHES}
    assert shares[name] >= 0.9 or name == max(shares, key=shares.get), shares
    strangers = {"red": "blue", "blue": "red", "green": "red", "black": "white", "white": "black"}
    assert shares[strangers.get(name, "green")] <= 0.1


def test_what_the_whole_frame_has_says_less():
    meadow = np.full((90, 160, 3), (60, 140, 60), np.uint8)
    street = np.full((90, 160, 3), (120, 118, 115), np.uint8)
    for image in (meadow, street):
        image[40:50, 70:90] = (60, 140, 60)
    box = np.array([68, 36, 92, 54])
    alone, among = (colour.share(colour.balanced(image), "green", box) for image in (street, meadow))
    assert alone >= among


BOXES = np.array([[10, 40, 30, 60], [70, 30, 100, 70], [130, 45, 145, 60]], np.float32)
BOTH, ONE = np.array([True, True, False]), np.array([False, True, False])


def test_among_several_a_place_is_a_rank():
    assert place_shares(BOXES, "left", BOTH, (90, 160)).argmax() == 0
    assert place_shares(BOXES, "right", BOTH, (90, 160)).argmax() == 1  # the third is no rival
    assert place_shares(BOXES, "right", ~ONE, (90, 160)).argmax() == 2


def test_for_one_alone_a_place_is_a_part_of_the_frame():
    left, middle, right = (place_shares(BOXES, place, ONE, (90, 160)) for place in ("left", "middle", "right"))
    assert left[0] > 0.9 and left[2] < 0.1 and right[2] > 0.9 and middle[1] > 0.9 and middle[0] < 0.2
    assert place_shares(BOXES, "top", ONE, (40, 160))[2] < 0.5


def test_sizes_and_ordinals_count_rivals_alone():
    everyone = np.ones(3, bool)
    assert size_shares(BOXES, "biggest", everyone, (90, 160)).argmax() == 1
    assert size_shares(BOXES, "smallest", everyone, (90, 160)).argmax() == 2
    assert size_shares(BOXES, "small", BOTH, (90, 160)).argmax() == 0
    assert ordinal_shares(BOXES, 2, everyone).argmax() == 1 and ordinal_shares(BOXES, -1, everyone).argmax() == 2
    assert ordinal_shares(BOXES, 2, np.array([True, False, True])).argmax() == 2
    assert ordinal_shares(BOXES, 4, everyone).max() == pytest.approx(0.05)
    assert ranked(np.array([1.0, 2.0]), np.array([False, False])).max() == pytest.approx(0.05)


def test_relations_are_between_two_boxes():
    likely = np.array([0.0, 1.0, 0.0])
    assert relation_shares(BOXES, "left", BOXES, likely).argmax() == 0
    assert relation_shares(BOXES, "right", BOXES, likely).argmax() == 2
    assert relation_shares(BOXES, "near", BOXES, likely)[1] == pytest.approx(0.05)  # not near itself
    rider = np.array([[75, 5, 95, 45], [70, 30, 100, 70]], np.float32)
    assert relation_shares(rider, "above", rider, np.array([0, 1.0]))[0] > 0.9


def picture(shift: int, at: int) -> np.ndarray:
    """A textured wall seen by a camera that pans, and a square that moves over it."""
    wall = np.random.default_rng(3).integers(60, 200, (30, 80, 3)).repeat(4, 0).repeat(4, 1).astype(np.uint8)
    image = wall[10:100, 20 + shift : 180 + shift].copy()
    image[40:64, at : at + 24] = np.random.default_rng(4).integers(0, 255, (6, 6, 3)).repeat(4, 0).repeat(4, 1)
    return image


def test_what_moves_on_its_own_is_told_from_what_the_camera_moves():
    import cv2

    frames = [cv2.GaussianBlur(picture(2 * t, 30 + 4 * t), (0, 0), 1.2) for t in range(5)]
    speed = motion.own_motion(list(enumerate(frames[:4])), (4, frames[4]))
    mover, wall = np.array([46 / 160, 40 / 90, 70 / 160, 64 / 90]), np.array([0.7, 0.3, 0.9, 0.8])
    assert motion.share(speed, mover, "moving") > 0.6 and motion.share(speed, wall, "moving") < 0.2
    assert motion.share(speed, wall, "still") > 0.8 and motion.share(speed, mover, "still") < 0.4


def test_one_frame_says_nothing_of_motion():
    assert motion.own_motion([(0, picture(0, 30))], (1, picture(0, 34))) is None


def test_boxes_come_from_the_middles_of_objects():
    middle, distances = np.zeros((6, 10), np.float32), np.full((4, 6, 10), 36, np.float32)
    middle[2, 3], middle[2, 4], middle[4, 8] = 0.9, 0.8, 0.5
    scores, boxes = boxes_of_maps(middle, distances)
    assert scores[0] == pytest.approx(0.9) and scores[1] == pytest.approx(0.5)
    assert len(boxes) == 2  # two cells that mean one thing become one box
    assert abs(boxes[0] - [28, 4, 100, 76]).max() < 10
    np.testing.assert_allclose(boxes[1], [100, 36, 160, 96])


def test_boxes_stay_inside_and_one_weak_middle_is_still_told():
    middle, distances = np.zeros((4, 4), np.float32), np.full((4, 4, 4), 500, np.float32)
    middle[1, 1] = 0.01
    scores, boxes = boxes_of_maps(middle, distances)
    assert scores[0] == pytest.approx(0.01) and boxes[0].tolist() == [0, 0, 64, 64]


def test_pairwise_is_intersection_over_union():
    one = np.array([[0, 0, 10, 10], [0, 0, 0, 0]], np.float32)
    np.testing.assert_allclose(pairwise(one, np.array([[5, 0, 15, 10]], np.float32)), [[1 / 3], [0]], atol=1e-6)


@pytest.mark.parametrize("size", [(480, 854), (240, 432), (1080, 1920), (1280, 720), (16, 4000), (1, 1)])
def test_input_sizes_fit_the_network(size):
    height, width = input_size(*size)
    assert height % 32 == width % 32 == 0 and height * width <= 1.5 * AREA and min(height, width) >= 64


def test_a_crop_shows_the_box_and_a_little_more():
    image = np.zeros((100, 200, 3), np.uint8)
    image[40:60, 150:190] = 255
    part, inside = crop(image, np.array([150, 40, 190, 60]))
    assert part.shape == (224, 224, 3) and (inside >= 0).all() and (inside <= 1).all()
    x0, y0, x1, y1 = (inside * 224).astype(int)
    assert part[y0 + 3 : y1 - 3, x0 + 3 : x1 - 3].min() > 200 and part[: y0 - 6].max() < 50
    assert window(np.array([-5, -5, 3, 3]), (100, 200))[:2] == (0, 0)
    assert window(np.array([0, 0, 200, 100]), (100, 200)) == (0, 0, 200, 100)


def test_a_region_is_the_mean_of_its_cells_by_their_shares():
    features = np.arange(8, dtype=np.float32).reshape(1, 2, 4)
    assert region_mean(features, np.array([0, 0, 1, 1]))[0] == pytest.approx(3.5)
    assert region_mean(features, np.array([0, 0, 0.375, 0.5]))[0] == pytest.approx(1 / 3)
