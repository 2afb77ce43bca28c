"""Windows that follow small objects, and sessions that look through them."""

import cv2
import numpy as np
import pytest

from vidmem.errors import FrameError, ModelError, ObjectError, PromptError, SessionClosed
from vidmem.memory import Recent
from vidmem.networks.fake import FakeNetwork
from vidmem.search import Greedy, Tree
from vidmem.session import Session, ZoomedSession, ZoomRule
from vidmem.session.window import Gaze, Window, around, steps, whole
from vidmem.types import Frame, Status

SIZE = (270, 480)
RED, GREEN = (250, 30, 30), (30, 250, 30)
RULE = ZoomRule(least=32)


def scene(index, **squares) -> Frame:
    """squares: colour name -> (x, y, side)."""
    image = np.full((*SIZE, 3), 40, np.uint8)
    for name, (x, y, side) in squares.items():
        image[y : y + side, x : x + side] = {"red": RED, "green": GREEN}[name]
    return Frame(index, index / 25, image)


class Coarse(FakeNetwork):
    """Sees everything at 96x54."""

    def encode(self, image):
        return super().encode(cv2.resize(image, (96, 54), interpolation=cv2.INTER_AREA))


def zoomed(**how) -> ZoomedSession:
    return ZoomedSession(FakeNetwork(), Recent(), Greedy, rule=RULE, **how)


def test_a_window_has_the_frames_shape_and_stays_inside_it():
    rule = ZoomRule()
    for box in ((0, 0, 10, 10), (470, 260, 480, 270), (100, 100, 130, 120), (5, 100, 6, 101)):
        window = around(box, SIZE, rule)
        assert window.x >= 0 and window.y >= 0
        assert window.x + window.width <= SIZE[1] and window.y + window.height <= SIZE[0]
        assert window.holds(box) and window.width / window.height == pytest.approx(16 / 9, rel=0.02)
        assert window.width >= rule.least / 2**0.5
    assert around((0, 0, 300, 200), SIZE, rule) == whole(SIZE), "what is not small is seen in the whole frame"


def test_a_window_stays_while_its_object_is_well_inside_and_goes_with_it_otherwise():
    gaze = Gaze.on((200, 100, 220, 120), SIZE, RULE)
    still = gaze.after((203, 101, 223, 121)).next(SIZE, RULE)
    assert still.window == gaze.window
    for _ in range(20):
        x = gaze.box[0] + 6
        gaze = gaze.after((x, 100, x + 20, 120)).next(SIZE, RULE)
        assert gaze.window.holds((x, 100, x + 20, 120))
    assert gaze.window != still.window and gaze.shrink == still.shrink


def test_sizes_do_not_go_to_and_fro():
    """An object at the limit between two sizes, a pixel larger and smaller in turn, keeps its window's size."""
    side = next(s for s in range(10, 200) if steps((0, 0, s, 1), SIZE, RULE) != steps((0, 0, s + 1, 1), SIZE, RULE))
    gaze, seen = Gaze.on((100, 100, 100 + side, 101), SIZE, RULE), []
    for t in range(12):
        gaze = gaze.after((100, 100, 100 + side + t % 2, 101)).next(SIZE, RULE)
        seen.append(gaze.shrink)
    assert len(set(seen[1:])) == 1


def test_what_is_not_seen_is_looked_for_in_larger_windows_up_to_the_frame_and_then_again():
    gaze = Gaze.on((200, 100, 212, 112), SIZE, RULE)
    start, sizes = gaze.window.width, []
    for _ in range(40):
        gaze = gaze.after(None).next(SIZE, RULE)
        sizes.append(gaze.window.width)
    first = sizes.index(SIZE[1])
    assert sizes[:first] == sorted(sizes[:first]) and sizes[first + RULE.patience] == start


def test_a_small_object_is_followed_exactly_where_the_whole_frame_shows_it_coarsely():
    plain, close = Session(Coarse(), Recent(), Greedy, cuts=None), ZoomedSession(Coarse(), Recent(), Greedy, rule=RULE)
    scores = []
    for session in (plain, close):
        session.add(1, box=(100, 80, 111, 91))
        for t in range(25):
            x, y = 100 + 9 * t, 80 + 3 * t
            result = session.step(scene(t, red=(x, y, 11)))
        truth = np.zeros(SIZE, bool)
        truth[y : y + 11, x : x + 11] = True
        mask = result.masks[0]
        scores.append((mask & truth).sum() / (mask | truth).sum())
    assert result.status[0] is Status.TRACKED
    assert scores[1] > 0.6 > scores[0] + 0.2, scores
    assert result.windows.shape == (1, 4) and Window(*result.windows[0]).holds(result.boxes[0])
    assert result.pts_seconds == 24 / 25 and result.frame_idx == 24


def test_two_objects_have_windows_of_their_own_and_one_label_map():
    session = zoomed()
    session.add(1, box=(20, 20, 32, 32))
    session.add(7, points=[(406, 206)])
    result = session.step(scene(0, red=(20, 20, 12), green=(400, 200, 14)))
    labels = result.label_map()
    assert set(np.unique(labels)) == {0, 1, 7} and labels[26, 26] == 1 and labels[206, 406] == 7
    assert session.window(1) != session.window(7) and session.window(7).width < SIZE[1], "a click finds its size"
    session.remove(1)
    assert session.obj_ids == [7] == session.result().obj_ids.tolist()
    session.clear()
    assert session.step(scene(1)).obj_ids.size == 0


def test_a_correction_beyond_the_window_is_done_in_one_that_holds_it_and_can_be_taken_back():
    session = zoomed()
    session.add(1, box=(20, 20, 32, 32))
    session.step(scene(0, red=(20, 20, 12), green=(400, 200, 14)))
    first = session.step(scene(1, red=(20, 20, 12), green=(400, 200, 14)))
    corrected = session.add(1, box=(400, 200, 414, 214))
    assert corrected.masks[0, 206, 406] and not corrected.masks[0, 26, 26]
    assert session.window(1).holds((400, 200, 414, 214))
    assert session.undo() and np.array_equal(session.result().masks, first.masks)
    assert not session.undo()
    again = session.step(scene(2, red=(20, 20, 12)))
    assert again.masks[0, 26, 26]


def test_it_goes_on_after_an_absence_elsewhere():
    session = zoomed()
    session.add(1, box=(100, 80, 111, 91))
    for t in range(40):
        here = {} if 10 <= t < 20 else {"red": (100, 80, 11) if t < 10 else (380, 200, 11)}
        result = session.step(scene(t, **here))
        if 12 <= t < 20:
            assert not result.masks.any() and result.boxes[0].sum() == 0
    assert result.masks[0, 205, 385] and session.window(1).width < SIZE[1]


def test_a_snapshot_can_be_gone_back_to_and_a_failing_frame_changes_nothing(monkeypatch):
    session = zoomed()
    session.add(1, box=(100, 80, 111, 91))
    session.step(scene(0, red=(100, 80, 11)))
    kept = session.snapshot()
    one = [session.step(scene(t, red=(100 + 9 * t, 80, 11))).masks for t in range(1, 6)]
    session.restore(kept)
    monkeypatch.setattr(FakeNetwork, "decode", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        session.step(scene(1, red=(109, 80, 11)))
    monkeypatch.undo()
    assert session.frame_idx == 0
    two = [session.step(scene(t, red=(100 + 9 * t, 80, 11))).masks for t in range(1, 6)]
    assert all(np.array_equal(a, b) for a, b in zip(one, two))


def test_a_mask_that_a_person_gives_is_the_answer_pixel_for_pixel_and_late_prompts_wait():
    session, mask = zoomed(), np.zeros(SIZE, bool)
    mask[81:90, 101:108] = True
    session.add(1, mask=mask)
    session.add(2, box=(400, 200, 414, 214), frame_idx=2)
    assert session.waiting() == {-1: [1], 2: [2]}
    assert np.array_equal(session.step(scene(0, red=(100, 80, 11))).masks[0], mask)
    session.step(scene(1, red=(100, 80, 11)))
    assert session.step(scene(2, red=(100, 80, 11), green=(400, 200, 14))).obj_ids.tolist() == [1, 2]
    assert session.settled() and not session.settled() and session.nbytes > 0 and session.memories(2)


def test_wrong_input_has_an_error_of_one_line_and_changes_nothing():
    session = zoomed(max_objects=1)
    with pytest.raises(FrameError, match="no frame was stepped"):
        session.result()
    with pytest.raises(PromptError, match="text"):
        session.add(1, text="dog")
    session.add(1, box=(100, 80, 111, 91))
    with pytest.raises(ObjectError, match="max_objects=1"):
        session.add(2, box=(100, 80, 111, 91))
    session.step(scene(0, red=(100, 80, 11)))
    with pytest.raises(PromptError, match="outside"):
        session.add(1, points=[(900, 10)])
    with pytest.raises(FrameError, match="came after"):
        session.step(scene(0))
    with pytest.raises(FrameError, match="those before it were"):
        session.step(Frame(1, None, np.zeros((9, 9, 3), np.uint8)))
    with pytest.raises(ObjectError, match="not followed"):
        session.window(3)
    with pytest.raises(ModelError, match="greedy or motion"):
        ZoomedSession(FakeNetwork(), Recent(), Tree())
    with pytest.raises(ValueError, match="times"):
        ZoomRule(times=0.5)
    session.close()
    with pytest.raises(SessionClosed):
        session.step(scene(1))
