"""vidmem follows any object through video, as long as the video lasts, and says when it is unsure.

vidmem.track("clip.mp4", box=(420, 130, 560, 300), out="results")

or frame by frame:

tracker = vidmem.load("nano")
with tracker.session() as session:
    session.add(1, box=(420, 130, 560, 300))
    for frame in vidmem.open_video("clip.mp4"):
        result = session.step(frame)
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vidmem.catalogue.tracker import Tracker, load
    from vidmem.errors import VidmemError
    from vidmem.pipeline import Report, track
    from vidmem.prompts import PromptAt
    from vidmem.render import Look
    from vidmem.session import Session
    from vidmem.types import Frame, FrameResult, Prompt, Status
    from vidmem.video import open_video

__version__ = "0.1.0"

__all__ = [
    "Frame",
    "FrameResult",
    "Look",
    "Prompt",
    "PromptAt",
    "Report",
    "Session",
    "Status",
    "Tracker",
    "VidmemError",
    "load",
    "open_video",
    "track",
]

_HOME = {
    "errors": ("VidmemError",),
    "pipeline": ("Report", "track"),
    "prompts": ("PromptAt",),
    "render": ("Look",),
    "session": ("Session",),
    "catalogue.tracker": ("Tracker", "load"),
    "types": ("Frame", "FrameResult", "Prompt", "Status"),
    "video": ("open_video",),
}


def __getattr__(name: str):
    """Import a public name when it is first used (PEP 562): `import vidmem` costs milliseconds, the rest loads when needed."""
    for module, names in _HOME.items():
        if name in names:
            value = globals()[name] = getattr(import_module(f"vidmem.{module}"), name)
            return value
    raise AttributeError(f"module 'vidmem' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
