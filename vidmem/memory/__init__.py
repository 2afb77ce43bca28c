"""Memory banks: which past frames an object keeps, and which of them a frame recalls.

`BANKS` maps names to policies, for the command line and the app; the core takes policy objects. A new bank is one file with
a `Policy`, and a line here.
"""

from vidmem.memory.anchors import Anchors
from vidmem.memory.base import MemoryBank
from vidmem.memory.confident import Confident
from vidmem.memory.consolidated import Consolidated
from vidmem.memory.diverse import Diverse
from vidmem.memory.hierarchical import Hierarchical
from vidmem.memory.keyset import Keyset
from vidmem.memory.lagged import Lagged
from vidmem.memory.motion import Motion
from vidmem.memory.policy import Bank, Held, Policy
from vidmem.memory.pruned import Pruned
from vidmem.memory.recent import Recent
from vidmem.memory.reconstructive import Reconstructive
from vidmem.memory.spaced import Spaced
from vidmem.memory.sparse import Sparse
from vidmem.memory.surprise import Surprise

BANKS = {
    "recent": Recent,
    "confident": Confident,
    "anchors": Anchors,
    "motion": Motion,
    "diverse": Diverse,
    "pruned": Pruned,
    "sparse": Sparse,
    "keyset": Keyset,
    "consolidated": Consolidated,
    "reconstructive": Reconstructive,
    "surprise": Surprise,
    "lagged": Lagged,
    "spaced": Spaced,
    "hierarchical": Hierarchical,
}

__all__ = ["BANKS", "Bank", "Held", "MemoryBank", "Policy", *(policy.__name__ for policy in BANKS.values())]  # noqa: PLE0604
