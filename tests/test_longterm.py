"""The composed long videos and what is measured on them."""

import numpy as np
import pytest

from tests.banks import entry
from vidmem.evaluation.audit import Audited, Log, LongScorer, bootstrap
from vidmem.evaluation.longterm import HEIGHT, WIDTH, Story, compose, stories
from vidmem.memory import Recent

cv2 = pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three short sequences, each with a disk of its own colour."""
    root = tmp_path_factory.mktemp("sequences")
    random = np.random.default_rng(0)
    for name, colour in (("a", (40, 40, 230)), ("b", (40, 230, 40)), ("c", (230, 40, 40))):
        for part in ("frames", "masks"):
            (root / name / part).mkdir(parents=True)
        for t in range(12):
            image = random.integers(0, 80, (120, 200, 3)).astype(np.uint8)
            mask = np.zeros((120, 200), np.uint8)
            cv2.circle(mask, (60 + 4 * t, 60), 30, 1, -1)
            image[mask > 0] = colour
            cv2.imwrite(str(root / name / "frames" / f"{t:03d}.png"), image)
            cv2.imwrite(str(root / name / "masks" / f"{t:03d}.png"), mask)
    return root


def test_a_story_is_the_same_each_time_and_its_truth_is_exact(data):
    story = Story(3, 400, 0)
    one, other = list(compose(story, data)), list(compose(story, data))
    assert len(one) == 400 and all(
        (a.image == b.image).all() and (a.truth == b.truth).all() for a, b in zip(one, other)
    )
    for moment in one[::7]:
        assert moment.image.shape == (HEIGHT, WIDTH, 3) and moment.image.dtype == np.uint8
        assert not (moment.truth & moment.distractor).any()
        if moment.truth.sum() > 50:  # the subject's colour, whatever the light: red above the others
            r, g, b = moment.image[moment.truth].mean(0)
            assert r > 1.5 * g and r > 1.5 * b


def test_the_set_holds_what_it_says(data):
    absent, cuts, others, lengths = [], 0, 0, []
    for story in stories(4):
        moments = list(compose(Story(story.seed, 700, story.subject), data))
        present = np.array([m.truth.any() for m in moments])
        edges = np.flatnonzero(np.diff(np.concatenate([[True], present, [True]]).astype(int)))
        lengths += [int(b - a) for a, b in zip(edges[::2], edges[1::2])]
        absent.append(1 - present.mean())
        cuts += sum(m.cut for m in moments)
        others += sum(m.distractor.any() for m in moments)
    assert all(0.05 < a < 0.6 for a in absent) and cuts >= 4 and others > 100
    assert any(n < 20 for n in lengths) and any(n > 100 for n in lengths)
    assert [s.length for s in stories()] != [s.length for s in stories()][::-1] and len(stories()) == 12
    assert all(600 <= s.length <= 1500 for s in stories())


def test_an_audit_notes_what_passes_and_changes_nothing():
    audited = Audited(Recent(slots=3))
    bank = audited()
    for t in range(6):
        assert bank.wants(entry(t).verdict)
        bank.read(t)
        bank.write(entry(t, prompted=t == 0))
    bank.fork().write(entry(6))
    assert (
        audited.log.written == [1, 2, 3, 4, 5, 6]
        and audited.log.read == [1, 1, 2, 2, 3, 3, 4]
        and bank.capacity == Recent(slots=3)().capacity
    )


def test_measures_of_a_long_video():
    scorer = LongScorer(every=1)
    here, there, nothing = (np.zeros((20, 20), bool) for _ in range(3))
    here[:8, :8], there[12:, 12:] = True, True
    # frame: prompt, right, absent and silent, absent but seen, back and right, on the other, on the other, back on it, last
    for mask, truth in [(here, here), (here, here), (nothing, nothing), (here, nothing), (here, here), (there, here), (there, here),
                        (here, here), (here, here)]:  # fmt: skip
        scorer.add(mask, truth, there)
    score = scorer.score(Log(written=[1, 2, 3, 5], read=[1, 1, 5]))
    assert score.switches == 1 and score.absent == 0.5 and score.returned == pytest.approx(3 / 5)
    assert score.wrong_written == 0.5 and score.wrong_read == pytest.approx(1 / 3)
    assert 0.5 < score.j_and_f < 0.8


def test_the_interval_holds_the_mean_and_narrows():
    few, many = np.random.default_rng(0).normal(size=10), np.random.default_rng(0).normal(size=1000)
    low, high = bootstrap(few)
    assert (
        low < few.mean() < high and np.subtract(*bootstrap(many)[::-1]) < high - low and bootstrap(few) == (low, high)
    )
