"""A whole video through our session equals the official predictor: mask logits within 1e-3."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from official import begin, build, follow, network, pictures, script  # noqa: E402

from vidmem.memory import Recent  # noqa: E402
from vidmem.search import Greedy  # noqa: E402
from vidmem.session import Session  # noqa: E402
from vidmem.types import Frame  # noqa: E402

HIDDEN = {5, 14, 15, 16}


def compare(name: str, size: int, count: int, correct_at: int | None, monkeypatch, objects: int = 3) -> None:
    official, ours = build(name, size, "++model.add_all_frames_to_correct_as_cond=true")
    presence = {t: -3.0 if t in HIDDEN else 3.0 for t in range(count)}
    now, mine_now = script(official.sam_mask_decoder, presence), script(ours.sam_mask_decoder, presence)
    images, unit = pictures(count, size), size // 8
    state = begin(official, images, monkeypatch)
    mask = np.zeros((size, size), bool)
    mask[unit : 4 * unit, 2 * unit : 5 * unit] = True
    asked = {1: dict(points=[[3 * unit, 2 * unit]], labels=[1]), 2: dict(box=[unit, unit, 4 * unit, 6 * unit])}
    for obj_id in asked:
        official.add_new_points_or_box(state, 0, obj_id, **asked[obj_id])
    if objects > 2:
        official.add_new_mask(state, 0, 3, mask)
        asked[3] = dict(mask=mask)
    correction = dict(points=[[2 * unit, 2 * unit], [6 * unit, 6 * unit]], labels=[1, 0])

    theirs: dict[int, torch.Tensor] = {}
    follow(official, now, monkeypatch)
    for t, _, logits in official.propagate_in_video(state, max_frame_num_to_track=correct_at):
        theirs[t] = logits
    before = theirs.get(correct_at)
    if correct_at:
        _, _, theirs[correct_at] = official.add_new_points_or_box(state, correct_at, 2, **correction)
        for t, _, logits in official.propagate_in_video(state, start_frame_idx=correct_at + 1):
            theirs[t] = logits

    session = Session(network(name, ours), Recent(frames=count), Greedy())
    for obj_id in asked:
        session.add(obj_id, **asked[obj_id])

    def near(result, expected) -> None:
        mine = F.interpolate(torch.from_numpy(result.mask_logits)[:, None], size=(size, size), mode="bilinear")
        assert torch.allclose(mine, expected, rtol=0, atol=1e-3)

    for t, image in enumerate(images):
        mine_now["t"] = t
        result = session.step(Frame(t, None, image))
        near(result, before if t == correct_at else theirs[t])
        if t == correct_at:
            near(session.add(2, **correction), theirs[t])
        if t == 1:
            assert all(0.01 < mask.mean() < 0.99 for mask in result.masks)  # there was something to compare


@pytest.mark.parametrize("name", ["sam2.1-tiny", "sam2-tiny"])
def test_24_frames_three_objects_a_correction_and_absences_at_256_pixels(name, monkeypatch):
    compare(name, 256, 24, 10, monkeypatch)


def test_six_frames_at_1024_pixels(monkeypatch):
    compare("sam2.1-tiny", 1024, 6, None, monkeypatch, objects=2)
