"""A session's state as bytes: another session goes on from them with the same masks, bit for bit; other bytes are refused in a line."""

import json
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from exported import engine
from scenes import click, new_session, scene

import vidmem
from vidmem.catalogue.tracker import MODELS
from vidmem.errors import FrameError, StateError
from vidmem.memory import BANKS, Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.search import SEARCHES, Greedy, Tree
from vidmem.session import Session
from vidmem.types import Frame

ROOT = Path(__file__).resolve().parents[1]
NANO, DEMO = ROOT / "models/nano", ROOT / "assets/demo.mp4"
needs_nano = pytest.mark.skipif(
    not (NANO / "encode.onnx").is_file() or not DEMO.is_file(), reason="no nano weights, or no demo clip"
)
TREE = Tree(lag=3)
AREA = 128 * 224  # model pixels of a frame: a quarter of nano's own, at a quarter of the time


@cache
def nano(runtime: str = "onnx"):
    pytest.importorskip({"pytorch": "torch", "onnx": "onnxruntime", "openvino": "openvino"}[runtime])
    tracker = vidmem.load("nano", runtime=runtime, threads=1)
    tracker.network.area = AREA
    return tracker


@cache
def clip(count: int = 14) -> list[Frame]:
    """The demo's frames; of four in the midst nothing is left, so that objects are absent."""
    frames = list(vidmem.open_video(DEMO, end=count))
    return [
        f if not 5 <= i < 7 else Frame(f.index, f.pts_seconds, np.full_like(f.image, 90)) for i, f in enumerate(frames)
    ]


def said(result) -> tuple:
    arrays = (result.masks, result.mask_logits, result.scores, result.object_logits, result.boxes)
    return (*(array.tobytes() for array in arrays), result.status, result.rivals, result.search, result.cut)


def begin(session: Session, frames: list[Frame]) -> None:
    """Boxes, a mask, a click, a correction, an object that starts late, and one that is removed."""
    height, width = frames[0].size
    mask = np.zeros((height, width), bool)
    mask[height // 3 : height // 2, width // 2 : width * 3 // 4] = True
    session.add(1, box=(width // 10, height // 2, width // 2, height - 4))
    session.add(2, mask=mask)
    session.add(7, points=[[width // 2, height // 2], [4, 4]], labels=[1, 0])
    session.add(9, box=(width // 10, height // 2, width // 2 + 3, height - 4), frame_idx=frames[-1].index + 2)
    for i, frame in enumerate(frames):
        session.step(frame)
        if i == 1:
            session.add(1, points=[[width // 4, height * 3 // 4]], labels=[1])
        if i == 2:
            session.remove(7)


def go_on(session: Session, frames: list[Frame]) -> list[tuple]:
    """A correction of the frame that the state was written on, one later, what is undone, and what settles at the end."""
    height, width = frames[0].size
    answers = [said(session.result()), said(session.add(1, points=[[width // 5, height * 2 // 3]], labels=[0]))]
    session.undo()
    for i, frame in enumerate(frames):
        answers.append(said(session.step(frame)))
        if i == 2:
            answers.append(said(session.add(2, box=(width // 2, height // 3, width * 3 // 4, height // 2))))
    return answers + [said(result) for result in session.settled(end=True)]


def compare(make, frames: list[Frame], at: int) -> None:
    """make: -> a new session."""
    with make() as one, make() as other:
        begin(one, frames[:at])
        data = one.to_bytes()
        other.restore(data)
        assert other.obj_ids == one.obj_ids and other.nbytes == one.nbytes and other.waiting() == one.waiting()
        assert other.to_bytes() == data
        assert go_on(other, frames[at:]) == go_on(one, frames[at:])


# Every bank, search, family and engine ------------------------------------------------------------------------------
@pytest.mark.parametrize("bank", BANKS)
@pytest.mark.parametrize("search", SEARCHES)
def test_every_bank_and_search_goes_on_as_if_nothing_had_been(bank, search):
    frames = [scene(t, hidden=(2,) if 9 < t < 14 else ()) for t in range(30)]
    compare(lambda: Session(FakeNetwork(), BANKS[bank](), SEARCHES[search]()), frames, 17)


@needs_nano
@pytest.mark.parametrize("bank", BANKS)
def test_nano_goes_on_bit_for_bit_with_every_bank(bank):
    compare(lambda: nano().session(bank, TREE if bank == "confident" else None), clip()[:13], 8)


@needs_nano
@pytest.mark.parametrize("runtime", ["openvino", "pytorch"])
def test_nano_goes_on_bit_for_bit_on_the_other_engines(runtime):
    for bank, search in (("confident", TREE), ("consolidated", None), ("recent", "motion")):
        compare(lambda bank=bank, search=search: nano(runtime).session(bank, search), clip()[:12], 8)


@pytest.mark.parametrize(
    "runtime, bank",
    [("pytorch", "recent"), ("pytorch", "consolidated"), ("pytorch", "diverse"), ("onnx", "recent"), ("onnx", "sparse"),
     ("onnx", "consolidated"), ("openvino", "sparse")],
)  # fmt: skip
def test_sam2_goes_on_bit_for_bit(runtime, bank, weights, folder, images):
    tracker = engine("pytorch", weights, 128) if runtime == "pytorch" else engine(runtime, folder)
    frames = [Frame(t, t / 25, images[t % len(images)]) for t in range(13)]
    compare(lambda: tracker.session(bank, TREE if bank == "recent" else Greedy()), frames, 9)


def test_a_reversed_session_and_one_that_drops_frames_go_on_too():
    frames = [scene(t) for t in range(60, 0, -3)]
    with new_session(reverse=True) as one, new_session(reverse=True) as other:
        one.add(1, points=click(1, 60))
        for frame in frames[:8]:
            one.step(frame)
        other.restore(one.to_bytes())
        assert [said(one.step(f)) for f in frames[8:]] == [said(other.step(f)) for f in frames[8:]]


@needs_nano
def test_another_process_goes_on_with_the_same_masks(tmp_path):
    frames = list(vidmem.open_video(DEMO, end=12))
    with nano().session() as session:
        session.add(1, box=(43, 154, 201, 255))
        for frame in frames[:6]:
            session.step(frame)
        (tmp_path / "state").write_bytes(session.to_bytes(light=True))
        expected = [session.step(frame).mask_logits for frame in frames[6:]]
    code = (
        "import sys, numpy as np, vidmem\n"
        "tracker = vidmem.load('nano', runtime='onnx', threads=1)\n"
        "tracker.network.area = int(sys.argv[3])\n"
        "with tracker.session() as session:\n"
        "    session.restore(open(sys.argv[1] + '/state', 'rb').read())\n"
        "    frames = vidmem.open_video(sys.argv[2], start=6, end=12)\n"
        "    np.save(sys.argv[1] + '/logits', [session.step(frame).mask_logits for frame in frames])\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path), str(DEMO), str(AREA)], check=True, cwd=ROOT)
    assert np.load(tmp_path / "logits.npy").tobytes() == np.array(expected).tobytes()


# What it holds ------------------------------------------------------------------------------------------------------
def started(**how) -> Session:
    session = new_session(**how)
    session.add(1, points=click(1, 0))
    session.add(2, points=click(2, 0))
    session.add(3, points=click(3, 5), frame_idx=40)
    for t in range(6):
        session.step(scene(t))
    return session


def test_a_session_before_its_first_frame_keeps_its_prompts():
    one, other = new_session(), new_session()
    one.add(4, points=click(1, 0))
    other.restore(one.to_bytes())
    assert other.waiting() == {-1: [4]} and said(one.step(scene(0))) == said(other.step(scene(0)))


def test_a_light_state_goes_on_and_says_why_it_cannot_be_corrected_where_it_is():
    one, other = started(), new_session()
    whole, light = one.to_bytes(), one.to_bytes(light=True)
    other.restore(light)
    assert len(light) < len(whole) and said(other.result()) == said(one.result())
    with pytest.raises(FrameError, match="frame 5 was not kept with this state"):
        other.add(1, points=click(1, 5))
    assert said(other.step(scene(6))) == said(one.step(scene(6)))
    assert said(other.add(1, points=click(1, 6))) == said(one.add(1, points=click(1, 6)))


def test_what_is_shared_is_written_once():
    """Three hypotheses with one past cost little more than one."""
    sizes = []
    for search in (Greedy(), Tree()):
        session = Session(FakeNetwork(), Recent(), search)
        session.add(1, points=click(1, 0))
        for t in range(8):
            session.step(scene(t))
        hypotheses = session._state.tracks[1].hypotheses
        sizes.append((len(hypotheses), len({id(e) for h in hypotheses for e in h.bank.entries()})))
        other = Session(FakeNetwork(), Recent(), search)
        other.restore(session.to_bytes())
        again = other._state.tracks[1].hypotheses
        assert sizes[-1] == (len(again), len({id(e) for h in again for e in h.bank.entries()}))


# What is refused ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "data", [b"", b"no state", bytes(4096), b"\xff" * 64, json.dumps({}).encode(), 7, "text", None]
)
def test_what_is_no_state_is_refused(data):
    with pytest.raises(StateError, match="expected what Session.to_bytes\\(\\) gave"):
        new_session().restore(data)


def test_a_damaged_or_cut_off_state_is_refused_wherever_the_damage_is():
    data, session = started().to_bytes(), started()
    before = said(session.result())
    random = np.random.default_rng(0)
    for at in [*random.integers(0, len(data), 300).tolist(), 0, 7, 8, len(data) - 1]:
        bad = bytearray(data)
        bad[at] ^= 1 << int(random.integers(8))
        with pytest.raises(StateError):
            session.restore(bytes(bad))
    for length in random.integers(0, len(data), 50).tolist():
        with pytest.raises(StateError):
            session.restore(data[:length])
    assert said(session.result()) == before, "the session is what it was"


@pytest.mark.parametrize(
    "other, match",
    [
        (lambda: new_session(Recent(slots=5)), r"bank Recent\(slots=4.*this session has Recent\(slots=5"),
        (lambda: new_session(BANKS["surprise"]()), r"bank Recent\(.*has Surprise\("),
        (lambda: Session(FakeNetwork(), Recent(slots=4), Tree()), r"search Greedy\(\), and this session has Tree\("),
        (lambda: new_session(reverse=True), "reverse False, and this session has True"),
        (lambda: new_session(clean=True), "clean False, and this session has True"),
    ],
)
def test_a_state_of_other_settings_is_refused(other, match):
    with pytest.raises(StateError, match=match):
        other().restore(started().to_bytes())


@needs_nano
def test_a_state_of_other_weights_or_another_engine_is_refused(tmp_path):
    import shutil

    shutil.copytree(NANO, tmp_path / "other")
    with (tmp_path / "other/decode.onnx").open("ab") as file:  # ONNX Runtime reads on: an unknown field of no bytes
        file.write(b"\xfa\x7f\x00")
    with nano().session() as session:
        session.step(clip()[0])
        data = session.to_bytes()
    with pytest.raises(StateError, match="with other weights"):
        vidmem.load("nano", runtime="onnx", weights=tmp_path / "other", threads=1).session().restore(data)
    with pytest.raises(StateError, match="runtime onnx, and this session has openvino"):
        nano("openvino").session().restore(data)
    with pytest.raises(StateError, match="model nano"):
        new_session().restore(data)


def forged(data: bytes, change) -> bytes:
    """A state with another body, and the hash that belongs to it. change: the body, in place."""
    import safetensors.numpy

    from vidmem.session.state import _digest, _open

    header, arrays = _open(data)
    body = json.loads(arrays[-1].tobytes())
    arrays = change(body, arrays[:-1]) or arrays[:-1]
    arrays.append(np.frombuffer(json.dumps(body).encode(), np.uint8))
    header["sha256"] = _digest(arrays)
    return safetensors.numpy.save({str(i): a for i, a in enumerate(arrays)}, {"vidmem": json.dumps(header)})


def test_the_forger_of_these_tests_can_write_a_good_state():
    data, session = started().to_bytes(), new_session()
    session.restore(forged(data, lambda body, arrays: None))
    assert said(session.result()) == said(started().result())


def places(node, path=()):
    """Every value in the body, by where it is."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    yield path
    for key, value in items:
        yield from places(value, (*path, key))


@pytest.mark.parametrize("search", [Greedy(), Tree(), SEARCHES["motion"]()], ids=["greedy", "tree", "motion"])
def test_a_forged_state_is_refused_or_goes_on(search):
    """A state that someone wrote on purpose, any value replaced: it is refused in a line, or it steps like any other. Nothing else."""
    make = lambda: Session(FakeNetwork(), BANKS["surprise"](), search)
    one = make()
    one.add(1, points=click(1, 0))
    one.add(2, box=(0, 20, 12, 32))
    for t in range(7):
        one.step(scene(t))
    data, ends = one.to_bytes(), {"refused": 0, "read": 0}
    body = json.loads(__import__("vidmem.session.state", fromlist=["_open"])._open(data)[1][-1].tobytes())
    every = [path for path in places(body) if path]
    random = np.random.default_rng(1)
    wild = [
        None,
        -1,
        0,
        1,
        10**9,
        1 << 60,
        0.5,
        -1e300,
        "x",
        [],
        {},
        [[]],
        {"array": 0},
        {"object": 0},
        {"array": 10**9},
        True,
    ]
    for number in random.choice(len(every), 400, replace=False).tolist():
        value = wild[int(random.integers(len(wild)))]

        def change(body, arrays, path=every[number], value=value):
            *way, last = path
            for key in way:
                body = body[key]
            body[last] = value

        session = make()
        try:
            session.restore(forged(data, change))
        except StateError as error:
            ends["refused"] += 1
            assert "\n" not in str(error) and len(str(error)) < 500
            continue
        ends["read"] += 1
        session.step(scene(8)) if session.frame_idx is None or session.frame_idx < 8 else session.result()
        session.to_bytes()
    assert ends["refused"] > 200 and ends["read"] > 0, ends


@pytest.mark.parametrize("shape", [(1,), (0,), (3, 3), (13, 16, 1)])
def test_arrays_of_other_shapes_are_refused(shape):
    data = started().to_bytes()

    def change(body, arrays):
        return [np.zeros(shape, a.dtype) if a.shape == (13, 16) else a for a in arrays]

    with pytest.raises(StateError, match="hold no state that a session can be in"):
        new_session().restore(forged(data, change))


def test_a_header_that_claims_to_be_huge_takes_no_memory():
    with pytest.raises(StateError):
        new_session().restore(struct.pack("<Q", 1 << 62) + b"{}")


def test_a_search_of_its_own_that_is_no_dataclass_is_refused_when_it_is_written():
    class Own:
        lag = 0

    with pytest.raises(StateError, match="a Own cannot be written"):
        Session(FakeNetwork(), Recent(), Own).to_bytes()


def test_every_model_says_how_it_is_written():
    assert set(MODELS) >= {"nano"} and nano().network.storage.kinds and nano().network.identity().endswith(" fp32")


# Words ---------------------------------------------------------------------------------------------------------------
def words() -> Session:
    return Session(FakeNetwork(reads_words=True), Recent(slots=4), Greedy(), cuts=None)


@pytest.mark.parametrize("at", [0, 2, 6])
def test_a_text_that_is_sought_or_was_found_goes_on_the_same(at):
    """Found on the fifth frame: before it a run of credible frames is in the state, and a text for a later frame."""
    with words() as one, words() as other:
        one.add(1, text="#dc1e1e")
        one.add(2, text="#1edc1e", frame_idx=9)
        for t in range(at + 1):
            one.step(scene(t))
        other.restore(one.to_bytes())
        assert other.sought == one.sought and (1 in one.sought) == (at < 4)
        for t in range(at + 1, 16):
            mine, theirs = one.step(scene(t)), other.step(scene(t))
            assert said(mine) == said(theirs) and mine.events == theirs.events
        assert not other.sought


def test_a_text_in_a_state_needs_a_network_that_reads_it():
    with words() as one, new_session(Recent(slots=4), cuts=None) as other:
        one.add(1, text="#dc1e1e")
        one.step(scene(0))
        with pytest.raises(StateError, match="known by a text, which this network does not read"):
            other.restore(one.to_bytes())
