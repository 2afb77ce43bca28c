"""A small learner for each object, beside the network: what it looks like here, as against everything else in this video."""

from vidmem.learn.base import Cells, Learner
from vidmem.learn.ridge import Ridge

__all__ = ["LEARNERS", "Cells", "Learner", "Ridge"]

LEARNERS = {"ridge": Ridge}
"""Name -> class of numbers; calling one of its objects makes an object's learner."""
