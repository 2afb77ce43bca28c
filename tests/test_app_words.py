"""The app's text field: what is understood, what is not, and where it could be."""

import pytest

from tests.visitors import COUNT, Visitor, client, clip, reading_here, visits  # noqa: F401
from vidmem.detect.base import Find
from vidmem.detect.words.detector import WordDetector
from vidmem.installed import models_folder

pytestmark = pytest.mark.skipif(not (models_folder() / "words/look.onnx").is_file(), reason="no weights of words")


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
    import numpy as np

    seen = []

    def detect(self, frame, wanted, view):
        seen.append((frame.index, wanted[0][0].text, [i for i, _ in view.past]))
        return [
            Find(1, s, np.array(b, np.float32), parts={"word": s})
            for s, b in ((0.9, [10, 12, 26, 28]), (0.05, [0, 0, 9, 9]))
        ]

    monkeypatch.setattr(WordDetector, "detect", detect)
    said = find(visitor, "moving ball", 4)
    assert said["finds"] == [{"box": [10, 12, 26, 28], "score": 0.9, "parts": {"word": 0.9}}]
    assert seen == [(4, "moving ball", [1, 2, 3])]
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
