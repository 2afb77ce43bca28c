"""The training code runs, and its parts mean what they say; the quality of what it trains is measured elsewhere."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
cv2 = pytest.importorskip("cv2")

from clips import encode  # noqa: E402

from vidmem.errors import SourceError  # noqa: E402
from vidmem.networks.nano.model import Nano, NanoConfig  # noqa: E402
from vidmem.networks.nano.prompts import prompt_maps  # noqa: E402
from vidmem.training.clips import ClipConfig, ClipGenerator  # noqa: E402
from vidmem.training.data import OTHER, TARGET, find_reels, outlined_reels, rasterize, read_labels  # noqa: E402
from vidmem.training.loop import Step, compete, correction, joined, mask_loss, random_prompt  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
TINY = NanoConfig(width=8, feature_dim=8, key_dim=8, identity_dim=8, skip_dim=8, value_dim=4, decoder_width=8)
SQUARE = [[[0.3, 0.3], [0.7, 0.3], [0.7, 0.7], [0.3, 0.7]]]


def scene(k: int = 0, size=(90, 160)) -> tuple[np.ndarray, np.ndarray]:
    """A bright square on noise that moves to the right with k, and where it is."""
    image = np.random.default_rng(k).integers(0, 100, (*size, 3)).astype(np.uint8)
    labels = np.zeros(size, np.uint8)
    labels[30:60, 50 + 3 * k : 90 + 3 * k] = 1
    image[labels == 1] = 220
    return image, labels


def save(folder: Path, frames, images: str = "frames", masks: str = "masks", suffix: str = ".png") -> None:
    for part in (images, masks):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for k, (image, labels) in enumerate(frames):
        cv2.imwrite(str(folder / images / f"{k:05d}{suffix}"), image[..., ::-1])
        cv2.imwrite(str(folder / masks / f"{k:05d}.png"), labels)


@pytest.fixture
def data(tmp_path) -> Path:
    """A video as pictures with an empty mask at its end, and two stills."""
    gone = (scene(9)[0], np.zeros((90, 160), np.uint8))
    save(tmp_path / "data/walk", [*(scene(k) for k in range(8)), gone])
    save(tmp_path / "data/stills/cats", [scene(1), scene(2)], images="images")
    return tmp_path / "data"


@pytest.fixture
def reels(data, tmp_path):
    return find_reels(data, tmp_path / "cache")


# Reading -------------------------------------------------------------------------------------------------------------
def test_videos_are_one_reel_and_stills_one_each_with_their_group(reels):
    assert [(r.name, r.group, r.length) for r in reels] == [
        ("stills/cats/00000", "stills/cats", 1),
        ("stills/cats/00001", "stills/cats", 1),
        ("walk", "video", 9),
    ]
    image, labels = reels[2].image(3), reels[2].labels(3)
    assert image.shape == (90, 160, 3) and image[labels == 1].min() == 220 and reels[2].objects(3) == [1]
    assert reels[2].objects(8) == []  # an empty mask is a frame without the object


def test_a_video_file_is_decoded_once_and_keeps_its_masks(tmp_path):
    frames = [scene(k) for k in range(6)]
    save(tmp_path / "data/clip", frames, images="unused")
    encode(tmp_path / "data/clip/video.mp4", [image for image, _ in frames])
    (reel,) = find_reels(tmp_path / "data", tmp_path / "cache")
    (stored,) = (tmp_path / "cache").iterdir()
    written = stored.stat().st_mtime_ns
    (again,) = find_reels(tmp_path / "data", tmp_path / "cache")
    assert stored.stat().st_mtime_ns == written and reel.length == 6
    for k in (0, 5):
        assert np.array_equal(again.labels(k), frames[k][1]) and reel.image(k)[frames[k][1] == 1].mean() > 200


def test_davis_and_youtube_vos_folders_are_read_and_frames_without_a_mask_left_out(tmp_path):
    root = tmp_path / "vos"
    for folder in ("JPEGImages/480p/bear", "Annotations/480p/bear"):
        (root / folder).mkdir(parents=True)
    for k in range(4):
        image, labels = scene(k)
        cv2.imwrite(str(root / f"JPEGImages/480p/bear/{k:05d}.jpg"), image)
        if k % 2 == 0:
            cv2.imwrite(str(root / f"Annotations/480p/bear/{k:05d}.png"), labels * 3)
    (reel,) = find_reels(root, tmp_path / "cache")
    assert (reel.name, reel.length, reel.objects(1)) == ("480p/bear", 2, [3])


@pytest.mark.parametrize("spoil, says", [
    (lambda d: (d / "walk/masks").rename(d / "walk/other") and (d / "stills/cats/masks").rename(d / "stills/cats/other"), "no labelled video or still"),
    (lambda d: [p.rename(p.with_name("x" + p.name)) for p in (d / "walk/masks").iterdir()], "a mask of the same name"),
])  # fmt: skip
def test_a_folder_without_pairs_is_refused_with_what_was_expected(data, tmp_path, spoil, says):
    spoil(data)
    with pytest.raises(SourceError, match=says):
        find_reels(data, tmp_path / "cache")


def test_a_video_with_another_number_of_masks_is_refused(tmp_path):
    save(tmp_path / "data/clip", [scene(k) for k in range(3)], images="unused")
    encode(tmp_path / "data/clip/video.mp4", [scene(k)[0] for k in range(5)])
    with pytest.raises(SourceError, match="5 frames and .* 3 masks"):
        find_reels(tmp_path / "data", tmp_path / "cache")


def test_a_colour_picture_is_no_mask(tmp_path):
    cv2.imwrite(str(tmp_path / "m.png"), scene()[0])
    with pytest.raises(SourceError, match="mode RGB; expected indexed or grey"):
        read_labels(tmp_path / "m.png")


def test_every_outline_that_we_drew_is_an_object_of_some_size():
    entries = [
        e for path in sorted((ROOT / "vidmem/training/labels").glob("*.json")) for e in json.loads(path.read_text())
    ]
    sizes = [rasterize(o["polygons"], 300, 532).mean() for e in entries for o in e["objects"]]
    assert len(sizes) > 300 and min(sizes) > 0 and max(sizes) < 0.9


def test_outlines_become_reels_of_the_frames_that_have_them(tmp_path):
    encode(tmp_path / "a.mp4", [scene(k)[0] for k in range(5)])
    (tmp_path / "labels").mkdir()
    entries = [{"clip": "a.mp4", "frame": k, "objects": [{"name": "square", "polygons": SQUARE}]} for k in (0, 3)]
    (tmp_path / "labels/a.json").write_text(json.dumps(entries))
    (reel,) = outlined_reels(tmp_path, tmp_path / "labels", tmp_path / "cache")
    assert reel.length == 2 and reel.objects(1) == [1] and np.abs(reel.image(1).astype(int) - scene(3)[0]).mean() < 30


def test_polygons_with_holes_follow_the_even_odd_rule():
    hole = [[[0.45, 0.45], [0.55, 0.45], [0.55, 0.55], [0.45, 0.55]]]
    mask = rasterize(SQUARE + hole, 100, 100)
    assert mask[40, 40] == 1 and mask[50, 50] == 0 and mask[10, 10] == 0


# Clips ---------------------------------------------------------------------------------------------------------------
def clips(reels, count: int, seed: int = 0, **numbers):
    generator = ClipGenerator(reels, ClipConfig(**{"size": (64, 96)} | numbers), seed)
    return [generator.sample() for _ in range(count)]


def test_clips_are_the_same_for_the_same_seed_and_differ_for_another(reels):
    first, again, other = (clips(reels, 1, seed)[0] for seed in (3, 3, 4))
    assert np.array_equal(first.images, again.images) and np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.images, other.images)


@pytest.mark.parametrize("kind", range(3))
def test_a_clip_shows_its_target_on_the_first_frame(reels, kind):
    for images, labels in clips(reels, 12, frames=4, kinds=tuple(float(kind == k) for k in range(3))):
        assert images.shape == (4, 64, 96, 3) and images.dtype == np.uint8
        assert (
            labels.shape == (4, 64, 96) and (labels[0] == TARGET).any() and set(np.unique(labels)) <= {0, TARGET, OTHER}
        )


def test_a_real_clip_follows_the_labelled_square(reels):
    for images, labels in clips(reels, 4, kinds=(1, 0, 0), absence=0, extra=0):
        seen = labels[:, ::2, ::2] == TARGET
        assert images[:, ::2, ::2][seen].mean() > images[:, ::2, ::2][~seen].mean() + 40


def test_absences_begin_after_the_first_frame_and_most_targets_come_back(reels):
    away = [
        (c.labels == TARGET).reshape(8, -1).sum(1) == 0
        for c in clips(reels, 40, frames=8, absence=1.0, kinds=(0, 0.5, 0.5))
    ]
    assert not any(a[0] for a in away) and np.mean([a.any() for a in away]) > 0.9
    assert 0.3 < np.mean([not a[-1] for a in away]) < 0.95


def test_without_absence_a_still_stays(reels):
    assert all(
        (c.labels == TARGET).reshape(4, -1).any(1).all() for c in clips(reels, 10, absence=0, extra=0, kinds=(0, 1, 0))
    )


def test_a_look_alike_is_the_other_object(reels):
    assert np.mean([(c.labels[0] == OTHER).any() for c in clips(reels, 20, alike=1.0, kinds=(0, 0, 1))]) > 0.6


def test_camouflage_takes_on_the_colour_around(reels):
    def contrast(share: float) -> float:
        found = []
        for images, labels in clips(reels, 14, 5, kinds=(0, 0, 1), camouflage=share, alike=0, absence=0):
            inside, outside = images[0][labels[0] == TARGET], images[0][labels[0] == 0]
            found.append(np.abs(inside.mean(0) - outside.mean(0)).max())
        return float(np.mean(found))

    assert contrast(1.0) < 0.8 * contrast(0.0)


# The step ------------------------------------------------------------------------------------------------------------
def test_mask_loss_is_least_for_the_right_mask_punishes_the_empty_one_and_skips_what_is_ignored():
    target, valid = torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
    target[:, :, 2:6, 2:6] = 1
    right, empty, wrong = (20 * (m - 0.5) for m in (target, torch.zeros_like(target), 1 - target))
    losses = [float(mask_loss(m, target, valid)) for m in (right, empty, wrong)]
    assert losses[0] < 0.01 < losses[1] < losses[2]
    valid[:, :, :2] = 0
    spoilt = right.clone()
    spoilt[:, :, :2] = 10
    assert float(mask_loss(spoilt, target, valid)) == pytest.approx(float(mask_loss(right, target, valid)))


def test_rows_of_one_clip_share_its_pixels_and_a_row_alone_keeps_what_it_has():
    share = torch.tensor([0.9, 0.8, 0.8]).reshape(3, 1, 1, 1)
    out = compete(share, torch.tensor([0, 0, 1])).flatten()
    assert out[2] == pytest.approx(0.8, abs=1e-3) and out[0] > 0.6 > 0.35 > out[1] and out[0] + out[1] < 1


def test_a_correction_clicks_where_the_mask_is_wrong():
    target, guess, rng = np.zeros((20, 20), bool), np.zeros((20, 20), bool), np.random.default_rng(0)
    target[2:12, 2:12], guess[2:12, 2:7] = True, True
    click = correction(target, guess, rng)
    x, y = click["points"][0].astype(int)
    assert click["labels"][0] == 1 and target[y, x] and not guess[y, x]
    assert correction(target, target, rng) == {}
    both = joined({"points": np.zeros((1, 2)), "labels": np.array([0])}, click)
    assert both["points"].shape == (2, 2) and both["labels"].tolist() == [0, 1]


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


def test_training_steps_lower_the_loss_and_touch_every_weight_but_the_frozen_ones(reels):
    torch.manual_seed(0)
    model = Nano(TINY).train()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    images, labels = (torch.from_numpy(np.stack(part)) for part in zip(*clips(reels, 2, frames=4, kinds=(1, 0, 0))))
    images = images.permute(0, 1, 4, 2, 3).float() / 255
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    losses = []
    for _ in range(12):
        loss = Step(model, np.random.default_rng(0))(images, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])
    still = {name for name, p in model.named_parameters() if torch.equal(p, before[name])}
    frozen = ("stem", *(f"blocks.{i}." for i in range(model.encoder.backbone.frozen)))
    assert still == {name for name in before if name.startswith(tuple(f"encoder.backbone.{part}" for part in frozen))}


def test_what_teaches_presence_does_not_reach_the_masks():
    torch.manual_seed(0)
    model = Nano(TINY).eval()
    shapes = (1, 8, 8, 8), (1, 8, 16, 16), (2, TINY.conditioned_dim, 8, 8), (2, 6, 16, 16)
    model.decode(*(torch.rand(*shape) for shape in shapes))[2].sum().backward()
    assert {name.split(".")[1] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()} == {
        "presence"
    }


def test_bfloat16_steps_give_nearly_the_same_loss():
    torch.manual_seed(0)
    model = Nano(TINY)
    images, labels = torch.rand(2, 3, 3, 64, 64), torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    labels[:, :, 20:40, 20:50] = TARGET
    full, half = (Step(model, np.random.default_rng(0), half=h)(images, labels) for h in (False, True))
    assert abs(float(full.detach()) - float(half.detach())) < 0.1 * float(full.detach()) and full != half


# The script ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def script():
    sys.path.insert(0, str(ROOT / "scripts"))
    import train_nano

    yield train_nano
    sys.path.remove(str(ROOT / "scripts"))


def test_batches_take_the_shapes_that_were_asked_for_and_repeat_by_step(script, data, tmp_path):
    from argparse import Namespace

    assert script.shape("64x96x3x4") == (64, 96, 3, 4)
    args = Namespace(
        data=[data],
        outlined=None,
        hold_out=["walk"],
        cache=tmp_path / "cache",
        shapes=[(64, 96, 3, 4), (96, 128, 2, 3)],
    )
    batches = script.Clips(args, [0])
    seen = {tuple(batches[step][0].shape) for step in range(12)}
    assert seen == {(3, 4, 64, 96, 3), (2, 3, 96, 128, 3)}
    assert torch.equal(batches[4][0], batches[4][0])
    assert [r.name for r in script.reels_of(args)] == ["stills/cats/00000", "stills/cats/00001"]  # `walk` is held out


def test_training_goes_on_from_its_checkpoint_and_keeps_the_state_before_the_cooldown(
    script, data, tmp_path, monkeypatch
):
    monkeypatch.setattr(script, "imagenet", lambda path: {})
    monkeypatch.setattr("vidmem.networks.nano.backbone.Backbone.load_imagenet", lambda self, tensors: None)
    run = ["--data", str(data), "--cache", str(tmp_path / "cache"), "--run", str(tmp_path / "run"), "--processes", "1", "--workers", "0",
           "--shapes", "64x64x1x3", "--minutes", "0.04", "--cooldown", "0.03"]  # fmt: skip
    script.main(run)
    first = torch.load(tmp_path / "run/last.pt", weights_only=True)
    script.main([*run, "--resume"])
    second, steady = (torch.load(tmp_path / f"run/{name}.pt", weights_only=True) for name in ("last", "steady"))
    assert 0 < first["step"] <= steady["step"] < second["step"] and second["minutes"] > first["minutes"]


def test_packed_data_are_small_and_say_the_same(data, tmp_path):
    sys.path.insert(0, str(ROOT / "scripts"))
    import pack_training

    frames = [(image, labels * 7) for image, labels in (scene(k) for k in range(5))]
    save(tmp_path / "data/run", frames, images="unused")
    encode(tmp_path / "data/run/video.mp4", [image for image, _ in frames])
    pack_training.main(
        ["--data", str(data), "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "packed"), "--most", "1"]
    )
    before, after = (
        sorted(find_reels(*places), key=lambda r: r.name.removeprefix("videos/"))
        for places in ((data, tmp_path / "cache"), (tmp_path / "packed", tmp_path / "cache2"))
    )
    assert pack_training.weight(tmp_path / "packed") < 2**20
    assert [(r.group, r.length) for r in after] == [(r.group, r.length) for r in before]
    for one, other in zip(before, after):
        assert (
            np.array_equal(one.labels(0), other.labels(0))
            and np.abs(one.image(0).astype(int) - other.image(0)).mean() < 40
        )
    with pytest.raises(SystemExit):  # it is not written over
        pack_training.main(["--data", str(data), "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "packed")])
