"""The training code runs, and its parts mean what they say; the quality of what it trains is measured elsewhere."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
cv2 = pytest.importorskip("cv2")

from vidmem.nn.nano.model import Nano, NanoConfig  # noqa: E402
from vidmem.nn.nano.prompts import prompt_maps  # noqa: E402
from vidmem.training.clips import ClipConfig, ClipGenerator, load_labels, rasterize  # noqa: E402
from vidmem.training.loop import Step, correction, mask_loss, random_prompt  # noqa: E402

TINY = NanoConfig(widths=(8, 8, 8, 8, 8), feature_dim=8, key_dim=8, skip_dim=8, value_dim=4, decoder_width=8)
SQUARE = [[[0.3, 0.3], [0.7, 0.3], [0.7, 0.7], [0.3, 0.7]]]


@pytest.fixture
def cache(tmp_path):
    """Six frames with a bright square on noise, cut into a grid of regions."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 100, (6, 300, 532, 3)).astype(np.uint8)
    frames[:, 90:210, 160:372] = 220
    y, x = np.mgrid[:300, :532]
    np.save(tmp_path / "frames.npy", frames)
    np.save(tmp_path / "regions.npy", np.broadcast_to(1 + (y // 60) * 10 + x // 60, (6, 300, 532)).astype(np.uint16))
    (tmp_path / "index.json").write_text(json.dumps([{"clip": "a.mp4", "frame": i} for i in range(6)]))
    return tmp_path


@pytest.fixture
def labels():
    return [{"clip": "a.mp4", "frame": i, "objects": [{"name": "square", "polygons": SQUARE}]} for i in range(6)]


def test_every_label_that_we_drew_is_an_object_of_some_size():
    entries = load_labels(__import__("pathlib").Path(__file__).parents[1] / "vidmem/training/labels")
    sizes = [rasterize(o["polygons"], 300, 532).mean() for e in entries for o in e["objects"]]
    assert len(sizes) > 300 and min(sizes) > 0 and max(sizes) < 0.9


def test_polygons_with_holes_follow_the_even_odd_rule():
    hole = [[[0.45, 0.45], [0.55, 0.45], [0.55, 0.55], [0.45, 0.55]]]
    mask = rasterize(SQUARE + hole, 100, 100)
    assert mask[40, 40] == 1 and mask[50, 50] == 0 and mask[10, 10] == 0


def test_clips_are_the_same_for_the_same_seed_and_differ_for_another(cache, labels):
    make = lambda seed: ClipGenerator(cache, labels, ClipConfig(size=(64, 96)), seed).sample()  # noqa: E731
    first, again, other = make(3), make(3), make(4)
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_a_clip_shows_its_target_on_the_first_frame(cache, labels):
    generator = ClipGenerator(cache, labels, ClipConfig(size=(64, 96), frames=4), 0)
    for _ in range(12):
        images, masks = generator.sample()
        assert images.shape == (4, 64, 96, 3) and images.dtype == np.uint8
        assert masks.shape == (4, 64, 96) and masks[0].any() and set(np.unique(masks)) <= {0, 1}


def test_a_real_clip_follows_the_labelled_square(cache, labels):
    generator = ClipGenerator(cache, labels, ClipConfig(size=(96, 160)), 0)
    images, masks = generator._real()
    assert images[masks == 1].mean() > images[masks == 0].mean() + 60


def test_mask_loss_is_least_for_the_right_mask_and_punishes_the_empty_one():
    target = torch.zeros(1, 1, 8, 8)
    target[:, :, 2:6, 2:6] = 1
    right, empty, wrong = (20 * (m - 0.5) for m in (target, torch.zeros_like(target), 1 - target))
    losses = [float(mask_loss(m, target)) for m in (right, empty, wrong)]
    assert losses[0] < 0.01 < losses[1] < losses[2]


def test_a_correction_clicks_where_the_mask_is_wrong():
    target, guess, rng = np.zeros((20, 20), bool), np.zeros((20, 20), bool), np.random.default_rng(0)
    target[2:12, 2:12], guess[2:12, 2:7] = True, True
    click = correction(target, guess, rng)
    x, y = click["points"][0].astype(int)
    assert click["labels"][0] == 1 and target[y, x] and not guess[y, x]
    assert correction(target, target, rng) == {}


def test_random_prompts_hit_the_object():
    target, rng = np.zeros((30, 40), bool), np.random.default_rng(1)
    target[10:20, 15:35] = True
    for prompt in (random_prompt(target, rng) for _ in range(20)):
        if "points" in prompt:
            x, y = prompt["points"][0].astype(int)
            assert target[y, x]
        else:
            assert np.abs(prompt["box"] - [15, 10, 35, 20]).max() < 4


def test_the_guess_of_a_box_is_background_outside_and_likely_inside():
    maps, guess = prompt_maps((20, 30), box=np.array([10, 5, 20, 15]))
    assert guess[0, 0] == 0 and guess[10, 15] > 0.8 and maps[2].sum() == 100


def test_training_steps_lower_the_loss_and_touch_every_weight(cache, labels):
    torch.manual_seed(0)
    model = Nano(TINY)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    generator = ClipGenerator(cache, labels, ClipConfig(size=(64, 96)), 0)
    images, masks = (np.stack(part) for part in zip(*(generator._real() for _ in range(2))))
    images = torch.from_numpy(images).permute(0, 1, 4, 2, 3).float() / 255
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    losses = []
    for _ in range(12):
        loss = Step(model, np.random.default_rng(0))(images, torch.from_numpy(masks))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])
    assert [name for name, p in model.named_parameters() if torch.equal(p, before[name])] == []


# Pictures and sizes --------------------------------------------------------------------------------------------------
@pytest.fixture
def pictured(tmp_path):
    """A cache made of one photograph, and one cut-out: a red disc on transparent ground; a drawing is there too."""
    pytest.importorskip("skimage")
    from PIL import Image

    from vidmem.training.cache import build_cache

    folder, empty = tmp_path / "pictures", tmp_path / "clips"
    for name in ("photos", "objects", "cartoon"):
        (folder / name).mkdir(parents=True)
    empty.mkdir()
    photo = np.random.default_rng(0).integers(0, 60, (400, 700, 3)).astype(np.uint8)
    photo[:, 350:] += 150
    Image.fromarray(photo).save(folder / "photos/wide.jpg")
    y, x = np.mgrid[:400, :400]
    disc = np.zeros((400, 400, 4), np.uint8)
    disc[np.hypot(y - 200, x - 200) < 150] = (250, 10, 10, 255)
    Image.fromarray(disc).save(folder / "objects/disc.png")
    Image.fromarray(disc).save(folder / "cartoon/disc.png")
    build_cache(empty, tmp_path / "cache", [], [folder])
    return tmp_path / "cache"


def test_transparent_photographs_become_cutouts_others_frames_and_drawings_nothing(pictured):
    frames, cutouts = np.load(pictured / "frames.npy"), np.load(pictured / "cutouts.npz")
    assert frames.shape == (1, 300, 532, 3) and [cutouts[k].shape for k in cutouts] == [(260, 260, 4)]
    assert frames[0, :, :200].mean() < 60 < 120 < frames[0, :, 300:].mean()  # RGB, cropped in the middle
    red = cutouts["arr_0"][130, 130]
    assert red[0] > 240 and red[1] < 20 and red[3] == 255


def test_a_pasted_picture_is_where_its_mask_says(pictured):
    config = ClipConfig(kinds=(0, 1, 0, 0), pictured=1.0, camouflage=0.0, twin=0.0, vanish=0.0)
    images, masks = ClipGenerator(pictured, [], config, seed=3).sample()
    for image, mask in zip(images.astype(int), masks):
        inside = image[mask > 0]
        if len(inside) > 50:
            assert np.median(inside[:, 0] - inside[:, 1:].max(1)) > 60  # red


def test_camouflage_takes_on_the_colour_around(pictured):
    def contrast(share: float) -> float:
        config = ClipConfig(kinds=(0, 1, 0, 0), pictured=1.0, camouflage=share, twin=0.0, vanish=0.0)
        generator, found = ClipGenerator(pictured, [], config, seed=5), []
        for _ in range(12):
            images, masks = generator.sample()
            inside, outside = images[0][masks[0] > 0], images[0][masks[0] == 0]
            found.append(np.abs(inside.mean(0) - outside.mean(0)).max())
        return float(np.mean(found))

    assert contrast(1.0) < 0.7 * contrast(0.0)


def test_bfloat16_steps_give_nearly_the_same_loss():
    torch.manual_seed(0)
    model = Nano(TINY)
    images, masks = torch.rand(2, 3, 3, 64, 64), torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    masks[:, :, 20:40, 20:50] = 1
    full, half = (Step(model, np.random.default_rng(0), half=h)(images, masks) for h in (False, True))
    assert abs(float(full.detach()) - float(half.detach())) < 0.1 * float(full.detach()) and full != half


def test_batches_take_the_shapes_that_were_asked_for_and_repeat_by_step(pictured):
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
    import train_nano

    assert train_nano.shape("64x96x3") == (64, 96, 3)
    clips = train_nano.Clips(pictured, [], ClipConfig(), [(64, 96, 3), (96, 128, 2)], [0])
    seen = {tuple(clips[step][0].shape) for step in range(12)}
    assert seen == {(3, 3, 64, 96, 3), (2, 3, 96, 128, 3)}
    assert torch.equal(clips[4][0], clips[4][0])
