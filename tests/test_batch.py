"""Folders of videos, run after run: one line for whatever is wrong, nothing done twice."""

# ruff: noqa: F811  (fixtures are imported, and then named)

import json
from dataclasses import replace

import numpy as np
import pytest
from clips import encode as write_clip

from tests.batches import BOX, ROOT, SIZE, Here, finished, go, images, settings_for, tree  # noqa: F401
from vidmem.batch import Settings
from vidmem.batch.plan import Item
from vidmem.batch.run import BatchReport
from vidmem.batch.work import failure
from vidmem.cli.main import main
from vidmem.errors import OutputError, PromptError
from vidmem.render import Look

pytestmark = pytest.mark.skipif(not (ROOT / "models/nano/encode.onnx").is_file(), reason="no nano weights")


def test_what_is_done_is_not_done_again_until_something_changes(tree):
    folder, table, out = tree
    report, crews = go(*tree)
    assert dict(report.states) == {"done": 3} and report.now == 3
    assert {r["video"]: (r["frames"], r["objects"]) for r in report.records.values()} == {
        "a.mp4": (6, 1),
        "deep/b.mp4": (8, 1),
        "deep/stills": (5, 1),
    }
    assert len(list((out / "deep/b.mp4/masks").glob("*.png"))) == 8 and not list(out.glob(".work/*"))
    inodes = finished(out)
    report, crews = go(*tree)
    assert crews == [] and report.now == 0 and dict(report.states) == {"done": 3}
    write_clip(folder / "a.mp4", images(7))
    table.write_text(table.read_text().replace("deep/stills,2", "deep/stills,3"))
    report, crews = go(*tree)
    assert sorted(crews[0].did) == ["a.mp4", "deep/stills"] and report.records["a.mp4"]["frames"] == 7
    kept = [path for path, inode in inodes.items() if path.exists() and path.stat().st_ino == inode]
    assert [path.parent.name for path in kept] == ["b.mp4"]
    report, crews = go(*tree, settings=replace(settings_for(folder, out), max_size=32))
    assert len(crews[0].did) == 3


def test_failures_stay_until_the_file_changes_or_they_are_asked_for_again(tree):
    folder, table, out = tree
    whole = (folder / "a.mp4").read_bytes()
    (folder / "a.mp4").write_bytes(b"no video at all")
    report, _ = go(*tree)
    assert dict(report.states) == {"done": 2, "failed": 1} and "a.mp4" in report.records["a.mp4"]["error"]
    assert not (out / "a.mp4").exists() and (out / ".failed/a.mp4.json").is_file()
    _, crews = go(*tree)
    assert crews == []
    _, crews = go(*tree, retry_failed=True)
    assert crews[0].did == ["a.mp4"]
    (folder / "a.mp4").write_bytes(whole)
    report, crews = go(*tree)
    assert (
        crews[0].did == ["a.mp4"] and dict(report.states) == {"done": 3} and not (out / ".failed/a.mp4.json").exists()
    )


def test_the_report_is_for_programs_and_for_people(tree):
    folder, table, out = tree
    (folder / "deep/b.mp4").write_bytes(b"")
    report, _ = go(*tree)
    whole = json.loads((out / "report.json").read_text())
    assert whole["states"] == {"done": 2, "failed": 1} and {v["video"] for v in whole["videos"]} == {
        "a.mp4",
        "deep/b.mp4",
        "deep/stills",
    }
    assert all(len(v["sha256"]) == 64 for v in whole["videos"] if v["state"] == "done")
    lines = (out / "report.csv").read_text().splitlines()
    assert lines[0].startswith("video,state") and len(lines) == 4
    assert (
        "failed  deep/b.mp4: " in report.table()
        and "2 done (2 in this run), 1 failed, 0 waiting; 11 frames" in report.table()
    )


def test_thirty_files_that_are_wrong_give_thirty_lines_and_the_good_ones_are_done(tree):
    folder, table, out = tree
    whole, chance = (folder / "deep/b.mp4").read_bytes(), np.random.default_rng(0)
    for number in range(6):
        (folder / f"cut{number}.mp4").write_bytes(whole[: 40 + 30 * number])  # not even the header
        (folder / f"noise{number}.avi").write_bytes(chance.bytes(5000))
        (folder / f"empty{number}.mkv").write_bytes(b"")
        (folder / f"text{number}.mov").write_text("<html>404 not found</html>")
        (folder / f"stills{number}").mkdir()
        (folder / f"stills{number}/00000.png").write_bytes(b"\x89PNG\r\n" + chance.bytes(30))
    odd = [np.ascontiguousarray(image[:47, :61]) for image in images(4)]
    write_clip(folder / "odd.mkv", odd, codec="ffv1")
    (folder / "really_mp4.avi").write_bytes(whole)  # mislabelled, and fine
    names = sorted(p.name for p in folder.iterdir() if p.name not in ("deep", "a.mp4"))
    table.write_text(table.read_text() + "".join(f"{name},1,{BOX}\n" for name in names))
    report, _ = go(*tree)
    failed = [r for r in report.records.values() if r["state"] == "failed"]
    assert len(failed) == 30 and dict(report.states) == {"done": 5, "failed": 30}
    assert all(
        r["video"].split("/")[-1].split(".")[0] in r["error"]
        and "internal error" not in r["error"]
        and "\n" not in r["error"]
        for r in failed
    )
    assert report.records["odd.mkv"]["frames"] == 4 and report.records["really_mp4.avi"]["frames"] == 8


def test_two_runs_into_one_folder_do_not_get_in_each_others_way(tree):
    import fcntl

    folder, table, out = tree
    out.mkdir()
    with (out / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another run is writing into"):
            go(*tree)
    assert go(*tree)[0].states["done"] == 3


def test_a_place_of_fsspec_gives_the_same_results_and_marks_them_last(tree, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    folder, table, out = tree
    here, _ = go(*tree)
    memory = fsspec.filesystem("memory")
    memory.put(f"{folder}/", "/videos/", recursive=True)
    order = []
    plain = type(memory).put_file
    monkeypatch.setattr(type(memory), "put_file", lambda self, a, b, **k: (order.append(b), plain(self, a, b, **k))[1])
    there, crews = go("memory://videos", table, "memory://out")
    assert dict(there.states) == {"done": 3} and [name.rsplit("/", 1)[1] for name in order].count("done.json") == 3
    assert all(
        order[i - 1].rsplit("/", 1)[1] != "done.json"
        or i == 0
        or order[i].rsplit("/", 2)[0] != order[i - 1].rsplit("/", 1)[0]
        for i in range(len(order))
    )
    for name in ("a.mp4/boxes.csv", "deep/stills/masks/00004.png"):
        assert memory.cat(f"/out/{name}") == (out / name).read_bytes()
    assert go("memory://videos", table, "memory://out")[1] == [] and json.loads(memory.cat("/out/report.json"))[
        "states"
    ] == {"done": 3}


def test_another_look_is_other_work_and_the_usual_one_is_not():
    plain = Settings("s", "o").of(Item("a.mp4"))
    assert plain == "66dc15808a0042b4", "results of earlier runs would be made again"
    changed = [Settings("s", "o", look=Look(effect="blur")), Settings("s", "o", sound=False)]
    assert len({plain, *(settings.of(Item("a.mp4")) for settings in changed)}) == 3


def test_the_exit_code_says_whose_fault_it_was():
    failed = {"state": "failed"}
    for records, code in (
        ([{"state": "done"}], 0),
        ([{**failed, "exit_code": 2}, {"state": "done"}], 2),
        ([{**failed, "exit_code": 2}, {**failed, "exit_code": 1}], 1),
        ([failed], 1),  # a worker that died
    ):
        assert BatchReport({str(i): record for i, record in enumerate(records)}).exit_code == code
    assert failure(PromptError("x"))["exit_code"] == 2 and failure(ZeroDivisionError())["exit_code"] == 1


def test_the_command_says_what_was_wrong_and_ends_with_2(tree, capsys):
    folder, table, out = tree
    (folder / "a.mp4").write_bytes(b"")
    arguments = ["batch", str(folder), "--prompts", str(table), "--out", str(out), "--save", "vos", "--runtime", "onnx"]
    assert main(arguments) == 2
    said = capsys.readouterr().out
    assert (
        "failed  a.mp4: " in said
        and "2 done (2 in this run), 1 failed" in said
        and (out / "deep/b.mp4/tracks.json").is_file()
    )
    for wrong, message in ((["--save", "gif"], "cannot save 'gif'"), (["--workers", "0"], "--workers is 0"), (["--out", str(folder)], "is the folder of the videos"),
                           (["--bank", "none"], "there is no bank 'none'")):  # fmt: skip
        assert main([*arguments, *wrong]) == 2
        assert message in capsys.readouterr().err
