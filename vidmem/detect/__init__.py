"""Text, or any detector, proposes; a watcher decides when a proposal is credible and prompts the session."""

from vidmem.detect.base import Concept, Detector, FakeDetector, Find, Prepared, Seen, View, read_concepts
from vidmem.detect.watch import Watcher, WatchRule
from vidmem.errors import ModelError
from vidmem.session import Session


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


def watched(
    session: Session, detector: str | None = None, weights=None, threads: int | None = None
) -> Session | Watcher:
    """What takes texts: the session itself where its network looks for words and no detector is named, else a watcher around it with that
    detector (None: `words`). Raises as `open_detector`."""
    if detector is None and session.reads_words:
        return session
    return Watcher(session, open_detector(detector or "words", weights, threads))


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
    "watched",
]
