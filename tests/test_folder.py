"""A folder of images is a source: natural order, upright 8-bit RGB, and a line about each image that is none."""

from pathlib import Path

import numpy as np
import pytest
from clips import corners, grey, numbers, pictures, quarters, save
from PIL import Image

from vidmem.errors import SourceError
from vidmem.video import open_video


def test_images_come_in_natural_order(tmp_path):
    names = ["frame1.png", "frame2.png", "frame9.png", "frame10.png", "frame100.png"]
    source = open_video(pictures(tmp_path / "images", names))
    frames = list(source)
    assert numbers(frames) == [f.index for f in frames] == [0, 1, 2, 3, 4]
    assert {f.pts_seconds for f in frames} == {None}
    assert (source.frame_rate, source.frame_count, source.size) == (None, 5, (48, 64))


def test_numbers_and_words_sort_beside_each_other(tmp_path):
    assert numbers(
        open_video(pictures(tmp_path / "images", ["007.png", "8.png", "a1b2.png", "a1b10.png", "b.png"]))
    ) == [0, 1, 2, 3, 4]


def test_equal_numbers_have_one_order_whatever_the_file_system_says(tmp_path, monkeypatch):
    folder, listed = pictures(tmp_path / "images", ["01.png", "1.png", "a.png", "b.png"]), Path.iterdir
    for turned in (False, True):
        monkeypatch.setattr(Path, "iterdir", lambda path: sorted(listed(path), reverse=turned))  # noqa: B023 - called before the next turn
        assert numbers(open_video(folder)) == [0, 1, 2, 3]


def test_a_digit_that_is_no_decimal_is_a_letter(tmp_path):
    assert sorted(numbers(open_video(pictures(tmp_path / "images", ["m1.png", "m².png"])))) == [0, 1]


def test_start_and_end_select_images(tmp_path):
    source = open_video(pictures(tmp_path / "images", [f"{i}.png" for i in range(12)]), start=9, end=11)
    frames = list(source)
    assert numbers(frames) == [f.index for f in frames] == [9, 10]
    assert source.frame_count == 2


def test_one_image_is_a_source_of_one_frame(tmp_path):
    source = open_video(save(tmp_path / "one.png", quarters()))
    assert [corners(f.image) for f in source] == ["rgbw"]
    assert source.frame_count == 1


KINDS = {
    "grey": lambda rgb: rgb.convert("L"),
    "alpha": lambda rgb: rgb.convert("RGBA"),
    "grey and alpha": lambda rgb: rgb.convert("LA"),
    "16-bit grey": lambda rgb: Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257),
    "palette": lambda rgb: rgb.convert("P", palette=Image.Palette.ADAPTIVE),
    "one bit": lambda rgb: rgb.convert("L").point(lambda v: 255 * (v > 110)).convert("1"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_pngs_of_every_kind_become_eight_bit_rgb(tmp_path, kind):
    rgb = Image.fromarray(quarters())
    KINDS[kind](rgb).save(tmp_path / "image.png")
    image = next(iter(open_video(tmp_path / "image.png"))).image
    assert (image.shape, image.dtype) == ((48, 64, 3), np.uint8)
    expected = quarters() if kind in {"alpha", "palette"} else np.repeat(np.asarray(rgb.convert("L"))[..., None], 3, 2)
    if kind == "one bit":
        expected = 255 * (expected > 110).astype(np.uint8)
    assert np.abs(image.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("name", ["a.jpg", "a.bmp", "a.tif", "a.webp", "a.ppm", "a.JPEG"])
def test_the_common_image_formats_are_read(tmp_path, name):
    save(tmp_path / name, quarters(), **({"lossless": True} if name.endswith("webp") else {}))
    assert corners(next(iter(open_video(tmp_path))).image) == "rgbw"


@pytest.mark.parametrize(
    ("orientation", "shown", "size"), [(3, "wbgr", (48, 64)), (6, "brwg", (64, 48)), (8, "gwrb", (64, 48))]
)
def test_a_photos_exif_orientation_turns_it(tmp_path, orientation, shown, size):
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(tmp_path / "photo.jpg", quarters(), exif=exif, quality=95)
    source = open_video(tmp_path)
    assert corners(next(iter(source)).image) == shown
    assert source.size == size


def test_what_is_no_image_is_ignored(tmp_path):
    folder = pictures(tmp_path / "images", ["0.png", "1.png"])
    (folder / "notes.txt").write_text("not a picture")
    (folder / "Thumbs.db").write_bytes(b"\0")
    (folder / "sub").mkdir()
    (folder / "0a.png").mkdir()  # a folder with an image's name
    save(folder / "sub" / "0.png", grey(9))
    source = open_video(folder)
    assert numbers(source) == [0, 1]
    assert source.frame_count == 2 and source.problems == []


def test_an_image_of_another_size_is_named_after_the_frames_before_it(tmp_path):
    folder = pictures(tmp_path / "images", ["0.png", "1.png", "2.png"])
    save(folder / "2.png", grey(2, 30, 40))
    seen = []
    with pytest.raises(SourceError, match=r"2.png is 40x30, but those before it are 64x48"):
        seen.extend(open_video(folder))
    assert numbers(seen) == [0, 1]


def test_an_image_of_another_size_is_named_when_reading_starts_at_it(tmp_path):
    folder = pictures(tmp_path / "images", ["0.png", "1.png"])
    save(folder / "1.png", grey(1, 30, 40))
    with pytest.raises(SourceError, match=r"1.png is 40x30, but .* 64x48"):
        list(open_video(folder, start=1))


def huge_header(path):
    """A PNG that claims 200,000 x 200,000 pixels."""
    import zlib

    save(path, grey(0))
    data = bytearray(path.read_bytes())
    data[16:24] = (200_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(data)


BROKEN = {
    "text": lambda path: path.write_text("no picture"),
    "empty": lambda path: path.write_bytes(b""),
    "header alone": lambda path: path.write_bytes(path.read_bytes()[:20]),
    "too large": huge_header,
}


@pytest.mark.parametrize("how", BROKEN)
def test_an_unreadable_image_is_skipped_and_reported(tmp_path, how):
    folder = pictures(tmp_path / "images", ["0.png", "1.png", "2.png"])
    BROKEN[how](folder / "1.png")
    source = open_video(folder)
    frames = list(source)
    assert numbers(frames) == [f.index for f in frames] == [0, 2]  # the others keep their places
    assert source.problems == ["1.png: not a readable image, skipped"]


def test_a_folder_whose_images_are_all_unreadable_says_so(tmp_path):
    (tmp_path / "0.png").write_text("no picture")
    with pytest.raises(SourceError, match=r"no frame that can be decoded \(0.png: not a readable image"):
        open_video(tmp_path)


def test_an_image_that_vanishes_is_skipped_and_reported(tmp_path):
    source = open_video(pictures(tmp_path / "images", ["0.png", "1.png", "2.png"]))
    source.files[1].unlink()
    assert numbers(source) == [0, 2]
    assert source.problems == ["1.png: not a readable image, skipped"]


def test_unreadable_images_to_the_end_are_not_called_past_the_end(tmp_path):
    folder = pictures(tmp_path / "images", ["0.png", "1.png"])
    (folder / "1.png").write_text("no picture")
    with pytest.raises(SourceError, match="from 1 on.*1.png: not a readable image"):
        list(open_video(folder, start=1))
    save(folder / "2.png", grey(2))
    with pytest.raises(SourceError, match="from 1 to 1 .*1.png: not a readable image"):
        list(open_video(folder, start=1, end=2))
    assert numbers(open_video(folder, start=1)) == [2]


def test_an_empty_folder_names_what_was_expected(tmp_path):
    with pytest.raises(SourceError, match=r"holds no images; expected files such as .*\.bmp"):
        open_video(tmp_path)
