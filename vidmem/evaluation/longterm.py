"""Long videos with exact ground truth, composed from short sequences: what memories are measured on.

An object is cut out of a sequence with masks and lives over other sequences' frames: it moves, turns and changes size, is
hidden for 5, 30 or 120 frames, leaves and returns elsewhere at another size, meets an identical or a similar object, the
scene cuts to another, and the light drifts. Everything follows from the seed; frames are made one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vidmem.errors import SourceError
from vidmem.evaluation.davis import find_sequences, load_labels

HEIGHT, WIDTH = 256, 448
HIDDEN = (5, 30, 120)  # frames of an occlusion
SLIDE = 8  # frames in which something comes or goes
EVENTS = ("hide", "leave", "distractor", "cut")


class Moment(NamedTuple):
    """One composed frame."""

    image: np.ndarray
    """(256, 448, 3) uint8 RGB."""
    truth: np.ndarray
    """(256, 448) bool: what is visible of the object."""
    distractor: np.ndarray
    """(256, 448) bool: what is visible of the look-alike."""
    cut: bool


@dataclass(frozen=True)
class Story:
    """One video. length: frames; subject: number of a sequence, modulo how many there are."""

    seed: int
    length: int
    subject: int

    @property
    def name(self) -> str:
        return f"story-{self.seed:02d}"


def stories(count: int = 12, first_seed: int = 0) -> list[Story]:
    """The set: lengths from 600 to 1,500 frames, subjects in turn."""
    return [Story(seed, 600 + 150 * (seed * 5 % 7), seed) for seed in range(first_seed, first_seed + count)]


class Cutout(NamedTuple):
    """An object on its own: crops of equal size."""

    pixels: list[np.ndarray]  # (h, w, 3) float32
    alpha: list[np.ndarray]  # (h, w) float32, 0..1


@lru_cache(maxsize=4)
def _cutout(root: Path, number: int) -> Cutout:
    import cv2

    sequences = find_sequences(root)
    sequence = sequences[number % len(sequences)]
    pixels, alphas = [], []
    for frame, mask in zip(sequence.frames[:80:2], sequence.masks[:80:2]):
        alpha = (load_labels(mask) == 1).astype(np.uint8)
        if alpha.sum() < 400:
            continue
        rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
        window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        image = _picture(frame)[window]
        scale = 110 / max(image.shape[:2])  # pixels of the longer side, before the story's own scale
        size = max(2, round(image.shape[1] * scale)), max(2, round(image.shape[0] * scale))
        pixels.append(cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32))
        alphas.append(cv2.resize(alpha[window].astype(np.float32), size, interpolation=cv2.INTER_AREA))
    return Cutout(pixels, alphas)


@lru_cache(maxsize=6)
def _scene(root: Path, number: int) -> list[np.ndarray]:
    """A sequence's frames as background; its own object stays in it, as part of the scene."""
    import cv2

    sequences = find_sequences(root)
    images = (_picture(path) for path in sequences[number % len(sequences)].frames[:60])
    return [cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for image in images]


def _picture(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB. Raises `SourceError` for a file that is none."""
    import cv2

    image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise SourceError(f"{path} is not a readable image; fetch the data set again")
    return image


def _alike(cutout: Cutout, random: np.random.Generator) -> Cutout:
    """Another of its kind: mirrored, with a colour of its own."""
    mix = 0.7 * np.eye(3) + 0.3 * np.roll(np.eye(3), int(random.integers(1, 3)), 0)
    shade = random.uniform(0.7, 1.2)
    recoloured = [
        np.clip(p[:, ::-1] @ mix.astype(np.float32) * shade, 0, 255).astype(np.float32) for p in cutout.pixels
    ]
    return Cutout(recoloured, [np.ascontiguousarray(alpha[:, ::-1]) for alpha in cutout.alpha])


class Plan(NamedTuple):
    """What happens when: (first frame, last frame, event)."""

    events: list[tuple[int, int, str]]

    def at(self, t: int) -> tuple[str, int, int]:
        for first, last, event in self.events:
            if first <= t < last:
                return event, t - first, last - t - 1
        return "", 0, 0


def _plan(random: np.random.Generator, length: int) -> Plan:
    events, t = [], int(random.integers(30, 60))
    turn = list(random.permutation(EVENTS))
    while t < length - 60:
        event = turn.pop()
        turn = turn or list(random.permutation(EVENTS))
        span = {"hide": int(random.choice(HIDDEN)) + 2 * SLIDE, "leave": int(random.integers(40, 140)) + 2 * SLIDE,
                "distractor": int(random.integers(80, 160)), "cut": 1}[event]  # fmt: skip
        events.append((t, min(t + span, length - 20), str(event)))
        t += span + int(random.integers(25, 70))
    return Plan(events)


def compose(story: Story, root: str | Path) -> Iterator[Moment]:
    """Make the frames of a story. root: a folder of sequences with masks (see `find_sequences`)."""
    root = Path(root)
    count = len(find_sequences(root))
    random = np.random.default_rng(story.seed)
    plan = _plan(random, story.length)
    subject = _cutout(root, story.subject)
    similar = _alike(subject, random)
    scenes = [int(k) for k in random.permutation(count) if k != story.subject % count]
    scene, place, size, light = 0, random.uniform(0.3, 0.7, 2), random.uniform(0.8, 1.2), random.uniform(0, 6.28)
    wobble, rate = random.uniform(0, 6.28, 4), random.uniform(0.015, 0.04, 4)
    twin, clock, panel = 0, 0.0, 0
    for t in range(story.length):
        event, since, left = plan.at(t)
        if since == 0 and event:
            twin = int(random.integers(0, 2))  # an identical or a similar distractor
            panel = int(random.integers(0, 60))
        cut = event == "cut"
        if cut:
            scene, place, size = scene + 1, random.uniform(0.25, 0.75, 2), random.uniform(0.7, 1.4)
        if event == "leave" and left == SLIDE:
            place, size = random.uniform(0.25, 0.75, 2), random.uniform(0.6, 1.4)
        still = event == "hide"
        clock += 0.15 if still else 1.0
        background = _scene(root, scenes[scene % len(scenes)])
        canvas = background[_to_and_fro(t, len(background))].astype(np.float32)
        truth, distractor = (np.zeros((HEIGHT, WIDTH), np.float32) for _ in range(2))
        centre = (place + 0.16 * np.sin(wobble[:2] + rate[:2] * clock)) * (WIDTH, HEIGHT)
        scale = size * (1 + 0.2 * np.sin(wobble[2] + rate[2] * clock))
        pose = _to_and_fro(int(clock * 0.5), len(subject.pixels))
        if event == "distractor":
            other = similar if twin else subject
            offset = np.array(
                [0.42 * np.cos(wobble[3] + 0.03 * since) * WIDTH, 0.3 * np.sin(wobble[3] + 0.03 * since) * HEIGHT]
            )
            away = max(0, SLIDE - min(since, left)) / SLIDE * WIDTH * np.sign(offset[0] or 1)
            _paste(
                canvas,
                other,
                _to_and_fro(int(clock * 0.5) + 9, len(other.pixels)),
                centre + offset + (away, 0),
                scale,
                distractor,
            )
        gone = 0.0
        if event == "leave":
            gone = min(1.0, min(since, left) / SLIDE)
        if gone < 1:
            side = 1 if centre[0] > WIDTH / 2 else -1
            _paste(canvas, subject, pose, centre + (side * gone * WIDTH * 0.8, 0), scale, truth)
            distractor *= 1 - truth
        if event == "hide":
            _cover(
                canvas,
                background[panel % len(background)],
                centre,
                scale * 85,
                min(1.0, min(since, left) / SLIDE),
                truth,
                distractor,
            )
        gain = 1 + 0.3 * np.sin(light + 2 * np.pi * t / 420)
        tint = 1 + 0.08 * np.sin(light + 2 * np.pi * t / 610 + np.array([0, 2, 4]))
        image = np.clip(canvas * gain * tint, 0, 255).astype(np.uint8)
        yield Moment(image, truth > 0.5, distractor > 0.5, cut)


def _to_and_fro(t: int, count: int) -> int:
    """0 .. count - 1 and back again, for ever."""
    k = t % max(1, 2 * count - 2)
    return k if k < count else 2 * count - 2 - k


def _paste(canvas, cutout: Cutout, number: int, centre, scale: float, visible) -> None:
    """Lay a cutout over the canvas; `visible` (H, W) takes its alpha."""
    import cv2

    pixels, alpha = cutout.pixels[number], cutout.alpha[number]
    h, w = alpha.shape
    matrix = np.array([[scale, 0, centre[0] - scale * w / 2], [0, scale, centre[1] - scale * h / 2]], np.float32)
    over = cv2.warpAffine(alpha, matrix, (WIDTH, HEIGHT))
    np.maximum(visible, over, out=visible)
    canvas += over[..., None] * (
        cv2.warpAffine(pixels, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE) - canvas
    )


def _cover(canvas, texture, centre, reach: float, shut: float, *hidden) -> None:
    """A panel with a texture of its own slides in from the left and covers the place; `hidden` lose what it covers."""
    right = int(centre[0] - reach + 2 * reach * shut)
    window = (
        slice(max(0, int(centre[1] - reach)), int(centre[1] + reach)),
        slice(max(0, int(centre[0] - reach)), max(0, right)),
    )
    canvas[window] = texture[::-1, ::-1][window]
    for mask in hidden:
        mask[window] = 0
