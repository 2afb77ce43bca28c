"""Where built engines lie: found only by everything they depend on, written whole or not at all, checked when read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

MAGIC = b"vidmem-engine-1\n"


class EngineCache:
    """A folder of serialized engines and one timing cache for each machine they were built on.

    An engine runs only where it was built, so its key names all of that: the graph's hash, versions, GPU, precision, shapes. A
    file whose key or checksum is another is taken for missing and built again.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    def path(self, key: dict[str, str]) -> Path:
        return self.folder / f"{key.get('graph', 'engine')}-{_hash(_text(key))[:20]}.engine"

    def get(self, key: dict[str, str]) -> bytes | None:
        """The engine of exactly this key; None where there is none, or what is there is damaged."""
        try:
            data = self.path(key).read_bytes()
        except OSError:
            return None
        head, _, plan = data.removeprefix(MAGIC).partition(b"\n")
        try:
            header = json.loads(head) if data.startswith(MAGIC) else {}
        except ValueError:
            return None
        return plan if header.get("key") == key and header.get("sha256") == _hash(plan) else None

    def put(self, key: dict[str, str], plan: bytes) -> Path:
        path, head = self.path(key), {"key": key, "sha256": _hash(plan)}
        _write(path, MAGIC + json.dumps(head, sort_keys=True).encode() + b"\n" + plan)
        return path

    def obtain(self, key: dict[str, str], build: Callable[[], bytes]) -> bytes:
        """The engine, built now if it is not there. Of several processes that ask at once, one builds and the others wait."""
        plan = self.get(key)
        if plan is None:
            with self._locked(self.path(key)):
                plan = self.get(key)
                if plan is None:
                    plan = build()
                    self.put(key, plan)
        return plan

    def drop(self, key: dict[str, str]) -> None:
        """Forget an engine that could not be loaded."""
        self.path(key).unlink(missing_ok=True)

    def timing(self, machine: dict[str, str]) -> bytes:
        """Kernel timings of earlier builds on such a machine; empty where there are none."""
        try:
            return self._timing(machine).read_bytes()
        except OSError:
            return b""

    def keep_timing(self, machine: dict[str, str], data: bytes) -> None:
        _write(self._timing(machine), data)

    def _timing(self, machine: dict[str, str]) -> Path:
        return self.folder / f"timing-{_hash(_text(machine))[:20]}.cache"

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("w") as file:
            try:
                import fcntl
            except (
                ImportError
            ):  # Windows: two processes may both build; whoever renames last wins, both engines are whole
                yield
                return
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)


def _text(key: dict[str, str]) -> bytes:
    return json.dumps(key, sort_keys=True).encode()


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
