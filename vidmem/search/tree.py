"""SAM2Long's constrained tree of hypotheses (Ding et al. 2024, arXiv 2410.16268, section 3.3), over any bank and as a stream."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from vidmem.bounds import bounded, check
from vidmem.search.base import Choice, View

EPSILON = 1e-5  # added to a predicted IoU before its logarithm


@dataclass(frozen=True)
class Tree:
    """`width` pathways live; each frame offers each pathway K masks, scored by the sum of the logarithms of their predicted
    IoU. On a certain frame (some pathway's object logit is beyond `uncertainty`, either way) the best survive; on an
    uncertain one the best whose IoU, signed by presence and rounded to two digits, differ, so that the tree stays broad.

    Pathways begin as copies and stay copies while frames are certain. A copy is not computed again: the search holds each
    distinct pathway once, with the number of its copies, and the session sees the distinct ones alone.

    lag: frames after which an answer is final, taken from the pathway that is best by then; None: at the end of the video,
    as published. SAM2Long's filter of memories (its iou 0.1 and key weights) is the bank `confident`.
    """

    width: int = bounded(3, 1, 64)
    lag: int | None = bounded(None, 0)
    uncertainty: float = bounded(2.0, 0)

    def __post_init__(self):
        check(self)

    def __call__(self) -> TreeSearch:
        return TreeSearch(self)


@dataclass(eq=False)
class TreeSearch:
    """Implements `vidmem.search.base.Search`."""

    policy: Tree
    scores: list[float] = field(default_factory=lambda: [0.0])  # of each distinct pathway, the best first
    copies: list[int] = field(default_factory=lambda: [1])
    started: bool = False  # the first frame after a prompt is an ordinary step
    switches: int = 0
    uncertain: int = 0

    @property
    def lag(self) -> int | None:
        return self.policy.lag

    def advance(self, view: View) -> list[Choice]:
        if view.prompted or not self.started:
            parent, candidate = np.unravel_index(int(view.iou.argmax()), view.iou.shape)
            self.switches += int(parent != 0)
            self.started = not view.prompted
            self.scores, self.copies = [0.0], [1 if view.prompted else self.policy.width]
            return [Choice(int(parent), int(candidate))]
        owner = [d for d, count in enumerate(self.copies) for _ in range(count)]  # pathway -> distinct pathway
        totals = np.array(self.scores)[:, None] + np.log(view.iou.astype(np.float64) + EPSILON)
        k = view.iou.shape[1]
        flat = totals[owner].reshape(-1)
        order = [(int(i) // k, int(i) % k) for i in np.argsort(-flat, kind="stable")]
        if np.abs(view.object_logit).max() > self.policy.uncertainty:
            survivors = order[: self.policy.width]
        else:
            self.uncertain += 1
            survivors = self._broad(order, owner, view)
        # Copies of one pathway that took the same mask are copies again.
        counts = Counter((owner[p], j) for p, j in survivors)
        self.scores, self.copies = [float(totals[d, j]) for d, j in counts], list(counts.values())
        choices = [Choice(d, j) for d, j in counts]
        self.switches += int(choices[0].parent != 0)
        return choices

    def _broad(self, order: list[tuple[int, int]], owner: list[int], view: View) -> list[tuple[int, int]]:
        """Survivors of an uncertain frame: masks with different signed IoU, then the best of pathways left out."""
        width = self.policy.width
        taken: list[tuple[int, int]] = []
        seen = set()
        for p, j in order:
            iou = float(view.iou[owner[p], j])
            signed = round(iou if view.object_logit[owner[p]] > 0 else -iou, 2)
            if signed not in seen and len(taken) < width:
                seen.add(signed)
                taken.append((p, j))
        for p in range(len(owner)):
            if len(taken) < width and p not in {q for q, _ in taken}:
                taken.append(next(c for c in order if c[0] == p))
        return sorted(taken, key=order.index)

    def report(self) -> dict[str, float]:
        return {"hypotheses": len(self.scores), "switches": self.switches, "uncertain": self.uncertain}

    def check(self, hypotheses: int) -> None:
        counts = len(self.scores), len(self.copies)
        if counts != (hypotheses, hypotheses) or min(self.copies) < 1 or sum(self.copies) > self.policy.width:
            raise ValueError(
                f"{hypotheses} hypotheses, {counts[0]} scores, and {self.copies} copies of width {self.policy.width}"
            )

    def fork(self) -> TreeSearch:
        return replace(self, scores=list(self.scores), copies=list(self.copies))
