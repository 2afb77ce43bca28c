"""Text, or any detector, proposes; a watcher decides when a proposal is credible and prompts the session."""

from vidmem.detect.base import Concept, Detector, FakeDetector, Find, Prepared, Seen, View, read_concepts
from vidmem.detect.watch import Watcher, WatchRule

__all__ = [
    "Concept",
    "Detector",
    "FakeDetector",
    "Find",
    "Prepared",
    "Seen",
    "View",
    "WatchRule",
    "Watcher",
    "read_concepts",
]
