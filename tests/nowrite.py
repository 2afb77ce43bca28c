"""Folders that cannot be written, also for root, as whom containers run tests."""

import contextlib
import ctypes
import os
from pathlib import Path

OVERRIDES = 0b111  # CAP_CHOWN, CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: what makes root pass by the permission bits
VERSION = 0x20080522  # of Linux's capget and capset


def _capabilities(change=None):
    """The calling thread's sets, two words of (effective, permitted, inheritable); change: made of them, and set."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = (ctypes.c_uint32 * 2)(VERSION, 0), (ctypes.c_uint32 * 6)()
    if libc.capget(header, data):
        raise OSError(ctypes.get_errno(), "capget")
    before = list(data)
    if change is not None and libc.capset(header, (ctypes.c_uint32 * 6)(*change(before))):
        raise OSError(ctypes.get_errno(), "capset")
    return before


@contextlib.contextmanager
def unwritable(folder: Path):
    """Within, nobody in this thread (or one that it begins) writes into the folder."""
    mode, before = folder.stat().st_mode, None
    folder.chmod(0o555)
    try:
        if os.geteuid() == 0:
            before = _capabilities(lambda sets: [sets[0] & ~OVERRIDES, *sets[1:]])
        yield folder
    finally:
        if before is not None:
            _capabilities(lambda sets: before)
        folder.chmod(mode)
