"""What every search promises, and that `Greedy` takes the best predicted IoU."""

import numpy as np
import pytest

from vidmem.search import SEARCHES, Choice, Greedy, View

IOU = np.array([[0.2, 0.9, 0.4], [0.8, 0.1, 0.3]], np.float32)


def view(iou, object_logit, prompted=False, cut=False, boxes=None) -> View:
    iou = np.asarray(iou, np.float32)
    still = np.broadcast_to(np.array([10.0, 10, 30, 40]), (*iou.shape, 4))
    return View(iou, np.asarray(object_logit, np.float32), prompted, cut, lambda: still if boxes is None else boxes)


def test_greedy_takes_the_candidate_with_the_best_predicted_iou():
    search = Greedy()()
    assert search.advance(view(IOU, np.ones(2))) == [Choice(0, 1)]
    assert search.advance(view(IOU[::-1], np.ones(2))) == [Choice(1, 1)]


def test_greedy_takes_the_first_of_equals():
    assert Greedy().advance(view(np.full((1, 3), 0.5), np.ones(1), True)) == [Choice(0, 0)]


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("prompted", [False, True])
def test_choices_name_a_row_and_a_candidate_that_exist(name, prompted):
    rng = np.random.default_rng(0)
    search, rows = SEARCHES[name]()(), 1
    for _ in range(50):
        iou = rng.random((rows, 3)).astype(np.float32)
        choices = search.advance(view(iou, rng.normal(size=rows), prompted))
        assert choices and len(set(choices)) == len(choices)
        assert all(0 <= c.parent < rows and 0 <= c.candidate < 3 for c in choices)
        assert all(type(c.parent) is int and type(c.candidate) is int for c in choices)
        rows = len(choices)


@pytest.mark.parametrize("name", SEARCHES)
def test_a_fork_goes_on_as_the_search_itself_would(name):
    rng = np.random.default_rng(0)
    search = SEARCHES[name]()()
    search.advance(view(IOU[:1], np.ones(1), True))
    fork = search.fork()
    rows = [rng.random((3, 3)).astype(np.float32) for _ in range(20)]

    def go_on(search):
        alive, taken = 1, []
        for row in rows:
            taken.append(search.advance(view(row[:alive], np.ones(alive))))
            alive = len(taken[-1])
        return taken, search.report()

    assert go_on(fork) == go_on(search)
