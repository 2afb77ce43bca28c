"""A worker that is killed in the midst of a video leaves a state, from which the next one goes on: nothing is tracked twice, and the
results are those of a run that nobody disturbed."""

import dataclasses
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from clips import encode as write_clip

from vidmem.batch import Settings, Worker, open_place
from vidmem.batch.plan import Item
from vidmem.batch.resume import RESUME
from vidmem.search import Tree
from vidmem.types import FrameResult, Status
from vidmem.video.exact import result_from_json, result_to_json

ROOT = Path(__file__).resolve().parents[1]
FRAMES, KILLED = 24, 15
PROMPTS = (
    {"obj_id": 1, "box": [12, 10, 30, 28]}, {"obj_id": 2, "box": [14, 12, 36, 30]}, {"obj_id": 4, "frame": 20, "box": [30, 10, 52, 30]},
)  # fmt: skip
needs_nano = pytest.mark.skipif(not (ROOT / "models/nano/encode.onnx").is_file(), reason="no nano weights")

KILL = """
import os, signal, sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/tests"]
from test_resume import settings, item
from vidmem.batch import Worker
worker, left = Worker(settings(sys.argv[2])), [int(sys.argv[3])]
worker.every = 0.0
step = worker.tracker.network.encode
def encode(image):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(image)
worker.tracker.network.encode = encode
worker.tracker.network.overlaps = False
worker.do(item())
"""


def settings(folder, **how) -> Settings:
    how = {"search": Tree(lag=3), "save": ("overlay", "png", "rle", "csv")} | how
    return Settings(f"{folder}/in", f"{folder}/out", {"runtime": "onnx", "threads": 1}, **how)


def item(stamp: str = "1") -> Item:
    return Item("deep/a.mp4", stamp, 1, PROMPTS)


def counted(worker: Worker) -> list:
    """What the network encodes from now on; states are written after every frame."""
    encoded, encode = [], worker.tracker.network.encode
    worker.every, worker.tracker.network.overlaps = 0.0, False
    worker.tracker.network.encode = lambda image: encoded.append(image.shape) or encode(image)
    return encoded


def listing(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and p.name != "done.json"
    }


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """A folder with a clip, what an undisturbed run makes of it, and what a worker left that was killed on its 16th frame."""
    tmp_path = tmp_path_factory.mktemp("left")
    frames = np.full((FRAMES, 48, 64, 3), 60, np.uint8)
    for t, frame in enumerate(frames):
        frame[10:28, 12 + t : 30 + t] = (230, 120, 30)
        frame[20:34, 14:36] = (40, 90, 230)
    (tmp_path / "in/deep").mkdir(parents=True)
    write_clip(tmp_path / "in/deep/a.mp4", list(frames))
    calm = Worker(settings(tmp_path))
    encoded = counted(calm)
    calm.every = 1e9
    assert calm.do(item())["state"] == "done" and len(encoded) == FRAMES
    assert not (tmp_path / "out" / RESUME).exists(), "a video that is done sooner writes no state"
    (tmp_path / "out").rename(tmp_path / "calm")
    ran = subprocess.run([sys.executable, "-c", KILL, str(ROOT), str(tmp_path), str(KILLED)], cwd=ROOT)
    assert ran.returncode == -signal.SIGKILL
    return tmp_path


@pytest.fixture
def killed(left, tmp_path):
    """A copy of it, after the driver has tidied up."""
    shutil.copytree(left, tmp_path, dirs_exist_ok=True)
    open_place(tmp_path / "out").clean()
    return tmp_path


@needs_nano
def test_a_killed_video_goes_on_where_it_was_and_gives_what_an_undisturbed_run_gives(killed):
    assert sorted(p.name for p in (killed / "out" / RESUME / "deep/a.mp4").iterdir())[-1] == "state"
    worker = Worker(settings(killed))
    encoded = counted(worker)
    record = worker.do(item())
    assert record["state"] == "done" and record["resumed"] == KILLED - 1 and record["frames"] == FRAMES
    assert len(encoded) == FRAMES - KILLED + 1, (
        "each frame but those of the first run, and one that the state is checked with"
    )
    assert listing(killed / "out") == listing(killed / "calm"), "and no state is left"


@needs_nano
@pytest.mark.parametrize("other", ["file", "damaged", "part cut", "head"])
def test_a_state_of_something_else_or_a_damaged_one_costs_nothing_but_time(killed, other):
    folder = killed / "out" / RESUME / "deep/a.mp4"
    said = item()
    if other == "file":
        said = item("2")
    elif other == "damaged":
        data = bytearray((folder / "state").read_bytes())
        data[-5] ^= 1
        (folder / "state").write_bytes(data)
    elif other == "part cut":
        (folder / "000003").write_bytes((folder / "000003").read_bytes()[:-3])
    else:
        (folder / "state").write_bytes(b"[" * 100_000)
    record = Worker(settings(killed)).do(said)
    assert record["state"] == "done" and record["resumed"] is None and record["frames"] == FRAMES
    assert listing(killed / "out") == listing(killed / "calm")


def test_a_result_is_written_exactly():
    masks = np.zeros((2, 6, 8), bool)
    masks[0, 1:4, 2:5] = masks[1, 3:6, 4:7] = True
    logits = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    result = FrameResult(
        7, 0.28, (6, 8), np.array([1, 300]), masks, np.ones((2, 4), np.float32) / 3, np.array([0.1, 0.9], np.float32),
        np.array([-1.5, 3], np.float32), (Status.LOST, Status.TRACKED), logits, timings={"total": 3.5}, rivals=(None, 1), search=({"hypotheses": 1},) * 2, cut=True, seen=np.array([np.nan, 0.8], np.float32),
    )  # fmt: skip
    again = result_from_json(result_to_json(result))
    for field in dataclasses.fields(FrameResult):
        mine, theirs = getattr(again, field.name), getattr(result, field.name)
        same = (
            mine.dtype == theirs.dtype and np.array_equal(mine, theirs, equal_nan=mine.dtype == np.float32)
            if isinstance(mine, np.ndarray)
            else mine == theirs
        )
        assert same, field.name
    assert np.array_equal(again.label_map(), result.label_map())
    apart = result_from_json(
        result_to_json(dataclasses.replace(result, masks=masks & np.array([True, False])[:, None, None]))
    )
    assert apart.mask_logits.shape == (2, 1, 1), "logits that decide nothing are not kept"
    assert np.array_equal(result_from_json(result_to_json(result, logits=True)).mask_logits, logits)
