"""Turn the unlabelled training clips into arrays that the clip generator can read without decoding.

Writes to a folder: `frames.npy` (N, H, W, 3) uint8 RGB, `regions.npy` (N, H, W) uint16 over-segmentation labels (0 is never
used), `index.json` with the clip name and frame number of each row.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

HEIGHT, WIDTH = 300, 532  # pixels; a little above the training size, so that crops can zoom
PER_CLIP = 36  # frames kept of each clip, evenly spaced


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


def build_cache(clips: Path, out: Path, labels: list[dict], seed: int = 0) -> None:
    """Write the cache from every video in `clips`; frames named in `labels` are always kept."""
    import cv2
    from skimage.segmentation import felzenszwalb

    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    frames, regions, index = [], [], []
    for path in sorted(p for p in clips.iterdir() if p.suffix in {".mp4", ".mkv"}):
        wanted = {entry["frame"] for entry in labels if entry["clip"] == path.name}
        for number, image in _read(path, wanted, max(1, _count(path) // PER_CLIP)).items():
            small = cv2.resize(image, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)
            scale = float(np.exp(rng.uniform(np.log(150), np.log(900))))
            parts = felzenszwalb(small, scale=scale, sigma=0.8, min_size=150).astype(np.uint16) + 1
            regions.append(cv2.resize(parts, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST))
            frames.append(image)
            index.append({"clip": path.name, "frame": number})
    np.save(out / "frames.npy", np.stack(frames))
    np.save(out / "regions.npy", np.stack(regions))
    (out / "index.json").write_text(json.dumps(index))
