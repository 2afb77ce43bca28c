"""Threads. Each kind of work has its own, so that no kind can take those of another; and no visitor can take more than one of a kind."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

SLOW = 2  # uploads that are read, and exports that are written, at once: both want a core each


def give_way() -> None:
    """On Linux a thread has a priority of its own, and what it starts (an encoder's threads) has the same: clicks come first."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


class Pools:
    """`of[kind]`: an executor. Kinds: editing and watching (a camera), which answer somebody; reading, tracking and exporting, which take their time."""

    def __init__(self, visitors: int):
        sizes = {"editing": visitors, "watching": visitors, "tracking": visitors, "reading": SLOW, "exporting": SLOW}
        self.of = {
            kind: ThreadPoolExecutor(size, f"vidmem-app-{kind}", initializer=give_way if kind == "exporting" else None)
            for kind, size in sizes.items()
        }

    def close(self) -> None:
        for pool in self.of.values():
            pool.shutdown(wait=False, cancel_futures=True)
