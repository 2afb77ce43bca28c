"""Run lengths, prompts files, tables and masks of any kind are read or refused, in bounded time and memory."""

import os
import time

import numpy as np
import pytest
from clips import png

from vidmem.errors import PromptError
from vidmem.prompts import load_mask, load_prompts
from vidmem.video import rle_decode, rle_encode

# Run lengths


def test_run_lengths_are_decoded_in_linear_time_and_bounded_memory():
    mask = np.random.default_rng(0).random((1000, 1000)) < 0.5
    began = time.process_time()
    assert (rle_decode(rle_encode(mask), mask.shape) == mask).all()
    for counts in ("o" * 5_000_000, "0" * 5_000_000, "P" * 5_000_000):
        with pytest.raises(ValueError):
            rle_decode({"size": [1000, 1000], "counts": counts})
    assert time.process_time() - began < 5


@pytest.mark.parametrize("rle", [
    {"size": [60_000, 60_000], "counts": "0"}, {"size": [4, 4], "counts": "4"}, {"size": [-4, -4], "counts": "@"}, {"size": [2.0, 2], "counts": "4"},
    {"size": [2, 2], "counts": "o"}, {"size": [2, 2], "counts": "5O4"}, {"size": [2, 2], "counts": "4é"}, {"size": [2, 2], "counts": b"4"}, {"size": [2, 2]},
    {"size": [2, 2, 1], "counts": "4"}, {"size": ["2", 2], "counts": "4"}, None, [], {"size": None, "counts": "4"}, {"size": [True, 4], "counts": "4"},
    {"size": [2, 2], "counts": " "}, {"size": [2, 2], "counts": "oooooooo0"}, {"size": [10**400, 2], "counts": "4"},
])  # fmt: skip
def test_run_lengths_that_are_no_mask_are_a_value_error(rle):
    with pytest.raises(ValueError):
        rle_decode(rle)
    with pytest.raises(ValueError, match="expected 3x2"):
        rle_decode({"size": [2, 2], "counts": "4"}, (2, 3))


# Prompts files and masks


@pytest.mark.parametrize("text", [
    "[" * 100_000, '[{"obj_id": ' + "1" * 5000 + "}]", '[{"obj_id":1,"points":[[1' + "0" * 400 + ",1]]}]", '[{"obj_id":1,"points":[[NaN,1]]}]', "[]".encode("utf-16"),
    '[{"obj_id":1,"mask":"a\\u0000b"}]', '[{"obj_id":1,"mask":"%s.png"}]' % ("m" * 300), '[{"obj_id":1,"mask":"."}]', '[{"obj_id":1,"mask":"/etc/passwd"}]',
    '[{"obj_id":1,"mask":"../up.png"}]', '[{"obj_id":1,"mask":"\\ud800"}]', '[{"obj_id":1,"points":{"a":1}}]', '[{"obj_id":1,"frame":1e400}]', b"\0" * 100, "",
])  # fmt: skip
def test_a_prompts_file_of_any_kind_is_read_or_refused(tmp_path, text):
    path = tmp_path / "p.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(PromptError) as said:
        load_prompts(path)
    assert len(str(said.value)) < 500


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    (tmp_path / "p.json").write_bytes(b'\xef\xbb\xbf[{"obj_id": 1, "box": [1, 2, 3, 4]}]')
    assert load_prompts(tmp_path / "p.json")[0].box == [1, 2, 3, 4]


def test_a_prompts_file_that_never_ends_is_not_read_to_its_end(tmp_path):
    with pytest.raises(PromptError, match="has more than 64 MB"):
        load_prompts("/dev/zero")


def test_a_mask_starts_no_program_and_takes_no_more_memory_than_a_mask(tmp_path, monkeypatch):
    import subprocess

    from PIL import Image

    monkeypatch.setattr(subprocess.Popen, "__init__", lambda *a, **k: pytest.fail("a program was started"))
    (tmp_path / "eps.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    (tmp_path / "bomb.png").write_bytes(png(20_000, 20_000))
    (tmp_path / "huge.png").write_bytes(png(2**31 - 1, 2**31 - 1))
    values = np.arange(1000 * 1000, dtype=np.uint16).reshape(1000, 1000)
    Image.fromarray(values).save(tmp_path / "values.png")
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("eps.png", "bomb.png", "huge.png", "values.png", "pipe.png"):
        with pytest.raises(PromptError, match=name):
            load_mask(tmp_path / name)
