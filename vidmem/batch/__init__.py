"""Folders of videos: many items, many workers, and a record of each that survives a kill at any moment.

`places` reads and publishes, `plan` finds items and their prompts, `work` does one, `crews` are the workers, `run` hands out.
"""

from vidmem.batch.crews import LocalCrew, RayCrew
from vidmem.batch.places import place
from vidmem.batch.plan import Item, find_items, load_table
from vidmem.batch.run import Report, run
from vidmem.batch.work import Settings, Worker

__all__ = ["Item", "LocalCrew", "RayCrew", "Report", "Settings", "Worker", "find_items", "load_table", "place", "run"]
