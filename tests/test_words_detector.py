"""The word detector with its own weights: what it refuses, what it says, and that the graphs compute what they should."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.scenes import new_session
from vidmem.detect import Concept, View, Watcher, WatchRule, open_detector, read_concepts
from vidmem.detect.words.detector import grey, of_twins, parts_of_others, surer
from vidmem.detect.words.evidence import Calibration, load_calibration, noun_odds
from vidmem.detect.words.network import FILES, Names, WordNetwork
from vidmem.detect.words.vocabulary import Noun
from vidmem.engines import single
from vidmem.errors import ModelError, PromptError, RuntimeMissing
from vidmem.types import Frame

FOLDER = Path(__file__).resolve().parents[1] / "models/words"
pytestmark = pytest.mark.skipif(not (FOLDER / "look.onnx").is_file(), reason="no weights of words")


@pytest.fixture(scope="module")
def detector():
    return open_detector("words", threads=1)


def picture() -> np.ndarray:
    """Something with edges."""
    image = np.full((240, 400, 3), (90, 130, 90), np.uint8)
    cv2.circle(image, (150, 130), 60, (240, 130, 20), -1)
    cv2.circle(image, (300, 120), 40, (200, 200, 220), -1)
    return cv2.GaussianBlur(image, (0, 0), 2)


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "text is empty"),
        ("dog " * 500, "text has 500 words"),
        ("forceps", "I do not know 'forceps'"),
        ("bycicle", "did you mean bicycle"),
        ("dog and cat", "are two things"),
    ],
)
def test_what_cannot_be_looked_for_is_refused_in_one_line(detector, text, says):
    with pytest.raises(PromptError, match=says) as refused:
        detector.prepare(text)
    assert "\n" not in str(refused.value)


def test_texts_say_how_many(detector):
    texts = ["dog", "dogs", "two dogs"]
    assert [concept.limit for concept in read_concepts(detector, texts)] == [1, None, 2]


def test_the_classifier_of_the_mean_is_the_mean_of_the_classifier(detector):
    """So that a map of cells is a class activation map."""
    network = detector.network
    sighting = network.look(picture())
    cells = list(sighting.features.reshape(len(sighting.features), -1).T)
    each, mean = network.name(cells), network.name([np.mean(cells, axis=0)])
    np.testing.assert_allclose(each.classes.mean(0), mean.classes[0], atol=1e-4)
    np.testing.assert_allclose(each.person.mean(0), mean.person[0], atol=1e-4)


def test_boxes_are_pixels_of_the_source_whatever_its_size(detector):
    image = picture()
    small, large = detector.network.look(image), detector.network.look(cv2.resize(image, (1600, 960)))
    assert (large.boxes[:, 2] <= 1600).all() and (large.boxes[:, 3] <= 960).all() and (small.boxes >= 0).all()
    assert np.abs(large.boxes[0] / 4 - small.boxes[0]).max() < 16


def test_finds_say_why_and_come_in_order(detector):
    frame = Frame(0, None, picture())
    asked = [
        (Concept(7, "orange"), detector.prepare("orange ball")),
        (Concept(8, "ones"), detector.prepare("the big ones")),
    ]
    finds = detector.detect(frame, asked, View())
    assert {find.concept for find in finds} == {8} or {find.concept for find in finds} == {7, 8}
    for concept in (7, 8):
        scores = [find.score for find in finds if find.concept == concept]
        assert scores == sorted(scores, reverse=True)
    parts = {name for find in finds if find.concept == 7 for name in find.parts}
    assert parts <= {"word", "orange"}
    assert all(find.parts.keys() == {"object", "big"} for find in finds if find.concept == 8)


def test_a_colour_chooses_between_two_of_a_kind(detector):
    frame = Frame(0, None, picture())
    asked = [(Concept(1, "x"), detector.prepare("the orange one"))]
    best = detector.detect(frame, asked, View())[0]
    x, y = (best.box[:2] + best.box[2:]) / 2
    assert abs(x - 150) < 40 and abs(y - 130) < 40


def test_looking_twice_says_the_same(detector):
    frame = Frame(0, None, picture())
    asked = [(Concept(1, "x"), detector.prepare("left ball"))]
    one, two = (detector.detect(frame, asked, View()) for _ in range(2))
    assert [(f.score, f.box.tolist()) for f in one] == [(f.score, f.box.tolist()) for f in two]


def test_nothing_is_found_in_an_empty_picture(detector):
    watcher = Watcher(new_session(), detector, WatchRule(every=1, soon=1, patience=4))
    watcher.add(Concept(1, "swan"))
    grey = np.full((120, 200, 3), 128, np.uint8)
    results = [watcher.step(Frame(t, None, grey)) for t in range(5)]
    events = [event for result in results for event in result.events]
    assert [event.kind for event in events] == ["given_up"] and "nothing here looked like 'swan'" in events[0].why


def test_a_folder_that_is_not_whole_is_refused(tmp_path):
    with pytest.raises(ModelError, match=f"look.onnx is missing; expected {', '.join(FILES)}"):
        WordNetwork(tmp_path)
    for name in FILES:
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        WordNetwork(tmp_path)
    with pytest.raises(ModelError, match="cannot be read"):
        load_calibration(tmp_path / "calibration.json")
    with pytest.raises(ModelError, match="there is no detector 'owl'; choose from: words"):
        open_detector("owl")


def test_odds_are_of_a_group_against_all_others():
    classes = np.zeros((1, 1000), np.float32)
    names = Names(classes, np.array([1.5], np.float32), np.zeros((1, 4), np.float32))
    assert noun_odds(names, Noun("half", frozenset(range(500))))[0] == pytest.approx(0, abs=1e-4)
    assert noun_odds(names, Noun("one", frozenset([3])))[0] == pytest.approx(-np.log(999), abs=1e-4)
    assert noun_odds(names, Noun("person", person=True))[0] == pytest.approx(1.5)


def test_a_score_rises_with_each_of_its_reasons():
    calibration, low, high, half = Calibration(0, 0.5, 0.5, 0.5), np.array([-1.0]), np.array([1.0]), np.array([0.5])
    plain = calibration.score(calibration.said(low, low), half)
    assert calibration.score(calibration.said(high, low), half) > plain
    assert calibration.score(calibration.said(low, high), half) > plain
    assert calibration.score(calibration.said(low, low), np.array([0.9])) > plain
    assert calibration.score(calibration.said(low, low), half, 1.5) > plain


def test_what_is_shaped_like_something_surer_takes_its_word():
    boxes = np.array([[0, 0, 20, 20], [40, 0, 60, 20], [80, 0, 100, 20], [41, 0, 61, 20]], np.float32)
    shapes = np.array([[1, 0], [0.9, 0.4359], [0, 1], [1, 0]], np.float32)
    said = of_twins(np.array([4.0, -3.0, -2.0, 1.0]), boxes, shapes)
    assert said.tolist() == [4.0, 3.5, -2.0, 3.5]  # itself; a twin; another shape; a twin
    lone = of_twins(np.array([4.0, -3.0]), boxes[[1, 3]], shapes[[1, 3]])
    assert lone.tolist() == [4.0, -3.0]  # two boxes of one thing are no twins


def test_each_word_with_a_place_has_a_map_of_it(detector):
    image = np.full((120, 200, 3), (60, 60, 60), np.uint8)
    image[40:80, 20:60] = (200, 30, 30)
    past = tuple((i, cv2.resize(image, (160, 96))) for i in range(3))
    phrase = detector.read("the moving red dog on the left")
    finds, heats = detector.explain(Frame(3, None, image), phrase, View((), past))
    maps = {word: heat for (word, _), heat in zip(phrase.words, heats)}
    assert maps["the"] is None and all(maps[w] is not None for w in ("red", "moving", "dog", "on the left"))
    assert all(heat.ndim == 2 and heat.min() >= 0 and heat.max() <= 1 for heat in heats if heat is not None)
    red, left = maps["red"], maps["on the left"]
    assert red[red.shape[0] // 2, red.shape[1] // 5] > 0.9 and red[0, -1] < 0.1
    assert left[0, 0] > 0.9 > 0.1 > left[0, -1] and maps["moving"].max() < 0.1
    asked = [(Concept(1, "text"), detector.prepare("the moving red dog on the left"))]
    same = detector.detect(Frame(3, None, image), asked, View((), past))
    assert [(f.score, f.box.tolist()) for f in finds] == [(f.score, f.box.tolist()) for f in same]


def test_a_part_gives_way_to_the_whole_that_is_as_likely():
    boxes = np.array([[10, 0, 30, 90], [12, 5, 28, 40], [50, 0, 70, 90]], np.float32)
    even = np.array([0.9, 0.95, 0.9])
    assert parts_of_others(boxes, even, even).tolist() == [False, True, False]
    assert not parts_of_others(boxes, np.array([0.3, 0.95, 0.9]), even).any()  # the larger box is something else
    assert not parts_of_others(boxes, even, np.array([0.1, 0.9, 0.9])).any()  # or no object


def test_the_weights_are_small():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 8e6


def test_of_two_looks_the_surer_counts_class_by_class():
    one, other = np.zeros((1, 1000), np.float32), np.zeros((1, 1000), np.float32)
    one[0, 3], other[0, 5] = 9, 9
    looks = [Names(classes, np.array([p], np.float32), np.full((1, 4), p)) for classes, p in ((one, 1.0), (other, 2.0))]
    both = surer(*looks)
    assert both.person[0] == 2 and both.features[0, 0] == 1
    for noun in (Noun("three", frozenset([3])), Noun("five", frozenset([5]))):
        assert noun_odds(both, noun)[0] > -0.2
    assert noun_odds(both, Noun("seven", frozenset([7])))[0] < -5


def test_grey_pictures_have_no_colour():
    assert (np.ptp(grey(picture()).astype(int), axis=2) == 0).all()


def test_a_look_is_the_same_on_either_engine(monkeypatch):
    """Without onnxruntime, as `vidmem[cpu]` installs it, OpenVINO looks."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")

    def missing():
        raise RuntimeMissing("not installed")

    def looks(network):
        return network.look(picture()), network.closer(
            picture(), [np.array(b) for b in ((90, 70, 210, 190), (20, 20, 90, 220))]
        )

    first, close = looks(WordNetwork(FOLDER, 1))
    monkeypatch.setattr(single, "quiet_onnxruntime", missing)
    other, other_close = looks(WordNetwork(FOLDER, 1))
    assert np.abs(first.features - other.features).max() < 1e-3 * np.abs(first.features).max()
    assert np.abs(close.classes - other_close.classes).max() < 1e-3 * np.abs(close.classes).max()
