"""A folder of clips with prompts for each, and runs over it."""

import os
from pathlib import Path

import numpy as np
import pytest
from clips import encode as write_clip

from vidmem.batch import Settings, Worker, find_items, load_table, open_place, run

ROOT = Path(__file__).resolve().parents[1]
SIZE = (48, 64)
BOX = "12,10,30,28"


def images(count: int, shift: int = 0) -> list[np.ndarray]:
    """A bright square that moves to the right over a dim ground."""
    frames = np.full((count, *SIZE, 3), 60, np.uint8)
    for t, frame in enumerate(frames):
        frame[10:28, 12 + t + shift : 30 + t + shift] = (230, 120, 30)
    return list(frames)


@pytest.fixture
def tree(tmp_path):
    """Two clips, one in a folder, and a folder of images; a table with a box for each."""
    from PIL import Image

    folder = tmp_path / "videos"
    (folder / "deep/stills").mkdir(parents=True)
    write_clip(folder / "a.mp4", images(6))
    write_clip(folder / "deep/b.mp4", images(8, 1))
    for t, image in enumerate(images(5)):
        Image.fromarray(image).save(folder / f"deep/stills/{t:03d}.png")
    table = tmp_path / "prompts.csv"
    table.write_text(f"video,obj_id,x0,y0,x1,y1\na.mp4,1,{BOX}\ndeep/b,1,{BOX}\ndeep/stills,2,{BOX}\n")
    return folder, table, tmp_path / "out"


class Here:
    """A crew of one, in this process; notes what it did."""

    count = 1

    def __init__(self, settings):
        self.worker, self.did, self._said = Worker(settings), [], None

    def give(self, worker, item):
        self.did.append(item.name)
        self._said = worker, self.worker.do(item)

    def next(self, seconds):
        said, self._said = self._said, None
        return said

    def close(self):
        pass


def settings_for(folder, out, **other) -> Settings:
    return Settings(
        str(folder), str(out), {"model": "nano", "runtime": "onnx", "threads": 1}, save=("png", "csv"), **other
    )


def go(folder, table, out, settings=None, crews=None, **options):
    settings = settings or settings_for(folder, out)
    items = find_items(open_place(folder).files(), load_table(table))
    crews = [] if crews is None else crews

    def crew():
        crews.append(Here(settings))
        return crews[-1]

    return run(items, settings, open_place(out), crew, **options), crews


def finished(out: Path) -> dict[Path, int]:
    """Published records -> inode. What workers are about is left out; it comes and goes while one looks."""
    found = {}
    for folder, below, names in os.walk(out):
        below[:] = [name for name in below if not name.startswith(".")]
        if "done.json" in names:
            found[Path(folder) / "done.json"] = os.stat(Path(folder) / "done.json").st_ino
    return found
