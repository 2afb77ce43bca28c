"""Run lengths: what COCO's own encoder writes, and back."""

import numpy as np
import pytest

from vidmem.video import rle_decode, rle_encode

SIZES = [(1, 1), (1, 7), (7, 1), (48, 64), (37, 53), (300, 5)]


def masks():
    """Empty, full, noise of several densities, and smooth shapes with long runs, at every size."""
    random = np.random.default_rng(0)
    for height, width in SIZES:
        yield np.zeros((height, width), bool)
        yield np.ones((height, width), bool)
        for density in (0.02, 0.5, 0.98):
            yield random.random((height, width)) < density
        y, x = np.mgrid[:height, :width]
        yield (y - height / 2) ** 2 + (x - width / 3) ** 2 < (min(height, width) / 2.5) ** 2


def test_encoding_is_equal_to_that_of_pycocotools():
    coco = pytest.importorskip("pycocotools.mask")
    for mask in masks():
        theirs = coco.encode(np.asfortranarray(mask, np.uint8))
        assert rle_encode(mask) == {"size": list(theirs["size"]), "counts": theirs["counts"].decode()}


def test_pycocotools_decodes_runs_of_more_than_fifteen_bits():
    coco = pytest.importorskip("pycocotools.mask")
    mask = np.zeros((1080, 1920), bool)
    mask[200:900, 300:1500] = True
    mask[:, 1900:] = True
    assert (coco.decode(rle_encode(mask)).astype(bool) == mask).all()


def test_decoding_is_the_inverse_of_encoding():
    for mask in masks():
        back = rle_decode(rle_encode(mask))
        assert back.dtype == bool
        np.testing.assert_array_equal(back, mask)


def test_a_mask_that_begins_with_object_begins_with_a_run_of_zero():
    assert rle_encode(np.ones((2, 3), bool)) == {"size": [2, 3], "counts": "06"}
    assert rle_encode(np.zeros((2, 3), bool)) == {"size": [2, 3], "counts": "6"}


def test_runs_go_down_the_columns():
    mask = np.zeros((4, 4), bool)
    mask[:, 1] = True
    assert rle_encode(mask)["counts"] == "448"  # 4 background, 4 object, 8 background


def test_memory_order_and_integer_masks_change_nothing():
    mask = np.random.default_rng(1).random((20, 31)) < 0.3
    for other in (np.asfortranarray(mask), mask.astype(np.uint8) * 255, mask.T.copy().T):
        assert rle_encode(other) == rle_encode(mask)
