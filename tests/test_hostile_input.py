"""Whatever comes from outside is refused in words, before it costs anything; and what was refused leaves no trace."""

import json
import os
import struct
import time
import zlib

import numpy as np
import pytest
from clips import encode, grey, numbered, numbers
from scenes import new_session, scene

from vidmem.errors import ObjectError, OutputError, PromptError, SourceError
from vidmem.memory import BANKS, Recent
from vidmem.names import cell, check_name, shown
from vidmem.networks.fake import FakeNetwork
from vidmem.prompts import MOST_POINTS, load_mask, load_prompts
from vidmem.search import MotionAware, Tree
from vidmem.session.status import StatusRule
from vidmem.types import Frame
from vidmem.video import Ledger, open_sinks, open_video, rle_decode, rle_encode

BOX = (8, 8, 24, 24)


def picture() -> np.ndarray:
    image = np.zeros((64, 64, 3), np.uint8)
    image[8:24, 8:24], image[40:56, 40:56] = (250, 0, 0), (0, 250, 0)
    return image


# Sessions


def test_a_callers_buffers_may_be_used_again():
    session, points, mask = new_session(), np.array([[12, 12]], np.float32), np.zeros((64, 64), bool)
    session.add(1, points=points)
    points[:] = 48
    session.add(2, points=points)
    mask[40:56, 40:56] = True
    session.add(3, mask=mask)
    mask[:] = False
    boxes = session.step(picture()).boxes.tolist()
    assert boxes == [[8, 8, 24, 24], [40, 40, 56, 56], [40, 40, 56, 56]]


def test_a_result_cannot_be_changed_under_the_session():
    session = new_session()
    session.add(1, box=BOX)
    result = session.step(picture())
    for name in ("masks", "boxes", "scores", "object_logits", "mask_logits", "obj_ids"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(result, name)[...] = 0
    assert session.result() is result and session.settled()[0].masks.sum() == result.masks.sum() > 0


@pytest.mark.parametrize("shape", [(32, 64), (64, 128), (1, 1)])
def test_a_frame_of_another_size_is_refused_and_the_stream_goes_on(shape):
    session, twin = new_session(), new_session()
    for s in (session, twin):
        s.add(1, box=BOX)
        s.step(picture())
    before = session.result()
    with pytest.raises(
        ValueError,
        match=f"frame 1 is {shape[1]}x{shape[0]}, and those before it were 64x64; scale it, or make a new session",
    ):
        session.step(np.zeros((*shape, 3), np.uint8))
    assert session.frame_idx == 0 and (session.result().masks == before.masks).all()
    one, other = session.step(picture()), twin.step(picture())
    assert (one.mask_logits == other.mask_logits).all() and one.frame_idx == other.frame_idx


@pytest.mark.parametrize("what, says", [
    ({"index": 1.5}, "index is 1.5"), ({"index": "x"}, "index is 'x'"), ({"index": None}, "index is None"), ({"index": True}, "index is True"),
    ({"index": float("nan")}, "index is nan"), ({"pts_seconds": float("nan")}, "pts_seconds is nan"),
    ({"pts_seconds": "1"}, "pts_seconds is '1'"), ({"image": np.zeros((0, 0, 3), np.uint8)}, "0x0, without a pixel"),
    ({"image": np.zeros((0, 10, 3), np.uint8)}, "10x0"),
])  # fmt: skip
def test_a_frame_says_what_is_wrong_with_it(what, says):
    with pytest.raises(ValueError, match=says):
        Frame(**({"index": 0, "pts_seconds": None, "image": picture()} | what))


@pytest.mark.parametrize("stage", ["encode", "attend", "decode", "memorize"])
@pytest.mark.parametrize("error", [RuntimeError, MemoryError, KeyboardInterrupt])
def test_a_step_that_fails_in_the_network_takes_nothing_with_it(stage, error, monkeypatch):
    session, twin = new_session(), new_session()
    for s in (session, twin):
        s.add(1, box=BOX)
        s.step(scene(0))
        s.add(2, points=[[48, 48]], frame_idx=1)
    once, plain = [], getattr(FakeNetwork, stage)

    def broken(self, *args):
        if not once:
            once.append(1)
            raise error("the engine broke")
        return plain(self, *args)

    monkeypatch.setattr(FakeNetwork, stage, broken)
    with pytest.raises(error):
        session.step(scene(1))
    assert session.frame_idx == 0 and session.waiting() == {1: [2]} and session.obj_ids == [1, 2]
    for t in (1, 2):
        one, other = session.step(scene(t)), twin.step(scene(t))
        assert one.obj_ids.tolist() == other.obj_ids.tolist() and (one.mask_logits == other.mask_logits).all()


def test_a_correction_that_fails_can_be_said_again(monkeypatch):
    session = new_session()
    session.add(1, box=BOX)
    session.step(picture())
    with monkeypatch.context() as patch:
        patch.setattr("vidmem.session.session.frame_step", lambda *a: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            session.add(2, points=[[48, 48]])
    assert session.obj_ids == [1] and session.undo() is False


@pytest.mark.parametrize("prompt", [
    {"points": [[10**400, 1]]}, {"box": [0, 0, 10**400, 5]}, {"points": [[1, 1]], "labels": [10**400]}, {"mask": "abc"}, {"mask": object()},
    {"mask": np.array([["a"]])}, {"points": np.array([[1 + 2j, 1]])}, {"points": {"a": 1}}, {"points": [[1, [2]]]}, {"points": 1e39}, {"box": "0123"},
])  # fmt: skip
def test_prompts_that_are_no_numbers_are_prompt_errors(prompt):
    with pytest.raises(PromptError) as said:
        new_session().add(1, **prompt)
    assert len(str(said.value)) < 300


def test_points_have_a_bound_also_when_they_come_one_by_one():
    session = new_session()
    began = time.perf_counter()
    with pytest.raises(PromptError, match=f"expected at most {MOST_POINTS}"):
        session.add(1, points=[[1, 1]] * 2_000_000)
    assert time.perf_counter() - began < 0.5
    session.add(1, points=[[10, 10]] * MOST_POINTS)
    session.step(picture())
    with pytest.raises(PromptError, match=f"{MOST_POINTS + 1} points on one object"):
        session.add(1, points=[[12, 12]])
    assert session.step(picture()).masks.any()


@pytest.mark.parametrize("obj_id", [[1], None, "1", 1.0, True, {}, 0, 2**70, pytest.param(10**5000, id="huge")])
def test_removing_what_is_no_number_is_an_object_error(obj_id):
    with pytest.raises(ObjectError):
        new_session().remove(obj_id)


# Numbers of policies


@pytest.mark.parametrize("make, says", [
    (lambda: Tree(width=20_000), "width=20000; expected an integer, from 1 to 64"), (lambda: Tree(lag=10**9), "lag=1000000000"),
    (lambda: Tree(uncertainty=float("nan")), "uncertainty=nan"), (lambda: Tree(uncertainty=float("inf")), "uncertainty=inf"),
    (lambda: MotionAware(stable_frames=10**8), "stable_frames"), (lambda: Recent(slots=10**6), "slots=1000000"), (lambda: Recent(slots=10**5000), "slots="),
    (lambda: Recent(slots=4000, pointers=4000), "keep 8001 memories; expected at most 4096"), (lambda: StatusRule(lost_after="x"), "lost_after='x'"),
])  # fmt: skip
def test_numbers_have_an_upper_bound(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize("bank", BANKS)
def test_every_number_of_every_bank_has_one(bank):
    import dataclasses

    for field in dataclasses.fields(BANKS[bank]):
        if isinstance(field.default, (int, float)) and not isinstance(field.default, bool):
            for value in (10**12, float("nan") if isinstance(field.default, float) else 1.5):
                with pytest.raises(ValueError, match=f"{field.name}="):
                    BANKS[bank](**{field.name: value})


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


def png(width: int, height: int, *more: bytes) -> bytes:
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


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


# Videos


@pytest.mark.parametrize(
    "name",
    [
        "cam-12:30:05.mp4",
        "concat:a.mp4",
        "http:x.mp4",
        "pct%03d.mp4",
        "-dash.mp4",
        "new\nline.mp4",
        "sp ace'q\".mp4",
        "file:b.mp4",
    ],
)
def test_a_name_is_a_name_and_no_protocol(tmp_path, monkeypatch, name):
    numbered(tmp_path / "plain.mp4", 3)
    numbered(tmp_path / "a.mp4", 5)
    monkeypatch.chdir(tmp_path)
    os.rename("plain.mp4", name)
    with open_video(name) as video:
        assert numbers(video) == [0, 1, 2]


def test_results_go_into_folders_with_colons(tmp_path, monkeypatch):
    from test_sink import frame, write

    monkeypatch.chdir(tmp_path)
    (sink,) = open_sinks(["overlay"], "run-12:30")
    write(sink, [frame(0), frame(1)])
    assert (tmp_path / "run-12:30/overlay.mp4").stat().st_size > 0


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile a.mp4\n",
        "#EXTM3U\n#EXTINF:1,\na.mp4\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    ],
)
def test_a_playlist_opens_no_other_file(tmp_path, text):
    numbered(tmp_path / "a.mp4", 3)
    (tmp_path / "list.mp4").write_text(text)
    with pytest.raises(SourceError, match="list.mp4 is not a video"):
        open_video(tmp_path / "list.mp4")


def test_a_pipe_or_a_name_that_no_file_can_have_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    for path, says in ((tmp_path / "pipe.mp4", "is a pipe or a device"), ("/dev/zero", "is a pipe or a device"), ("a\0b.mp4", "cannot be opened"),
                       (tmp_path / ("n" * 300), "cannot be opened")):  # fmt: skip
        with pytest.raises(SourceError, match=says):
            open_video(path)


@pytest.mark.parametrize("rate", [1, 2])
def test_a_slow_video_is_not_called_cut_off(tmp_path, rate):
    encode(tmp_path / "lapse.avi", [grey(i) for i in range(5)], codec="mjpeg", rate=rate)
    with open_video(tmp_path / "lapse.avi") as video:
        assert len(list(video)) == 5 and video.problems == []


def test_a_picture_larger_than_any_is_refused_before_it_takes_memory(tmp_path):
    import resource

    from PIL import Image

    small = tmp_path / "a.gif"
    Image.fromarray(grey(0)).save(small)
    data = bytearray(small.read_bytes())
    data[6:10] = struct.pack("<HH", 9000, 9000)
    small.write_bytes(data)
    (tmp_path / "f").mkdir()
    (tmp_path / "f/0.png").write_bytes(png(9000, 9000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SourceError, match="holds no frame that can be decoded"):
        open_video(small)
    with pytest.raises(SourceError, match="an image of 81000000 pixels, more than 67108864"):
        open_video(tmp_path / "f")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_a_damaged_title_is_no_reason_to_give_up_a_video(tmp_path):
    numbered(tmp_path / "a.mkv", 3, codec="ffv1")
    data = (tmp_path / "a.mkv").read_bytes()
    assert b"Lavf" in data
    (tmp_path / "a.mkv").write_bytes(data.replace(b"Lavf", b"\xff\xfe\xb2\x80"))
    with open_video(tmp_path / "a.mkv") as video:
        assert numbers(video) == [0, 1, 2]


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_an_animation_is_not_taken_for_one_picture(tmp_path, suffix):
    from PIL import Image

    images = [Image.fromarray(grey(i)) for i in range(4)]
    (tmp_path / "f").mkdir()
    images[0].save(tmp_path / f"f/a{suffix}", save_all=True, append_images=images[1:], duration=100)
    with pytest.raises(SourceError, match="is an animation of 4 frames; save them as a video"):
        open_video(tmp_path / f"f/a{suffix}")
    with open_video(tmp_path / "f") as video:
        assert len(list(video)) == 1 and "an animation, of which only the first picture is read" in video.problems[0]


# Names and results


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/../b", "/a", "\\a", "a\\..\\b", "a\0", "\udce9", "x" * 300, "a/" * 600, None, 5, "/", "./.."],
)
def test_names_that_lead_elsewhere_are_refused_and_others_pass(name):
    from vidmem.errors import UserError

    with pytest.raises(UserError, match="a thing"):
        check_name(name, "a thing")
    for good in ("a.mp4", "deep/er/a b.mp4", "cam-12:30.mp4", "..a", "a..b", "视频.mp4", ".hidden"):
        assert check_name(good, "a thing") == good


def test_what_is_shown_has_one_line_and_what_is_a_cell_is_no_formula():
    assert shown("a\nb\x1b[31m\udce9视") == r"a\nb\x1b[31m\udce9视"
    assert [cell(v) for v in ("=1", "-x", "@a", "+", "\t=1", "plain", 5, None)] == [
        "'=1",
        "'-x",
        "'@a",
        "'+",
        r"'\t=1",
        "plain",
        5,
        None,
    ]


def test_a_second_run_leaves_nothing_of_the_first_and_everything_of_the_user(tmp_path):
    from test_sink import frame, write

    def go(names, count):
        for sink in open_sinks(names, tmp_path, None, Ledger(tmp_path)):
            write(sink, [frame(i) for i in range(count)])

    go(["png", "csv"], 5)
    (tmp_path / "notes.txt").write_text("mine")
    go(["png"], 2)
    assert (
        sorted(p.name for p in (tmp_path / "masks").iterdir()) == ["00000.png", "00001.png"]
        and (tmp_path / "boxes.csv").is_file()
    )
    (tmp_path / "masks/mine.png").write_text("mine")
    with pytest.raises(OutputError, match="masks holds mine.png, which is no result of an earlier run, and stays"):
        go(["png"], 2)
    (tmp_path / "overlay.mp4").write_text("mine")
    with pytest.raises(OutputError, match="overlay.mp4 is no result of an earlier run, and stays"):
        go(["overlay"], 2)
    assert (
        (tmp_path / "overlay.mp4").read_text()
        == "mine"
        == (tmp_path / "notes.txt").read_text()
        == (tmp_path / "masks/mine.png").read_text()
    )
    assert (tmp_path / "masks/00001.png").is_file()


def test_a_list_of_ours_that_names_files_elsewhere_gives_no_right_to_them(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "precious").write_text("mine")
    (out / ".vidmem-files").write_text("../precious\n/etc/passwd\nboxes.csv\ncut-off-na")
    ledger = Ledger(out)
    assert ledger.names == {"boxes.csv"}
    ledger.claim("masks")
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize("way", ["file", "link to the file", "folder", "link to the folder", "folder inside", "image"])
def test_the_source_is_never_written_over(tmp_path, way):
    out = tmp_path / "r"
    (out / "masks").mkdir(parents=True)
    (out / "overlay.mp4").write_text("source")
    (out / "masks/00000.png").write_text("source")
    Ledger(out).add(out / "overlay.mp4")
    (tmp_path / "link").symlink_to(out)
    (tmp_path / "link.mp4").symlink_to(out / "overlay.mp4")
    source, where = {
        "file": (out / "overlay.mp4", out), "link to the file": (tmp_path / "link.mp4", out), "folder": (out / "masks", out),
        "link to the folder": (out / "masks", tmp_path / "link"), "folder inside": (out, out / "new"), "image": (out / "masks/00000.png", out),
    }[way]  # fmt: skip
    with pytest.raises(OutputError, match="would be written over the source"):
        open_sinks(["overlay", "png"], where, None, Ledger(where), source)
    assert (out / "overlay.mp4").read_text() == "source" == (out / "masks/00000.png").read_text()


def test_a_table_of_prompts_that_csv_cannot_read_is_a_prompt_error(tmp_path):
    from vidmem.batch import load_table

    for text in (f"video,x\na.mp4,{'1' * 200_000}\n", "video,x\na\0.mp4,1\n", 'video,x\n"a.mp4'):
        (tmp_path / "p.csv").write_text(text)
        try:
            assert all(isinstance(said, dict) for said in load_table(tmp_path / "p.csv").values())
        except PromptError as error:
            assert "p.csv" in str(error)
    (tmp_path / "p.json").write_text(json.dumps({"a.mp4": [{"obj_id": 1}]})[:-1] + "]" * 100_000)
    with pytest.raises(PromptError, match="is not JSON"):
        load_table(tmp_path / "p.json")
