"""Memory banks: which past frames an object keeps, and which of them a frame recalls.

`BANKS` maps names to policies, for the command line and the app; the core takes policy objects.
"""

from vidmem.memory.base import MemoryBank
from vidmem.memory.recent import Recent, RecentBank

BANKS = {"recent": Recent}

__all__ = ["BANKS", "MemoryBank", "Recent", "RecentBank"]
