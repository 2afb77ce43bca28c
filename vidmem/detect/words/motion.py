"""What moves on its own: flow without the camera's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

HALF_AT = 0.008  # of the frame's width a frame: the speed that is half way between still and moving
FEWEST = 2  # frames before this one; with fewer nobody can say


def own_motion(past: Sequence[tuple[int, np.ndarray]], now: tuple[int, np.ndarray]) -> np.ndarray | None:
    """Small pictures (h, w, 3) uint8 with their frame indices -> (h, w) float32: how fast each place moves beside the camera, in widths
    of the frame a frame. None: too few frames."""
    import cv2

    past = [(index, small) for index, small in past if small.shape == now[1].shape and index != now[0]]
    if len(past) < FEWEST:
        return None
    index, before = past[-min(3, len(past))]
    one, two = (cv2.cvtColor(np.ascontiguousarray(small), cv2.COLOR_RGB2GRAY) for small in (before, now[1]))
    flow = np.zeros((*one.shape, 2), np.float32)  # back in time, so that it lies where things are now
    flow = cv2.calcOpticalFlowFarneback(two, one, flow, 0.5, 3, 13, 3, 5, 1.1, 0)
    h, w = flow.shape[:2]
    y, x = np.mgrid[2:h:5, 2:w:5]
    here = np.stack([x.ravel(), y.ravel()], 1).astype(np.float32)
    there = here + flow[y.ravel(), x.ravel()]
    camera, _ = cv2.estimateAffinePartial2D(here, there, method=cv2.RANSAC, ransacReprojThreshold=0.7)
    if camera is None:
        camera = np.array([[1, 0, 0], [0, 1, 0]], float)
    grid = np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1).astype(np.float32)
    steady = grid @ camera[:, :2].T + camera[:, 2] - grid
    speed = np.linalg.norm(flow - steady, axis=-1).astype(np.float32)
    return speed / (w * abs(now[0] - index))


def share(speed: np.ndarray, box: np.ndarray, kind: str) -> float:
    """0.05..1: whether a box, in 0..1 of the frame, is `moving` or `still`: by the faster half of it."""
    h, w = speed.shape
    x0, y0, x1, y1 = (np.asarray(box) * [w, h, w, h]).astype(int)
    part = speed[max(y0, 0) : max(y1, y0 + 1), max(x0, 0) : max(x1, x0 + 1)]
    fast = float(np.percentile(part, 70)) if part.size else 0.0
    moving = fast**2 / (fast**2 + HALF_AT**2)
    return float(np.clip(moving if kind == "moving" else 1 - moving, 0.05, 1))
