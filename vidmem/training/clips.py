"""Short training clips with exact masks, made from still frames.

Four kinds, drawn at random for each clip:

* *real*: one labelled object on several frames of its own video, far apart in time: real change of pose and light;
* *paste*: one to three cut-outs over another frame, each with its own smooth motion, so that occlusion is exact;
  some get an identical twin; some vanish for a frame;
* *region*: a region of an over-segmentation (or a labelled object) of a frame, the whole frame warped;
* *blob*: a smooth random shape, filled with another frame's texture, pasted.

Labels are polygons in `labels/*.json`, drawn by the project on the training clips. Everything follows one seed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

cv2.setNumThreads(1)


@dataclass(frozen=True)
class ClipConfig:
    size: tuple[int, int] = (160, 256)  # (H, W) of a clip, pixels
    frames: int = 3
    kinds: tuple[float, float, float, float] = (0.3, 0.4, 0.22, 0.08)  # real, paste, region, blob
    twin: float = 0.25  # chance that a pasted target has an identical distractor
    vanish: float = 0.15  # chance that a pasted target is away on one later frame
    pictured: float = 0.5  # chance that a cut-out is a picture of a whole object, where the cache has such
    labelled: float = 0.75  # chance that one that is not is a labelled object and not a region
    camouflage: float = 0.3  # chance that a pasted object takes on the mean colour of what it is pasted over


def load_labels(folder: Path) -> list[dict]:
    return [entry for path in sorted(folder.glob("*.json")) for entry in json.loads(path.read_text())]


def rasterize(polygons: list, height: int, width: int) -> np.ndarray:
    """Normalised polygons, even-odd rule -> (H, W) uint8 0/1."""
    mask = np.zeros((height, width), np.uint8)
    scale = np.array([width, height], np.float32)
    cv2.fillPoly(mask, [np.rint(np.asarray(p, np.float32) * scale).astype(np.int32) for p in polygons], 1)
    return mask


class Motion:
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
        self.elastic0, self.elastic = rng.normal(0, amplitude, (2, 5, 7)), rng.normal(0, 0.5 * amplitude * min(gap, 2), (2, 5, 7))
        self.jitter = lambda: rng.normal(0, 0.015 * side, 2) * gap * strength

    def maps(self, t: float) -> tuple[np.ndarray, np.ndarray]:
        scale, angle = np.exp(self.log_scale + self.zoom * t), self.angle + self.spin * t
        shear = self.shear + self.lean * t
        matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = matrix @ np.array([[1, shear[0]], [shear[1], 1]]) @ np.diag([-1.0 if self.flip else 1.0, 1.0])
        inverse = np.linalg.inv(matrix)
        place = self.target + self.velocity * t + (self.jitter() if t else 0)
        field = (self.elastic0 + self.elastic * t).astype(np.float32)
        dx, dy = (cv2.resize(f, (self.w, self.h), interpolation=cv2.INTER_CUBIC) for f in field)
        x = np.arange(self.w, dtype=np.float32)[None] - np.float32(place[0]) + dx
        y = np.arange(self.h, dtype=np.float32)[:, None] - np.float32(place[1]) + dy
        inverse = inverse.astype(np.float32)
        return (inverse[0, 0] * x + inverse[0, 1] * y + np.float32(self.centre[0]),
                inverse[1, 0] * x + inverse[1, 1] * y + np.float32(self.centre[1]))


class ClipGenerator:
    """`sample()` -> images (T, H, W, 3) uint8 RGB, masks (T, H, W) uint8 0/1 of one target object."""

    def __init__(self, cache: Path, labels: list[dict], config: ClipConfig = ClipConfig(), seed: int = 0):
        self.config, self.rng = config, np.random.default_rng(seed)
        self.images = np.load(cache / "frames.npy", mmap_mode="r")
        self.regions = np.load(cache / "regions.npy", mmap_mode="r")
        index = json.loads((cache / "index.json").read_text())
        row = {(e["clip"], e["frame"]): i for i, e in enumerate(index)}
        height, width = self.images.shape[1:3]
        self.objects: list[tuple[int, np.ndarray]] = []  # (row, mask)
        tracks: dict[tuple[str, str], list[int]] = {}
        self.of_row: dict[int, list[int]] = {}
        for entry in labels:
            for item in entry["objects"]:
                i = row[entry["clip"], entry["frame"]]
                mask = rasterize(item["polygons"], height, width)
                if mask.sum() < 60:
                    continue
                tracks.setdefault((entry["clip"], item["name"]), []).append(len(self.objects))
                self.of_row.setdefault(i, []).append(len(self.objects))
                self.objects.append((i, mask))
        self.tracks = [t for t in tracks.values() if len(t) > 1]
        pictures = np.load(cache / "cutouts.npz") if (cache / "cutouts.npz").exists() else {}
        self.pictures = [pictures[name] for name in pictures]

    def sample(self) -> tuple[np.ndarray, np.ndarray]:
        kinds = np.array(self.config.kinds) * [bool(self.tracks), 1, 1, 1]
        make = (self._real, self._paste, self._region, self._blob)[self.rng.choice(4, p=kinds / kinds.sum())]
        for _ in range(20):
            images, masks = make()
            if masks[0].sum() >= 0.003 * masks[0].size and masks[0].mean() < 0.75:
                return self._camera(images), masks
        return self._paste()

    # The sources of objects ------------------------------------------------------------------------------------------
    def _cutout(self) -> tuple[np.ndarray, np.ndarray]:
        """An image and a mask of one thing in it, cropped around it."""
        if self.pictures and self.rng.random() < self.config.pictured:
            picture = self.pictures[self.rng.integers(len(self.pictures))]
            return picture[..., :3], (picture[..., 3] > 127).astype(np.uint8)
        if self.objects and self.rng.random() < self.config.labelled:
            row, mask = self.objects[self.rng.integers(len(self.objects))]
        else:
            row = int(self.rng.integers(len(self.images)))
            mask = self._some_region(row)
        y, x = np.nonzero(mask)
        y0, y1, x0, x1 = max(y.min() - 3, 0), y.max() + 4, max(x.min() - 3, 0), x.max() + 4
        return np.array(self.images[row, y0:y1, x0:x1]), mask[y0:y1, x0:x1]

    def _some_region(self, row: int) -> np.ndarray:
        """A region of the over-segmentation joined with 0-2 neighbours."""
        labels = np.asarray(self.regions[row])
        for _ in range(10):
            y, x = self.rng.integers(labels.shape[0]), self.rng.integers(labels.shape[1])
            mask = (labels == labels[y, x]).astype(np.uint8)
            for _ in range(self.rng.integers(0, 3)):
                ring = cv2.dilate(mask, np.ones((3, 3), np.uint8)) > mask
                beside = labels[ring]
                if len(beside):
                    mask |= labels == beside[self.rng.integers(len(beside))]
            if 0.003 < mask.mean() < 0.4:
                break
        return mask

    def _blob_mask(self, size: int) -> np.ndarray:
        noise = cv2.resize(self.rng.normal(size=(6, 6)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
        grid = np.linspace(-1.4, 1.4, size, dtype=np.float32)
        return (noise * 0.6 + 0.9 - np.hypot(grid[None], grid[:, None]) > 0).astype(np.uint8)

    # The kinds of clip -----------------------------------------------------------------------------------------------
    def _gap(self) -> float:
        return float(self.rng.choice([0.3, 1.0, 1.0, 2.0, 3.0]))

    def _view(self, mask: np.ndarray | None, scale_range=(0.6, 1.6), gap=1.0, strength=0.5) -> Motion:
        """A camera over a cached frame, around the mask if there is one."""
        (h, w), (sh, sw) = self.config.size, self.images.shape[1:3]
        smallest = max(h / sh, w / sw)
        scale = np.exp(self.rng.uniform(np.log(max(scale_range[0], smallest)), np.log(max(scale_range[1], smallest * 1.05))))
        if mask is not None:
            y, x = np.nonzero(mask)
            extent = max(np.ptp(y) / h, np.ptp(x) / w)
            scale = min(scale, max(0.9 / max(extent, 1e-3), smallest))
            centre = np.array([x.mean(), y.mean()])
            target = np.array([w, h]) * self.rng.uniform(0.25, 0.75, 2)
        else:
            centre, target = np.array([sw, sh]) * self.rng.uniform(0.3, 0.7, 2), np.array([w, h]) / 2
        # Keep the view inside the frame at t = 0 where it fits.
        half = np.array([w, h]) / 2 / scale
        seen = np.clip(centre + (np.array([w, h]) / 2 - target) / scale, half, np.maximum(np.array([sw, sh]) - half, half))
        motion = Motion(self.rng, (h, w), seen, np.array([w, h]) / 2, scale, gap, strength)
        motion.angle *= 0.4
        return motion

    def _real(self):
        track = self.tracks[self.rng.integers(len(self.tracks))]
        picks = self.rng.choice(track, self.config.frames, replace=len(track) < self.config.frames)
        flip = self.rng.random() < 0.5
        views, images, masks = None, [], []
        zoom = self.rng.uniform(0.55, 1.3)
        for t, pick in enumerate(picks):
            row, mask = self.objects[pick]
            views = self._view(mask, (zoom * 0.9, zoom * 1.1), strength=0.3)
            views.flip = flip
            mx, my = views.maps(0)
            images.append(cv2.remap(np.asarray(self.images[row]), mx, my, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101))
            masks.append(cv2.remap(mask, mx, my, cv2.INTER_LINEAR))
        return np.stack(images), np.stack(masks)

    def _background(self, gap):
        row = int(self.rng.integers(len(self.images)))
        view, image = self._view(None, gap=gap), np.asarray(self.images[row])
        return [cv2.remap(image, *view.maps(t), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
                for t in range(self.config.frames)]

    def _sprite_motion(self, mask, gap, share=(0.12, 0.75)):
        h, w = self.config.size
        size = np.exp(self.rng.uniform(*np.log(share))) * h
        scale = np.clip(size / np.sqrt(mask.sum() * 1.3), 0.15, 2.5)
        y, x = np.nonzero(mask)
        return Motion(self.rng, (h, w), (x.mean(), y.mean()), np.array([w, h]) * self.rng.uniform(0.15, 0.85, 2), scale, gap)

    def _paste(self, cutouts=None):
        gap, frames = self._gap(), self.config.frames
        canvas = self._background(gap)
        cutouts = cutouts or [self._cutout() for _ in range(self.rng.integers(1, 4))]
        target = int(self.rng.integers(len(cutouts)))
        if self.rng.random() < self.config.twin:
            cutouts.append(cutouts[target])
        away = int(self.rng.integers(1, frames)) if self.rng.random() < self.config.vanish else -1
        motions = [self._sprite_motion(mask, gap) for _, mask in cutouts]
        order = self.rng.permutation(len(cutouts))
        masks = np.zeros((frames, *self.config.size), np.uint8)
        gains = self.rng.uniform(0.8, 1.2, (len(cutouts), 3))
        offsets = np.zeros((len(cutouts), 3))
        for i, (source, mask) in enumerate(cutouts):
            if self.rng.random() < self.config.camouflage:
                own, around = source[mask > 0].mean(0) * gains[i], canvas[0].mean((0, 1))
                offsets[i] = (around - own) * self.rng.uniform(0.5, 1.0)
        for t in range(frames):
            image = canvas[t].astype(np.float32)
            for i in order:
                if i == target and t == away:
                    continue
                source, mask = cutouts[i]
                mx, my = motions[i].maps(t)
                alpha = cv2.remap(mask.astype(np.float32), mx, my, cv2.INTER_LINEAR)
                alpha = cv2.GaussianBlur(alpha, (3, 3), 0)[..., None]
                pasted = cv2.remap(source, mx, my, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) * gains[i] + offsets[i]
                image = image * (1 - alpha) + pasted * alpha
                masks[t] = masks[t] * (alpha[..., 0] < 0.5) if i != target else alpha[..., 0] >= 0.5
            canvas[t] = np.clip(image, 0, 255).astype(np.uint8)
        return np.stack(canvas), masks

    def _region(self):
        row = int(self.rng.integers(len(self.images)))
        mask = self.objects[self.rng.choice(self.of_row[row])][1] if row in self.of_row else self._some_region(row)
        view = self._view(mask, gap=self._gap(), strength=1.0)
        maps = [view.maps(t) for t in range(self.config.frames)]
        image = np.asarray(self.images[row])
        return (np.stack([cv2.remap(image, *m, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101) for m in maps]),
                np.stack([cv2.remap(mask, *m, cv2.INTER_LINEAR) for m in maps]))

    def _blob(self):
        mask = self._blob_mask(120)
        row = int(self.rng.integers(len(self.images)))
        y, x = self.rng.integers(0, self.images.shape[1] - 120), self.rng.integers(0, self.images.shape[2] - 120)
        return self._paste([(np.array(self.images[row, y : y + 120, x : x + 120]), mask)])

    # What the camera adds --------------------------------------------------------------------------------------------
    def _camera(self, images: np.ndarray) -> np.ndarray:
        """Exposure and colour drift, blur and noise."""
        rng, out = self.rng, images.astype(np.float32)
        gain, drift = rng.uniform(0.75, 1.25, 3) * rng.uniform(0.8, 1.2), rng.normal(0, 0.04, 3)
        bias = rng.normal(0, 10)
        for t in range(len(out)):
            out[t] = (out[t] - 128) * rng.uniform(0.95, 1.05) * gain * (1 + drift * t) + 128 + bias
            if rng.random() < 0.15:
                kernel = np.zeros((7, 7), np.float32)
                angle, reach = rng.uniform(0, np.pi), rng.integers(1, 4)
                cv2.line(kernel, (3 - round(np.cos(angle) * reach), 3 - round(np.sin(angle) * reach)),
                         (3 + round(np.cos(angle) * reach), 3 + round(np.sin(angle) * reach)), 1)
                out[t] = cv2.filter2D(out[t], -1, kernel / kernel.sum())
        if rng.random() < 0.4:
            out += rng.normal(0, rng.uniform(1, 8), out.shape).astype(np.float32)
        if rng.random() < 0.1:
            out[:] = out.mean(-1, keepdims=True)
        return np.clip(out, 0, 255).astype(np.uint8)
