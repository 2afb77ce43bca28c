"""Threads. Each kind of work has its own, so that no kind can take those of another; and no visitor can take more than one of a kind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

SLOW = 2  # uploads that are read, and exports that are written, at once: both want a core each


class Pools:
    """`of[kind]`: an executor. Kinds: editing and watching (a camera), which answer somebody; reading, tracking and exporting, which take their time."""

    def __init__(self, visitors: int):
        sizes = {"editing": visitors, "watching": visitors, "tracking": visitors, "reading": SLOW, "exporting": SLOW}
        self.of = {kind: ThreadPoolExecutor(size, thread_name_prefix=f"vidmem-app-{kind}") for kind, size in sizes.items()}

    def close(self) -> None:
        for pool in self.of.values():
            pool.shutdown(wait=False, cancel_futures=True)
