"""J and F as DAVIS 2017 defines them (Perazzi et al. 2016, section 5), by points and distances: nothing is shared with `vidmem.evaluation`,
which works with dilated pictures."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial import cKDTree

TOLERANCE = 0.008  # of the frame's diagonal


def boundary_points(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool -> (n, 2) rows and columns of the pixels that differ from the one to the right, below, or below to the right."""
    height, width = mask.shape
    found = set()
    for down, right in ((0, 1), (1, 0), (1, 1)):
        here, there = mask[: height - down, : width - right], mask[down:, right:]
        found |= set(zip(*(axis.tolist() for axis in np.nonzero(here != there))))
    return np.array(sorted(found), float).reshape(-1, 2)


def f_measure(pred: np.ndarray, gt: np.ndarray) -> float:
    radius = math.ceil(TOLERANCE * math.hypot(*pred.shape))
    mine, theirs = boundary_points(pred), boundary_points(gt)
    if not len(mine) or not len(theirs):
        return float(len(mine) == len(theirs))
    near = lambda points, others: np.mean(
        cKDTree(others).query(points, distance_upper_bound=radius + 0.01)[0] <= radius
    )
    precision, recall = near(mine, theirs), near(theirs, mine)
    return 0.0 if precision + recall == 0 else float(2 * precision * recall / (precision + recall))


def j_measure(pred: np.ndarray, gt: np.ndarray) -> float:
    mine, theirs = (set(np.flatnonzero(mask).tolist()) for mask in (pred, gt))
    return len(mine & theirs) / len(mine | theirs) if mine | theirs else 1.0


def score(truth: list[np.ndarray], guess: list[np.ndarray]) -> tuple[float, float]:
    """Label maps of a sequence -> J and F: means over the objects of the first map, then over all frames but the first and the last."""
    objects = sorted(set(np.unique(truth[0]).tolist()) - {0, 255})
    pairs = list(zip(guess, truth))[1:-1]
    rows = [[measure(p == o, g == o) for p, g in pairs for o in objects] for measure in (j_measure, f_measure)]
    return float(np.mean(rows[0])), float(np.mean(rows[1]))
