"""Text, or any detector, proposes; a watcher decides when a proposal is credible and prompts the session."""

from vidmem.detect.base import Concept, Detector, FakeDetector, Find, Prepared, Seen, View, read_concepts
from vidmem.detect.watch import Watcher, WatchRule
from vidmem.errors import ModelError


def _words(weights, threads):
    from vidmem.detect.words.detector import WordDetector

    return WordDetector(weights, threads)


def _zero_shot(kind: str):
    def make(weights, threads):
        from vidmem.detect.zeroshot import ZeroShotDetector

        return ZeroShotDetector(kind, weights, threads)

    return make


DETECTORS = {
    "words": _words,
    **{kind: _zero_shot(kind) for kind in ("owlv2", "grounding-dino", "omdet-turbo", "clipseg")},
}
"""Name -> what makes the detector of a folder of weights (None: its own) and a number of threads (None: every core)."""


def open_detector(name: str = "words", weights=None, threads: int | None = None) -> Detector:
    """Raises `ModelError` for a name that is not in `DETECTORS` or weights that do not fit, `RuntimeMissing` without its engine."""
    if name not in DETECTORS:
        raise ModelError(f"there is no detector {name!r}; choose from: {', '.join(DETECTORS)}")
    return DETECTORS[name](weights, threads)


__all__ = [
    "DETECTORS",
    "Concept",
    "Detector",
    "FakeDetector",
    "Find",
    "Prepared",
    "Seen",
    "View",
    "WatchRule",
    "Watcher",
    "open_detector",
    "read_concepts",
]
