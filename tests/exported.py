"""What the tests of exported graphs do with a tracker, and how they compare."""

from functools import cache

import numpy as np
import pytest

import vidmem
from tests.conftest import MODEL
from vidmem.search import Greedy


@cache
def engine(name: str, folder, size: int | None = None):
    if name == "openvino":
        pytest.importorskip("openvino")
    return vidmem.load(MODEL, runtime=name, weights=folder, image_size=size, threads=1)


def follow(tracker, images, bank) -> list:
    """Three objects by box, points and mask; a later one, a correction, a frame far off."""
    mask = np.zeros(images[0].shape[:2], bool)
    mask[30:90, 100:160] = True
    results = []
    with tracker.session(bank, Greedy()) as session:
        session.add(1, box=(20, 20, 80, 90))
        session.add(2, points=[[60, 60], [10, 10], [70, 66]], labels=[1, 0, 1])
        session.add(3, mask=mask)
        for t, image in enumerate(images):
            if t == 3:
                session.add(4, points=[[40, 100]], frame_idx=t)
            results.append(session.step(image if t < 6 else 255 - image))
            if t == 5:
                results.append(session.add(1, points=[[30, 30]], labels=[0]))
    return results


def same(mine, theirs, tolerance=1e-3):
    for a, b in zip(mine, theirs, strict=True):
        scale = np.abs(b.mask_logits[b.mask_logits > -1000]).max()
        assert np.abs(a.mask_logits - b.mask_logits).max() <= tolerance * scale
        assert np.abs(a.object_logits - b.object_logits).max() <= tolerance * np.abs(b.object_logits).max()
        assert np.abs(a.scores - b.scores).max() <= tolerance
    assert any(0.02 < r.masks.mean() < 0.98 for r in theirs)
