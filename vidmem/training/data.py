"""Labelled video and stills for training, read as they lie in common folder layouts.

A folder is searched for what it holds, at any depth:

* `NAME/video.mp4` (or .mkv, .mov, .avi, .webm) with `NAME/masks/*.png`: the k-th frame belongs to the k-th mask;
* `NAME/frames/*` with `NAME/masks/*`: a video as pictures, paired by stem; frames without a mask are left out;
* `NAME/images/*` with `NAME/masks/*`: stills, each on its own;
* `JPEGImages/[480p/]NAME/*` with `Annotations/[480p/]NAME/*`: DAVIS and YouTube-VOS.

Masks are PNGs whose values are 0 background, 1..254 objects, 255 ignore; a mask may be empty.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vidmem.errors import SourceError

IGNORE = 255
TARGET, OTHER = 1, 2  # labels of a training clip
VIDEO = {".mp4", ".mkv", ".mov", ".avi", ".webm"}
PICTURE = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
LONGEST = 640  # pixels of a picture's longer side; more is shrunk when it is read
FEWEST = 60  # pixels of an object; fewer are nothing to learn from


@dataclass(frozen=True)
class Reel:
    """One video, or one still (length 1), with its masks."""

    name: str
    group: str
    """What it was found in: stills of one group are of one kind, so that look-alikes come from the same group."""
    length: int
    image: Callable[[int], np.ndarray]
    """k -> (H, W, 3) uint8 RGB."""
    labels: Callable[[int], np.ndarray]
    """k -> (H, W) uint8."""

    def objects(self, k: int) -> list[int]:
        """Ids on the k-th frame that are large enough to learn from."""
        counts = np.bincount(self.labels(k).reshape(-1), minlength=256)
        return [i for i in range(1, IGNORE) if counts[i] >= FEWEST]


def find_reels(folder: str | Path, cache: str | Path) -> list[Reel]:
    """Everything labelled below `folder`, in order of names. Videos are decoded into `cache` once.

    Raises `SourceError` for a folder without any, and for frames and masks that do not belong together.
    """
    folder, cache = Path(folder), Path(cache)
    reels = [
        reel
        for place in sorted(p for p in [folder, *folder.rglob("*")] if p.is_dir())
        for reel in _reels_of(folder, place, cache)
    ]
    if not reels:
        raise SourceError(
            f"{folder} holds no labelled video or still; expected masks/ beside video.mp4, frames/ or images/, or JPEGImages/ with Annotations/"
        )
    return reels


def _reels_of(root: Path, place: Path, cache: Path) -> Iterator[Reel]:
    name = place.relative_to(root).as_posix()
    if (masks := place / "masks").is_dir():
        labels = _files(masks, {".png"})
        for video in sorted(p for p in place.iterdir() if p.suffix.lower() in VIDEO):
            yield _video(name, video, labels, cache)
        for kind in ("frames", "images"):
            if (place / kind).is_dir():
                pairs = _pairs(place / kind, labels)
                if kind == "frames":
                    yield _pictures(name, "video", pairs)
                else:
                    yield from (_pictures(f"{name}/{image.stem}", name, [(image, mask)]) for image, mask in pairs)
    if (place / "JPEGImages").is_dir() and (place / "Annotations").is_dir():
        for masks in sorted(p for p in (place / "Annotations").rglob("*") if p.is_dir()):
            inside = masks.relative_to(place / "Annotations")
            if (frames := place / "JPEGImages" / inside).is_dir() and (labels := _files(masks, {".png"})):
                yield _pictures(inside.as_posix(), "video", _pairs(frames, labels))


def _files(folder: Path, suffixes: set[str]) -> dict[str, Path]:
    return {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in suffixes}


def _pairs(frames: Path, labels: dict[str, Path]) -> list[tuple[Path, Path]]:
    pairs = [(path, labels[stem]) for stem, path in _files(frames, PICTURE).items() if stem in labels]
    if not pairs:
        raise SourceError(
            f"no picture in {frames} has a mask of the same name; expected pairs such as 00000.jpg and 00000.png"
        )
    return pairs


def _pictures(name: str, group: str, pairs: list[tuple[Path, Path]]) -> Reel:
    def labels(k: int) -> np.ndarray:
        return _shrunk(read_labels(pairs[k][1]), cv2.INTER_NEAREST)

    return Reel(name, group, len(pairs), lambda k: read_image(pairs[k][0]), labels)


def _shrunk(array: np.ndarray, how: int) -> np.ndarray:
    scale = LONGEST / max(array.shape[:2])
    return array if scale >= 1 else cv2.resize(array, None, fx=scale, fy=scale, interpolation=how)


def read_image(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB, at most `LONGEST` a side. Raises `SourceError` for what is no picture."""
    image = cv2.imread(str(path))
    if image is None:
        raise SourceError(f"{path} cannot be read as a picture")
    return cv2.cvtColor(_shrunk(image, cv2.INTER_AREA), cv2.COLOR_BGR2RGB)


def read_labels(path: Path) -> np.ndarray:
    """(H, W) uint8 as stored: an indexed or grey PNG. Raises `SourceError` for any other."""
    from PIL import Image

    with Image.open(path) as picture:
        if picture.mode not in {"P", "L", "1"}:
            raise SourceError(
                f"{path} is a PNG of mode {picture.mode}; expected indexed or grey, whose values are object ids"
            )
        return np.array(picture if picture.mode != "1" else picture.convert("L").point(lambda v: v > 0), np.uint8)


def _video(name: str, path: Path, labels: dict[str, Path], cache: Path) -> Reel:
    def read() -> np.ndarray:
        frames, masks = _decode(path), list(labels.values())
        if len(frames) != len(masks):
            raise SourceError(
                f"{path} has {len(frames)} frames and {path.parent / 'masks'} {len(masks)} masks; expected one for each frame"
            )
        return np.concatenate([frames, _stacked(masks, frames.shape[1:3], path)[..., None]], -1)

    return _kept(name, "video", cache / f"{name.replace('/', '__')}.npy", read)


def _kept(name: str, group: str, stored: Path, read: Callable[[], np.ndarray]) -> Reel:
    """A reel of what `read` gave once, (N, H, W, 4) uint8: RGB and labels. The file appears as a whole or not at all."""
    if not stored.exists():
        stored.parent.mkdir(parents=True, exist_ok=True)
        part = stored.with_suffix(".new.npy")
        np.save(part, read())
        part.replace(stored)
    array = np.load(stored, mmap_mode="r")
    return Reel(
        name,
        group,
        len(array),
        lambda k: np.ascontiguousarray(array[k, ..., :3]),
        lambda k: np.ascontiguousarray(array[k, ..., 3]),
    )


def _stacked(masks: list[Path], size: tuple[int, int], path: Path) -> np.ndarray:
    arrays = [read_labels(mask) for mask in masks]
    if any(
        array.shape[0] * size[1] != array.shape[1] * size[0]
        and abs(array.shape[1] / array.shape[0] - size[1] / size[0]) > 0.02
        for array in arrays
    ):
        raise SourceError(f"the masks of {path} have another shape than its frames, {size[1]}x{size[0]}")
    return np.stack(
        [
            array if array.shape == size else cv2.resize(array, size[::-1], interpolation=cv2.INTER_NEAREST)
            for array in arrays
        ]
    )


def _decode(path: Path) -> np.ndarray:
    """(N, H, W, 3) uint8 RGB, at most `LONGEST` a side."""
    import av

    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        return np.stack(
            [_shrunk(frame.to_ndarray(format="rgb24"), cv2.INTER_AREA) for frame in container.decode(video=0)]
        )


def outlined_reels(clips: Path, outlines: Path, cache: Path) -> list[Reel]:
    """Videos of which some frames carry outlines: `outlines/*.json`, a list of {clip, frame, objects: [{name, polygons}]} with
    polygons in 0..1 of the frame. Frames without outlines are left out."""
    entries: dict[str, list[dict]] = {}
    for path in sorted(outlines.glob("*.json")):
        for entry in json.loads(path.read_text()):
            entries.setdefault(entry["clip"], []).append(entry)
    return [
        _outlined(clips / clip, sorted(some, key=lambda e: e["frame"]), cache)
        for clip, some in sorted(entries.items())
        if (clips / clip).exists()
    ]


def _outlined(path: Path, entries: list[dict], cache: Path) -> Reel:
    def read() -> np.ndarray:
        import av

        wanted, kept = {entry["frame"] for entry in entries}, {}
        with av.open(str(path)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number in wanted:
                    kept[number] = _shrunk(frame.to_ndarray(format="rgb24"), cv2.INTER_AREA)
        names: dict[str, int] = {}
        rows = []
        for entry in entries:
            image = kept[entry["frame"]]
            labels = np.zeros(image.shape[:2], np.uint8)
            for item in entry["objects"]:
                inside = rasterize(item["polygons"], image.shape[0], image.shape[1]) > 0
                labels[inside] = names.setdefault(item["name"], len(names) + 1)
            rows.append(np.dstack([image, labels]))
        return np.stack(rows)

    return _kept(path.stem, "outlined", cache / f"outlined__{path.stem}.npy", read)


def rasterize(polygons: list, height: int, width: int) -> np.ndarray:
    """Normalised polygons, even-odd rule -> (H, W) uint8 0/1."""
    mask = np.zeros((height, width), np.uint8)
    scale = np.array([width, height], np.float32)
    cv2.fillPoly(mask, [np.rint(np.asarray(p, np.float32) * scale).astype(np.int32) for p in polygons], 1)
    return mask
