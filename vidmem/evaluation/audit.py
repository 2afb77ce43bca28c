"""What a memory bank wrote and read, held against the truth; and the measures of long videos."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vidmem.evaluation.davis import boundary_f, jaccard

WRONG = 0.5  # IoU with the truth below which a remembered mask is wrong
RETURN = 60  # frames after a return that count as such


@dataclass
class Log:
    """Frames written and read, in order; a read entry counts each time."""

    written: list[int] = field(default_factory=list)
    read: list[int] = field(default_factory=list)
    most_bytes: int = 0


class Audited:
    """A bank that notes what passes through it. Wraps any policy: `Audited(policy)()` is its bank."""

    def __init__(self, policy, log: Log | None = None, bank=None):
        self._policy, self.log, self._bank = policy, log or Log(), bank

    def __call__(self) -> Audited:
        return Audited(self._policy, self.log, self._policy())

    def __getattr__(self, name):
        return getattr(self._bank, name)

    def read(self, t, cue=None):
        plan = self._bank.read(t, cue)
        self.log.read += [recall.entry.frame_idx for recall in plan.recalls if not recall.entry.prompted]
        return plan

    def write(self, entry) -> None:
        self._bank.write(entry)
        if not entry.prompted:
            self.log.written.append(entry.frame_idx)
        self.log.most_bytes = max(self.log.most_bytes, self._bank.nbytes)

    def fork(self) -> Audited:
        return Audited(self._policy, self.log, self._bank.fork())


@dataclass(frozen=True)
class LongScore:
    """Measures of one long video, each 0..1 unless said otherwise."""

    j_and_f: float
    absent: float
    """Share of frames without the object on which nothing is predicted."""
    returned: float
    """J over the first `RETURN` frames after each return; 1 where the object never left."""
    switches: int
    """Times that the mask went over to a distractor."""
    wrong_written: float
    """Share of entries written whose mask disagrees with the truth (IoU under `WRONG`)."""
    wrong_read: float


class LongScorer:
    """Takes frames one by one. F is taken on every `every`th frame, for it costs more than tracking does."""

    def __init__(self, every: int = 5):
        self.every = every
        self.ious: list[float] = []
        self.fs: list[float] = []
        self.present: list[bool] = []
        self.silent: list[bool] = []
        self.switches, self._on_other = 0, False

    def add(self, mask: np.ndarray, truth: np.ndarray, distractor: np.ndarray) -> None:
        """(H, W) bool each."""
        iou = jaccard(mask, truth)
        if len(self.ious) % self.every == 0:
            self.fs.append(boundary_f(mask, truth))
        self.ious.append(iou)
        self.present.append(bool(truth.any()))
        self.silent.append(not mask.any())
        on_other = bool(distractor.any()) and iou < 0.1 and jaccard(mask, distractor) > 0.5
        self.switches += on_other and not self._on_other
        self._on_other = on_other

    def score(self, log: Log) -> LongScore:
        """Leaves out the first frame, which was the prompt, and the last, as DAVIS does."""
        ious, present, silent = np.array(self.ious), np.array(self.present), np.array(self.silent)
        inside = slice(1, -1)
        absent = ~present[inside]
        returns = np.flatnonzero(present[1:] & ~present[:-1]) + 1
        after = np.zeros(len(ious), bool)
        for t in returns:
            after[t : t + RETURN] = True
        after &= present
        good = ious >= WRONG
        return LongScore(
            float((ious[inside].mean() + np.mean(self.fs[1:])) / 2),
            float(silent[inside][absent].mean()) if absent.any() else 1.0,
            float(ious[after].mean()) if after.any() else 1.0,
            int(self.switches),
            float(1 - good[log.written].mean()) if log.written else 0.0,
            float(1 - good[log.read].mean()) if log.read else 0.0,
        )


def bootstrap(values, seed: int = 0, draws: int = 10_000) -> tuple[float, float]:
    """95 % interval of the mean over videos, by resampling them."""
    values = np.asarray(values, np.float64)
    means = values[np.random.default_rng(seed).integers(0, len(values), (draws, len(values)))].mean(1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))
