"""Meta's `sam2` video predictor over vidmem's network seam: change the import, keep the script.

    from vidmem.compat.sam2 import build_sam2_video_predictor      # was: from sam2.build_sam import ...

It visits frames in any order and forgets nothing, as the original does; `vidmem.Session` is the bounded, streaming form.
What it does not offer is refused with a line that says so. Frames are read when they are needed, not all at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vidmem.compat.archive import Archive
from vidmem.engines.pytorch import use_torch
from vidmem.errors import ModelError, SourceError
from vidmem.networks.base import Ask
from vidmem.networks.sam2.checkpoints import load_sam2
from vidmem.networks.sam2.eager import Sam2Network
from vidmem.types import Candidates, Chosen, Entry, Prompt, ReadPlan, Verdict
from vidmem.video import open_video

SIZES = {"t": "tiny", "s": "small", "b+": "base-plus", "l": "large"}


def build_sam2_video_predictor(
    config_file: str, ckpt_path=None, device=None, mode: str = "eval", hydra_overrides_extra=(),
    apply_postprocessing: bool = True, vos_optimized: bool = False,
) -> SAM2VideoPredictor:  # fmt: skip
    """As in `sam2.build_sam`. config_file: its last part names the model, such as `sam2.1_hiera_b+.yaml`. Of the overrides,
    `image_size`, `memory_temporal_stride_for_eval` and `add_all_frames_to_correct_as_cond` are known; any other raises
    `ModelError`, and so does `mode="train"`. `vos_optimized` changes nothing. ckpt_path None: what `vidmem models get`
    fetched. device None: CUDA where torch sees it, else the CPU. The caller's `torch.autocast` applies, as in the original."""
    use_torch("SAM 2's predictor", device or "cpu")
    import torch

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    found = re.fullmatch(r"(sam2(?:\.1)?)_hiera_(t|s|b\+|l)\.yaml", str(config_file).rsplit("/", 1)[-1])
    if found is None or mode != "eval":
        raise ModelError(
            f"config_file={config_file!r}, mode={mode!r}; expected for instance 'sam2.1_hiera_t.yaml' and 'eval'"
        )
    known: dict[str, Callable[[str], Any]] = {
        "image_size": int,
        "memory_temporal_stride_for_eval": int,
        "add_all_frames_to_correct_as_cond": lambda v: v == "true",
    }
    given: dict[str, Any] = {}
    for override in hydra_overrides_extra:
        key, _, value = override.lstrip("+").removeprefix("model.").partition("=")
        if key not in known:
            raise ModelError(f"override {override!r} is not known here; known are {', '.join(known)}")
        given[key] = known[key](value.strip().lower())
    name = f"{found[1]}-{SIZES[found[2]]}"
    model = load_sam2(name, ckpt_path, given.pop("image_size", 1024))
    return SAM2VideoPredictor(Sam2Network(name, model, device, post=apply_postprocessing), **given)


@dataclass
class Answer:
    """What one frame gave for one object: the believed one of the decoder's candidates."""

    candidates: Candidates  # one row, one mask

    @property
    def logits(self) -> np.ndarray:
        return self.candidates.mask_logits[0, 0]


@dataclass
class Object:
    bank: Archive
    prompts: dict[int, Prompt] = field(default_factory=dict)
    prompted: dict[int, Answer] = field(default_factory=dict)  # `cond_frame_outputs`
    tracked: dict[int, Answer] = field(default_factory=dict)  # `non_cond_frame_outputs`
    pending: dict[bool, dict[int, Answer]] = field(default_factory=lambda: {False: {}, True: {}})  # not memorized yet
    visited: dict[int, bool] = field(default_factory=dict)  # frame -> whether it was tracked in reverse

    def answer(self, frame_idx: int, prompted: bool) -> Answer | None:
        for answers in (self.pending[prompted], self.prompted, self.tracked):
            if frame_idx in answers:
                return answers[frame_idx]
        return None


class Frames:
    """Frames of a finite source by index, counting those that can be read.

    Forward runs are read on. Anything else is opened again, and going back fetches `CHUNK` frames at a time: a file can only
    be decoded forwards.
    """

    CHUNK = 64

    def __init__(self, path):
        self.path = Path(path)
        with open_video(self.path) as source:
            self.size, self.indices = source.size, [frame.index for frame in source]
        self.count = len(self.indices)
        self._next, self._running, self._behind = -1, iter(()), {}

    def __getitem__(self, frame_idx: int) -> np.ndarray:
        if not 0 <= frame_idx < self.count:
            raise SourceError(f"frame_idx {frame_idx} is not in {self.path}; it has frames 0 to {self.count - 1}")
        if frame_idx in self._behind:
            return self._behind[frame_idx]
        if frame_idx != self._next:
            first = max(0, frame_idx - self.CHUNK + 1) if frame_idx < self._next else frame_idx
            self._running = iter(open_video(self.path, start=self.indices[first]))
            self._behind = {i: self._read() for i in range(first, frame_idx)}
        self._next = frame_idx + 1
        return self._read()

    def _read(self) -> np.ndarray:
        frame = next(self._running, None)
        if frame is None:
            raise SourceError(f"{self.path} gave fewer frames than when it was opened; was it changed?")
        return frame.image


class SAM2VideoPredictor:
    """The public methods of `sam2.sam2_video_predictor.SAM2VideoPredictor`, with its return values: masks are float32 torch
    logits (N, 1, H, W) at the video's size, positive on the object."""

    def __init__(
        self,
        network: Sam2Network,
        memory_temporal_stride_for_eval: int = 1,
        add_all_frames_to_correct_as_cond: bool = False,
    ):
        self.network, self.image_size, self.device = network, network.size, network.device
        self.stride, self.corrections = memory_temporal_stride_for_eval, add_all_frames_to_correct_as_cond

    @classmethod
    def from_pretrained(cls, model_id: str, **kwargs) -> SAM2VideoPredictor:
        """model_id such as `facebook/sam2.1-hiera-tiny`, from what `vidmem models get` fetched."""
        found = re.fullmatch(r"facebook/(sam2(?:\.1)?)-hiera-(tiny|small|base-plus|large)", model_id)
        if found is None:
            raise ModelError(f"model_id={model_id!r}; expected for instance 'facebook/sam2.1-hiera-tiny'")
        short = {long: short for short, long in SIZES.items()}[found[2]]
        return build_sam2_video_predictor(f"{found[1]}_hiera_{short}.yaml", **kwargs)

    # State -----------------------------------------------------------------------------------------------------------
    def init_state(self, video_path, **memory_options) -> dict:
        """video_path: a folder of images, a video file, or frames: anything with `count`, `size` (H, W) and
        `[frame_idx]` -> (H, W, 3) uint8 RGB. The official memory options (`offload_video_to_cpu`,
        `offload_state_to_cpu`, `async_loading_frames`) are accepted and not needed."""
        unknown = memory_options.keys() - {"offload_video_to_cpu", "offload_state_to_cpu", "async_loading_frames"}
        if unknown:
            raise TypeError(f"init_state got {sorted(unknown)[0]!r}, which sam2 does not have")
        frames = video_path if hasattr(video_path, "count") and hasattr(video_path, "size") else Frames(video_path)
        return {
            "images": frames, "num_frames": frames.count, "video_height": frames.size[0], "video_width": frames.size[1],
            "obj_ids": [], "objects": {}, "features": (None, None),
        }  # fmt: skip

    def reset_state(self, inference_state: dict) -> None:
        """Forget every object and prompt; the video stays open."""
        inference_state["objects"].clear()
        inference_state["obj_ids"] = []

    def remove_object(self, inference_state: dict, obj_id, strict: bool = False, need_output: bool = True):
        """-> the remaining `obj_ids`, and [(frame_idx, masks), ...] of the frames on which the object was prompted."""
        if obj_id not in inference_state["objects"]:
            if strict:
                raise RuntimeError(
                    f"Cannot remove object id {obj_id}: all existing object ids are {inference_state['obj_ids']}"
                )
            return inference_state["obj_ids"], []
        frames = sorted(inference_state["objects"].pop(obj_id).prompts)
        inference_state["obj_ids"] = list(inference_state["objects"])
        if not (need_output and inference_state["obj_ids"]):
            return inference_state["obj_ids"], []
        updated = []
        for frame_idx in frames:
            prompted = any(frame_idx in o.pending[True] for o in inference_state["objects"].values())
            updated.append((frame_idx, self._masks(inference_state, frame_idx, prompted)))
        return inference_state["obj_ids"], updated

    # Prompts ---------------------------------------------------------------------------------------------------------
    def add_new_points_or_box(
        self, inference_state: dict, frame_idx: int, obj_id, points=None, labels=None, clear_old_points: bool = True,
        normalize_coords: bool = True, box=None,
    ):  # fmt: skip
        """-> frame_idx, obj_ids, masks of all objects on that frame. normalize_coords False: coordinates are 0..1."""
        if box is not None and not clear_old_points:
            raise ValueError("cannot add box without clearing old points; pass clear_old_points=True")
        if (points is None) != (labels is None):
            raise ValueError("points and labels must be provided together")
        if points is None and box is None:
            raise ValueError("at least one of points or box must be provided as input")
        size = (inference_state["video_height"], inference_state["video_width"])
        scale = 1.0 if normalize_coords else np.array([size[1], size[0]], np.float32)
        points = (
            np.zeros((0, 2), np.float32) if points is None else _host(points).astype(np.float32).reshape(-1, 2) * scale
        )
        labels = np.zeros(0, np.uint8) if labels is None else _host(labels).reshape(-1)
        if len(points) != len(labels) or not np.isfinite(points).all():
            raise ValueError(f"{len(points)} points and {len(labels)} labels; expected as many, and finite numbers")
        box = None if box is None else (_host(box).astype(np.float32).reshape(2, 2) * scale).reshape(4)
        if box is None and labels[:2].tolist() == [2, 3]:  # a box in the words of the network
            box, points, labels = points[:2].reshape(4), points[2:], labels[2:]
        if not np.isin(labels, (0, 1)).all():
            raise ValueError(f"labels are {labels.tolist()}; expected 1, 0, or 2 and 3 for a box before all others")
        item = self._object(inference_state, obj_id)
        before = None if clear_old_points else item.prompts.get(frame_idx)
        if before is not None and before.mask is None:
            if before.points is not None:
                points, labels = np.concatenate([before.points, points]), np.concatenate([before.labels, labels])
            box = before.box if box is None else box
        some = len(points) > 0
        prompt = Prompt(points if some else None, labels.astype(np.uint8) if some else None, box)
        return self._prompt(inference_state, frame_idx, item, prompt)

    add_new_points = add_new_points_or_box

    def add_new_mask(self, inference_state: dict, frame_idx: int, obj_id, mask):
        """mask (H, W) of any size, bool, or numbers that are object from 0.5 on -> as `add_new_points_or_box`."""
        mask = _host(mask)
        if mask.ndim != 2:
            raise ValueError(f"mask has shape {mask.shape}; expected (H, W)")
        mask = mask >= 0.5 if mask.dtype.kind == "f" else mask != 0
        return self._prompt(inference_state, frame_idx, self._object(inference_state, obj_id), Prompt(mask=mask))

    def clear_all_prompts_in_frame(self, inference_state: dict, frame_idx: int, obj_id, need_output: bool = True):
        """Take back an object's prompts on a frame; its mask there, if memorized, counts as tracked from now on."""
        item = self._object(inference_state, obj_id)
        item.prompts.pop(frame_idx, None)
        for answers in item.pending.values():
            answers.pop(frame_idx, None)
        if frame_idx in item.prompted:
            item.tracked[frame_idx] = item.prompted.pop(frame_idx)
            item.bank.tracked[frame_idx] = item.bank.prompted.pop(frame_idx)
            item.visited.pop(frame_idx, None)
        if not need_output:
            return None
        prompted = any(frame_idx in o.pending[True] for o in inference_state["objects"].values())
        return frame_idx, inference_state["obj_ids"], self._masks(inference_state, frame_idx, prompted)

    def _object(self, state: dict, obj_id) -> Object:
        if obj_id not in state["objects"]:
            state["objects"][obj_id] = Object(Archive(state["num_frames"], self.stride))
            state["obj_ids"] = list(state["objects"])
        return state["objects"][obj_id]

    def _prompt(self, state: dict, frame_idx: int, item: Object, prompt: Prompt):
        first = frame_idx not in item.visited  # such a frame is answered from the prompt alone, without memory
        prompted = first or self.corrections
        before = None if prompt.mask is not None else item.answer(frame_idx, prompted)
        size = (state["video_height"], state["video_width"]) if prompt.mask is None else prompt.mask.shape
        ask = Ask(prompt, size, None if before is None else before.logits, first)
        plan = ReadPlan() if first else item.bank.read(frame_idx, item.visited[frame_idx])
        (answer,) = self._answer(self._features(state, frame_idx), [plan], [ask])
        item.prompts[frame_idx], item.pending[prompted][frame_idx] = prompt, answer
        return frame_idx, state["obj_ids"], self._masks(state, frame_idx, prompted)

    # Following -------------------------------------------------------------------------------------------------------
    def propagate_in_video_preflight(self, inference_state: dict) -> None:
        """Memorize what was prompted since the last run. Raises `RuntimeError` without any prompted object."""
        if not inference_state["objects"]:
            raise RuntimeError("No input points or masks are provided for any object; please add inputs first.")
        for obj_id, item in inference_state["objects"].items():
            for prompted, answers in item.pending.items():
                for frame_idx, answer in answers.items():
                    self._remember(
                        self._features(inference_state, frame_idx), frame_idx, [(item, answer)], True, prompted
                    )
                answers.clear()
            if not item.prompted:
                raise RuntimeError(
                    f"No input points or masks are provided for object id {obj_id}; please add inputs first."
                )
            for frame_idx in item.prompted:
                item.tracked.pop(frame_idx, None)
                item.bank.tracked.pop(frame_idx, None)

    def propagate_in_video(
        self, inference_state: dict, start_frame_idx: int | None = None, max_frame_num_to_track: int | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple]:  # fmt: skip
        """Yields frame_idx, obj_ids, masks."""
        state, objects = inference_state, inference_state["objects"]
        self.propagate_in_video_preflight(state)
        objects, count = dict(objects), state["num_frames"]  # who joins during the run is followed in the next one
        start = (
            min(f for item in objects.values() for f in item.prompted) if start_frame_idx is None else start_frame_idx
        )
        reach = count if max_frame_num_to_track is None else max_frame_num_to_track
        forward = range(start, min(start + reach, count - 1) + 1)
        backward = range(start, max(start - reach, 0) - 1, -1) if start > 0 else range(0)
        for frame_idx in backward if reverse else forward:
            new = [item for item in objects.values() if frame_idx not in item.prompted]
            if new:
                features = self._features(state, frame_idx)
                plans = [item.bank.read(frame_idx, reverse) for item in new]
                pairs = list(zip(new, self._answer(features, plans, [None] * len(new))))
                self._remember(features, frame_idx, pairs, False, False)
            for item in objects.values():
                item.visited[frame_idx] = reverse
            yield frame_idx, list(objects), self._masks(state, frame_idx, False, objects)

    # The network -----------------------------------------------------------------------------------------------------
    def _features(self, state: dict, frame_idx: int):
        if state["features"][0] != frame_idx:
            state["features"] = (frame_idx, self.network.encode(state["images"][frame_idx]))
        return state["features"][1]

    def _answer(self, features, plans: list[ReadPlan], asks: list[Ask | None]) -> list[Answer]:
        candidates = self.network.decode(features, self.network.attend(features, plans), asks)
        answers = []
        for row, best in enumerate(candidates.iou.argmax(1)):
            one = np.s_[row : row + 1, best : best + 1]
            logits, iou, pointer = (
                candidates.mask_logits[one].copy(),
                candidates.iou[one],
                candidates.pointer[one].clone(),
            )
            answers.append(Answer(Candidates(logits, iou, candidates.object_logit[row : row + 1], pointer)))
        return answers

    def _remember(
        self, features, frame_idx: int, pairs: list[tuple[Object, Answer]], shaped: bool, prompted: bool
    ) -> None:
        """shaped: a person shaped these masks. prompted: the frame counts as a prompted one."""
        for item, answer in pairs:
            row = answer.candidates
            (memory,) = self.network.memorize(features, row, [Chosen(0, 0, shaped)])
            area = float((answer.logits > 0).mean())
            verdict = Verdict(frame_idx, float(row.iou[0, 0]), float(row.object_logit[0]), area, shaped)
            item.bank.write(Entry(verdict, memory.payload, memory.nbytes, memory.pointer), prompted)
            (item.prompted if prompted else item.tracked)[frame_idx] = answer

    def _masks(self, state: dict, frame_idx: int, prompted: bool, objects: dict[Any, Object] | None = None):
        """Logits (N, 1, H, W) of the objects on a frame (None: of all); `NO_OBJECT` where an object has none."""
        import torch

        from vidmem.networks.sam2.model import NO_OBJECT

        objects, side = state["objects"] if objects is None else objects, self.image_size // 4
        low = np.full((len(objects), 1, side, side), NO_OBJECT, np.float32)
        for row, item in enumerate(objects.values()):
            if (answer := item.answer(frame_idx, prompted)) is not None:
                low[row, 0] = answer.logits
        size = (state["video_height"], state["video_width"])
        logits = torch.from_numpy(low).to(self.device)
        return torch.nn.functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def _host(value) -> np.ndarray:
    """Lists, arrays, and tensors of any device."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
