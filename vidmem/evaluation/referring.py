"""J, F and Dice as referring segmentation of surgery is scored (ReSurgSAM2's `my_sav_benchmark.py`): each object alone, the first and the last
frame too. An object counts from the first frame on which the truth or the answer shows it; where both are empty afterwards, that is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from vidmem.errors import UserError
from vidmem.evaluation.davis import boundary_f, jaccard, object_ids


@dataclass(frozen=True)
class ReferringScore:
    """Means over an object's frames, then over the objects that occur in the truth, 0..1."""

    j: float
    f: float
    dice: float
    objects: int
    """How many objects: data sets are means over objects, not over videos."""

    @property
    def j_and_f(self) -> float:
        return (self.j + self.f) / 2


def dice(pred: np.ndarray, gt: np.ndarray) -> float:
    """Twice the intersection over the sum of two (H, W) bool masks' areas, 0..1; 1 if both are empty."""
    areas = np.count_nonzero(pred) + np.count_nonzero(gt)
    return 2 * np.count_nonzero(pred & gt) / areas if areas else 1.0


class ReferringScorer:
    """Takes one frame after another and holds numbers alone. obj_ids: the objects that words were given for; None: every one."""

    def __init__(self, obj_ids: Iterable[int] | None = None):
        self._asked = None if obj_ids is None else set(obj_ids)
        self._frames: dict[int, list[tuple[float, float, float]]] = {}
        self._true: set[int] = set()

    def add(self, masks: Mapping[int, np.ndarray], labels: np.ndarray) -> None:
        """masks: obj_id -> (H, W) bool, which may overlap; labels (H, W): the truth."""
        self._true |= set(object_ids(labels))
        known = self._frames.keys() | set(object_ids(labels)) | {obj_id for obj_id, mask in masks.items() if mask.any()}
        for obj_id in known if self._asked is None else known & self._asked:
            gt = labels == obj_id
            pred = masks.get(obj_id, np.zeros_like(gt))
            said = jaccard(pred, gt), boundary_f(pred, gt), dice(pred, gt)
            self._frames.setdefault(obj_id, []).append(said)

    def score(self) -> ReferringScore:
        """Raises `UserError` where no object that was asked for occurs."""
        means = [np.mean(rows, 0) for obj_id, rows in self._frames.items() if obj_id in self._true]
        if not means:
            raise UserError("the ground truth shows none of the objects that have a text; check their obj_id")
        j, f, dice_ = map(float, np.mean(means, 0))
        return ReferringScore(j, f, dice_, len(means))
