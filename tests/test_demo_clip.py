"""The committed demo clip is what its description says."""

import json
from pathlib import Path

import numpy as np
import pytest

ASSETS = Path(__file__).resolve().parents[1] / "assets"


@pytest.fixture(scope="module")
def about():
    return json.loads((ASSETS / "demo.json").read_text())


@pytest.fixture(scope="module")
def masks():
    with np.load(ASSETS / "demo_masks.npz") as data:
        frames, height, width = (int(n) for n in data["shape"])
        return np.unpackbits(data["packed"], axis=1, count=height * width).reshape(frames, height, width).astype(bool)


@pytest.fixture(scope="module")
def decoded():
    import av

    with av.open(str(ASSETS / "demo.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        frames = container.decode(stream)
        return [(frame.height, frame.width, frame.to_ndarray(format="rgb24")[::8, ::8]) for frame in frames]


def test_the_clip_is_small_enough_to_be_committed():
    assert (ASSETS / "demo.mp4").stat().st_size < 2_000_000
    assert (ASSETS / "demo_masks.npz").stat().st_size < 200_000


def test_frames_decode_in_the_number_and_size_that_are_declared(about, decoded):
    assert len(decoded) == about["frames"]
    assert {frame[:2] for frame in decoded} == {tuple(about["size"])}


def test_there_is_a_mask_for_every_frame(about, masks):
    assert masks.shape == (about["frames"], *about["size"])


def test_the_object_is_absent_exactly_in_the_disappearance(about, masks):
    absent = np.zeros(about["frames"], bool)
    for first, last in about["events"]["disappearance"]:
        absent[first : last + 1] = True
    assert (masks.any((1, 2)) == ~absent).all()
    assert absent.sum() >= 1.5 * about["fps"]
    assert [last + 1 for _, last in about["events"]["disappearance"]] == about["events"]["return"]


def test_the_box_is_that_of_the_first_mask(about, masks):
    ys, xs = np.nonzero(masks[0])
    assert about["box"] == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def test_the_object_passes_behind_the_rock_and_comes_back_larger(about, masks):
    area = masks.sum((1, 2))
    first, last = about["events"]["occlusion"][0]
    assert area[first : last + 1].min() < 0.7 * area[first - 1]
    assert area[about["events"]["return"][0] :].max() > 1.5 * area[0]


def test_the_masks_lie_on_the_orange_fish(masks, decoded):
    # Orange has more red than blue and the water has less: a mask that is shifted or out of step would take in water.
    for index in np.flatnonzero(masks.sum((1, 2)) > 3000)[::20]:
        image, mask = decoded[index][2].astype(int), masks[index, ::8, ::8]
        warm = image[..., 0] - image[..., 2] > 0
        assert warm[mask].mean() > 0.8, index
