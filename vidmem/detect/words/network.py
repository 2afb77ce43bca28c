"""The two graphs of `words` (see `vidmem.training.words_net`) on OpenVINO or ONNX Runtime; no torch."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from vidmem.detect.words.proposals import boxes_of_maps
from vidmem.detect.words.sight import crop, input_size, region_mean, shrink
from vidmem.engines.single import open_graph
from vidmem.errors import ModelError

FILES = ("look.onnx", "name.onnx", "imagenet.txt")


class Sighting(NamedTuple):
    """A frame as the network sees it, without any word."""

    small: np.ndarray  # (h, w, 3) uint8: the network's input
    features: np.ndarray  # (C, h / 32, w / 32) float32
    objects: np.ndarray  # (N,) float32, 0..1: how sure it is that the box holds one whole object; the best first
    boxes: np.ndarray  # (N, 4) float32 in source pixels


class Names(NamedTuple):
    """Of M regions or crops."""

    classes: np.ndarray  # (M, 1000) float32 logits
    person: np.ndarray  # (M,) float32 logits
    features: np.ndarray  # (M, C) float32


class WordNetwork:
    """folder: holds `FILES`. threads: None: all cores. Raises `ModelError` for files that are missing or cannot be read, and
    `RuntimeMissing` where neither openvino nor onnxruntime is installed."""

    def __init__(self, folder: Path, threads: int | None = None):
        missing = [name for name in FILES if not (Path(folder) / name).is_file()]
        if missing:
            raise ModelError(f"{Path(folder) / missing[0]} is missing; expected {', '.join(FILES)}; reinstall vidmem")
        self._look, self._name = (open_graph(Path(folder) / name, threads) for name in FILES[:2])

    def look(self, image: np.ndarray) -> Sighting:
        """(H, W, 3) uint8 RGB -> what there is."""
        small = shrink(image, input_size(*image.shape[:2]))
        features, middle, distances = self._look(small[None])
        objects, boxes = boxes_of_maps(middle[0, 0], distances[0])
        scale = np.array([image.shape[1] / small.shape[1], image.shape[0] / small.shape[0]] * 2, np.float32)
        return Sighting(small, features[0], objects, boxes * scale)

    def regions(self, sighting: Sighting, size: tuple[int, int]) -> Names:
        """What each box of a frame of (H, W) is, from the features at hand."""
        height, width = size
        return self.name(
            [region_mean(sighting.features, box / [width, height, width, height]) for box in sighting.boxes]
        )

    def closer(self, image: np.ndarray, boxes: np.ndarray) -> Names:
        """What each box is, from a look at it alone: the slow way, and the sure one."""
        parts = [crop(image, box) for box in boxes]
        if not parts:
            return self.name([])
        maps, _, _ = self._look(np.stack([part for part, _ in parts]))
        return self.name([region_mean(one, inside) for one, (_, inside) in zip(maps, parts)])

    def name(self, features: list[np.ndarray]) -> Names:
        stacked = np.stack(features) if features else np.zeros((0, 1280), np.float32)
        if not len(stacked):
            return Names(np.zeros((0, 1000), np.float32), np.zeros(0, np.float32), stacked)
        classes, person = self._name(stacked)
        return Names(classes, person[:, 0], stacked)
