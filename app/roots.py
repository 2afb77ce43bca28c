"""The folder of everything that visitors bring. Its owner holds a lock on it; one whose owner was killed is removed by the next start."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from .limits import Refused

PREFIX = "vidmem-app-"


class Root:
    """`path`: a new folder in the temporary folder, which only this user can read. Locked until `close`, or until the process is no more."""

    def __init__(self):
        while True:
            try:
                self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
            except OSError as error:
                raise Refused(
                    f"no temporary folder can be written ({error.strerror or error}); free some space, or name one: TMPDIR=..."
                ) from error
            self._lock = lock(self.path)
            if self._lock is not None and self.path.is_dir():
                return
            self.close()  # another's sweep came between the two: take another name

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def lock(folder: Path) -> int | None:
    """A handle that holds the lock of a folder; None when somebody else does, or the folder is gone. The system frees it with the process."""
    handle = None
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return handle
    except OSError:
        if handle is not None:
            os.close(handle)
        return None


def sweep() -> list[Path]:
    """Remove the folders of apps that are no more -> which. Only folders of this user, and never one that is in use."""
    swept = []
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.lstat().st_uid != os.getuid() or (handle := lock(folder)) is None:
                continue
            shutil.rmtree(folder, ignore_errors=True)
            os.close(handle)
            swept.append(folder)
    return swept
