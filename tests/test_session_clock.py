"""A session's clock counts the frames that it was given; the source's index may have gaps."""

import numpy as np
import pytest

from vidmem.errors import ObjectError
from vidmem.memory import BANKS
from vidmem.networks.fake import FakeNetwork
from vidmem.search import Greedy
from vidmem.session import Session
from vidmem.types import Frame

GAPS = [0, 1, 2, 10, 18, 19, 40, 41]


def picture(t: int) -> np.ndarray:
    image = np.zeros((32, 64, 3), np.uint8)
    image[8:24, 8 + t : 24 + t] = (200, 40, 40)
    return image


def reads(bank: str, indices: list[int], reverse: bool = False):
    """What each frame recalled, by place in the stream, and the masks."""
    network = FakeNetwork()
    with Session(network, BANKS[bank](), Greedy, reverse=reverse) as session:
        session.add(1, box=(8, 8, 24, 24))
        masks = [session.step(Frame(index, None, picture(t))).masks[0] for t, index in enumerate(indices)]
    first = indices[0] * (-1 if reverse else 1)
    return [[[t - first for t in row] for row in rows] for rows in network.reads], masks


@pytest.mark.parametrize("bank", BANKS)
def test_dropped_frames_change_nothing_of_what_a_bank_recalls(bank):
    every, gaps = reads(bank, list(range(len(GAPS)))), reads(bank, GAPS)
    assert every[0] == gaps[0] and any(len(rows[0]) > 1 for rows in gaps[0] if rows)
    assert all((a == b).all() for a, b in zip(every[1], gaps[1]))


@pytest.mark.parametrize("bank", ["recent", "spaced"])
def test_nor_do_they_in_a_reversed_session(bank):
    assert reads(bank, GAPS[::-1], reverse=True)[0] == reads(bank, list(range(50, 50 - len(GAPS), -1)), reverse=True)[0]


def test_memories_say_which_frames_of_the_source_are_held_and_what_the_next_frame_reads():
    with Session(FakeNetwork(), BANKS["recent"](slots=3, pointers=0), Greedy) as session:
        session.add(1, box=(8, 8, 24, 24))
        for t, index in enumerate(GAPS):
            session.step(Frame(index, None, picture(t)))
        held = session.memories(1)
        assert [m.frame_idx for m in held] == [0, 40, 41] and [m.prompted for m in held] == [True, False, False]
        assert all(m.read and m.whole for m in held) and [m.verdict.frame_idx for m in held] == [0, 6, 7]
        with pytest.raises(ObjectError, match="object 7 is not followed; the session follows \\[1\\]"):
            session.memories(7)


def test_a_light_snapshot_goes_on_as_the_whole_one_does():
    with Session(FakeNetwork(), BANKS["recent"](), Greedy) as session:
        session.add(1, box=(8, 8, 24, 24))
        session.step(picture(0))
        whole, runs = session.snapshot(), []
        light = whole.light()
        assert light.now.features is None and whole.now.features is not None
        for state in (whole, light):
            session.restore(state)
            runs.append([session.step(Frame(t, None, picture(t))).masks for t in (1, 2)])
        assert all((a == b).all() for a, b in zip(*runs))
