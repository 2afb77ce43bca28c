"""A pixel belongs to one object: what objects of one session claim together goes to the one that is surer of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def compete(claims: Sequence[np.ndarray], firm: Sequence[bool]) -> list[np.ndarray]:
    """claims: mask logits (h, w) of each visible object; firm: a person's prompt shaped it, so nothing is taken from it ->
    the logits after the competition.

    Only cells that several claim (positive logits) change, and only for those who lose them: their logit becomes how far
    they are behind, which is negative. The winner has the greatest logit, of equals the first, as in `FrameResult.label_map`.
    An object that is alone, or overlaps nobody, keeps its array as it is.
    """
    if len(claims) < 2:
        return list(claims)
    stack = np.stack(claims)
    disputed = (stack > 0).sum(0) > 1
    if not disputed.any():
        return list(claims)
    cells = stack[:, disputed]
    winner = cells.argmax(0)
    behind = np.minimum(cells - cells.max(0), -1e-3)
    won = []
    for i, (claim, kept) in enumerate(zip(claims, firm)):
        lost = (winner != i) & (cells[i] > 0)
        if kept or not lost.any():
            won.append(claim)
            continue
        claim = claim.copy()
        claim[disputed] = np.where(lost, behind[i], cells[i])
        won.append(claim)
    return won
