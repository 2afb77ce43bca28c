"""Searches: which candidate mask becomes the object's hypothesis. `SEARCHES` maps names to them, for the shells."""

from vidmem.search.base import Choice, Search, View
from vidmem.search.greedy import Greedy
from vidmem.search.motion import MotionAware
from vidmem.search.tree import Tree

SEARCHES = {"greedy": Greedy, "motion": MotionAware, "tree": Tree}

__all__ = ["SEARCHES", "Choice", "Greedy", "MotionAware", "Search", "Tree", "View"]
