"""A script written for Meta's predictor gives the same masks through `vidmem.compat.sam2`."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from official import begin, build, follow, network, pictures, script  # noqa: E402

from vidmem.compat.sam2 import SAM2VideoPredictor, build_sam2_video_predictor  # noqa: E402
from vidmem.errors import ModelError, SourceError  # noqa: E402

SIZE, COUNT = 64, 20
HIDDEN = {4, 11, 12}


class Memory:
    """Frames in memory; notes which one is looked at."""

    def __init__(self, images, state):
        self.images, self.state, self.count, self.size = images, state, len(images), images[0].shape[:2]

    def __getitem__(self, frame_idx):
        return self.images[frame_idx]


@pytest.fixture(scope="module")
def pair():
    return build("sam2.1-tiny", SIZE)


@pytest.fixture
def both(pair, monkeypatch):
    """The two predictors, each with its state, over the same frames."""
    official, ours = pair
    presence = {t: -2.0 if t in HIDDEN else 2.0 for t in range(COUNT)}
    for decoder in (official.sam_mask_decoder, ours.sam_mask_decoder):
        monkeypatch.setattr(decoder, "forward", decoder.forward)
    theirs, mine = script(official.sam_mask_decoder, presence), script(ours.sam_mask_decoder, presence)
    follow(official, theirs, monkeypatch)
    images = pictures(COUNT, SIZE)
    predictor = SAM2VideoPredictor(network("sam2.1-tiny", ours))
    features = predictor._features

    def followed(state, frame_idx):
        mine["t"] = frame_idx
        return features(state, frame_idx)

    monkeypatch.setattr(predictor, "_features", followed)
    return (official, begin(official, images, monkeypatch)), (predictor, predictor.init_state(Memory(images, mine)))


def flat(result) -> list:
    """(frame_idx, obj_ids, masks), or a list of such, with copies of what later calls may change."""
    if isinstance(result, tuple) and len(result) == 3:
        return [(result[0], list(result[1]), result[2].clone())]
    return [] if result is None else [item for part in result for item in flat(part)]


SQUARE = np.zeros((SIZE, SIZE), bool)
SQUARE[10:30, 20:50] = True


def click(p, s):
    yield p.add_new_points_or_box(s, 0, 7, points=[[20, 20]], labels=[1])
    yield p.propagate_in_video(s)


def several_objects_prompts_and_kinds(p, s):
    yield p.add_new_points_or_box(s, 0, 1, box=[10, 10, 40, 50])
    yield p.add_new_points_or_box(s, 0, 1, box=[10, 10, 40, 50], points=[[20, 20]], labels=[0])
    yield p.add_new_mask(s, 0, 2, SQUARE)
    yield p.add_new_points_or_box(s, 0, 3, points=[[30, 30], [5, 5]], labels=[1, 0])
    yield p.add_new_points_or_box(s, 9, 1, points=[[33, 33]], labels=[1])
    yield p.propagate_in_video(s)


def clicks_one_after_another(p, s):
    yield p.add_new_points_or_box(s, 2, 1, points=[[20, 20]], labels=[1])
    yield p.add_new_points_or_box(s, 2, 1, points=[[25, 40]], labels=[1], clear_old_points=False)
    yield p.add_new_points_or_box(
        s,
        2,
        1,
        points=torch.tensor([[0.5, 0.9]]),
        labels=torch.tensor([0]),
        clear_old_points=False,
        normalize_coords=False,
    )
    yield p.propagate_in_video(s, max_frame_num_to_track=5)


def a_correction_and_a_second_run(p, s):
    yield p.add_new_points_or_box(s, 0, 1, points=[[20, 20]], labels=[1])
    yield p.propagate_in_video(s)
    yield p.add_new_points_or_box(s, 10, 1, points=[[40, 40]], labels=[0])
    yield p.propagate_in_video(s, start_frame_idx=10)
    yield p.add_new_mask(s, 14, 1, SQUARE)
    yield p.propagate_in_video(s, start_frame_idx=14)


def forward_then_reverse(p, s):
    yield p.add_new_points_or_box(s, 9, 1, points=[[20, 20]], labels=[1])
    yield p.propagate_in_video(s)
    yield p.propagate_in_video(s, start_frame_idx=9, reverse=True)
    yield p.add_new_points_or_box(s, 5, 1, points=[[40, 40]], labels=[1])
    yield p.propagate_in_video(s, start_frame_idx=5, reverse=True)


def objects_come_and_go(p, s):
    yield p.add_new_points_or_box(s, 0, 1, points=[[20, 20]], labels=[1])
    yield p.add_new_points_or_box(s, 0, 2, points=[[40, 40]], labels=[1])
    yield p.propagate_in_video(s, max_frame_num_to_track=6)
    yield p.add_new_points_or_box(s, 6, 3, box=[5, 5, 30, 30])
    yield [(f, [], m) for f, m in p.remove_object(s, 1)[1]]
    yield p.propagate_in_video(s, start_frame_idx=7)
    yield p.clear_all_prompts_in_frame(s, 6, 3)
    p.reset_state(s)
    yield p.add_new_points_or_box(s, 1, 5, points=[[20, 20]], labels=[1])
    yield p.propagate_in_video(s, max_frame_num_to_track=3)


BEFORE_TRACKING = [click, several_objects_prompts_and_kinds, clicks_one_after_another]
ON_TRACKED_FRAMES = [a_correction_and_a_second_run, forward_then_reverse, objects_come_and_go]


@pytest.mark.parametrize(
    ("user", "corrections"),
    [(user, False) for user in [*BEFORE_TRACKING, *ON_TRACKED_FRAMES]] + [(user, True) for user in ON_TRACKED_FRAMES],
)
def test_the_same_script_gives_the_same_masks(user, corrections, both, monkeypatch):
    (official, _), (predictor, _) = both
    monkeypatch.setattr(official, "add_all_frames_to_correct_as_cond", corrections)
    predictor.corrections = corrections
    theirs, mine = ([item for step in user(*one) for item in flat(step)] for one in both)
    assert len(theirs) == len(mine) > 3
    for (frame_idx, obj_ids, masks), (my_frame, my_ids, my_masks) in zip(theirs, mine):
        assert (frame_idx, obj_ids) == (my_frame, my_ids) and masks.shape == my_masks.shape
        assert torch.allclose(masks, my_masks, rtol=0, atol=1e-3)
    assert any(0.02 < (masks > 0).float().mean() < 0.98 for _, _, masks in theirs)


def test_files_are_read_in_any_order(tmp_path, both):
    from PIL import Image

    predictor, known = both[1]
    for t, image in enumerate(pictures(5, SIZE)):
        Image.fromarray(image).save(tmp_path / f"{t}.png")
    state = predictor.init_state(str(tmp_path), offload_video_to_cpu=True)
    assert (state["num_frames"], state["video_height"], state["video_width"]) == (5, SIZE, SIZE)
    for t in (0, 1, 4, 2, 3):
        assert np.array_equal(state["images"][t], known["images"][t])
    with pytest.raises(SourceError, match="it has frames 0 to 4"):
        state["images"][5]


def test_unreadable_images_do_not_shift_the_others_and_videos_are_read_backwards(tmp_path, both):
    from clips import noisy
    from PIL import Image

    from vidmem.compat.sam2 import Frames

    images = pictures(5, SIZE)
    for t, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{t}.png")
    (tmp_path / "2.png").write_bytes(b"no image")
    frames = Frames(tmp_path)
    good = [images[t] for t in (0, 1, 3, 4)]
    for t in (3, 0, 1, 2, 3, 2, 1, 0):
        assert frames.count == 4 and np.array_equal(frames[t], good[t])
    video = Frames(noisy(tmp_path / "clip.mp4"))
    forward = [video[t].copy() for t in range(video.count)]
    assert all(np.array_equal(video[t], forward[t]) for t in reversed(range(video.count)))


def test_an_object_that_joins_during_a_run_waits_for_the_next(both):
    predictor, state = both[1]
    predictor.add_new_points_or_box(state, 0, 1, points=[[20, 20]], labels=[1])
    for t, ids, masks in predictor.propagate_in_video(state, max_frame_num_to_track=4):
        if t == 1:
            predictor.add_new_points_or_box(state, 3, 2, points=[[40, 40]], labels=[1])
        assert ids == [1] and len(masks) == 1
    assert next(ids for _, ids, _ in predictor.propagate_in_video(state, max_frame_num_to_track=4)) == [1, 2]


def test_boxes_as_points_and_masks_as_numbers_mean_the_same(both):
    predictor, state = both[1]
    box = predictor.add_new_points_or_box(state, 0, 1, box=[10, 10, 40, 50])[2]
    points = predictor.add_new_points_or_box(
        state, 0, 2, points=torch.tensor([[10.0, 10.0], [40.0, 50.0]]), labels=torch.tensor([2, 3])
    )[2]
    assert torch.allclose(box[0], points[1])
    soft = torch.where(torch.from_numpy(SQUARE), 7.0, -5.0)
    assert torch.allclose(
        predictor.add_new_mask(state, 1, 3, soft)[2][2], predictor.add_new_mask(state, 1, 4, SQUARE)[2][3]
    )


def test_what_is_not_offered_says_so(both):
    predictor, state = both[1]
    with pytest.raises(RuntimeError, match="add inputs first"):
        next(predictor.propagate_in_video(state))
    with pytest.raises(ValueError, match="at least one"):
        predictor.add_new_points_or_box(state, 0, 1)
    with pytest.raises(ValueError, match="clear_old_points=True"):
        predictor.add_new_points_or_box(state, 0, 1, box=[0, 0, 9, 9], clear_old_points=False)
    with pytest.raises(RuntimeError, match="Cannot remove object id 99"):
        predictor.remove_object(state, 99, strict=True)
    with pytest.raises(ModelError, match="override .*fill_hole_area.* not known"):
        build_sam2_video_predictor(
            "configs/sam2.1/sam2.1_hiera_t.yaml", hydra_overrides_extra=["++model.fill_hole_area=3"]
        )
    with pytest.raises(ModelError, match="expected for instance 'sam2.1_hiera_t.yaml'"):
        build_sam2_video_predictor("edgetam.yaml")
    with pytest.raises(ModelError, match="facebook/sam2.1-hiera-tiny"):
        SAM2VideoPredictor.from_pretrained("facebook/sam9")


def test_the_builder_takes_official_arguments(both, tmp_path, pair):
    official, _ = pair
    torch.save({"model": official.state_dict()}, tmp_path / "sam2.1_hiera_tiny.pt")
    predictor = build_sam2_video_predictor(
        "configs/sam2.1/sam2.1_hiera_t.yaml", str(tmp_path / "sam2.1_hiera_tiny.pt"), device="cpu",
        hydra_overrides_extra=[f"++model.image_size={SIZE}", "++model.add_all_frames_to_correct_as_cond=true"],
    )  # fmt: skip
    assert predictor.image_size == SIZE and predictor.corrections and predictor.stride == 1
