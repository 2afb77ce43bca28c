"""Workers that die or hang, and drivers that are killed: nothing is lost, nothing is done twice."""

# ruff: noqa: F811  (fixtures are imported, and then named)

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from tests.batches import BOX, ROOT, SIZE, Here, finished, go, images, settings_for, tree  # noqa: F401
from vidmem.batch import LocalCrew, find_items, load_table, open_place, run

pytestmark = pytest.mark.skipif(not (ROOT / "models/nano/encode.onnx").is_file(), reason="no nano weights")


def test_a_worker_that_dies_is_replaced_and_its_video_done(tree):
    folder, table, out = tree
    settings, killed = settings_for(folder, out), []
    items = find_items(open_place(folder).files(), load_table(table))

    class Killing(LocalCrew):
        def give(self, worker, item):
            super().give(worker, item)
            if len(killed) < 1 and item.name == "deep/b.mp4":
                os.kill(self._workers[worker][0].pid, signal.SIGKILL)
                killed.append(item.name)

    report = run(items, settings, open_place(out), lambda: Killing(settings, 2))
    assert (
        killed == ["deep/b.mp4"]
        and dict(report.states) == {"done": 3}
        and len({r["worker"] for r in report.records.values()}) >= 2
    )

    class Deadly(LocalCrew):
        def give(self, worker, item):
            super().give(worker, item)
            if item.name == "a.mp4":
                os.kill(self._workers[worker][0].pid, signal.SIGKILL)

    report = run(items, replace(settings, max_size=40), open_place(out), lambda: Deadly(settings, 1))
    assert (
        report.records["a.mp4"]["error"].startswith("the worker died 2 times on this video, signal 9")
        and report.states["done"] == 2
    )


def test_streams_of_one_process_share_its_model_and_its_fate(tree):
    folder, table, out = tree
    settings, killed = settings_for(folder, out), []
    items = find_items(open_place(folder).files(), load_table(table))

    class Killing(LocalCrew):
        def give(self, spot, item):
            super().give(spot, item)
            if len(self._busy) == 2 and not killed:
                killed.append(len(self._busy))
                os.kill(self._workers[0][0].pid, signal.SIGKILL)

    report = run(items, settings, open_place(out), lambda: Killing(settings, 1, 2))
    assert (
        killed == [2]
        and dict(report.states) == {"done": 3}
        and len({r["worker"] for r in report.records.values()}) == 1
    )
    alone = folder.parent / "alone"
    run(items, settings_for(folder, alone), open_place(alone), lambda: Here(settings_for(folder, alone)))
    for name in ("a.mp4", "deep/b.mp4", "deep/stills"):
        assert (out / name / "boxes.csv").read_bytes() == (alone / name / "boxes.csv").read_bytes()


def test_a_run_that_is_killed_goes_on_where_it_stopped(tree):
    folder, table, out = tree
    for number in range(5):
        shutil.copy(folder / "deep/b.mp4", folder / f"more{number}.mp4")
        table.write_text(table.read_text() + f"more{number}.mp4,1,{BOX}\n")
    command = [
        sys.executable,
        "-m",
        "vidmem",
        "batch",
        str(folder),
        "--prompts",
        str(table),
        "--out",
        str(out),
        "--save",
        "png,csv",
    ]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while len(finished(out)) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    first.kill()
    first.wait()
    time.sleep(0.5)  # its worker notices
    before = finished(out)
    assert 2 <= len(before) < 8
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert second.returncode == 0 and "8 done" in second.stdout, second.stderr
    assert all(path.stat().st_ino == inode for path, inode in before.items())
    for path in finished(out):
        assert len(list((path.parent / "masks").glob("*.png"))) == json.loads(path.read_text())["frames"]
    assert not (out / ".work").exists()


def test_ray_does_the_same_and_survives_the_death_of_an_actor(tree):
    pytest.importorskip("ray")
    from vidmem.batch import RayCrew

    folder, table, out = tree
    settings, killed = settings_for(folder, out), []
    items = find_items(open_place(folder).files(), load_table(table))

    class Killing(RayCrew):
        def give(self, spot, item):
            super().give(spot, item)
            if not killed:
                killed.append(item.name)
                until = time.monotonic() + 60
                while not (begun := list(out.glob(".work/*"))) and time.monotonic() < until:
                    time.sleep(0.002)
                os.kill(int(begun[0].name.split("-")[0]), signal.SIGKILL)

    report = run(items, settings, open_place(out), lambda: Killing(settings, 2, "local"))
    assert killed and dict(report.states) == {"done": 3}
    assert {v["video"]: v["state"] for v in json.loads((out / "report.json").read_text())["videos"]} == {
        item.name: "done" for item in items
    }


def test_a_ray_actor_that_hangs_is_replaced(tree):
    pytest.importorskip("ray")
    from vidmem.batch import RayCrew

    folder, table, out = tree
    settings, frozen = settings_for(folder, out), []
    items = find_items(open_place(folder).files(), load_table(table))

    class Freezing(RayCrew):
        def give(self, spot, item):
            super().give(spot, item)
            if not frozen:
                until = time.monotonic() + 60
                while not (begun := list(out.glob(".work/*"))) and time.monotonic() < until:
                    time.sleep(0.002)
                frozen.append(int(begun[0].name.split("-")[0]))
                os.kill(frozen[0], signal.SIGSTOP)

    try:
        report = run(items, settings, open_place(out), lambda: Freezing(settings, 1, "local", stall=3))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(frozen[0], signal.SIGKILL)
    assert dict(report.states) == {"done": 3}
    assert frozen[0] not in {record["worker"] for record in report.records.values()}, "another did it"


def test_a_model_that_no_ray_actor_can_load_ends_the_run(tree):
    pytest.importorskip("ray")
    from vidmem.batch import RayCrew
    from vidmem.errors import ModelError

    folder, table, out = tree
    settings = replace(settings_for(folder, out), load={"model": "nano", "weights": out / "none"})
    items = find_items(open_place(folder).files(), load_table(table))
    with pytest.raises(ModelError, match="none"):
        run(items, settings, open_place(out), lambda: RayCrew(settings, 1, "local"))
