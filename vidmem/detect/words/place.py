"""Where among others: places, sizes, ordinals and relations of boxes."""

from __future__ import annotations

import numpy as np

WRONG = 0.05
SOFT = 0.12  # of the frame's side: how softly a half of it ends
GAP = 0.7  # of both boxes' mean side: how far apart "near" may be


def place_shares(boxes: np.ndarray, place: str, rivals: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(N, 4) boxes -> (N,) 0.05..1. rivals (N,) bool: boxes that are as likely the thing; among two or more of them a place is a rank
    ("the left dog" is the leftmost), for a single one it is a part of the frame of (H, W)."""
    height, width = size
    x, y = (boxes[:, 0] + boxes[:, 2]) / (2 * width), (boxes[:, 1] + boxes[:, 3]) / (2 * height)
    base = boxes[:, 3] / height
    value = {
        "left": -x,
        "right": x,
        "top": -y,
        "bottom": y,
        "front": base,
        "back": -base,
        "middle": -np.hypot(x - 0.5, y - 0.5),
    }[place]
    if rivals.sum() >= 2:
        return ranked(value, rivals)
    border = {"left": -0.5, "right": 0.5, "top": -0.5, "bottom": 0.5, "front": 0.6, "back": -0.6, "middle": -0.25}[
        place
    ]
    return (1 / (1 + np.exp((border - value) / (SOFT / 2)))).clip(WRONG, 1)


def size_shares(boxes: np.ndarray, kind: str, rivals: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(N,) 0.05..1; `biggest` and `smallest` are ranks, `big` and `small` too where there are rivals."""
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1) / (size[0] * size[1])
    sign = 1 if kind in ("big", "biggest") else -1
    if rivals.sum() >= 2:
        return ranked(sign * area, rivals)
    if kind in ("biggest", "smallest"):
        return np.ones(len(boxes))
    return (1 / (1 + np.exp(-sign * (np.log(np.maximum(area, 1e-6)) - np.log(0.06)) / 0.5))).clip(WRONG, 1)


def ordinal_shares(boxes: np.ndarray, ordinal: int, rivals: np.ndarray) -> np.ndarray:
    """The n-th rival from the left; negative: from the right."""
    order = [i for i in np.argsort(boxes[:, 0] + boxes[:, 2], kind="stable") if rivals[i]]
    shares = np.full(len(boxes), WRONG)
    at = ordinal - 1 if ordinal > 0 else len(order) + ordinal
    if 0 <= at < len(order):
        shares[order[at]] = 1
    return shares


def relation_shares(boxes: np.ndarray, kind: str, others: np.ndarray, likely: np.ndarray) -> np.ndarray:
    """boxes (N, 4) as they lie to the likeliest of others (M, 4), likely (M,) 0..1 -> (N,) 0.05..1. A box is no relation of itself."""
    shares = np.full(len(boxes), WRONG)
    for i, box in enumerate(boxes):
        for other, how in zip(others, likely):
            if not np.array_equal(box, other):
                shares[i] = max(shares[i], how * _stands(box, other, kind))
    return shares.clip(WRONG, 1)


def _stands(box: np.ndarray, other: np.ndarray, kind: str) -> float:
    """Whether a box is near, above, below, left or right of another."""
    middle, others = (box[:2] + box[2:]) / 2, (other[:2] + other[2:]) / 2
    away = np.maximum(np.maximum(box[:2] - other[2:], other[:2] - box[2:]), 0)
    reach = GAP * np.sqrt(np.prod(box[2:] - box[:2]) * np.prod(other[2:] - other[:2])) ** 0.5
    near = float(np.exp(-np.linalg.norm(away) / max(reach, 1)))
    if kind == "near":
        return near
    if kind in ("left", "right"):
        return 1.0 if (middle[0] < others[0]) == (kind == "left") else WRONG
    return near if (middle[1] < others[1]) == (kind == "above") else WRONG


def ranked(value: np.ndarray, rivals: np.ndarray) -> np.ndarray:
    """The first of the rivals 1, those behind it less and less."""
    shares = np.full(len(value), WRONG)
    order = [i for i in np.argsort(-value, kind="stable") if rivals[i]]
    for rank, i in enumerate(order):
        shares[i] = max(WRONG, 0.25**rank)
    return shares
