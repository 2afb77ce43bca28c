#!/usr/bin/env python3
"""Pack labelled video and stills into one small folder that can be carried to another machine and trained on there.

    python scripts/pack_training.py --data FOLDER ... --outlined CLIPS --out runs/packed --most 60
    python scripts/train_nano.py --data runs/packed --device cuda --half --processes 1 --workers 12 ...

Videos become H.264, stills JPEGs, masks one-bit or grey PNGs, in the layout that `vidmem/training/data.py` reads. The stills'
size is chosen so that everything together stays under `--most` MiB; names, groups, ids and ignored pixels stay what they are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SIZES = (480, 416, 352, 320, 288, 256, 224, 192)  # pixels of a still's longer side, tried from the first
SAMPLE = 80  # stills whose sizes are taken for all
VIDEO_SIDE, CRF = 448, 28


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument(
        "--outlined", type=Path, help="folder of the clips that vidmem/training/labels has outlines for"
    )
    parser.add_argument("--cache", type=Path, default=ROOT / "runs/cache")
    parser.add_argument("--out", type=Path, default=ROOT / "runs/packed")
    parser.add_argument("--most", type=float, default=60, help="MiB of everything together")
    args = parser.parse_args(argv)

    from vidmem.training.data import find_reels, outlined_reels

    if args.out.exists() and any(args.out.iterdir()):
        parser.error(f"{args.out} is not empty; name a new folder")
    reels = [reel for folder in args.data for reel in find_reels(folder, args.cache)]
    reels += outlined_reels(args.outlined, ROOT / "vidmem/training/labels", args.cache) if args.outlined else []
    stills = [reel for reel in reels if reel.length == 1]
    for reel in reels:
        if reel.length > 1:
            (pack_video if reel.group == "video" else pack_frames)(reel, args.out / "videos" / reel.name.split("/")[-1])
    left = args.most * 2**20 - weight(args.out)
    side = next((s for s in SIZES if estimate(stills, s) < 0.97 * left), None)
    if side is None:
        parser.error(
            f"{len(stills)} stills do not fit into the {left / 2**20:.1f} MiB that the videos leave; raise --most"
        )
    for reel in stills:
        group, _, stem = reel.name.rpartition("/")
        write(args.out / group / "images" / f"{stem}.jpg", jpeg(reel, 0, side))
        write(args.out / group / "masks" / f"{stem}.png", png(reel, 0, side))
    total = weight(args.out) / 2**20
    print(f"{len(reels)} reels, stills at {side} pixels, {total:.1f} MiB in {args.out}")
    if total > args.most:
        parser.error(f"that is more than --most {args.most}; the estimate from {SAMPLE} stills was too low")


def weight(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def estimate(stills: list, side: int) -> float:
    some = stills[:: max(1, len(stills) // SAMPLE)]
    return len(stills) * sum(len(jpeg(r, 0, side)) + len(png(r, 0, side)) for r in some) / max(1, len(some))


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def shrunk(array, side: int, how: int):
    import cv2

    scale = side / max(array.shape[:2])
    size = tuple(max(2, round(n * scale / 2) * 2) for n in array.shape[1::-1])  # even, as H.264 wants it
    return array if scale >= 1 else cv2.resize(array, size, interpolation=how)


def jpeg(reel, k: int, side: int) -> bytes:
    import cv2

    image = shrunk(reel.image(k), side, cv2.INTER_AREA)
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 78])[1].tobytes()


def png(reel, k: int, side: int) -> bytes:
    import io

    import cv2
    from PIL import Image

    labels = shrunk(reel.labels(k), side, cv2.INTER_NEAREST)
    picture = Image.fromarray(labels)
    if labels.max() <= 1:
        picture = picture.point(lambda v: 255 * v).convert("1")
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def pack_video(reel, folder: Path) -> None:
    """One that is continuous, as H.264."""
    import av
    import cv2

    folder.mkdir(parents=True)
    with av.open(str(folder / "video.mp4"), "w") as container:
        first = shrunk(reel.image(0), VIDEO_SIDE, cv2.INTER_AREA)
        stream = container.add_stream("libx264", rate=25, options={"crf": str(CRF), "preset": "slow"})
        stream.height, stream.width = (side // 2 * 2 for side in first.shape[:2])
        stream.pix_fmt = "yuv420p"
        for k in range(reel.length):
            image = shrunk(reel.image(k), VIDEO_SIDE, cv2.INTER_AREA)[: stream.height, : stream.width]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            write(folder / "masks" / f"{k:05d}.png", png(reel, k, VIDEO_SIDE))
        container.mux(stream.encode())


def pack_frames(reel, folder: Path) -> None:
    """One whose frames lie far apart, as pictures."""
    for k in range(reel.length):
        write(folder / "frames" / f"{k:05d}.jpg", jpeg(reel, k, VIDEO_SIDE))
        write(folder / "masks" / f"{k:05d}.png", png(reel, k, VIDEO_SIDE))


if __name__ == "__main__":
    main()
