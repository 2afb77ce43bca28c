"""Turn the unlabelled training clips, and pictures, into arrays that the clip generator can read without decoding.

Writes to a folder: `frames.npy` (N, H, W, 3) uint8 RGB, `regions.npy` (N, H, W) uint16 over-segmentation labels (0 is never
used), `index.json` with the clip name and frame number of each row, `cutouts.npz` with one (h, w, 4) uint8 RGBA picture of
one whole object in each array.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

HEIGHT, WIDTH = 300, 532  # pixels; a little above the training size, so that crops can zoom
PER_CLIP = 36  # frames kept of each clip, evenly spaced
CUTOUT = 260  # pixels of a cut-out's longer side, at most
DRAWN = ("cartoon", "symbols", "clothes", "abstract", "screenshot")  # folders and files of drawings, which look like no video


def _read(path: Path, wanted: set[int] | None, stride: int) -> dict[int, np.ndarray]:
    import av
    import cv2

    kept = {}
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for number, frame in enumerate(container.decode(video=0)):
            if number % stride == 0 or (wanted and number in wanted):
                image = frame.to_ndarray(format="rgb24")
                kept[number] = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return kept


def _count(path: Path) -> int:
    import av

    with av.open(str(path)) as container:
        return sum(packet.size > 0 for packet in container.demux(video=0))


def _pictures(folders: list[Path]) -> Iterator[tuple[Path, np.ndarray]]:
    """Photographs below the folders: RGBA where most of the border is transparent, else RGB."""
    import cv2

    for path in sorted(p for folder in folders for p in folder.rglob("*") if p.suffix in {".png", ".jpg", ".jpeg"}):
        if path.is_symlink() or any(word in str(path) for word in DRAWN):
            continue
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if image is None or image.dtype != np.uint8 or image.ndim != 3:
            continue
        opaque = (image[..., 3] > 127).mean() if image.shape[2] == 4 else 1.0
        if 0.1 < opaque < 0.97:
            yield path, cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA)
        elif opaque >= 0.97 and min(image.shape[:2]) >= HEIGHT and path.suffix != ".png":
            yield path, cv2.cvtColor(image[..., :3], cv2.COLOR_BGR2RGB)


def _fill(image: np.ndarray) -> np.ndarray:
    """Scaled and cropped in the middle to the cache's size."""
    import cv2

    scale = max(HEIGHT / image.shape[0], WIDTH / image.shape[1])
    size = (max(WIDTH, round(image.shape[1] * scale)), max(HEIGHT, round(image.shape[0] * scale)))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    y, x = (image.shape[0] - HEIGHT) // 2, (image.shape[1] - WIDTH) // 2
    return image[y : y + HEIGHT, x : x + WIDTH]


def build_cache(clips: Path, out: Path, labels: list[dict], pictures: list[Path] = (), seed: int = 0) -> None:
    """Write the cache from every video in `clips` and every photograph below the folders in `pictures`.

    Frames named in `labels` are always kept. Photographs with a transparent border are cut-outs, others are frames.
    """
    import cv2
    from skimage.segmentation import felzenszwalb

    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    frames, regions, index, cutouts = [], [], [], []

    def add(image: np.ndarray, name: str, number: int) -> None:
        small = cv2.resize(image, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)
        scale = float(np.exp(rng.uniform(np.log(150), np.log(900))))
        parts = felzenszwalb(small, scale=scale, sigma=0.8, min_size=150).astype(np.uint16) + 1
        regions.append(cv2.resize(parts, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST))
        frames.append(image)
        index.append({"clip": name, "frame": number})

    for path in sorted(p for p in clips.iterdir() if p.suffix in {".mp4", ".mkv"}):
        wanted = {entry["frame"] for entry in labels if entry["clip"] == path.name}
        for number, image in _read(path, wanted, max(1, _count(path) // PER_CLIP)).items():
            add(image, path.name, number)
    for path, image in _pictures(list(pictures)):
        if image.shape[2] == 3:
            add(_fill(image), str(path), 0)
        else:
            scale = min(1.0, CUTOUT / max(image.shape[:2]))
            cutouts.append(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    np.savez(out / "cutouts.npz", *cutouts)
    np.save(out / "frames.npy", np.stack(frames))
    np.save(out / "regions.npy", np.stack(regions))
    (out / "index.json").write_text(json.dumps(index))
