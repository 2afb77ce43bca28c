"""Region similarity J and boundary accuracy F as DAVIS 2017 defines them, and the sequences to measure them on.

J is the intersection over union of two masks. F is the harmonic mean of precision and recall of their boundaries, where
a boundary pixel counts as found if the other boundary passes within 0.8 % of the frame's diagonal (Perazzi et al., CVPR
2016, section 5.1). The first frame is the prompt and the last frame is left out by DAVIS' own convention. Unlike DAVIS'
code, which dilates whole frames with a disk, F is computed inside the box around both masks and with a distance
transform; `tests/test_evaluation.py` holds that to the plain definition.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np

from vidmem.errors import PromptError, SourceError, UserError
from vidmem.prompts import MASK_FORMATS
from vidmem.types import Prompt
from vidmem.video.source import natural_key

IGNORE = 255  # label of pixels that belong to no object and to no background; never an object id
BOUNDARY_TOLERANCE = 0.008  # share of the frame's diagonal
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
PROMPT_KINDS = ("mask", "box", "click")


@dataclass(frozen=True)
class ObjectScore:
    """One object's means over the scored frames."""

    j: float
    f: float

    @property
    def j_and_f(self) -> float:
        return (self.j + self.f) / 2


@dataclass(frozen=True, eq=False)
class SequenceScore:
    """One sequence: the mean over objects in each frame, then over frames."""

    j: float
    """Region similarity, 0..1."""
    f: float
    """Boundary accuracy, 0..1."""
    per_object: dict[int, ObjectScore]
    """By object id, in ascending order."""
    frame_j: np.ndarray
    """(T - 2, N) float64: row i is frame i + 1, columns in the order of `per_object`."""
    frame_f: np.ndarray
    """(T - 2, N) float64, as `frame_j`."""

    @property
    def j_and_f(self) -> float:
        return (self.j + self.f) / 2


def jaccard(pred: np.ndarray, gt: np.ndarray) -> float:
    """Intersection over union of two (H, W) bool masks, 0..1; 1 if both are empty."""
    pred, gt = _mask_pair(pred, gt)
    union = np.count_nonzero(pred | gt)
    return np.count_nonzero(pred & gt) / union if union else 1.0


def boundary_f(pred: np.ndarray, gt: np.ndarray) -> float:
    """F of two (H, W) bool masks' boundaries, 0..1; 1 if neither has a boundary, 0 if only one has."""
    pred, gt = _mask_pair(pred, gt)
    radius = math.ceil(BOUNDARY_TOLERANCE * np.hypot(*pred.shape))
    window = _joint_window(pred, gt)
    pred_edge, gt_edge = _boundary(pred[window]), _boundary(gt[window])
    n_pred, n_gt = np.count_nonzero(pred_edge), np.count_nonzero(gt_edge)
    if not n_pred or not n_gt:
        return float(n_pred == n_gt)
    precision = np.count_nonzero(pred_edge & _within(gt_edge, radius)) / n_pred
    recall = np.count_nonzero(gt_edge & _within(pred_edge, radius)) / n_gt
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def score_sequence(pred_label_maps: Iterable[np.ndarray], gt_label_maps: Iterable[np.ndarray]) -> SequenceScore:
    """J and F of predicted against true label maps, (H, W) integers each, one per frame and in the same order.

    Both may be generators: one pair is held at a time. The objects are the ids of the first true label map; ids that
    appear later are not scored. Raises `UserError` for lengths or sizes that differ, for fewer than three frames, and
    when the first true label map is empty.
    """
    ids: list[int] = []
    j_rows, f_rows = [], []
    held = None  # the pair that is scored once a later one shows that it is not the last
    count = 0
    for count, pair in enumerate(zip_longest(pred_label_maps, gt_label_maps), start=1):
        pred, gt = pair
        if pred is None or gt is None:
            short = "predictions" if pred is None else "ground truth"
            raise UserError(f"{short}: only {count - 1} frames; give both for every frame, empty if need be")
        if pred.shape != gt.shape:
            raise UserError(f"frame {count - 1}: prediction is {pred.shape}, ground truth {gt.shape}; resize it first")
        if count == 1:
            ids = object_ids(gt)
            if not ids:
                raise UserError("the first ground truth label map holds no object, so there is nothing to score")
            continue
        if held is not None:
            masks = [(held[0] == obj_id, held[1] == obj_id) for obj_id in ids]
            j_rows.append([jaccard(*both) for both in masks])
            f_rows.append([boundary_f(*both) for both in masks])
        held = pair
    if not j_rows:
        raise UserError(f"a sequence of {count} frames cannot be scored: the first and the last are left out")
    frame_j, frame_f = np.array(j_rows, np.float64), np.array(f_rows, np.float64)
    return SequenceScore(
        j=float(frame_j.mean(1).mean()),
        f=float(frame_f.mean(1).mean()),
        per_object={
            obj_id: ObjectScore(float(j), float(f)) for obj_id, j, f in zip(ids, frame_j.mean(0), frame_f.mean(0))
        },
        frame_j=frame_j,
        frame_f=frame_f,
    )


@dataclass(frozen=True)
class Sequence:
    """One folder of frames with a mask for each."""

    name: str
    """The folder's name."""
    frames: tuple[Path, ...]
    """Images in natural order."""
    masks: tuple[Path, ...]
    """Label maps, one per frame: `masks[i]` belongs to `frames[i]` and has its stem."""
    referring: bool = False
    """It lies as Ref-Endovis and Ref-YouTube-VOS do, so texts are scored as there (`vidmem.evaluation.referring`)."""

    def __len__(self) -> int:
        return len(self.frames)


def find_sequences(root: str | Path) -> list[Sequence]:
    """The sequences under `root`, in natural order: `root/*/frames` with `root/*/masks`, or `root` itself; or, as Ref-Endovis and
    Ref-YouTube-VOS have them, `root/JPEGImages/*` with `root/Annotations/*`.

    Folders without masks are skipped. Raises `SourceError` if none is left, or if a frame of one lacks its mask.
    """
    root = Path(root)
    if not root.is_dir():
        why = "is no folder" if root.exists() else "does not exist"
        raise SourceError(f"{root} {why}; expected NAME/frames/*.jpg and NAME/masks/*.png in it")
    pictures = root / "JPEGImages"
    if pictures.is_dir():
        pairs = [(folder, root / "Annotations" / folder.name) for folder in sorted(pictures.glob("*"), key=natural_key)]
        found = [_sequence(*pair, referring=True) for pair in pairs if _images(pair[1])]
        if not found:
            raise SourceError(
                f"{root}: no sequence with masks; expected JPEGImages/NAME/*.jpg and Annotations/NAME/*.png in it"
            )
        return found
    folders = [root] if (root / "frames").is_dir() else sorted(root.glob("*"), key=natural_key)
    pairs = [(folder / "frames", folder / "masks") for folder in folders]
    found = [_sequence(*pair) for pair in pairs if pair[0].is_dir() and _images(pair[1])]
    if not found:
        raise SourceError(f"{root}: no sequence with masks; expected NAME/frames/*.jpg and NAME/masks/*.png in it")
    return found


def load_labels(path: str | Path) -> np.ndarray:
    """(H, W) uint8 or uint16 label map: 0 background, else object id, 255 ignore.

    Raises `SourceError` if the file cannot be read or is a colour image.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=MASK_FORMATS) as image:
            mode, labels = image.mode, np.array(image)
    except Exception as error:  # a damaged image gives whatever its decoder trips over
        raise SourceError(f"{path}: not a readable label map ({error}); expected an indexed or grey PNG") from error
    if labels.ndim != 2:
        raise SourceError(f"{path}: a {mode} image; expected an indexed or grey PNG whose values are object ids")
    if labels.dtype in (np.uint8, np.uint16):
        return labels
    return labels.astype(np.uint8 if mode == "1" else np.uint16)


def object_ids(labels: np.ndarray) -> list[int]:
    """The ids in a label map, ascending, without background and ignore."""
    return [int(i) for i in np.unique(labels) if i not in (0, IGNORE)]


def first_prompts(labels: np.ndarray, kind: str) -> dict[int, Prompt]:
    """One prompt per object of an (H, W) label map; `kind` is mask, box or click.

    A box is tight, its x1 and y1 exclusive. A click is the middle of the pixel that lies deepest inside the mask (what
    is outside of the frame counts as outside of the mask; the first in reading order among equals). The pixel in column
    x covers [x, x + 1), so its middle is x + 0.5. Raises `PromptError` for another kind.
    """
    if kind not in PROMPT_KINDS:
        raise PromptError(f"prompt kind {kind!r}; expected one of {', '.join(PROMPT_KINDS)}")
    prompts = {}
    for obj_id in object_ids(labels):
        mask = labels == obj_id
        if kind == "mask":
            prompts[obj_id] = Prompt(mask=mask)
        elif kind == "box":
            prompts[obj_id] = Prompt(box=_tight_box(mask))
        else:
            prompts[obj_id] = Prompt(points=_deepest_point(mask)[None], labels=np.ones(1, np.uint8))
    return prompts


def _mask_pair(pred: np.ndarray, gt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pred, gt = np.asarray(pred, bool), np.asarray(gt, bool)
    if pred.shape != gt.shape or pred.ndim != 2:
        raise UserError(f"prediction is {pred.shape}, ground truth {gt.shape}; expected two masks of one (H, W)")
    return pred, gt


def _joint_window(pred: np.ndarray, gt: np.ndarray) -> tuple[slice, slice]:
    """The box around both masks and one pixel more: every boundary pixel and the neighbour that makes it one."""
    rows, columns = np.flatnonzero(pred.any(1) | gt.any(1)), np.flatnonzero(pred.any(0) | gt.any(0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(max(rows[0] - 1, 0), rows[-1] + 2), slice(max(columns[0] - 1, 0), columns[-1] + 2)


def _boundary(mask: np.ndarray) -> np.ndarray:
    """Pixels that differ from their right, lower or lower right neighbour; the frame's border makes none."""
    edge = np.zeros_like(mask)
    edge[:, :-1] = mask[:, :-1] != mask[:, 1:]
    edge[:-1] |= mask[:-1] != mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return edge


def _within(edge: np.ndarray, radius: int) -> np.ndarray:
    """Pixels no further than `radius` pixels from a pixel of `edge`, which has at least one."""
    import cv2

    distance = cv2.distanceTransform((~edge).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Squared distances are whole numbers: half of one is room for float32 and changes no answer.
    return distance * distance < radius * radius + 0.5


def _tight_box(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def _deepest_point(mask: np.ndarray) -> np.ndarray:
    import cv2

    padded = np.pad(mask, 1).view(np.uint8)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return np.array([x + 0.5, y + 0.5], np.float32)


def _images(folder: Path) -> list[Path]:
    return sorted((p for p in folder.glob("*") if p.suffix.lower() in IMAGE_SUFFIXES), key=natural_key)


def _sequence(pictures: Path, labels: Path, referring: bool = False) -> Sequence:
    frames, masks = _images(pictures), {p.stem: p for p in _images(labels)}
    missing = [frame.name for frame in frames if frame.stem not in masks]
    if missing or not frames:
        what = f"no mask for {missing[0]} ({len(missing)} of {len(frames)})" if missing else "holds no images"
        raise SourceError(f"{pictures}: {what}; expected {labels.name}/STEM.png for every {pictures.name}/STEM.jpg")
    name = (pictures if referring else pictures.parent).resolve().name
    return Sequence(name, tuple(frames), tuple(masks[frame.stem] for frame in frames), referring)
