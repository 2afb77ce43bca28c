"""Whole files of every kind that vidmem reads, and ways to damage them; for `fuzz_files.py`."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path


def whole_files(folder: Path, kinds: Iterable[str]) -> list[Path]:
    """A few of each kind; the folder's name is the kind. The repository is on the path."""
    import numpy as np
    from PIL import Image

    for kind in kinds:
        (folder / kind).mkdir(parents=True)
    moving = [
        np.kron(np.random.default_rng(t // 4).integers(0, 256, (6, 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
        for t in range(12)
    ]
    for name, codec in (
        ("a.mp4", "libx264"),
        ("b.avi", "mjpeg"),
        ("c.mkv", "ffv1"),
        ("d.webm", "libvpx"),
        ("e.ts", "mpeg2video"),
        ("f.gif", "gif"),
        ("g.mov", "libx264"),
    ):
        write_video(folder / "video" / name, moving, codec)
    labels = (np.arange(48 * 64).reshape(48, 64) // 700).astype(np.uint8)
    for form in ("png", "jpg", "bmp", "tiff", "webp", "gif", "ppm"):
        Image.fromarray(labels).save(folder / f"mask/m.{form}")
        if form != "gif":
            Image.fromarray(moving[0]).save(folder / f"image/i.{form}")
    Image.fromarray(labels.astype(np.uint16)).save(folder / "mask/deep.png")
    items = [
        {"obj_id": 1, "box": [1, 2, 30, 40]},
        {"obj_id": 2, "frame": 3, "points": [[5, 6], [7, 8.5]], "labels": [1, 0]},
    ]
    (folder / "prompts/p.json").write_text(json.dumps(items))
    (folder / "table/t.json").write_text(json.dumps({"a.mp4": items, "deep/b": items[:1]}))
    (folder / "table/t.csv").write_text(
        "video,obj_id,frame,x0,y0,x1,y1,x,y,label\na.mp4,1,,1,2,30,40,,,\ndeep/b,2,3,,,,,5,6,1\n"
    )
    (folder / "ledger/.vidmem-files").write_text("boxes.csv\nmasks/00000.png\nmasks/00001.png\noverlay.mp4\n")
    from vidmem.video import rle_encode

    (folder / "rle/r.json").write_text(json.dumps(rle_encode(labels % 2 == 1)))
    from vidmem.engines.manifest import Manifest

    Manifest("sam2.1-tiny", 64, "fp32", 18, None, 7, 16, {"encode.onnx": "0" * 64}, {"torch": "2"}).write(
        folder / "manifest"
    )
    if "project" in kinds:
        write_project(folder / "project/p.zip", folder / "image/i.jpg", rle_encode(labels > 2))
    return sorted(path for path in folder.rglob("*") if path.is_file())


def write_video(path: Path, images: list, codec: str) -> None:
    import av

    with av.open(str(path), "w", options={"movflags": "+faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=Fraction(10))
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8", "ffv1": "yuv444p"}.get(codec, "yuv420p")
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def write_project(path: Path, frame: Path, rle: dict) -> None:
    import zipfile

    seen = {"rle": rle, "score": 0.9, "object_logit": 4.0, "status": "tracking"}
    said = {"version": 1, "video": {"name": "v.mp4", "fps": 10.0}, "things": {"1": {"name": "one", "color": "", "visible": True}}, "fresh_until": -1,
            "edits": [{"frame_idx": 0, "obj_id": 1, "prompt": {"points": [[5, 6]], "labels": [1], "box": None, "mask": None}}],
            "results": {"0": {"1": seen}, "1": {"1": seen}}}  # fmt: skip
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("project.json", json.dumps(said), zipfile.ZIP_DEFLATED)
        for i in range(2):
            archive.write(frame, f"frames/{i:05d}.jpg")


def damaged(data: bytes, other: bytes, chance: random.Random, text: bool) -> bytes:
    data = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        way = chance.choice(
            ("flip", "flip", "cut", "grow", "grow", "double", "graft", "zero")
            + (("number", "nest", "letters") if text else ())
        )
        at = chance.randrange(len(data)) if data else 0
        if way == "flip":
            for _ in range(chance.choice((1, 3, 20, 200))):
                if data:
                    data[chance.randrange(len(data))] = chance.randrange(256)
        elif way == "cut":
            del data[at:]
        elif (
            way == "grow"
        ):  # lengths, sizes and counts are numbers of two, four or eight bytes, and most stand at the beginning
            at = chance.choice((at, at % 64))
            size = chance.choice((2, 4, 8))
            data[at : at + size] = chance.choice(
                (b"\xff" * size, b"\x7f" + b"\xff" * (size - 1), bytes(size - 1) + b"\x80", b"\0" * size)
            )
        elif way == "double":
            data[at:at] = data[at : at + chance.randrange(1, 2000)] * chance.choice((1, 2, 50))
        elif way == "graft":
            data[at : at + chance.randrange(500)] = other[: chance.randrange(1, 500)]
        elif way == "zero":
            data[at : at + chance.randrange(1, 300)] = bytes(chance.randrange(1, 300))
        elif way == "number":
            grown = chance.choice(
                (
                    "1e999",
                    "-1",
                    "9" * 400,
                    "9" * 5000,
                    "NaN",
                    "Infinity",
                    "null",
                    "true",
                    '"x"',
                    "[]",
                    "{}",
                    "65536",
                    "1.5",
                    "-0.0",
                    "1" + "0" * 18,
                )
            )
            places = list(re.finditer(rb"-?\d+\.?\d*", bytes(data)))
            if places:
                place = chance.choice(places)
                data[place.start() : place.end()] = grown.encode()
        elif way == "nest":
            data[at:at] = chance.choice((b"[", b'{"a":', b'"', b"((")) * chance.choice((1, 100, 50_000))
        else:
            data[at:at] = chance.choice(
                (b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"../", b"\r", b'"', b"\\ud800", b"=", "💥".encode())
            ) * chance.choice((1, 3))
    return bytes(data[: 8 << 20])
