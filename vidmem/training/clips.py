"""Short training clips with exact masks, made on the fly from `data.Reel`s.

Three kinds, drawn at random for each clip:

* *real*: frames of a labelled video, near or far apart, in either direction, through one smooth crop;
* *still*: a labelled still, warped as a whole along a smooth path;
* *paste*: objects cut out of stills and videos, each with its own motion, over another video or still.

Into each of them come other objects (a look-alike from the same group among them), and, on request, one absence of the target:
it is covered, leaves the frame, is not there any more, or the scene cuts to another, at once or bit by bit; afterwards it is back
elsewhere, at another size, or stays away. Everything follows one seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from vidmem.training.absences import Absence, Panel
from vidmem.training.data import IGNORE, OTHER, TARGET, Reel
from vidmem.training.motions import MotionPath, filmed, warped
from vidmem.training.sprites import Sprite

cv2.setNumThreads(1)


@dataclass(frozen=True)
class ClipConfig:
    size: tuple[int, int] = (160, 256)  # (H, W) of a clip, pixels
    frames: int = 4
    kinds: tuple[float, float, float] = (0.45, 0.25, 0.3)  # real, still, paste
    absence: float = 0.45  # chance that the target is away for some frames
    alike: float = 0.5  # chance that a pasted target has look-alikes, up to three
    extra: float = (
        0.4  # chance that something else is pasted into a real clip or a still, its own twin at every second time
    )
    camouflage: float = 0.2  # chance that a pasted object takes on the mean colour of what it is pasted over
    gradual: float = (
        0.6  # chance that the target goes, or comes back, over some frames: the newest memory is then a sliver of it
    )


class Clip(NamedTuple):
    images: np.ndarray
    """(T, H, W, 3) uint8 RGB."""
    labels: np.ndarray
    """(T, H, W) uint8: 0 background, 1 the target, 2 another object, 255 ignore. The target is on frame 0."""


class ClipGenerator:
    """`sample()` -> `Clip`. Reels are drawn by group, larger groups more often, but less than in proportion."""

    def __init__(self, reels: Sequence[Reel], config: ClipConfig = ClipConfig(), seed: int = 0):
        self.config, self.rng = config, np.random.default_rng(seed)
        self.videos = [r for r in reels if r.length > 1]
        groups: dict[str, list[Reel]] = {}
        for reel in reels:
            if reel.length == 1:
                groups.setdefault(reel.group, []).append(reel)
        self.groups = groups
        self.names = list(groups)
        weights = np.array([len(groups[name]) ** 0.5 for name in self.names])
        self.weights = weights / max(weights.sum(), 1e-9)

    def sample(self) -> Clip:
        has = np.array([bool(self.videos), bool(self.names), True])
        kinds = np.array(self.config.kinds) * has
        make = (self._real, self._still, self._paste)[self.rng.choice(3, p=kinds / kinds.sum())]
        for _ in range(20):
            images, labels = make()
            share = (labels[0] == TARGET).mean()
            if 0.003 <= share < 0.75:
                break
        return Clip(filmed(self.rng, images), labels)

    # What is shown ---------------------------------------------------------------------------------------------------
    def _some_still(self, group: str | None = None) -> Reel:
        reels = self.groups[group or self.names[self.rng.choice(len(self.names), p=self.weights)]]
        return reels[self.rng.integers(len(reels))]

    def _some_reel(self) -> Reel:
        if self.videos and (not self.names or self.rng.random() < 0.4):
            return self.videos[self.rng.integers(len(self.videos))]
        return self._some_still()

    def _times(self, reel: Reel, stride: int) -> list[int]:
        """Indices into a reel, forwards or backwards; short reels go to and fro."""
        frames, last = self.config.frames, reel.length - 1
        start = int(self.rng.integers(0, max(1, reel.length - stride * (frames - 1))))
        steps = [start + stride * t for t in range(frames)]
        steps = [abs((s + last) % (2 * last) - last) if last else 0 for s in steps]
        return steps[::-1] if self.rng.random() < 0.5 else steps

    def _sprite(self, group: str | None = None) -> Sprite:
        """An object of a still, or of some neighbouring frames of a video."""
        rng = self.rng
        for _ in range(20):
            reel = self._some_still(group) if group else self._some_reel()
            times = (
                self._times(reel, int(rng.integers(1, 5)))
                if reel.length > 1 and reel.group == "video"
                else [int(rng.integers(reel.length))]
            )
            ids = reel.objects(times[0])
            if not ids:
                continue
            obj_id = ids[rng.integers(len(ids))]
            if cut := Sprite.cut(((reel.image(k), reel.labels(k)) for k in times), obj_id, reel):
                return cut
        return (
            self._sprite()
            if group
            else Sprite([np.full((40, 40, 3), 90, np.uint8)], [np.ones((40, 40), np.uint8)], reel)
        )

    def _view(self, size, mask: np.ndarray | None, scale_range=(0.6, 1.6), gap=1.0, strength=0.5) -> MotionPath:
        """A camera over a picture of `size` (H, W), around the mask if there is one."""
        (h, w), (sh, sw), rng = self.config.size, size, self.rng
        smallest = max(h / sh, w / sw)
        scale = np.exp(rng.uniform(np.log(max(scale_range[0], smallest)), np.log(max(scale_range[1], smallest * 1.05))))
        if mask is not None and mask.any():
            y, x = np.nonzero(mask)
            extent = max(np.ptp(y) / h, np.ptp(x) / w)
            scale = min(scale, max(0.9 / max(extent, 1e-3), smallest))
            centre = np.array([x.mean(), y.mean()])
            target = np.array([w, h]) * rng.uniform(0.25, 0.75, 2)
        else:
            centre, target = np.array([sw, sh]) * rng.uniform(0.3, 0.7, 2), np.array([w, h]) / 2
        # Keep the view inside the picture at t = 0 where it fits.
        half = np.array([w, h]) / 2 / scale
        seen = np.clip(
            centre + (np.array([w, h]) / 2 - target) / scale, half, np.maximum(np.array([sw, sh]) - half, half)
        )
        motion = MotionPath(rng, (h, w), seen, np.array([w, h]) / 2, scale, gap, strength)
        motion.angle *= 0.4
        return motion

    def _away_from(self, size, mask: np.ndarray) -> MotionPath | None:
        """A camera over the part of the picture where the object is not; None where there is no such part."""
        (h, w), (sh, sw), rng = self.config.size, size, self.rng
        y, x = np.nonzero(mask)
        for _ in range(8):
            scale = max(h / sh, w / sw) * rng.uniform(1.2, 2.2)
            half = np.array([w, h]) / 2 / scale
            seen = rng.uniform(half, np.maximum(np.array([sw, sh]) - half, half + 1e-3))
            apart = np.abs(np.array([x.mean(), y.mean()]) - seen)
            reach = half + np.array([np.ptp(x), np.ptp(y)]) / 2 + 4
            if (apart > reach).any():
                motion = MotionPath(rng, (h, w), seen, np.array([w, h]) / 2, scale, 0.3, 0.3)
                motion.angle *= 0.2
                return motion
        return None

    # The kinds of clip -----------------------------------------------------------------------------------------------
    def _absence(self) -> Absence:
        config = self.config
        return Absence.drawn(self.rng, config.frames, config.absence, config.gradual)

    def _panel(self) -> Panel:
        h, w = self.config.size
        reel = self._some_reel()
        texture = cv2.resize(reel.image(int(self.rng.integers(reel.length))), (w, h))[::-1, ::-1]
        return Panel(texture, self.rng.uniform(2, 14, 4), bool(self.rng.random() < 0.5))

    def _real(self):
        reel, rng = self.videos[self.rng.integers(len(self.videos))], self.rng
        times = self._times(reel, int(rng.choice([1, 2, 3, 4, 5, 6, 8, 10, 12])))
        if not (ids := reel.objects(times[0])):
            return self._nothing()
        chosen = rng.permutation(ids)[:2]
        frames = [(reel.image(k), reel.labels(k)) for k in times]
        return self._shown(
            [(image, _renamed(labels, chosen)) for image, labels in frames], reel, (0.55, 1.3), strength=0.25
        )

    def _still(self):
        reel, rng = self._some_still(), self.rng
        if not (ids := reel.objects(0)):
            return self._nothing()
        frame = reel.image(0), _renamed(reel.labels(0), rng.permutation(ids)[:2])
        return self._shown([frame] * self.config.frames, reel, (0.6, 1.6), strength=0.8)

    def _nothing(self):
        """A clip without a target; `sample` draws again."""
        return np.zeros((1, *self.config.size, 3), np.uint8), np.zeros((1, *self.config.size), np.uint8)

    def _shown(self, frames, reel: Reel, scales, strength: float):
        """Frames through one camera, with what is added to them and what takes the target away."""
        rng, absence, size = self.rng, self._absence(), frames[0][0].shape[:2]
        away = absence.away
        how = rng.choice(["cover", "leave", "leave", "cut"])
        gap = self._gap()
        flip = rng.random() < 0.5
        view = self._view(size, frames[0][1] == TARGET, scales, gap, strength)
        view.flip = flip
        extra = self._extra(frames, reel) if rng.random() < self.config.extra else None
        extra_motion = None if extra is None else self._sprite_motion(extra, gap)
        cut = self._background() if away.any() and how == "cut" else None
        panel = self._panel() if away.any() else None
        images, labels, aside, since = [], [], None, 0
        for t, (image, ids) in enumerate(frames):
            gone = absence.gone[t]
            if absence.back(t):
                view, aside, since = self._view(size, ids == TARGET, scales, gap, strength), None, t
                view.flip = flip if how == "cover" else rng.random() < 0.5
            if gone and how == "leave" and (ids == TARGET).any() and aside is None:
                aside = self._away_from(size, ids == TARGET)
                if aside is not None:
                    aside.flip = view.flip
            if away[t] and cut is not None:
                picture, seen = cut[t], np.zeros(self.config.size, np.uint8)
            else:
                maps = view.maps(t - since)
                if gone and how == "leave" and aside is not None:
                    x, y = ((1 - gone) * here + gone * there for here, there in zip(maps, aside.maps(t - since)))
                    maps = x.astype(np.float32), y.astype(np.float32)
                picture, seen = warped(image, ids, maps)
            if extra is not None and extra_motion is not None:
                extra.draw(picture, seen, t, extra_motion, OTHER if not (seen == OTHER).any() else 0)
            if panel is not None and (away[t] or (gone and how == "cover")):
                panel.lay(picture, seen, gone, absence.side)
            images.append(picture)
            labels.append(seen)
        return np.stack(images), np.stack(labels)

    def _extra(self, frames, reel: Reel) -> Sprite:
        """What is pasted beside a target: the target once more, another of its group, or anything."""
        twin = Sprite.cut(frames, TARGET, reel) if self.rng.random() < 0.5 else None
        return twin or self._sprite(reel.group if reel.length == 1 and self.rng.random() < 0.5 else None)

    def _alike(self, target: Sprite, absent: bool) -> list[Sprite]:
        """Up to three look-alikes of a pasted target. The very same picture comes mostly where the target stays, since then its way
        tells it from them; after an absence nothing would."""
        rng = self.rng
        if rng.random() < 0.5:
            same = target.alike(rng)
        else:
            same = self._sprite(target.reel.group) if target.reel.length == 1 else target.alike(rng)
        if rng.random() < (0.1 if absent else 0.6):
            same = target
        return [same] * int(rng.integers(1, 4))

    def _paste(self):
        rng, absence, gap, frames = self.rng, self._absence(), self._gap(), self.config.frames
        away = absence.away
        canvas = self._background()
        after = self._background() if away.any() and rng.random() < 0.3 else None  # the scene has cut meanwhile
        target = self._sprite()
        sprites = [(target, TARGET)]
        alike = self._alike(target, bool(away.any())) if rng.random() < self.config.alike else []
        if alike:
            gap = min(gap, 1.0)
        sprites += [(same, 0 if i else OTHER) for i, same in enumerate(alike)]
        for _ in range(rng.integers(0, 3)):
            sprites.append((self._sprite(), OTHER if len(sprites) == 1 else 0))
        motions = [self._sprite_motion(sprite, gap) for sprite, _ in sprites]
        tints = [sprite.tint(rng, canvas[0], self.config.camouflage) for sprite, _ in sprites]
        for i, same in enumerate(alike, 1):
            if same is target:  # neither size nor colour may tell them apart
                tints[i] = tints[0]
                motions[i].log_scale, motions[i].flip = motions[0].log_scale + rng.normal(0, 0.08), motions[0].flip
        order = rng.permutation(len(sprites))
        panel = self._panel() if away.any() and rng.random() < 0.35 else None  # without one it leaves
        labels = np.zeros((frames, *self.config.size), np.uint8)
        for t in range(frames):
            if after is not None and away[: t + 1].any():
                canvas[t] = after[t]
            if absence.back(t):
                motions[0].elsewhere(rng)
            for i in order:
                sprite, label = sprites[i]
                leaves = label == TARGET and panel is None
                if not (leaves and away[t]):
                    shift = absence.side * absence.gone[t] * self.config.size[::-1] if leaves else (0, 0)
                    sprite.draw(canvas[t], labels[t], t, motions[i], label, tints[i], shift)
            if panel is not None and absence.gone[t]:
                panel.lay(canvas[t], labels[t], absence.gone[t], absence.side)
        return np.stack(canvas), labels

    def _gap(self) -> float:
        return float(self.rng.choice([0.3, 1.0, 1.0, 2.0, 3.0])) * 3 / max(3, self.config.frames)

    def _background(self) -> list[np.ndarray]:
        reel = self._some_reel()
        times = (
            self._times(reel, 1)
            if reel.group == "video"
            else [int(self.rng.integers(reel.length))] * self.config.frames
        )
        first = reel.image(times[0])
        view = self._view(first.shape[:2], None, gap=self._gap())
        pictures = []
        for t, k in enumerate(times):
            x, y = view.maps(t)
            pictures.append(cv2.remap(reel.image(k), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101))
        return pictures

    def _sprite_motion(self, sprite: Sprite, gap: float, share=(0.1, 0.75)) -> MotionPath:
        h, w = self.config.size
        mask = sprite.alphas[0]
        scale = np.clip(np.exp(self.rng.uniform(*np.log(share))) * h / np.sqrt(mask.sum() * 1.3), 0.1, 2.5)
        y, x = np.nonzero(mask)
        return MotionPath(
            self.rng, (h, w), (x.mean(), y.mean()), np.array([w, h]) * self.rng.uniform(0.15, 0.85, 2), scale, gap
        )


def _renamed(labels: np.ndarray, chosen: Sequence[int]) -> np.ndarray:
    """The chosen ids become 1, 2; others background; ignore stays."""
    table = np.zeros(256, np.uint8)
    table[IGNORE] = IGNORE
    for new, old in enumerate(chosen, TARGET):
        table[old] = new
    return table[labels]
