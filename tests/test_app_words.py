"""The app's text field: what is understood, what is not, and where it could be."""

import base64
import contextlib

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.limits import Limits
from app.page import build
from app.visits import Visits
from app.words import Words
from tests.visitors import COUNT, HERE, Visitor, client, clip, reading_here, visits  # noqa: F401
from vidmem.catalogue.tracker import Tracker
from vidmem.detect import DETECTORS, FakeDetector
from vidmem.detect.base import Find
from vidmem.detect.words.detector import WordDetector
from vidmem.errors import ModelError
from vidmem.installed import models_folder
from vidmem.memory import Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.search import Greedy

pytestmark = pytest.mark.skipif(not (models_folder() / "words/look.onnx").is_file(), reason="no weights of words")


FINDS = [
    Find(1, s, np.array(b, np.float32), parts={"word": s}) for s, b in ((0.9, [10, 12, 26, 28]), (0.05, [0, 0, 9, 9]))
]


@pytest.fixture
def visitor(client, clip):  # noqa: F811
    with reading_here():
        return Visitor(client, clip)


def find(visitor, text, frame_idx=0) -> dict:
    answer = visitor.post("text", {"frame_idx": frame_idx, "text": text})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_words_have_roles_and_unknown_ones_their_neighbours(visitor):
    said = find(visitor, "the black bycicle")
    assert [(w["word"], w["role"]) for w in said["words"]] == [
        ("the", "small word"),
        ("black", "colour"),
        ("bycicle", None),
    ]
    assert "bicycle" in said["words"][2]["near"] and said["finds"] == []


def test_known_words_that_are_no_phrase_say_why(visitor):
    assert "are two things" in find(visitor, "dog and cat")["problem"]


def test_a_candidate_is_a_box_that_can_be_given_back_as_a_prompt(visitor, monkeypatch):
    seen = []

    def explain(self, frame, phrase, view):
        seen.append((frame.index, phrase.noun.text, [i for i, _ in view.past]))
        return FINDS, [None, np.eye(2)]

    monkeypatch.setattr(WordDetector, "explain", explain)
    said = find(visitor, "moving ball", 4)
    assert said["finds"] == [{"box": [10, 12, 26, 28], "score": 0.9, "parts": {"word": 0.9}}]
    assert seen == [(4, "ball", [1, 2, 3])]
    heat = said["words"][1]["heat"]
    assert heat["size"] == [2, 2] and list(base64.b64decode(heat["levels"])) == [255, 0, 0, 255]
    assert "heat" not in said["words"][0]
    assert visitor.post("prompt", {"frame_idx": 4, "obj_id": 1, "box": said["finds"][0]["box"]}).status_code == 200
    assert visitor.mask(4).any()


def test_nothing_starts_by_itself(visitor):
    find(visitor, "the red one")
    assert visitor.state()["things"] == {}


@pytest.mark.parametrize(
    "said, says",
    [
        ({"frame_idx": 0, "text": ""}, "text is empty"),
        ({"frame_idx": 0, "text": "dog " * 40}, "text has 40 words"),
        ({"frame_idx": 0, "text": 7}, "text is int"),
        ({"frame_idx": 0}, "text is NoneType"),
        ({"frame_idx": COUNT, "text": "dog"}, f"there is no frame {COUNT}"),
        ({"frame_idx": "x", "text": "dog"}, "frame_idx"),
    ],
)
def test_what_cannot_be_looked_for_is_refused_in_one_line(visitor, said, says):
    answer = visitor.post("text", said)
    assert answer.status_code == 400 and says in answer.json()["error"] and "\n" not in answer.json()["error"]


@contextlib.contextmanager
def visitor_of(clip, words=None, reads_words=True):  # noqa: F811
    tracker = Tracker(FakeNetwork(tolerance=90.0, reads_words=reads_words), Recent(), Greedy())
    limits = Limits(upload_mb=2, visitors=3, frames=200)
    with TestClient(build(tracker, limits, Visits(limits), hosts=HERE, words=words)) as client:  # noqa: F811
        yield Visitor(client, clip)


def test_a_model_that_reads_words_gets_them_and_follows_what_they_name(clip):  # noqa: F811
    with visitor_of(clip) as visitor:
        said = find(visitor, "  red ", 2)
        assert said["prompt"] == "red" and said["finds"] == [] and visitor.state()["things"] == {}
        told = {"frame_idx": 2, "obj_id": 1, "text": said["prompt"]}
        assert visitor.post("prompt", told).status_code == 200
        assert visitor.post("track", {}).status_code == 200
        assert not visitor.wait()["work"]["error"]
        assert visitor.mask(12).any() and visitor.state()["prompts"][0]["prompt"]["text"] == "red"
        again = visitor.post("prompt", told)
        assert again.status_code == 400 and "is followed already" in again.json()["error"]
        both = visitor.post("prompt", told | {"obj_id": 2, "box": [1, 1, 9, 9]})
        assert both.status_code == 400 and "a text came with points, a box or a mask" in both.json()["error"]
        visitor.post("export/project")
        project = visitor.client.get(visitor.url(f"export/{visitor.wait()['work']['file']}")).content
        visitor.post("video?name=work.zip", content=project)
        assert not visitor.wait()["work"]["error"]
        assert visitor.state()["prompts"][0]["prompt"]["text"] == "red"
    with visitor_of(clip, reads_words=False) as visitor:
        visitor.post("video?name=work.zip", content=project)
        assert "names an object by words ('red')" in visitor.wait()["work"]["error"]
        refused = visitor.post("prompt", told)
        assert refused.status_code == 400 and "takes no text itself" in refused.json()["error"]


def test_a_detector_that_was_named_looks_instead_of_the_model(clip, monkeypatch):  # noqa: F811
    monkeypatch.setitem(DETECTORS, "mine", lambda weights, threads: FakeDetector({3: FINDS}))
    with visitor_of(clip, Words("mine")) as visitor:
        said = find(visitor, "whatever it is", 3)
    assert [w["word"] for w in said["words"]] == ["whatever it is"] and "prompt" not in said
    assert [f["box"] for f in said["finds"]] == [[10, 12, 26, 28]]


def test_a_detector_that_cannot_be_opened_is_refused_at_the_start():
    with pytest.raises(ModelError, match="there is no detector 'owl'; choose from: words"):
        Words("owl")
