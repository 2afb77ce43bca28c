"""Where on a frame each word of a text is seen: what a person is shown who asks why."""

from __future__ import annotations

import numpy as np

from vidmem.detect.words import colour, everyday
from vidmem.detect.words.evidence import Calibration, noun_odds
from vidmem.detect.words.grammar import COLOURS
from vidmem.detect.words.motion import HALF_AT
from vidmem.detect.words.network import Sighting, WordNetwork
from vidmem.detect.words.place import place_shares
from vidmem.detect.words.vocabulary import Noun

FINEST = 64  # cells of a map's longer side


def noun_heat(network: WordNetwork, sighting: Sighting, noun: Noun, calibration: Calibration) -> np.ndarray:
    """(h, w) 0..1: the noun in each cell of the frame's features, with nothing said about whole objects. The classifier is linear behind
    its mean over cells, so it reads a single cell as well (class activation maps, Zhou et al. 2016, arXiv 1512.04150)."""
    depth, h, w = sighting.features.shape
    odds = noun_odds(network.name(list(sighting.features.reshape(depth, -1).T)), noun)
    return calibration.score(calibration.said(odds, odds), np.full(len(odds), 0.5)).reshape(h, w)


def word_heat(word: str, role: str, hsv: np.ndarray, speed: np.ndarray | None) -> np.ndarray | None:
    """A colour's, place's or motion's map (h, w) 0..1; None for words that have no place. hsv: of `colour.balanced`. speed: of
    `motion.own_motion`."""
    last = next((w for w in reversed(word.split()) if w in {**COLOURS, **everyday.PLACES, **everyday.MOTIONS}), "")
    refused = word.split()[0] in ("not", "no", "without", "non")
    heat = None
    if role == "colour" and last in COLOURS:
        heat = colour.membership(hsv, COLOURS[last])
    elif role == "place" and last in everyday.PLACES:
        h, w = hsv.shape[0] // 8, hsv.shape[1] // 8
        y, x = (v.ravel() + 0.5 for v in np.mgrid[:h, :w])
        points = np.stack([x, y, x, y], 1)
        heat = place_shares(points, everyday.PLACES[last], np.zeros(len(points), bool), (h, w)).reshape(h, w)
    elif role == "motion" and last in everyday.MOTIONS and speed is not None:
        moving = speed**2 / (speed**2 + HALF_AT**2)
        heat = moving if everyday.MOTIONS[last] == "moving" else 1 - moving
    return None if heat is None else small(1 - heat if refused else heat)


def small(heat: np.ndarray) -> np.ndarray:
    """At most `FINEST` cells a side: it is looked at, not measured."""
    import cv2

    scale = FINEST / max(heat.shape)
    if scale >= 1:
        return heat
    size = max(1, round(heat.shape[1] * scale)), max(1, round(heat.shape[0] * scale))
    return cv2.resize(heat.astype(np.float32), size, interpolation=cv2.INTER_AREA)
