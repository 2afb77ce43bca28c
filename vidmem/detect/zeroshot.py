"""Open vocabulary through transformers: OWLv2, Grounding DINO, OmDet-Turbo and CLIPSeg behind the detector seam.

Weights are a folder as `save_pretrained` writes it (then no network is touched), or else a name of the Hugging Face hub, which transformers
fetches. Nothing of it was measured here: the build machine has no such weights; tests run tiny random ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vidmem.detect.base import Concept, Find, Prepared, View, check_text, distinct
from vidmem.errors import ModelError, RuntimeMissing
from vidmem.types import Frame

KINDS = {
    "owlv2": ("google/owlv2-base-patch16-ensemble", 0.2),
    "grounding-dino": ("IDEA-Research/grounding-dino-tiny", 0.3),
    "omdet-turbo": ("omlab/omdet-turbo-swin-tiny-hf", 0.3),
    "clipseg": ("CIDAS/clipseg-rd64-refined", 0.4),
}
"""Name -> its weights on the hub, and the least score of a find (each scores in its own way)."""
SMALLEST = 0.001  # of a frame's area: smaller pieces of CLIPSeg's map are noise
ALL = ("all ", "every ", "each ")


class ZeroShotDetector:
    """Implements `vidmem.detect.Detector`. kind: a key of `KINDS`. weights: a folder, or None for the hub's. Raises `RuntimeMissing`
    without transformers or torch, `ModelError` for a folder that is missing or holds something else."""

    def __init__(
        self, kind: str, weights: Path | None = None, threads: int | None = None, threshold: float | None = None
    ):
        try:
            import torch
            import transformers
        except ImportError as error:
            raise RuntimeMissing(f"the detector {kind} needs transformers: pip install transformers torch") from error
        hub, least = KINDS[kind]
        self.name, self.threshold, self._torch = kind, least if threshold is None else threshold, torch
        if weights is not None and not (Path(weights) / "config.json").is_file():
            raise ModelError(
                f"{weights} holds no config.json; expected a folder that save_pretrained() wrote, of {kind}"
            )
        if threads:
            torch.set_num_threads(threads)
        where, how = (hub, {}) if weights is None else (str(weights), {"local_files_only": True})
        loader = "CLIPSegForImageSegmentation" if kind == "clipseg" else "AutoModelForZeroShotObjectDetection"
        try:
            came = transformers.AutoConfig.from_pretrained(where, **how).model_type.replace("_", "-")
            if came == kind:
                self.processor = transformers.AutoProcessor.from_pretrained(where, **how)
                self.model = getattr(transformers, loader).from_pretrained(where, **how).eval()
        except Exception as error:  # transformers and the hub raise many kinds
            reason = " ".join(str(error).split())[:300]
            raise ModelError(f"{where} cannot be loaded as {kind}: {reason}; give --detector-weights FOLDER") from error
        if came != kind:
            raise ModelError(f"{where} is of {came}; expected {kind}")

    def prepare(self, text: str) -> Prepared:
        """Any words; "all dogs" asks for every one. Raises `PromptError` for what is no text."""
        text = check_text(text).lower().strip(" .")
        lead = next((word for word in ALL if text.startswith(word)), "")
        return Prepared(text.removeprefix(lead) or text, None if lead else 1)

    def detect(self, frame: Frame, wanted: Sequence[tuple[Concept, Prepared]], view: View) -> list[Find]:
        if not wanted:
            return []
        texts = [prepared.payload for _, prepared in wanted]
        look = {"grounding-dino": self._phrases, "clipseg": self._heat}.get(self.name, self._queries)
        found: list[list[Find]] = [[] for _ in wanted]
        with self._torch.inference_mode():
            for number, score, box, mask in look(frame.image, texts):
                box = np.clip(box, 0, [*frame.size[::-1]] * 2).astype(np.float32)
                if (box[2:] - box[:2] >= 1).all():
                    parts = {self.name: round(float(score), 4)}
                    found[number].append(Find(wanted[number][0].id, float(score), box, mask, parts))
        return [find for finds in found for find in distinct(finds)]

    # Each gives (number of the text, score, box in source pixels, mask or None) ------------------------------------------
    def _queries(self, image: np.ndarray, texts: list[str]):
        """OWLv2 and OmDet-Turbo: a query for each text; a box says which query it answers."""
        nested = [texts]
        inputs = self.processor(images=image, text=nested, return_tensors="pt")
        outputs = self.model(**inputs)
        (found,) = self.processor.post_process_grounded_object_detection(
            outputs, threshold=self.threshold, target_sizes=[image.shape[:2]], text_labels=nested
        )
        numbers = (
            found["labels"].tolist() if "labels" in found else [texts.index(name) for name in found["text_labels"]]
        )
        for number, score, box in zip(numbers, found["scores"].tolist(), found["boxes"].numpy()):
            yield int(number), score, box, None

    def _phrases(self, image: np.ndarray, texts: list[str]):
        """Grounding DINO: one string of phrases; a box names words of it, so phrases that share a word are asked apart."""
        for group in apart(texts):
            sentence = ". ".join(texts[i] for i in group) + "."
            inputs = self.processor(images=image, text=sentence, return_tensors="pt")
            outputs = self.model(**inputs)
            (found,) = self.processor.post_process_grounded_object_detection(
                outputs, inputs["input_ids"], threshold=self.threshold, text_threshold=self.threshold, target_sizes=[image.shape[:2]]
            )  # fmt: skip
            for words, score, box in zip(found["text_labels"], found["scores"].tolist(), found["boxes"].numpy()):
                number = named(words, texts, group)
                if number is not None:
                    yield number, score, box, None

    def _heat(self, image: np.ndarray, texts: list[str]):
        """CLIPSeg: a map for each text; each piece above the threshold is a find with a mask."""
        import cv2

        inputs = self.processor(text=texts, images=[image] * len(texts), padding=True, return_tensors="pt")
        logits = self.model(**inputs).logits
        maps = logits.sigmoid().reshape(len(texts), *logits.shape[-2:]).numpy()
        for number, small in enumerate(maps):
            heat = cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
            count, pieces, stats, _ = cv2.connectedComponentsWithStats((heat >= self.threshold).astype(np.uint8))
            for piece in range(1, count):
                x, y, width, height, area = stats[piece]
                if area >= SMALLEST * heat.size:
                    mask = pieces == piece
                    yield number, float(heat[mask].mean()), np.array([x, y, x + width, y + height], np.float32), mask


def apart(texts: Sequence[str]) -> list[list[int]]:
    """Numbers of texts in groups, in none of which two share a word."""
    groups: list[tuple[list[int], set[str]]] = []
    for number, text in enumerate(texts):
        words = set(text.split())
        free = next((group for group in groups if not group[1] & words), None)
        if free is None:
            groups.append(([number], words))
        else:
            free[0].append(number)
            free[1].update(words)
    return [numbers for numbers, _ in groups]


def named(words: str, texts: Sequence[str], group: Sequence[int]) -> int | None:
    """Which text of a group some words are of: the one that shares most with them; None: none does."""
    spoken = set(words.replace(".", " ").split())
    shared = {number: len(spoken & set(texts[number].split())) for number in group}
    best = max(shared, key=lambda number: shared[number])
    return best if shared[best] else None
