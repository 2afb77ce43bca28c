"""Folders of videos: many items, many workers, and a record of each that survives a kill at any moment.

`places` reads and publishes, `plan` finds items and their prompts, `work` does one, `crews` are the workers, `run` hands out.
"""

from vidmem.batch.crews import LocalCrew, RayCrew
from vidmem.batch.places import open_place
from vidmem.batch.plan import Item, find_items, load_table
from vidmem.batch.run import BatchReport, run
from vidmem.batch.work import Settings, Worker

__all__ = [
    "BatchReport",
    "Item",
    "LocalCrew",
    "RayCrew",
    "Settings",
    "Worker",
    "find_items",
    "load_table",
    "open_place",
    "run",
]
