"""What the server says of itself, on standard error: so many lines of a kind in a while, for anybody on the network can make it say more."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict

MOST, SECONDS = 5, 60.0  # lines of one kind in so long
KINDS = 100  # that are counted at a time


class Few(logging.Filter):
    """Lets `MOST` lines of a kind pass within `SECONDS`; the first one after that tells how many were left out. Of one kind are lines from the same
    place in the code: what a visitor sent makes no new kind."""

    def __init__(self):
        super().__init__()
        self._said: OrderedDict[tuple, tuple[float, int]] = OrderedDict()  # kind -> since when, how many

    def filter(self, record: logging.LogRecord) -> bool:
        kind, now = (record.name, record.pathname, record.lineno), time.monotonic()
        since, many = self._said.pop(kind, (now, 0))
        left_out = 0
        if now - since >= SECONDS:
            left_out, since, many = max(0, many - MOST), now, 0
        self._said[kind] = since, many + 1
        while len(self._said) > KINDS:
            self._said.popitem(last=False)
        if many >= MOST:
            return False
        if left_out:
            record.msg, record.args = f"{record.getMessage()} ({left_out} more of this kind were left out)", ()
        return True


def config() -> dict:
    """For `logging.config.dictConfig`: all loggers, uvicorn's and its sockets' among them, through one handler."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"few": {"()": Few}},
        "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "filters": ["few"], "formatter": "plain"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
    }
