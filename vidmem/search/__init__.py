"""Searches: which candidate mask becomes the object's hypothesis. `SEARCHES` maps names to them, for the shells."""

from vidmem.search.base import Choice, Search
from vidmem.search.greedy import Greedy

SEARCHES = {"greedy": Greedy}

__all__ = ["SEARCHES", "Choice", "Greedy", "Search"]
