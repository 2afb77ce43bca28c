"""What Python people meet first: names instead of objects, OpenCV's colours, errors that say what came, short reprs, pictures."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from results import frame, rectangle, result

import vidmem
from vidmem.errors import FrameError, ModelError, VidmemError
from vidmem.memory import Recent, Surprise
from vidmem.networks.fake import FakeNetwork
from vidmem.search import Greedy, Tree
from vidmem.types import Frame, Prompt

BOX = (8, 8, 16, 16)


@pytest.fixture
def tracker():
    return vidmem.Tracker(FakeNetwork(), Recent(), Greedy())


def picture(channel: int) -> np.ndarray:
    """A square on black, 220 in one channel and 30 in the others."""
    image = np.zeros((24, 32, 3), np.uint8)
    image[8:16, 8:16] = 30
    image[8:16, 8:16, channel] = 220
    return image


def test_a_bank_and_a_search_are_named(tracker, monkeypatch):
    made = []
    monkeypatch.setattr("vidmem.catalogue.tracker.Session", lambda *args, **more: made.append(args))
    tracker.session(bank="surprise", search="tree")
    tracker.session(bank=Surprise())
    tracker.session()
    assert [type(bank).__name__ for _, bank, *_ in made] == [
        type(Surprise()).__name__,
        type(Surprise()).__name__,
        "Recent",
    ]
    assert isinstance(made[0][2], Tree) and isinstance(made[2][2], Greedy)
    for wrong in ({"bank": "none"}, {"search": "none"}):
        with pytest.raises(ModelError, match="choose from"):
            tracker.session(**wrong)


def test_a_named_bank_has_the_numbers_that_suit_the_model():
    tracker = vidmem.Tracker(FakeNetwork(), Recent(), Greedy(), model="sam2.1-tiny")
    from vidmem.catalogue.tracker import MODELS

    expected = MODELS["sam2.1-tiny"].make_bank("recent")
    with tracker.session(bank="recent") as session:
        assert session._make_bank == expected


def test_opencvs_frames_are_taken_as_they_are(tracker):
    seen = []
    for color, channel in (("rgb", 0), ("bgr", 2)):
        with tracker.session() as session:
            session.add(1, box=BOX)
            seen.append(session.step(picture(channel), color=color))
    assert (seen[0].masks == seen[1].masks).all() and seen[0].masks[0, 12, 12]
    assert (seen[0].mask_logits == seen[1].mask_logits).all()


@pytest.mark.parametrize("frame, color", [(picture(0), "gbr"), (Frame(0, None, picture(0)), "bgr"), (picture(0), None)])
def test_a_color_that_cannot_be_meant_is_refused(tracker, frame, color):
    with tracker.session() as session, pytest.raises(FrameError, match="expected 'rgb', or 'bgr'"):
        session.step(frame, color=color)


@pytest.mark.parametrize(
    "array, says",
    [
        (np.zeros((4, 5, 3), np.float32), r"float32 \(4, 5, 3\); expected uint8 \(H, W, 3\)"),
        (np.zeros((4, 5), np.uint8), r"uint8 \(4, 5\)"),
        (np.zeros((4, 5, 4), np.uint8), r"uint8 \(4, 5, 4\)"),
        (None, "NoneType"),
    ],
)
@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_a_wrong_array_is_refused_with_its_shape_and_type(tracker, array, says, color):
    with tracker.session() as session, pytest.raises(VidmemError, match=says):
        session.step(array, color=color)


def test_reprs_are_one_short_line(tracker):
    image = np.zeros((48, 64, 3), np.uint8)
    mask = rectangle((1, 2, 3, 4))
    assert (
        repr(Frame(3, 0.12, image)) == "Frame(3 at 0.120 s, 64x48)" and repr(Frame(3, None, image)) == "Frame(3, 64x48)"
    )
    assert (
        repr(Prompt(np.zeros((2, 2)), None, np.array([1, 2.5, 3, 4]), mask))
        == "Prompt(2 clicks; box 1, 2.5, 3, 4; mask of 4 pixels)"
    )
    assert repr(vidmem.PromptAt(2, 7, box=BOX, label="dog")) == "PromptAt(object dog, frame 7: box)"
    assert repr(result(frame(5), {1: mask, 4: mask & False})) == "FrameResult(5, 64x48: 1 tracking 90%, 4 lost 0%)"
    assert repr(result(frame(5))) == "FrameResult(5, 64x48: no objects)"
    assert repr(tracker).startswith("Tracker(a network on ") and "Recent(" in repr(tracker)
    session = tracker.session()
    session.add(2, box=BOX)
    assert repr(session) == "Session(before the first frame, objects 2)"
    session.step(picture(0))
    assert repr(session) == "Session(frame 0, objects 2)"
    session.close()
    assert repr(session) == "Session(closed)"


def test_a_result_is_a_picture_and_a_page():
    f = frame(5)
    seen = result(f, {1: rectangle((10, 10, 30, 30)), 2: rectangle((0, 0, 0, 0))})
    plain, over = seen.plot(), seen.plot(f, labels=False, opacity=1.0, thickness=0)
    assert isinstance(plain, Image.Image) and plain.size == over.size == (64, 48)
    assert (np.asarray(over)[rectangle((10, 10, 30, 30))] == vidmem.Look().color(1)).all() and over.getpixel(
        (5, 40)
    ) == (100,) * 3
    assert seen.plot(f.image, labels=False, opacity=1.0, thickness=0).tobytes() == over.tobytes()
    html = seen._repr_html_()
    assert (
        "data:image/png;base64," in html and "<td>lost</td>" in html and "10, 10, 30, 30" in html and "http" not in html
    )
    assert "no objects" not in result(f)._repr_html_()
    with pytest.raises(FrameError, match=r"float64 \(3, 3\); expected uint8 \(48, 64, 3\)"):
        seen.plot(np.zeros((3, 3)))


@pytest.mark.parametrize(
    "code",
    [
        "from vidmem.cli.main import main; sys.exit(main(['track', 'assets/demo.mp4', '--box', '1,2,30,40', '--out', sys.argv[1], '--model', 'sam2.1-tiny']))",
        "import vidmem; vidmem.load('sam2.1-tiny', runtime='onnx')",
        "from vidmem.compat.sam2 import build_sam2_video_predictor as build; build('sam2.1_hiera_t.yaml')",
    ],
)
def test_sam2_without_torch_says_so_in_one_line(code, tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.modules['torch'] = None; {code}", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    last = run.stderr.splitlines()[-1]
    assert run.returncode == 1 and "needs torch: pip install torch" in last and "internal" not in run.stderr
