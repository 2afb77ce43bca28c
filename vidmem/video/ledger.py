"""Which files in a folder are vidmem's: the only ones there that it may replace or remove."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from vidmem.errors import OutputError, UserError
from vidmem.names import check_name
from vidmem.video.sink import PART, writing

LEDGER = ".vidmem-files"
DONE = "done.json"  # says that the results beside it are whole, so it goes as soon as one of them does


class Ledger:
    """A list in the folder itself, a name a line. A name is noted before its file is begun, so that the list is whole after a kill."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        try:
            self.names = parse((self.folder / LEDGER).read_bytes())
        except OSError:
            self.names = set()

    def claim(self, *targets: str) -> None:
        """Make room for files or folders of these names: what an earlier run wrote there goes.

        Raises `OutputError`, before anything is touched, where there is a file that no run of ours wrote.
        """
        there = {name: target for target in targets for name in files_at(self.folder, target)}
        parts = {name for name in (PART, f"{LEDGER}.part") if (self.folder / name).is_file()}
        for name, target in there.items():
            if name not in self.names and PurePosixPath(name).name != PART:
                what = "is" if name == target else f"holds {name.removeprefix(target + '/')}, which is"
                raise OutputError(
                    f"{self.folder / target} {what} no result of an earlier run, and stays; choose another --out, or move it away"
                )
        going = set(there) | ({DONE} & self.names) | parts
        if going:
            for name in sorted(going):
                remove(self.folder, name)
            self.names -= going
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            part = self.folder / f"{LEDGER}.part"
            part.write_bytes(text(self.names))
            part.replace(self.folder / LEDGER)

    def add(self, path: Path) -> None:
        """Note a file that is about to be written."""
        name = Path(path).relative_to(self.folder).as_posix()
        if name not in self.names:
            self.names.add(name)
            with writing(self.folder / LEDGER), (self.folder / LEDGER).open("ab") as file:
                file.write(text([name]))


def parse(data: bytes | None) -> set[str]:
    """Names of a ledger, those that point elsewhere and the cut-off last one left out."""
    names = set()
    for line in (data or b"").decode("utf-8", "replace").split("\n")[:-1]:
        try:
            names.add(check_name(line, "a result"))
        except UserError:
            continue
    return names


def text(names) -> bytes:
    return "".join(f"{name}\n" for name in sorted(names)).encode()


def files_at(folder: Path, name: str) -> list[str]:
    """What is at `folder/name`: the file itself, or every file below; links are not followed."""
    path = folder / name
    if path.is_symlink() or not path.is_dir():
        return [name] if os.path.lexists(path) else []
    found = []
    for here, below, names in os.walk(path):
        inside = Path(here)
        links = [link for link in below if (inside / link).is_symlink()]
        found += [(inside / file).relative_to(folder).as_posix() for file in (*names, *links)]
    return sorted(found)


def remove(folder: Path, name: str) -> None:
    """A file, and the folders that are empty without it."""
    path = folder / name
    with writing(path):
        path.unlink(missing_ok=True)
    for parent in path.parents:
        if parent == folder:
            break
        try:
            parent.rmdir()
        except OSError:
            break


def check_apart(source: Path, folder: Path, targets: list[str]) -> None:
    """Raises `OutputError` where writing `targets` in `folder` would touch what is read: `source`, a file or a folder."""
    source = Path(source).resolve()
    for target in targets:
        path = (Path(folder) / target).resolve()
        same = path == source or (path.exists() and source.exists() and path.samefile(source))
        if same or source in path.parents or path in source.parents:
            raise OutputError(
                f"{Path(folder) / target} would be written over the source, {source}; choose another --out"
            )
