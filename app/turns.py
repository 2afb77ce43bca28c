"""Who may use the network next."""

from __future__ import annotations

import threading


class Turns:
    """One holder at a time. Next is who was served the longest ago: however many requests and jobs a visitor has in the line, another's
    click waits for the one that is being done, and no more. `place` gives each visitor a place in the line."""

    def __init__(self):
        self._free = threading.Condition()
        self._waiting: list[tuple[Place, object]] = []
        self._held = False
        self._served = 0

    def place(self) -> Place:
        return Place(self)

    def take(self, place: Place) -> None:
        me = object()
        with self._free:
            self._waiting.append((place, me))
            self._free.wait_for(lambda: not self._held and min(self._waiting, key=lambda one: one[0].served)[1] is me)
            self._waiting.remove((place, me))
            self._held, self._served = True, self._served + 1
            place.served = self._served

    def give(self) -> None:
        with self._free:
            self._held = False
            self._free.notify_all()


class Place:
    """A visitor's: a context manager around each use of the network."""

    def __init__(self, turns: Turns):
        self._turns = turns
        self.served = 0  # which turn was this visitor's last; 0: none yet

    def __enter__(self) -> Place:
        self._turns.take(self)
        return self

    def __exit__(self, *exc) -> None:
        self._turns.give()
