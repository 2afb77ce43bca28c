"""A session follows objects through one stream of frames: the only place where network, memory and search meet.

`session.py` has what a user calls; `frame_step.py` is what happens on one frame, in the order of the data; `now.py` is that frame.
`zoomed.py` follows small objects, each in a window of its own, by a session for each.
"""

from vidmem.session.cuts import CutRule
from vidmem.session.session import Session
from vidmem.session.status import StatusRule
from vidmem.session.tracks import Snapshot
from vidmem.session.window import ZoomRule
from vidmem.session.zoomed import ZoomedSession

__all__ = ["CutRule", "Session", "Snapshot", "StatusRule", "ZoomRule", "ZoomedSession"]
