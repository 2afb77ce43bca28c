"""Stray parts of a mask are dropped only where the object goes on beside them; prompts say what belongs to it."""

import numpy as np
import pytest

from vidmem.memory import Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.prompts import make_prompt
from vidmem.search import Greedy
from vidmem.session import Session
from vidmem.session.cleaning import HOLE, clean
from vidmem.types import Candidates

WHOLE, SCALE = (40, 60), (1.0, 1.0)


def logits(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """x0, y0, x1, y1 of each part -> (40, 60), 3 inside, -3 outside."""
    out = np.full(WHOLE, -3.0, np.float32)
    for x0, y0, x1, y1 in boxes:
        out[y0:y1, x0:x1] = 3.0
    return out


BODY, BLOB, FAR = (5, 5, 20, 20), (40, 25, 46, 31), (30, 5, 55, 35)


def kept(mask, last=None, prompt=None) -> list[bool]:
    """Which of the parts are still there."""
    out = clean(logits(*mask), None if last is None else logits(*last), prompt, SCALE)
    return [bool((out[y0:y1, x0:x1] > 0).all()) for x0, y0, x1, y1 in mask]


def test_a_blob_away_from_where_the_object_was_goes_and_the_array_that_came_is_left_alone():
    assert kept([BODY, BLOB], [BODY]) == [True, False]
    came = logits(BODY, BLOB)
    out = clean(came, logits(BODY), None, SCALE)
    assert (came[26, 42], out[26, 42]) == (3.0, -3.0)
    whole = logits(BODY)
    assert clean(whole, logits(BODY), None, SCALE) is whole


def test_a_large_part_may_come_out_on_the_other_side_of_a_pole_and_a_speck_may_not():
    left, right, speck = (5, 5, 12, 20), (18, 5, 24, 20), (18, 25, 20, 27)
    assert kept([left, right], [left]) == [True, True]
    assert kept([left, speck], [left]) == [True, False]


@pytest.mark.parametrize(
    "last, why",
    [
        (None, "it was not seen before: it may have come back anywhere"),
        ([FAR], "too little of it goes on where it was: it has jumped"),
        ([BODY, (30, 5, 36, 11)], "it was in parts before"),
    ],
)
def test_what_may_be_the_object_stays(last, why):
    assert kept([BODY, BLOB], last) == [True, True], why


def test_prompts_say_which_parts_belong():
    click = lambda *points: make_prompt([p[:2] for p in points], [p[2] for p in points])
    assert kept([BODY, BLOB], prompt=click((10, 10, 1))) == [True, False]
    assert kept([BODY, BLOB], prompt=click((10, 10, 1), (42, 28, 1))) == [True, True]
    assert kept([BODY, BLOB], prompt=click((42, 28, 0))) == [True, False]  # a click beside the object removes that part
    assert kept([BODY, BLOB], prompt=click((30, 3, 0))) == [True, True]  # and one on nothing removes nothing
    assert kept([BODY, BLOB], prompt=make_prompt(box=(4, 4, 21, 21))) == [True, False]
    given = make_prompt(mask=np.ones(WHOLE, bool))
    came = logits(BODY, BLOB)
    assert clean(came, None, given, SCALE) is came


def test_small_holes_are_filled_and_large_ones_and_bays_are_not():
    came = logits(BODY)
    came[10, 10 : 10 + HOLE], came[14:17, 8:12], came[7, 5:9] = -1, -1, -1
    out = clean(came, logits(BODY), None, SCALE)
    assert (out[10, 10 : 10 + HOLE] > 0).all() and (out[14:17, 8:12] < 0).all() and (out[7, 5:9] < 0).all()


class Leaking(FakeNetwork):
    """From the second frame on the mask has a blob in a corner."""

    competes = True

    def decode(self, features, conditioned, asks):
        said = super().decode(features, conditioned, asks)
        masks = said.mask_logits.copy()
        if not any(asks):
            masks[:, :, -2:, -2:] = 2.0
        return Candidates(masks, said.iou, said.object_logit, said.pointer)


@pytest.mark.parametrize("clean, blob", [(None, False), (True, False), (False, True)])
def test_a_session_cleans_unless_it_is_told_not_to(clean, blob):
    image = np.zeros((16, 32, 3), np.uint8)
    image[4:12, 4:12] = 200
    with Session(Leaking(), Recent(), Greedy, clean=clean) as session:
        session.add(1, points=[[8, 8]], labels=[1])
        session.step(image)
        mask = session.step(image).masks[0]
    assert mask[8, 8] and bool(mask[-1, -1]) == blob
