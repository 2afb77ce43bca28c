"""Where videos come from and results go: a folder, or whatever fsspec has a protocol for (`s3://`, `gs://`, `hdfs://` ...).

What is published is there as a whole or not at all. A folder can be renamed; an object store cannot, so `done.json` goes up last
there, and results without it count as not done.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from vidmem.errors import OutputError, RuntimeMissing, SourceError

DONE = "done.json"
WORK = ".work"  # unfinished results; hidden, so that nobody takes them for results


def place(url: str | Path) -> Folder | Remote:
    """A path, or an address with a protocol."""
    return Remote(str(url)) if "://" in str(url) else Folder(Path(url))


class Folder:
    """On a disk that all workers see."""

    def __init__(self, path: Path):
        self.path = Path(path).absolute()

    def files(self, leave_out: tuple[Path, ...] = ()) -> dict[str, str]:
        """Every file below, hidden ones and those below `leave_out` apart: relative name -> a stamp that changes with the file.
        Raises `SourceError` where there is no such folder."""
        if not self.path.is_dir():
            raise SourceError(f"{self.path} is no folder; expected one with videos or folders of images")
        found, away = {}, {path.absolute() for path in leave_out}
        for folder, below, names in os.walk(self.path):
            here = Path(folder)
            below[:] = sorted(name for name in below if not name.startswith(".") and here / name not in away)
            for name in sorted(names):
                if not name.startswith(".") and here / name not in away:
                    said = (here / name).stat(follow_symlinks=False)
                    found[str((here / name).relative_to(self.path).as_posix())] = f"{said.st_size}:{said.st_mtime_ns}"
        return found

    def fetch(self, name: str, work: Path) -> Path:
        """A local path of a file or folder; `work` is not needed here."""
        return self.path / name

    def read(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except OSError:
            return None

    def write(self, name: str, data: bytes) -> None:
        path = self.path / name
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)
            part.replace(path)
        except OSError as error:
            raise OutputError(f"{path} cannot be written ({error.strerror or error}); free some space, or choose another folder") from error

    def remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    def work(self) -> Path:
        """A new folder on the same disk, so that publishing is one rename."""
        try:
            (self.path / WORK).mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=self.path / WORK))
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written ({error.strerror or error}); choose another folder") from error

    def publish(self, results: Path, name: str) -> None:
        """Results of an earlier run with other settings make way first."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            old = self.work() / "old"
            target.rename(old)
            shutil.rmtree(old.parent, ignore_errors=True)
        results.rename(target)

    def clean(self) -> None:
        """What a killed run had begun."""
        shutil.rmtree(self.path / WORK, ignore_errors=True)


class Remote:
    """By fsspec; a worker keeps a local copy of what it works on."""

    def __init__(self, url: str):
        try:
            import fsspec
        except ImportError as error:
            raise RuntimeMissing(f"{url} is read and written by fsspec: pip install fsspec, and the package of its protocol") from error
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise SourceError(f"{url} cannot be opened: {error}") from error
        self._root = self._root.rstrip("/")

    def files(self, leave_out: tuple[Path, ...] = ()) -> dict[str, str]:
        if not self._fs.isdir(self._root):
            raise SourceError(f"{self._root} is no folder there; expected one with videos or folders of images")
        found = {}
        for path, said in sorted(self._fs.find(self._root, detail=True).items()):
            name = path[len(self._root) :].lstrip("/")
            if not any(part.startswith(".") for part in name.split("/")):
                found[name] = ":".join(str(said.get(key)) for key in ("size", "ETag", "mtime", "LastModified", "updated") if said.get(key) is not None)
        return found

    def fetch(self, name: str, work: Path) -> Path:
        path, remote = work / "input" / Path(name).name, f"{self._root}/{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            if self._fs.isdir(remote):
                self._fs.get(remote + "/", str(path) + "/", recursive=True)
            else:
                self._fs.get_file(remote, str(path))
        except OSError as error:
            raise SourceError(f"{remote} cannot be fetched: {error}") from error
        return path

    def read(self, name: str) -> bytes | None:
        try:
            return self._fs.cat_file(f"{self._root}/{name}")
        except OSError:
            return None

    def write(self, name: str, data: bytes) -> None:
        path = f"{self._root}/{name}"
        self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        self._fs.pipe_file(path, data)

    def remove(self, name: str) -> None:
        if self._fs.exists(f"{self._root}/{name}"):
            self._fs.rm_file(f"{self._root}/{name}")

    def work(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="vidmem-"))

    def publish(self, results: Path, name: str) -> None:
        target = f"{self._root}/{name}"
        if self._fs.exists(target):
            self.remove(f"{name}/{DONE}")  # first, so that half of the old results are not taken for whole
            self._fs.rm(target, recursive=True)
        names = sorted((path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file()), key=lambda n: (n == DONE, n))
        for file in names:
            self._fs.makedirs(f"{target}/{file}".rsplit("/", 1)[0], exist_ok=True)
            self._fs.put_file(str(results / file), f"{target}/{file}")
        shutil.rmtree(results)

    def clean(self) -> None:
        """Nothing: workers leave copies in their own machines' temporary folders only when they are killed."""
