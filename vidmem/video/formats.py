"""Files that other people's tools read: SA-V, YouTube-VOS, MOTChallenge, cut-outs for video editors."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

from vidmem.errors import OutputError
from vidmem.render import PALETTE, Look
from vidmem.types import Frame, FrameResult
from vidmem.video.ledger import Ledger, check_apart
from vidmem.video.rle import rle_encode
from vidmem.video.sink import PART, BoxSink, FolderSink, LineSink, OverlaySink, PngSink, RleSink, Sink, writing


class ObjectPngSink(FolderSink):
    """SA-V's: a folder for each object, `003/00012.png` by object and frame index, values 0 and 1; masks may overlap."""

    def write(self, frame: Frame, result: FrameResult) -> None:
        from PIL import Image

        for obj_id, mask in zip(result.obj_ids, result.masks):
            image = Image.fromarray(mask.astype(np.uint8))
            colors = PALETTE.copy()
            colors[1] = self.look.colors.get(int(obj_id), colors[1])
            image.putpalette(colors.tobytes())
            self.save(image, f"{obj_id:03d}/{result.frame_idx:05d}.png")


class TrackSink(Sink):
    """YouTube-VOS / YouTube-VIS results: a JSON list with one track an object, its `segmentations` one COCO RLE or null a frame.

    The format has tracks outside and frames inside, so encoded masks are kept until `close`, some hundred bytes each.
    """

    def __init__(self, path: Path, look: Look = Look()):
        self.path, self.look, self._frames = Path(path), look, 0
        self._tracks: dict[int, dict[int, tuple]] = {}
        with writing(self.path):
            self.path.write_text("[]", encoding="utf-8")

    def write(self, frame: Frame, result: FrameResult) -> None:
        for obj_id, mask, (x0, y0, x1, y1), score in zip(
            result.obj_ids.tolist(), result.masks, result.boxes.tolist(), result.scores.tolist()
        ):
            track = self._tracks.setdefault(obj_id, {})
            if x1 > x0:
                track[self._frames] = (rle_encode(mask), [x0, y0, x1 - x0, y1 - y0], int(mask.sum()), score)
        self._frames += 1

    def close(self) -> None:
        tracks = []
        for obj_id, seen in sorted(self._tracks.items()):
            columns = [[seen[t][part] if t in seen else None for t in range(self._frames)] for part in range(3)]
            scores = [one[3] for one in seen.values()]
            tracks.append({"video_id": 1, "category_id": 1, "obj_id": obj_id, "score": round(float(np.mean(scores)), 4) if scores else 0.0,
                           "segmentations": columns[0], "bboxes": columns[1], "areas": columns[2], **self.look.about(obj_id)})  # fmt: skip
        part = self.path.with_name(PART)
        with writing(self.path):
            part.write_text(json.dumps(tracks), encoding="utf-8")
            part.replace(self.path)


class MotSink(LineSink):
    """MOTChallenge text: `frame,id,left,top,width,height,confidence,1,1`, frames and pixels from 1; a line for each box that is seen."""

    def __init__(self, path: Path, look: Look = Look()):
        super().__init__(path, look)
        self._frames = 0

    def lines(self, result: FrameResult) -> list[str]:
        self._frames += 1  # places in the file, whatever the frames' indices: the format knows no gap at the start
        return [
            f"{self._frames},{obj_id},{x0 + 1:g},{y0 + 1:g},{x1 - x0:g},{y1 - y0:g},{score:.4f},1,1"
            for obj_id, (x0, y0, x1, y1), score in zip(result.obj_ids, result.boxes, result.scores)
            if x1 > x0
        ]


def cut_out(frame: Frame, result: FrameResult) -> np.ndarray:
    """(H, W, 4) uint8 RGBA: the frame where any object is, transparent elsewhere, with a soft edge of about a pixel."""
    import cv2

    seen = np.logical_or.reduce(result.masks, axis=0).astype(np.uint8) * np.uint8(255)
    return np.dstack([frame.image, cv2.GaussianBlur(seen, (3, 3), 0)])


class CutoutSink(OverlaySink):
    """The objects on a transparent ground: VP9 with alpha in WebM, which browsers and editors take."""

    container, codec, pixels = "webm", "libvpx-vp9", "yuva420p"
    options = {"deadline": "realtime", "cpu-used": "8", "crf": "24", "b": "0", "threads": "1", "auto-alt-ref": "0"}
    muxing: dict[str, str] = {}
    clock = 1000  # WebM's

    def __init__(self, path: Path, frame_rate: Fraction | None = None, look: Look = Look()):
        super().__init__(path, frame_rate, look)

    def picture(self, frame: Frame, result: FrameResult) -> np.ndarray:
        return cut_out(frame, result)


class CutoutPngSink(FolderSink):
    """The same as RGBA images, `00000.png` by frame index."""

    def write(self, frame: Frame, result: FrameResult) -> None:
        from PIL import Image

        self.save(Image.fromarray(cut_out(frame, result)), f"{result.frame_idx:05d}.png")


SINKS: dict[str, tuple[str, type[Sink]]] = {
    "overlay": ("overlay.mp4", OverlaySink),
    "png": ("masks", PngSink),
    "rle": ("masks.jsonl", RleSink),
    "csv": ("boxes.csv", BoxSink),
    "sav": ("objects", ObjectPngSink),
    "vos": ("tracks.json", TrackSink),
    "mot": ("mot.txt", MotSink),
    "webm": ("cutout.webm", CutoutSink),
    "rgba": ("cutout", CutoutPngSink),
}
"""Name -> the file or folder that it writes, and how."""


def open_sinks(
    names: list[str],
    folder: Path,
    frame_rate: Fraction | None = None,
    ledger: Ledger | None = None,
    source: Path | None = None,
    look: Look = Look(),
    sound: Path | None = None,
) -> list[Sink]:
    """Sinks by name, in `folder`, which is made.

    look: how objects are drawn, and what they are called. sound: a video file whose sound goes into the overlay.

    ledger: of this folder; with it, results of an earlier run make way for new ones of the same kind, and nothing else does. source: what
    is read, which must not be written over. Raises `OutputError` for an unknown name, for a file that is in the way, or for a folder that
    cannot be written; nothing stays open then.
    """
    unknown = [name for name in names if name not in SINKS]
    if unknown:
        raise OutputError(f"cannot save {unknown[0]!r}; choose from: {', '.join(SINKS)}")
    folder = Path(folder)
    sinks: list[Sink] = []
    targets = [SINKS[name][0] for name in names]
    if source is not None:
        check_apart(source, folder, targets)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if sound is not None and not Path(sound).is_file():  # a folder of images
        sound = None
    if ledger is not None:
        ledger.claim(*targets)
    begin: Callable[[Path], None] = ledger.add if ledger is not None else lambda path: None
    try:
        for name in names:
            target, kind = SINKS[name]
            if issubclass(kind, FolderSink):
                sinks.append(kind(folder / target, begin, look))
                continue
            begin(folder / target)
            if kind is OverlaySink:
                sinks.append(kind(folder / target, frame_rate, look, sound))
            elif issubclass(kind, OverlaySink):
                sinks.append(kind(folder / target, frame_rate, look))
            elif issubclass(kind, (LineSink, TrackSink)):
                sinks.append(kind(folder / target, look))
    except OutputError:
        for sink in sinks:
            sink.close()
        raise
    return sinks
