"""vidmem follows any object through video, as long as the video lasts, and says when it is unsure.

    tracker = vidmem.load("nano")
    with tracker.session() as session:
        session.add(1, box=(420, 130, 560, 300))
        for frame in vidmem.open_video("clip.mp4"):
            result = session.step(frame)
"""

from vidmem.errors import VidmemError
from vidmem.pipeline import Report, track
from vidmem.session import Session
from vidmem.tracker import Tracker, load
from vidmem.types import Frame, FrameResult, Prompt, Status
from vidmem.video import open_video

__version__ = "0.1.0"

__all__ = [
    "Frame",
    "FrameResult",
    "Prompt",
    "Report",
    "Session",
    "Status",
    "Tracker",
    "VidmemError",
    "load",
    "open_video",
    "track",
]
