"""Where videos come from and results go: a folder, or whatever fsspec has a protocol for (`s3://`, `gs://`, `hdfs://` ...).

`done.json` goes up last: results without it count as not done. The list of our files (`vidmem.video.ledger`) goes up first, so that
after a kill at any moment it is known which files are ours. Nothing else is ever replaced.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path, PurePosixPath

from vidmem.errors import OutputError, RuntimeMissing, SourceError
from vidmem.names import check_name, regular
from vidmem.video import ledger
from vidmem.video.ledger import DONE, LEDGER

WORK = ".work"  # unfinished results; hidden, so that nobody takes them for results
MARK = "vidmem"  # in the names of our folders there


def open_place(url: str | Path) -> Folder | Remote:
    """A path, or an address with a protocol."""
    return Remote(str(url)) if "://" in str(url) else Folder(Path(url))


class Place(ABC):
    """What both kinds do in the same way. Names are relative, with slashes."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """A file's bytes; None where there is none."""

    @abstractmethod
    def below(self, name: str) -> list[str]:
        """Files below the folder `name`. Raises `OutputError` where that is no folder."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None: ...

    @abstractmethod
    def remove(self, name: str) -> None: ...

    @abstractmethod
    def put(self, local: Path, name: str) -> None:
        """Move a local file there."""

    def publish(self, results: Path, name: str) -> None:
        """Move the files of `results` to the folder `name`. Those of an earlier run make way.

        Raises `OutputError`, before anything is touched, where there is a file that no run of ours wrote.
        """
        new = set(ledger.files_at(results.parent, results.name))
        new = {PurePosixPath(file).relative_to(results.name).as_posix() for file in new} - {LEDGER}
        there = set(self.below(name)) - {LEDGER}
        ours = ledger.parse(self.read(f"{name}/{LEDGER}"))
        foreign = there - ours
        folders = {str(parent) for file in foreign for parent in PurePosixPath(file).parents}
        for file in sorted(new):
            if file in folders or not foreign.isdisjoint({file, *map(str, PurePosixPath(file).parents)}):
                raise OutputError(
                    f"{name}/{file} cannot be written: what is there is no result of an earlier run, and stays; choose another --out, or move it away"
                )
        self.write(f"{name}/{LEDGER}", ledger.text(new | ours))
        for file in sorted((there & ours) - (new - {DONE}), key=lambda file: file != DONE):
            self.remove(f"{name}/{file}")
        for file in sorted(new, key=lambda file: (file == DONE, file)):
            self.put(results / file, f"{name}/{file}")
        self.write(f"{name}/{LEDGER}", ledger.text(new))
        shutil.rmtree(results, ignore_errors=True)

    def missing(self, name: str) -> str | None:
        """A file that our list for `name` has and that is not there; None where all are."""
        listed = ledger.parse(self.read(f"{name}/{LEDGER}")) | {DONE}
        return min(listed - set(self.below(name)), default=None)


class Folder(Place):
    """On a disk that all workers see."""

    def __init__(self, path: Path):
        self.path = Path(path).resolve()

    def at(self, name: str) -> Path:
        """Where to write. Raises `UserError` for a name that leads elsewhere, by itself or through a link."""
        path = self.path / check_name(name, "a result")
        if not path.parent.resolve().is_relative_to(self.path):
            raise OutputError(f"{path} lies elsewhere, for {path.parent} is a link; choose another --out, or remove it")
        return path

    def same(self, other: Place) -> bool:
        """Whether both are one folder, under any spelling."""
        if not isinstance(other, Folder):
            return False
        return self.path == other.path or (
            self.path.exists() and other.path.exists() and self.path.samefile(other.path)
        )

    def files(self, leave_out: tuple[Path, ...] = ()) -> dict[str, str]:
        """Every file below, hidden ones and those below `leave_out` apart: relative name -> a stamp that changes with the file, or an
        empty text for what cannot be read to its end: a pipe, a device, a broken link. Raises `SourceError` where there is no such folder."""
        if not self.path.is_dir():
            raise SourceError(f"{self.path} is no folder; expected one with videos or folders of images")
        found, away = {}, {path.resolve() for path in leave_out}
        for folder, below, names in os.walk(self.path):
            here = Path(folder)
            below[:] = sorted(name for name in below if not name.startswith(".") and here / name not in away)
            for name in sorted(names):
                if not name.startswith(".") and here / name not in away:
                    found[(here / name).relative_to(self.path).as_posix()] = _stamp(here / name)
        return found

    def fetch(self, name: str, work: Path) -> Path:
        """A local path of a file or folder; `work` is not needed here."""
        return self.path / name

    def read(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except OSError:
            return None

    def below(self, name: str) -> list[str]:
        """Files below the folder `name`. Raises `OutputError` where that is no folder."""
        path = self.at(name)
        if os.path.lexists(path) and (path.is_symlink() or not path.is_dir()):
            raise OutputError(
                f"{path} is no result of an earlier run, and stays; choose another --out, or move it away"
            )
        return ledger.files_at(path, "") if path.is_dir() else []

    def write(self, name: str, data: bytes) -> None:
        path = self.at(name)
        work = self.work()
        try:
            (work / "part").write_bytes(data)
            path.parent.mkdir(parents=True, exist_ok=True)
            (work / "part").replace(path)
        except OSError as error:
            raise OutputError(
                f"{path} cannot be written ({error.strerror or error}); free some space, or choose another folder"
            ) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def remove(self, name: str) -> None:
        ledger.remove(self.path, self.at(name).relative_to(self.path).as_posix())

    def put(self, local: Path, name: str) -> None:
        path = self.at(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            local.rename(path)
        except OSError as error:
            raise OutputError(f"{path} cannot be written ({error.strerror or error}); choose another --out") from error

    def publish(self, results: Path, name: str) -> None:
        """One rename where nothing is in the way."""
        target = self.at(name)
        if not os.path.lexists(target):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                results.rename(target)
                return
            except OSError:
                pass  # an item inside this one was quicker, or a file stands where a folder should: said below
        super().publish(results, name)

    def work(self) -> Path:
        """A new folder on the same disk, so that publishing is one rename."""
        try:
            (self.path / WORK).mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-{MARK}-", dir=self.path / WORK))
        except OSError as error:
            raise OutputError(
                f"{self.path} cannot be written ({error.strerror or error}); choose another folder"
            ) from error

    def clean(self) -> None:
        """What a killed run had begun."""
        work = self.path / WORK
        if work.is_symlink():
            return
        for begun in work.glob(f"*-{MARK}-*"):
            shutil.rmtree(begun, ignore_errors=True)
        try:
            work.rmdir()
        except OSError:
            pass  # it was never there, or somebody else uses a folder of that name


def _stamp(path: Path) -> str:
    """Of what a link leads to: the link itself stays the same when its target changes."""
    if not regular(path):
        return ""
    try:
        stat = path.stat()
        link = f":{os.readlink(path)}" if path.is_symlink() else ""
    except OSError:
        return ""
    return f"{stat.st_size}:{stat.st_mtime_ns}{link}"


class Remote(Place):
    """By fsspec; a worker keeps a local copy of what it works on."""

    def __init__(self, url: str):
        try:
            import fsspec
        except ImportError as error:
            raise RuntimeMissing(
                f"{url} is read and written by fsspec: pip install fsspec, and the package of its protocol"
            ) from error
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise SourceError(f"{url} cannot be opened: {error}") from error
        self._root = self._root.rstrip("/")

    def same(self, other: Place) -> bool:
        return isinstance(other, Remote) and (self._fs, self._root) == (other._fs, other._root)

    def files(self, leave_out: tuple[Path, ...] = ()) -> dict[str, str]:
        if not self._fs.isdir(self._root):
            raise SourceError(f"{self._root} is no folder there; expected one with videos or folders of images")
        found = {}
        for path, info in sorted(self._fs.find(self._root, detail=True).items()):
            name = path[len(self._root) :].lstrip("/")
            if not any(part.startswith(".") for part in name.split("/")):
                found[name] = ":".join(
                    str(info.get(key))
                    for key in ("size", "ETag", "mtime", "LastModified", "updated")
                    if info.get(key) is not None
                )
        return found

    def fetch(self, name: str, work: Path) -> Path:
        path, remote = work / "input" / Path(name).name, f"{self._root}/{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            if not self._fs.isdir(remote):
                self._fs.get_file(remote, str(path))
                return path
            for file in self._fs.find(remote):  # one by one: a store allows names that would lead out of the folder
                local = path / check_name(file[len(remote) :].lstrip("/"), "an image")
                local.parent.mkdir(parents=True, exist_ok=True)
                self._fs.get_file(file, str(local))
        except OSError as error:
            raise SourceError(f"{remote} cannot be fetched: {error}") from error
        return path

    def read(self, name: str) -> bytes | None:
        try:
            return self._fs.cat_file(f"{self._root}/{name}")
        except OSError:
            return None

    def write(self, name: str, data: bytes) -> None:
        path = f"{self._root}/{check_name(name, 'a result')}"
        self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        self._fs.pipe_file(path, data)

    def remove(self, name: str) -> None:
        if self._fs.exists(f"{self._root}/{name}"):
            self._fs.rm_file(f"{self._root}/{name}")

    def work(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="vidmem-"))

    def below(self, name: str) -> list[str]:
        root = f"{self._root}/{check_name(name, 'a result')}"
        if self._fs.isfile(root):
            raise OutputError(
                f"{root} is no result of an earlier run, and stays; choose another --out, or move it away"
            )
        return [path[len(root) :].lstrip("/") for path in self._fs.find(root)] if self._fs.exists(root) else []

    def put(self, local: Path, name: str) -> None:
        self._fs.makedirs(f"{self._root}/{name}".rsplit("/", 1)[0], exist_ok=True)
        self._fs.put_file(str(local), f"{self._root}/{name}")

    def clean(self) -> None:
        """Nothing: workers leave copies in their own machines' temporary folders only when they are killed."""
