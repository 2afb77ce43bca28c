"""The watcher finds, is sure, follows, loses and finds again; whoever was there before does not notice."""

import numpy as np
import pytest

from tests.scenes import memory, new_session, place, scene, shot
from vidmem.detect import Concept, FakeDetector, Find, Watcher, WatchRule, read_concepts
from vidmem.detect.base import check_text, distinct, overlap
from vidmem.detect.chains import Chain, link
from vidmem.detect.likeness import Likeness, colours
from vidmem.errors import ObjectError, PromptError
from vidmem.session.status import StatusRule
from vidmem.types import Frame

RULE = WatchRule(every=2, soon=1, idle_every=4, votes=3, window=5, retry_after=3)


def box(obj_id: int, t: int) -> np.ndarray:
    return np.array(place(obj_id, t), np.float32)


def find(concept: int, t: int, on: int | None = None, score: float = 0.8, **more) -> Find:
    return Find(concept, score, box(on or concept, t), parts={"word": score}, **more)


def script(frames, *made) -> dict[int, list[Find]]:
    return {t: [one(t) for one in made] for t in frames}


def watch(looks: dict, *concepts: Concept, rule: WatchRule = RULE, **how) -> Watcher:
    watcher = Watcher(new_session(**how), FakeDetector(looks), rule)
    for concept in concepts:
        watcher.add(concept)
    return watcher


def kinds(result) -> list[tuple]:
    return [(event.kind, event.concept, event.obj_id) for event in result.events]


def run(watcher: Watcher, frames, hidden=()) -> dict[int, list]:
    """Step these frames -> the events of each that has any."""
    results = {t: watcher.step(scene(t, hidden=hidden)) for t in frames}
    return {t: kinds(result) for t, result in results.items() if result.events}


def test_an_object_starts_when_three_looks_agree_and_not_before():
    watcher = watch(script(range(9), lambda t: find(1, t)), Concept(1, "red"))
    assert run(watcher, range(6)) == {2: [("found", 1, 1)]}
    assert watcher.session.obj_ids == [1] and watcher.concepts == {Concept(1, "red"): [1]}
    np.testing.assert_array_equal(watcher.result().boxes[0], box(1, 5))


def test_finds_in_different_places_are_no_votes_for_each_other():
    jumping = {t: [find(1, t, on=1 + t % 3)] for t in range(12)}
    watcher = watch(jumping, Concept(1, "red"), rule=WatchRule(every=1, soon=1, votes=3, window=3))
    assert run(watcher, range(12)) == {} and watcher.session.obj_ids == []


def test_weak_finds_are_not_believed():
    watcher = watch(script(range(20), lambda t: find(1, t, score=0.29)), Concept(1, "red"))
    assert run(watcher, range(20)) == {}


def test_a_missed_look_costs_a_vote_and_not_the_chain():
    looks = script([0, 1, 3], lambda t: find(1, 0))
    assert run(watch(looks, Concept(1, "red")), range(6)) == {3: [("found", 1, 1)]}


def test_votes_outside_the_window_do_not_count():
    looks = script([0, 5, 10], lambda t: find(1, 0))
    assert run(watch(looks, Concept(1, "red"), rule=WatchRule(every=1, soon=1, votes=2, window=3)), range(12)) == {}


def test_the_better_of_two_is_taken_and_the_other_is_an_alternative():
    looks = script(range(9), lambda t: find(1, t, on=2, score=0.6), lambda t: find(1, t, on=3, score=0.9))
    watcher = watch(looks, Concept(1, "square"))
    events = run(watcher, range(3))
    assert events[2][0] == ("found", 1, 1)
    np.testing.assert_array_equal(watcher.result().boxes[0], box(3, 2))
    assert [overlap(a.box, box(2, 2)) for a in watcher.alternatives(1)] == [1]
    assert events[2][1:] == [("candidate", 1, None)]


def test_two_that_score_alike_are_told_apart_the_same_way_every_time():
    looks = script(range(9), lambda t: find(1, t, on=2), lambda t: find(1, t, on=3))
    starts = []
    for _ in range(3):
        watcher = watch(looks, Concept(1, "square"))
        run(watcher, range(3))
        starts.append(watcher.result().boxes[0].tolist())
    assert starts[0] == starts[1] == starts[2]


def test_without_a_limit_every_one_becomes_an_object():
    looks = script(range(9), *(lambda t, on=on: find(7, t, on=on) for on in (1, 2, 3)))
    watcher = watch(looks, Concept(7, "every square", None))
    assert sorted(run(watcher, range(4))[2]) == [("found", 7, 1), ("found", 7, 2), ("found", 7, 7)]


def test_most_bounds_how_many_there_are():
    looks = script(range(9), *(lambda t, on=on: find(7, t, on=on) for on in (1, 2, 3)))
    rule = WatchRule(every=1, soon=1, votes=3, window=5, most=2)
    watcher = watch(looks, Concept(7, "every square", None), rule=rule)
    run(watcher, range(6))
    assert len(watcher.session.obj_ids) == 2


def test_objects_that_are_there_do_not_notice_a_new_concept():
    alone, beside = new_session(), watch(script(range(9), lambda t: find(2, t)))
    shots = []
    for session, step in ((alone, alone.step), (beside.session, beside.step)):
        session.add(1, box=box(1, 0))
        if session is beside.session:
            beside.add(Concept(2, "green"))
        shots.append([shot(step(scene(t)), 1) for t in range(9)])
    assert beside.session.obj_ids == [1, 2]
    assert shots[0] == shots[1] and memory(alone, 1) == memory(beside.session, 1)


def test_removing_a_concept_removes_its_own_objects_alone():
    looks = script(range(9), lambda t: find(2, t), lambda t: find(3, t))
    watcher = watch(looks, Concept(2, "green"), Concept(3, "blue"))
    watcher.session.add(1, box=box(1, 0))
    run(watcher, range(4))
    assert watcher.session.obj_ids == [1, 2, 3]
    watcher.remove(2)
    assert watcher.session.obj_ids == [1, 3] and [c.text for c in watcher.concepts] == ["blue"]
    with pytest.raises(ObjectError, match="there is no concept 2; there are \\[3\\]"):
        watcher.remove(2)


def test_what_a_person_had_already_is_adopted_and_not_followed_twice():
    watcher = watch(script(range(9), lambda t: find(2, t, on=1)), Concept(2, "square"))
    watcher.session.add(1, box=box(1, 0))
    assert run(watcher, range(6)) == {2: [("found", 2, 1)]}
    watcher.remove(2)
    assert watcher.session.obj_ids == [1]


def test_two_concepts_that_mean_one_thing_follow_it_once():
    watcher = watch(
        script(range(9), lambda t: find(1, t), lambda t: find(2, t, on=1)), Concept(1, "red"), Concept(2, "square")
    )
    assert run(watcher, range(4)) == {2: [("found", 1, 1), ("found", 2, 1)]}
    assert watcher.session.obj_ids == [1]


def test_an_id_that_is_taken_is_not_written_over():
    watcher = watch(script(range(9), lambda t: find(1, t, on=2)), Concept(1, "green"))
    watcher.session.add(1, box=box(3, 0))
    run(watcher, range(4))
    assert watcher.session.obj_ids == [1, 2]
    np.testing.assert_array_equal(watcher.result().boxes, [box(3, 3), box(2, 3)])


def test_a_lost_object_is_found_again_as_itself():
    looks = script(range(40), lambda t: find(1, t, look=np.array([1, 0], np.float32)))
    looks |= {t: [] for t in range(5, 15)}
    watcher = watch(looks, Concept(1, "red"), status=StatusRule(lost_after=3))
    before = run(watcher, range(5))
    hidden = run(watcher, range(5, 15), hidden=(1, 2, 3))
    watcher.detector.looks.clear()
    # a tracker that does not come back by itself: the square has another colour
    seen = {}
    for t in range(15, 20):
        image = scene(t, hidden=(1,)).image.copy()
        x0, y0, x1, y1 = place(1, t)
        image[y0:y1, x0:x1] = (255, 255, 0)
        result = watcher.step(Frame(t, None, image))
        seen |= {t: kinds(result)} if result.events else {}
    assert before == {2: [("found", 1, 1)]} and hidden == {}
    assert list(seen.values()) == [[("refound", 1, 1)]]
    np.testing.assert_array_equal(watcher.result().boxes[0], box(1, 19))


def test_another_that_looks_different_is_a_candidate_until_a_person_says_so():
    looks = script(range(5), lambda t: find(1, t, look=np.array([1, 0], np.float32)))
    looks |= script(range(5, 30), lambda t: find(1, t, on=2, look=np.array([0.2, 0.98], np.float32)))
    watcher = watch(looks, Concept(1, "square"))
    run(watcher, range(5))
    events = run(watcher, range(5, 10), hidden=(1,))
    assert list(events.values()) == [[("candidate", 1, None)]]
    assert not watcher.result().masks[0].any()
    result = watcher.accept(1, watcher.alternatives(1)[0])
    assert result.obj_ids.tolist() == [1] and result.masks[0].any()


def test_a_start_that_the_tracker_does_not_agree_with_is_taken_back():
    outline = np.zeros((52, 64), bool)
    outline[40:50, 2:60] = True
    elsewhere = script(range(20), lambda t: Find(1, 0.9, box(1, 0), mask=outline))
    watcher = watch(elsewhere, Concept(1, "red"), rule=WatchRule(every=1, soon=1, agree=0.95))
    assert run(watcher, range(9)) == {} and watcher.session.obj_ids == []


def test_a_removed_object_is_not_sought_again():
    watcher = watch(script(range(30), lambda t: find(1, t)), Concept(1, "red"))
    run(watcher, range(4))
    watcher.session.remove(1)
    assert run(watcher, range(4, 30)) == {} and watcher.session.obj_ids == []


def test_undo_takes_a_find_back_like_any_prompt():
    watcher = watch(script(range(9), lambda t: find(1, t)), Concept(1, "red"))
    run(watcher, range(3))
    assert watcher.session.undo() and watcher.session.obj_ids == []


def test_looks_are_frequent_while_something_is_sought_and_rare_afterwards():
    looks = script(range(6, 40), lambda t: find(1, t))
    watcher = watch(looks, Concept(1, "red"))
    run(watcher, range(24))
    assert watcher.detector.looks == [0, 2, 4, 6, 7, 8, 12, 16, 20]


def test_nobody_looks_where_nothing_is_sought():
    watcher = watch({})
    run(watcher, range(9))
    assert watcher.detector.looks == []


def test_it_says_when_nothing_fits_and_finds_it_all_the_same_later():
    rule = WatchRule(every=1, soon=1, idle_every=5, patience=4)
    watcher = watch(script(range(20, 30), lambda t: find(1, t)), Concept(1, "swan"), rule=rule)
    events = run(watcher, range(30))
    assert events[3] == [("given_up", 1, None)] and list(events)[1:] == [25]
    assert watcher.detector.looks[:6] == [0, 1, 2, 3, 8, 13]


def test_a_cut_ends_chains_and_looks_at_once():
    looks = script([0, 1, 3], lambda t: find(1, 0))
    watcher = watch(looks, Concept(1, "red"))
    run(watcher, range(2))
    other = watcher.step(Frame(2, None, np.full((52, 64, 3), (255, 0, 255), np.uint8)))
    assert other.cut and watcher.detector.looks == [0, 1, 2]
    assert run(watcher, [3]) == {}


def test_events_are_in_settled_answers_too_and_told_once():
    watcher = watch(script(range(9), lambda t: find(1, t)), Concept(1, "red"))
    told = []
    for t in range(6):
        watcher.step(scene(t))
        told += [(r.frame_idx, kinds(r)) for r in watcher.settled() if r.events]
    assert told == [(2, [("found", 1, 1)])] and watcher._events == {}


def test_more_objects_than_the_session_takes_give_up_in_words():
    watcher = watch(script(range(30), lambda t: find(2, t)), Concept(2, "green"), max_objects=1)
    watcher.session.add(1, box=box(1, 0))
    results = [watcher.step(scene(t)) for t in range(9)]
    said = [event for result in results for event in result.events]
    assert [event.kind for event in said] == ["given_up"] and "max_objects is 1" in said[0].why


@pytest.mark.parametrize(
    "text, says",
    [("", "text is empty"), ("  ", "text is empty"), ("a " * 500, "text has 500 words"), (7, "text is int")],
)
def test_a_text_that_cannot_be_meant_is_refused_in_one_line(text, says):
    with pytest.raises(PromptError, match=says) as refused:
        check_text(text)
    assert "\n" not in str(refused.value)


def test_a_refused_text_leaves_the_watcher_as_it_was():
    watcher = Watcher(new_session(), FakeDetector(words=["dog"]), RULE)
    with pytest.raises(PromptError, match="I do not know 'swan'"):
        watcher.add(Concept(1, "swan"))
    assert watcher.concepts == {}
    watcher.add(Concept(1, "dog"))
    with pytest.raises(ObjectError, match="concept 1 is 'dog'; remove it first"):
        watcher.add(Concept(1, "dog"))


def test_texts_become_concepts_in_their_order():
    assert read_concepts(FakeDetector(), ["dog", "every cat"]) == [Concept(1, "dog"), Concept(2, "every cat", None)]


def test_a_rule_that_cannot_be_is_refused():
    for wrong in ({"votes": 6}, {"every": 0}, {"score": 2.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            WatchRule(**wrong)


def test_distinct_keeps_the_best_of_what_overlaps():
    finds = [
        Find(1, s, np.array(b, np.float32))
        for s, b in ((0.5, [0, 0, 10, 10]), (0.9, [0, 0, 10, 9]), (0.4, [20, 0, 30, 9]))
    ]
    assert [f.score for f in distinct(finds)] == [0.9, 0.4]


def test_a_fast_object_continues_its_chain_without_an_overlap():
    boxes = [np.array([10 * t, 0, 10 * t + 24, 24], np.float32) for t in range(2)]
    far = np.array([40, 0, 64, 24], np.float32)
    chain = [Chain([(1, Find(1, 0.5, boxes[0]))])]
    assert len(link(chain, [(Find(1, 0.5, boxes[1]), None)], 2, 5, 0.9)[0].finds) == 2
    assert len(link(chain, [(Find(1, 0.5, far), None)], 3, 5, 0.9)) == 2


def test_likeness_is_measured_by_how_alike_an_object_is_to_itself():
    red, green = (colours(scene(0).image, box(i, 0)) for i in (1, 2))
    known = Likeness()
    assert known.like(red) == 1
    for _ in range(20):
        known.add(red)
    assert len(known.looks) == 8 and known.like(red) == pytest.approx(1) and known.like(green) == pytest.approx(0)
