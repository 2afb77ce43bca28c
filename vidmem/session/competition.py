"""A pixel belongs to one object: what objects of one session claim together goes to the one that is surer of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SAME = 0.5  # IoU of two claims from which they are to the same thing


class Rival(NamedTuple):
    """Another object that claims the same thing."""

    number: int
    """Which of the claims it is."""
    stronger: bool
    """It is surer of more of what both claim."""


def rivals(claims: Sequence[np.ndarray], firm: Sequence[bool]) -> list[Rival | None]:
    """claims, firm: as for `compete`, before it -> of each the rival whose claim is most like its own; None where nobody claims
    the same, or a person's prompt has just said whose it is."""
    found: list[Rival | None] = [None] * len(claims)
    if len(claims) < 2:
        return found
    masks = np.stack([(claim > 0).reshape(-1) for claim in claims]).astype(np.float32)
    both = masks @ masks.T
    area = both.diagonal()
    alike = both / np.maximum(area[:, None] + area[None] - both, 1)
    np.fill_diagonal(alike, 0)
    for i, other in enumerate(alike.argmax(1)):
        if alike[i, other] >= SAME and not firm[i]:
            shared = (claims[i] > 0) & (claims[other] > 0)
            ahead = (claims[other] > claims[i])[shared].mean()
            found[i] = Rival(int(other), bool(firm[other] or ahead > 0.5 or (ahead == 0.5 and other < i)))
    return found


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
