"""A batch loses nothing of anybody's, writes nowhere else, and no single item stops the others."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from clips import encode as write_clip

from tests.batches import BOX, ROOT, Here, images, settings_for
from vidmem.batch import LocalCrew, find_items, load_table, open_place, run
from vidmem.batch.crews import _serve
from vidmem.batch.plan import Item
from vidmem.cli.main import main
from vidmem.errors import OutputError
from vidmem.video.ledger import LEDGER

pytestmark = pytest.mark.skipif(not (ROOT / "models/nano/encode.onnx").is_file(), reason="no nano weights")


@pytest.fixture
def clip(tmp_path):
    """A folder with one clip, its table, and a place for results."""
    folder = tmp_path / "videos"
    folder.mkdir()
    write_clip(folder / "a.mp4", images(4))
    table = tmp_path / "p.csv"
    table.write_text(f"video,x0,y0,x1,y1\na.mp4,{BOX}\n")
    return folder, table, tmp_path / "out"


def go(folder, table, out, settings=None, **options):
    settings = settings or settings_for(folder, out)
    return run(
        find_items(open_place(folder).files((open_place(out).path,)), load_table(table)),
        settings,
        open_place(out),
        lambda: Here(settings),
        **options,
    )


def files(folder) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def stills(folder, count: int = 3) -> None:
    from PIL import Image

    folder.mkdir(parents=True)
    for t, image in enumerate(images(count)):
        Image.fromarray(image).save(folder / f"{t:03d}.png")


# What is not ours stays


@pytest.mark.parametrize("spelling", ["link", "videos/sub/..", "videos/."])
def test_the_folder_of_the_videos_is_no_place_for_results_under_any_spelling(clip, spelling, capsys):
    folder, table, _ = clip
    (folder / "sub").mkdir()
    (folder.parent / "link").symlink_to(folder)
    before = (folder / "a.mp4").read_bytes()
    assert (
        main(
            ["batch", str(folder), "--prompts", str(table), "--out", f"{folder.parent}/{spelling}", "--runtime", "onnx"]
        )
        == 2
    )
    assert "is the folder of the videos" in capsys.readouterr().err and (folder / "a.mp4").read_bytes() == before


def test_results_move_in_beside_a_users_files_and_never_over_them(clip):
    folder, table, out = clip
    stills(folder / "seq")
    table.write_text(table.read_text() + f"seq,{BOX}\n")
    (out / "seq/masks").mkdir(parents=True)
    (out / "a.mp4").write_bytes(b"my cut")
    (out / "seq/notes.txt").write_text("mine")
    report = go(*clip)
    assert (
        "is no result of an earlier run, and stays" in report.records["a.mp4"]["error"]
        and (out / "a.mp4").read_bytes() == b"my cut"
    )
    assert (
        report.records["seq"]["state"] == "done"
        and (out / "seq/notes.txt").read_text() == "mine"
        and (out / "seq/done.json").is_file()
    )
    report = go(*clip, settings=replace(settings_for(folder, out), save=("csv",)), retry_failed=True)
    assert (
        files(out / "seq") == {LEDGER, "boxes.csv", "done.json", "notes.txt"}
        and (out / "a.mp4").read_bytes() == b"my cut"
    )


@pytest.mark.parametrize(
    "in_the_way", ["seq/boxes.csv", "seq/masks/00001.png", "seq/masks", "seq/done.json", "seq/boxes.csv/deep.txt"]
)
def test_a_file_in_the_way_fails_that_item_before_anything_is_moved(clip, in_the_way):
    folder, table, out = clip
    stills(folder / "seq")
    table.write_text(table.read_text() + f"seq,{BOX}\n")
    (out / in_the_way).parent.mkdir(parents=True)
    (out / in_the_way).write_text("mine")
    report = go(*clip)
    assert report.states == {"done": 1, "failed": 1} and "and stays" in report.records["seq"]["error"]
    assert files(out / "seq") == {in_the_way.removeprefix("seq/")} and (out / in_the_way).read_text() == "mine"


def test_links_in_the_results_lead_nowhere_else(clip):
    folder, table, out = clip
    (folder / "deep").mkdir()
    write_clip(folder / "deep/b.mp4", images(3))
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    out.mkdir()
    (out / "deep").symlink_to(elsewhere)
    (out / "a.mp4").symlink_to(elsewhere)
    table.write_text(table.read_text() + f"deep/b.mp4,{BOX}\n")
    report = go(*clip)
    assert report.states == {"failed": 2} and not list(elsewhere.iterdir())


def test_items_inside_an_items_folder_keep_their_results(clip):
    folder, table, out = clip
    stills(folder / "s")
    stills(folder / "s/inner")
    write_clip(folder / "s/c.mp4", images(5))
    table.write_text(f"video,x0,y0,x1,y1\na.mp4,{BOX}\ns,{BOX}\ns/inner,{BOX}\ns/c.mp4,{BOX}\n")
    for save in (("csv",), ("png", "csv"), ("csv",)):
        report = go(*clip, settings=replace(settings_for(folder, out), save=save))
        assert report.states == {"done": 4}
        records = {
            path.parent.relative_to(out).as_posix(): json.loads(path.read_text()) for path in out.rglob("done.json")
        }
        assert {name: record["video"] for name, record in records.items()} == {
            name: name for name in ("a.mp4", "s", "s/inner", "s/c.mp4")
        }


def test_done_is_what_is_there_at_the_end(clip):
    folder, table, out = clip
    settings = settings_for(folder, out)

    class Losing(Here):
        def give(self, worker, item):
            super().give(worker, item)
            (out / "a.mp4/boxes.csv").unlink()

    report = run(
        find_items(open_place(folder).files(), load_table(table)), settings, open_place(out), lambda: Losing(settings)
    )
    assert (
        report.states == {"failed": 1}
        and "a.mp4/boxes.csv is gone" in report.records["a.mp4"]["error"]
        and report.now == 0
    )


def test_results_that_a_kill_left_half_replaced_are_known_as_ours(clip):
    folder, table, out = clip
    go(*clip)
    (out / "a.mp4/done.json").unlink()  # a replacement that had begun: the list is longer than what is there
    (out / "a.mp4/masks/00001.png").unlink()
    (out / ".work/77-vidmem-x").mkdir(parents=True)
    (out / ".work/own.txt").write_text("mine")
    report = go(*clip)
    assert report.states == {"done": 1} and len(list((out / "a.mp4/masks").glob("*.png"))) == 4
    assert files(out / ".work") == {"own.txt"} and not (out / ".work/77-vidmem-x").exists()


@pytest.mark.parametrize(
    "name, text", [("report.json", '{"my": "report"}'), ("report.json", "no json"), ("report.csv", "my,own\n1,2\n")]
)
def test_a_report_of_somebody_else_is_not_replaced(clip, name, text):
    clip[2].mkdir()
    (clip[2] / name).write_text(text)
    with pytest.raises(OutputError, match=f"{name} in --out is no report of ours, and stays"):
        go(*clip)
    assert (clip[2] / name).read_text() == text
    assert not (clip[2] / "a.mp4").exists()


def test_a_link_whose_target_changes_is_done_again(clip):
    folder, table, out = clip
    for name, count in (("one", 3), ("two", 6)):
        write_clip(folder.parent / f"{name}.mp4", images(count))
    (folder / "a.mp4").unlink()
    (folder / "a.mp4").symlink_to(folder.parent / "one.mp4")
    assert go(*clip).records["a.mp4"]["frames"] == 3
    write_clip(folder.parent / "one.mp4", images(5))
    assert go(*clip).records["a.mp4"]["frames"] == 5
    (folder / "a.mp4").unlink()
    (folder / "a.mp4").symlink_to(folder.parent / "two.mp4")
    report = go(*clip)
    assert report.records["a.mp4"]["frames"] == 6 and report.now == 1 and go(*clip).now == 0


# One bad item


@pytest.mark.parametrize("name, says", [
    ("../../proj/settings", "without a root and without '..'"), ("/etc/passwd", "without a root"), ("a\0b.mp4", "no file can have that name"),
    ("\ud800.mp4", "no file can have that name"), ("n" * 300, "name of 300 characters"), ("..\\up.mp4", "without '..'"),
])  # fmt: skip
def test_a_name_that_leads_elsewhere_or_nowhere_is_one_failed_line(clip, name, says):
    folder, table, out = clip
    kept = folder.parent / "proj"
    kept.mkdir()
    (kept / "settings.json").write_text("{}")
    table = table.with_suffix(".json")
    prompts = [{"obj_id": 1, "box": [float(x) for x in BOX.split(",")]}]
    table.write_text(json.dumps({"a.mp4": prompts, name: prompts}))
    report = go(folder, table, out)
    assert report.states == {"done": 1, "failed": 1} and says in report.records[name]["error"]
    assert (
        json.loads((out / "report.json").read_text())["states"] == {"done": 1, "failed": 1} and report.table().encode()
    )
    assert (kept / "settings.json").read_text() == "{}" and files(folder.parent) == {
        "videos/a.mp4", "p.csv", "p.json", "proj/settings.json", *(f"out/{name}" for name in files(out))}  # fmt: skip


def test_masks_that_cannot_be_named_or_read_fail_their_own_item(clip):
    folder, table, out = clip
    for name in ("b", "c", "d"):
        write_clip(folder / f"{name}.mp4", images(3))
    (folder.parent / "dir.png").mkdir()
    os.mkfifo(folder.parent / "pipe.png")
    table.write_text(
        f"video,x0,y0,x1,y1,mask\na.mp4,{BOX},\nb.mp4,,,,,{'m' * 250}\nc.mp4,,,,,dir.png\nd.mp4,,,,,pipe.png\n"
    )
    report = go(*clip)
    assert report.states == {"done": 1, "failed": 3} and all(
        "internal" not in r.get("error", "") for r in report.records.values()
    )


def test_pipes_and_broken_links_are_refused_without_a_look_inside(clip):
    folder, table, out = clip
    os.mkfifo(folder / "pipe.mp4")
    (folder / "gone.mp4").symlink_to("nowhere.mp4")
    (folder / "loop.mp4").symlink_to("loop.mp4")
    table.write_text(table.read_text() + "".join(f"{name}.mp4,{BOX}\n" for name in ("pipe", "gone", "loop")))
    report = go(*clip)
    assert report.states == {"done": 1, "failed": 3}
    assert all("is no regular file" in r["error"] for r in report.records.values() if r["state"] == "failed")


def test_a_name_that_is_not_utf8_costs_nobody_the_report(clip, capsys):
    folder, table, out = clip
    with open(os.fsencode(folder) + b"/caf\xe9.mp4", "wb") as file:
        file.write((folder / "a.mp4").read_bytes())
    arguments = ["batch", str(folder), "--prompts", str(table), "--out", str(out), "--runtime", "onnx", "--save", "csv"]
    assert main(arguments) == 2
    said = capsys.readouterr().out
    assert r"caf\udce9.mp4" in said and "1 done" in said and r"caf\udce9.mp4,failed" in (out / "report.csv").read_text()


def test_a_spreadsheet_runs_nothing_of_the_report(clip):
    folder, table, out = clip
    for name in ("=1+1", "@SUM(1)", "+1", "-2", "\tx", "fine"):
        (folder / f"{name}.mp4").write_bytes(b"")
    go(*clip)
    import csv

    rows = list(csv.reader((out / "report.csv").open()))
    assert not [value for row in rows for value in row if value[:1] in tuple("=@+-\t")] and ["fine.mp4", "failed"] in [
        row[:2] for row in rows
    ]


# Processes


def test_a_worker_that_gives_no_sign_of_life_is_replaced(clip):
    folder, table, out = clip
    settings = settings_for(folder, out)
    import signal

    class Frozen(LocalCrew):
        def give(self, place, item):
            super().give(place, item)
            os.kill(self._workers[0][0].pid, signal.SIGSTOP)

    items = find_items(open_place(folder).files(), load_table(table))
    report = run(items, settings, open_place(out), lambda: Frozen(settings, 1, stall=0.5))
    assert "no frame for 0.5 s" in report.records["a.mp4"]["error"]
    assert run(
        items, settings, open_place(out), lambda: LocalCrew(settings, 1, stall=60), retry_failed=True
    ).states == {"done": 1}


def test_every_item_gets_an_answer_whatever_happens_in_a_worker(clip, monkeypatch):
    folder, table, out = clip
    said = []

    class Pipe:
        items = [(0, Item("a\0b")), (1, Item("fine", problem="known"))]

        def recv(self):
            if not self.items:
                while len(said) < 2:
                    time.sleep(0.01)
                raise EOFError
            return self.items.pop(0)

        def send(self, what):
            said.append(what)

    def broken(self, item, alive):
        raise SystemExit("a library left")

    monkeypatch.setattr("vidmem.batch.crews.Worker.do", broken)
    monkeypatch.setattr("signal.signal", lambda *a: None)
    monkeypatch.setattr("vidmem.batch.crews._die_with", lambda driver: None)
    _serve(Pipe(), settings_for(folder, out), 1, os.getpid())
    assert [(place, record["state"]) for place, record in sorted(said, key=lambda s: s[0])] == [
        (0, "failed"),
        (1, "failed"),
    ]


def test_a_worker_whose_driver_died_before_it_looked_leaves_at_once(tmp_path):
    code = "import vidmem.batch.crews as crews, time; import threading; threading.Thread(target=crews._die_with, args=(1 << 22,), daemon=True).start(); time.sleep(20)"
    began = time.monotonic()
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 1 and time.monotonic() - began < 15


def test_the_clock_may_jump(clip, monkeypatch):
    now = iter(range(10**9, 0, -(10**6)))
    monkeypatch.setattr(time, "time", lambda: next(now))
    report = go(*clip)
    assert report.states == {"done": 1} and 0 <= report.seconds < 100 and 0 <= report.records["a.mp4"]["seconds"] < 100


def test_an_item_for_which_memory_does_not_suffice_says_so(clip, monkeypatch):
    def hungry(self, item, work, alive, key):
        np.empty(1 << 60, np.uint8)

    monkeypatch.setattr("vidmem.batch.work.Worker._track", hungry)
    report = go(*clip)
    assert report.records["a.mp4"]["error"].startswith("out of memory; use fewer --workers")


def test_a_store_is_treated_with_the_same_care(clip):
    fsspec = pytest.importorskip("fsspec")
    folder, table, _ = clip
    memory = fsspec.filesystem("memory")
    memory.put(f"{folder}/", "/care/", recursive=True)
    memory.pipe_file("/kept/a.mp4/boxes.csv", b"mine")
    settings = replace(settings_for(folder, "memory://kept"), source="memory://care")
    items = find_items(open_place("memory://care").files(), load_table(table))
    report = run(items, settings, open_place("memory://kept"), lambda: Here(settings))
    assert "and stays" in report.records["a.mp4"]["error"] and memory.cat("/kept/a.mp4/boxes.csv") == b"mine"
    assert open_place("memory://care").same(open_place("memory://care/")) and not open_place("memory://care").same(
        open_place("memory://kept")
    )
