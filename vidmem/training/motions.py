"""How things move through a training clip: a smooth path of warps, and what the camera adds."""

from __future__ import annotations

import cv2
import numpy as np

Maps = tuple[np.ndarray, np.ndarray]
"""x and y of the source for each pixel of the clip, (H, W) float32 each, as `cv2.remap` takes them."""


class MotionPath:
    """A smooth random path of an affine map with an elastic part; `maps(t)` gives the inverse map for `cv2.remap`."""

    def __init__(self, rng, out_size, centre, target, scale, gap, strength=1.0):
        """`centre`: source point (x, y) that lands on `target` at t = 0; `scale`: output pixels per source pixel."""
        self.h, self.w = out_size
        side = min(out_size)
        self.centre, self.target = np.asarray(centre, float), np.asarray(target, float)
        self.velocity = rng.normal(0, 0.07 * side, 2) * gap * strength
        self.log_scale, self.zoom = np.log(scale), rng.normal(0, 0.07) * gap * strength
        self.angle, self.spin = rng.normal(0, 0.15), rng.normal(0, 0.09) * gap * strength
        self.shear, self.lean = rng.normal(0, 0.08, 2), rng.normal(0, 0.03, 2) * gap * strength
        self.flip = rng.random() < 0.5
        amplitude = 0.02 * side * strength * rng.choice([1.0, 1.0, 2.0, 3.0])  # now and then legs and arms bend
        self.elastic0, self.elastic = (
            rng.normal(0, amplitude, (2, 5, 7)),
            rng.normal(0, 0.5 * amplitude * min(gap, 2), (2, 5, 7)),
        )
        self.jitter = lambda: rng.normal(0, 0.015 * side, 2) * gap * strength

    def elsewhere(self, rng) -> None:
        """Jump to another place and size."""
        self.target = np.array([self.w, self.h]) * rng.uniform(0.15, 0.85, 2)
        self.log_scale += rng.normal(0, 0.35)
        self.velocity = self.velocity * 0

    def maps(self, t: float, shift: np.ndarray | tuple[float, float] = (0.0, 0.0)) -> Maps:
        """shift: pixels by which the picture is moved besides."""
        scale, angle = np.exp(np.clip(self.log_scale + self.zoom * t, -3, 3)), self.angle + self.spin * t
        shear = self.shear + self.lean * t
        matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = matrix @ np.array([[1, shear[0]], [shear[1], 1]]) @ np.diag([-1.0 if self.flip else 1.0, 1.0])
        inverse = np.linalg.inv(matrix)
        place = self.target + self.velocity * t + (self.jitter() if t else 0) + np.asarray(shift)
        field = (self.elastic0 + self.elastic * min(t, 4)).astype(np.float32)
        dx, dy = (cv2.resize(f, (self.w, self.h), interpolation=cv2.INTER_CUBIC) for f in field)
        x = np.arange(self.w, dtype=np.float32)[None] - np.float32(place[0]) + dx
        y = np.arange(self.h, dtype=np.float32)[:, None] - np.float32(place[1]) + dy
        inverse = inverse.astype(np.float32)
        return (inverse[0, 0] * x + inverse[0, 1] * y + np.float32(self.centre[0]),
                inverse[1, 0] * x + inverse[1, 1] * y + np.float32(self.centre[1]))  # fmt: skip


def warped(image: np.ndarray, labels: np.ndarray, maps: Maps) -> tuple[np.ndarray, np.ndarray]:
    """A picture and its labels through one map."""
    x, y = maps
    border = cv2.BORDER_REFLECT_101
    picture = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=border)
    return picture, cv2.remap(labels, x, y, cv2.INTER_NEAREST, borderMode=border)


def filmed(rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
    """(T, H, W, 3) uint8 with what a camera adds: exposure and colour drift, blur and noise."""
    out = images.astype(np.float32)
    gain, drift = rng.uniform(0.75, 1.25, 3) * rng.uniform(0.8, 1.2), rng.normal(0, 0.03, 3)
    bias = rng.normal(0, 10)
    for t in range(len(out)):
        out[t] = (out[t] - 128) * (rng.uniform(0.95, 1.05) * gain * (1 + drift * t)).astype(np.float32) + np.float32(
            128 + bias
        )
        if rng.random() < 0.12:
            kernel = np.zeros((7, 7), np.float32)
            angle, reach = rng.uniform(0, np.pi), rng.integers(1, 4)
            cv2.line(kernel, (3 - round(np.cos(angle) * reach), 3 - round(np.sin(angle) * reach)),
                     (3 + round(np.cos(angle) * reach), 3 + round(np.sin(angle) * reach)), 1)  # fmt: skip
            out[t] = cv2.filter2D(out[t], -1, kernel / kernel.sum())
    if rng.random() < 0.3:
        out += rng.standard_normal(out.shape, np.float32) * np.float32(rng.uniform(1, 8))
    if rng.random() < 0.07:
        out[:] = out.mean(-1, keepdims=True)
    return np.clip(out, 0, 255).astype(np.uint8)
