"""Objects that are known by words: where they begin, and what a session says of them. Without weights."""

from itertools import pairwise

import numpy as np
import pytest
from banks import entry

from vidmem import track
from vidmem.detect import FakeDetector, Watcher, watched
from vidmem.errors import ObjectError, PromptError
from vidmem.memory import Diverse, Recent
from vidmem.memory.credible import CredibleRule, CredibleStart
from vidmem.networks.fake import FakeNetwork
from vidmem.prompts import PromptAt
from vidmem.search import Greedy
from vidmem.session import Session
from vidmem.types import Frame, Verdict

RED, GREY = (255, 0, 0), (90, 90, 90)


# Where an object begins ----------------------------------------------------------------------------------------------
def queue_of_the_original(scores: list[tuple[float, float]], count: int = 5) -> tuple[int, int] | None:
    """ReSurgSAM2's rule as it is written there, of pairs (object logit, IoU) -> the frame chosen and the frame of the choice."""
    queue: list[tuple[int, float]] = []  # the newest first
    for t, (logit, iou) in enumerate(scores):
        if 1 / (1 + np.exp(-logit)) > 0.9:
            if iou > 0.7:
                queue = [(t, iou), *queue][:count]
        elif queue:
            queue.pop()
        gaps = [a[0] - b[0] for a, b in pairwise(queue)]
        if len(queue) == count and all(gap == 1 for gap in gaps):
            return max(queue, key=lambda item: item[1])[0], t
    return None


def ours(scores: list[tuple[float, float]], bank=None) -> tuple[int, int] | None:
    start = CredibleStart(Recent()() if bank is None else bank)
    for t, (logit, iou) in enumerate(scores):
        verdict = Verdict(t, iou, logit, 0.1)
        if start.wants(verdict):
            start.write(entry(t, iou=iou, object_logit=logit))
        if start.began is not None:
            return start.began, t
    return None


def script(seed: int) -> list[tuple[float, float]]:
    """40 frames, credible ones more often than unsure ones and those without the object."""
    random = np.random.default_rng(seed)
    kinds = [(4.0, 0.8), (4.0, 0.9), (3.0, 0.75), (4.0, 0.6), (1.0, 0.9)]
    return [kinds[i] for i in random.choice(5, 40, p=random.dirichlet([6, 6, 6, 5, 5]))]


@pytest.mark.parametrize("seed", range(60))
def test_a_run_of_credible_frames_begins_where_the_originals_queue_does(seed):
    assert ours(script(seed)) == queue_of_the_original(script(seed))


def test_some_of_those_scripts_begin_late_and_some_never():
    began = [ours(script(seed)) for seed in range(60)]
    assert None in began and sum(one is not None and one[1] > 8 for one in began) > 10


def test_the_chosen_frame_becomes_the_banks_first_prompted_one_and_the_others_are_forgotten():
    bank = Diverse(absent=True)()
    start = CredibleStart(bank)
    for t, iou in enumerate((0.8, 0.9, 0.95, 0.95, 0.8)):
        assert not start.read(t).recalls and start.wants(Verdict(t, iou, 5.0, 0.1))
        start.write(entry(t, iou=iou))
    assert start.began == 3 and [e.frame_idx for e in start.entries()] == [3]
    (recall,) = start.read(5).recalls
    assert recall.entry.prompted and recall.tcode == -1
    assert not start.fork().read(3).recalls  # as every bank: nothing of the frame itself


def test_it_is_bounded_and_a_fork_goes_its_own_way():
    start = CredibleStart(Recent()(), CredibleRule(frames=5))
    for t in range(0, 40, 2):  # never in a row
        start.write(entry(t))
        assert len(start.entries()) == 1 <= start.capacity
    other = start.fork()
    for t in range(39, 44):
        other.write(entry(t))
    assert other.began is not None and start.began is None and len(start.entries()) == 1


def test_a_person_begins_it_at_once():
    start = CredibleStart(Recent()())
    assert start.wants(entry(0, iou=0.1, prompted=True).verdict)
    start.write(entry(0, iou=0.1, prompted=True))
    assert start.began == 0 and start.read(1).recalls


def test_a_rule_that_cannot_be_is_refused():
    with pytest.raises(ValueError):
        CredibleRule(frames=0)
    with pytest.raises(ValueError):
        CredibleRule(iou=2)


# A session -----------------------------------------------------------------------------------------------------------
def picture(t: int, red: bool = True) -> np.ndarray:
    image = np.full((40, 60, 3), GREY, np.uint8)
    if red:
        image[8:24, 8 + t : 24 + t] = RED
    return image


def session(reads_words: bool = True, **more) -> Session:
    return Session(FakeNetwork(reads_words=reads_words), Recent(), Greedy, cuts=None, **more)


def test_a_text_shows_what_it_means_at_once_and_is_found_after_five_credible_frames():
    with session() as steps:
        steps.add(3, text="  #ff0000 ")
        assert steps.sought == {3: "#ff0000"}
        results = [steps.step(picture(t)) for t in range(8)]
        for t, result in enumerate(results):
            assert result.obj_ids.tolist() == [3] and result.masks[0].any() and result.masks[0][12, 12 + t]
        assert [len(r.events) for r in results] == [0, 0, 0, 0, 1, 0, 0, 0] and not steps.sought
        (event,) = results[4].events
        assert (event.kind, event.obj_id) == ("found", 3) and "'#ff0000'" in event.why and "frame 4" in event.why
        assert any(m.prompted for m in steps.memories(3))


def test_frames_without_it_do_not_count():
    with session() as steps:
        steps.add(1, text="#ff0000")
        results = [steps.step(picture(t, red=t not in (3, 4))) for t in range(10)]
        assert not results[3].masks.any()
        assert [t for t, r in enumerate(results) if r.events] == [9]


def test_a_text_on_the_current_frame_answers_at_once_and_can_be_taken_back():
    with session() as steps:
        steps.step(picture(0))
        result = steps.add(2, text="#ff0000")
        assert result.masks[0].any() and steps.sought == {2: "#ff0000"}
        assert steps.undo() and not steps.obj_ids
        steps.add(2, text="#ff0000")
        before = steps.snapshot()
        first = [steps.step(picture(t)).events for t in range(1, 6)]
        steps.restore(before)
        assert [steps.step(picture(t)).events for t in range(1, 6)] == first and first[3]


def test_other_objects_do_not_notice():
    with session() as alone, session() as both:
        for steps in (alone, both):
            steps.add(1, box=(8, 8, 24, 24))
        both.add(2, text="#ff0000")
        for t in range(7):
            one, two = alone.step(picture(t)), both.step(picture(t))
            assert (one.masks[0] == two.masks[0]).all()


def test_a_click_begins_what_is_sought():
    with session() as steps:
        steps.add(1, text="#ff0000")
        steps.step(picture(0))
        steps.add(1, points=[(12, 12)])
        assert not steps.sought and not steps.result().events  # nobody found it: a person said so
        assert steps.step(picture(1)).masks[0].any()


@pytest.mark.parametrize(
    "given, says",
    [
        ({"text": "  "}, "text is empty"),
        ({"text": 5}, "text is int"),
        ({"text": "word " * 500}, "500 words"),
        ({"text": "#ff0000", "box": (1, 1, 5, 5)}, "a text came with points, a box or a mask"),
    ],
)
def test_texts_that_cannot_be_meant_are_refused_in_one_line(given, says):
    with session() as steps, pytest.raises(PromptError, match=says) as error:
        steps.add(1, **given)
    assert "\n" not in str(error.value)


def test_a_network_without_words_refuses_a_text_and_an_object_takes_no_second_name():
    with session(reads_words=False) as steps, pytest.raises(PromptError, match="fake takes no text itself"):
        steps.add(1, text="#ff0000")
    with session() as steps:
        steps.add(1, box=(8, 8, 24, 24))
        steps.step(picture(0))
        with pytest.raises(ObjectError, match="object 1 is followed already"):
            steps.add(1, text="#ff0000")


def test_track_gives_texts_to_the_network_and_tells_which_were_not_found():
    frames = [Frame(t, None, picture(t)) for t in range(8)]
    with session() as steps:
        report = track(frames, steps, [PromptAt(1, text="#ff0000"), PromptAt(2, text="#00ff00")], progress=False)
    assert [(t, event.kind, event.obj_id) for t, event in report.events] == [(4, "found", 1)]
    assert report.sought == ["#00ff00"] and report.frames == 8


def test_a_detector_that_is_named_comes_before_the_networks_own_words(monkeypatch):
    monkeypatch.setitem(
        vars(__import__("vidmem.detect", fromlist=["x"]))["DETECTORS"], "words", lambda w, t: FakeDetector()
    )
    with session() as steps:
        assert watched(steps) is steps
        assert isinstance(watched(steps, "words"), Watcher)
    with session(reads_words=False) as steps:
        assert isinstance(watched(steps), Watcher)
