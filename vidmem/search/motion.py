"""SAMURAI's choice of mask: predicted IoU and agreement with the motion (Yang et al. 2024, arXiv 2411.11922, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from vidmem.bounds import bounded, check
from vidmem.search.base import Choice, View

POSITION, VELOCITY = 1 / 20, 1 / 160  # standard deviations of the filter's noise, in heights of the box


@dataclass(frozen=True)
class MotionAware:
    """A Kalman filter of the object's box (centre, aspect, height and their velocities), one for each object and reset with
    it. Once `stable_frames` frames in a row were believed, the mask is chosen by motion_weight * IoU(predicted box, its
    box) + (1 - motion_weight) * predicted IoU.

    Differences from SAMURAI's code, which keeps one filter on the model: an empty mask and a cut end the run of stable
    frames, and masks are shown for object logits above 0, not -1 (that gate is the network's).
    """

    stable_frames: int = bounded(15, 1)
    stable_iou: float = bounded(0.3, 0, 1)
    motion_weight: float = bounded(0.15, 0, 1)

    def __post_init__(self):
        check(self)

    def __call__(self) -> MotionSearch:
        return MotionSearch(self)


@dataclass(eq=False)
class MotionSearch:
    """Implements `vidmem.search.base.Search`."""

    policy: MotionAware
    mean: np.ndarray | None = None  # (8,); arrays are replaced, never written to
    covariance: np.ndarray | None = None  # (8, 8)
    stable: int = 0
    guided: int = 0  # frames on which the motion changed the choice

    lag: ClassVar[int | None] = 0

    def advance(self, view: View) -> list[Choice]:
        if view.prompted or view.cut:
            self.stable = 0
        best = int(view.iou[0].argmax())
        if self.stable == 0:
            self._begin(view, best)
            return [Choice(0, best)]
        assert self.mean is not None and self.covariance is not None
        mean, covariance = self.mean, self.covariance = predict(self.mean, self.covariance)
        motion = None
        if self.stable >= self.policy.stable_frames:
            overlaps = box_iou(to_box(mean), boxes_of(view))
            weight = self.policy.motion_weight
            chosen = int((weight * overlaps + (1 - weight) * view.iou[0]).argmax())
            self.guided += int(chosen != best)
            best, motion = chosen, float(overlaps[chosen])
        box = boxes_of(view)[best]
        if view.iou[0, best] > self.policy.stable_iou and view.object_logit[0] > 0 and box.any():
            self.mean, self.covariance = update(mean, covariance, to_state(box))
            self.stable += 1
        else:
            self.stable = 0
        return [Choice(0, best, motion)]

    def _begin(self, view: View, best: int) -> None:
        box = boxes_of(view)[best]
        if view.object_logit[0] > 0 and box.any():
            self.mean, self.covariance = begin(to_state(box))
            self.stable = 1

    def report(self) -> dict[str, float]:
        return {"hypotheses": 1, "switches": 0, "guided": self.guided, "stable": self.stable}

    def check(self, hypotheses: int) -> None:
        shapes = [None if array is None else array.shape for array in (self.mean, self.covariance)]
        if hypotheses != 1 or shapes not in ([None, None], [(8,), (8, 8)]) or min(self.stable, self.guided) < 0:
            raise ValueError(f"{hypotheses} hypotheses, with a motion of the shapes {shapes}")
        if self.stable and self.mean is None:
            raise ValueError("a stable motion that is not known")

    def fork(self) -> MotionSearch:
        return replace(self)


def boxes_of(view: View) -> np.ndarray:
    """(K, 4) of the only hypothesis."""
    assert view.boxes is not None
    return view.boxes()[0]


# The filter of DeepSORT (Wojke et al. 2017, arXiv 1703.07402), which SAMURAI takes -----------------------------------------
def begin(state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """state (4,) centre x, y, aspect, height -> mean (8,) and covariance (8, 8), at rest."""
    h = state[3]
    deviation = np.array([2 * POSITION * h, 2 * POSITION * h, 1e-2, 2 * POSITION * h,
                          10 * VELOCITY * h, 10 * VELOCITY * h, 1e-5, 10 * VELOCITY * h])  # fmt: skip
    return np.concatenate([state, np.zeros(4)]), np.diag(deviation**2)


def predict(mean: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One frame on, at constant velocity."""
    move = np.eye(8) + np.eye(8, k=4)
    h = mean[3]
    deviation = np.array(
        [POSITION * h, POSITION * h, 1e-2, POSITION * h, VELOCITY * h, VELOCITY * h, 1e-5, VELOCITY * h]
    )
    return move @ mean, move @ covariance @ move.T + np.diag(deviation**2)


def update(mean: np.ndarray, covariance: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correct by a measured box."""
    h = mean[3]
    noise = np.diag(np.array([POSITION * h, POSITION * h, 1e-1, POSITION * h]) ** 2)
    gain = np.linalg.solve(covariance[:4, :4] + noise, covariance[:4]).T
    return mean + gain @ (state - mean[:4]), covariance - gain @ (covariance[:4, :4] + noise) @ gain.T


def to_state(box: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = (float(v) for v in box)
    width, height = max(x1 - x0, 1.0), max(y1 - y0, 1.0)
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2, width / height, height])


def to_box(mean: np.ndarray) -> np.ndarray:
    x, y, aspect, height = mean[:4]
    return np.array([x - aspect * height / 2, y - height / 2, x + aspect * height / 2, y + height / 2])


def box_iou(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(4,) and (K, 4) -> (K,)."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    both = sides.clip(0).prod(1)
    areas = (others[:, 2:] - others[:, :2]).prod(1) + max(float((box[2:] - box[:2]).prod()), 0.0)
    return both / np.maximum(areas - both, 1e-6)
