"""Names lead nowhere else, and results replace only what is ours."""

import json

import pytest

from vidmem.errors import OutputError, PromptError
from vidmem.names import cell, check_name, shown
from vidmem.video import Ledger, open_sinks


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/../b", "/a", "\\a", "a\\..\\b", "a\0", "\udce9", "x" * 300, "a/" * 600, None, 5, "/", "./.."],
)
def test_names_that_lead_elsewhere_are_refused_and_others_pass(name):
    from vidmem.errors import UserError

    with pytest.raises(UserError, match="a thing"):
        check_name(name, "a thing")
    for good in ("a.mp4", "deep/er/a b.mp4", "cam-12:30.mp4", "..a", "a..b", "视频.mp4", ".hidden"):
        assert check_name(good, "a thing") == good


def test_what_is_shown_has_one_line_and_what_is_a_cell_is_no_formula():
    assert shown("a\nb\x1b[31m\udce9视") == r"a\nb\x1b[31m\udce9视"
    assert [cell(v) for v in ("=1", "-x", "@a", "+", "\t=1", "plain", 5, None)] == [
        "'=1",
        "'-x",
        "'@a",
        "'+",
        r"'\t=1",
        "plain",
        5,
        None,
    ]


def test_a_second_run_leaves_nothing_of_the_first_and_everything_of_the_user(tmp_path):
    from results import frame, write

    def go(names, count):
        for sink in open_sinks(names, tmp_path, None, Ledger(tmp_path)):
            write(sink, [frame(i) for i in range(count)])

    go(["png", "csv"], 5)
    (tmp_path / "notes.txt").write_text("mine")
    go(["png"], 2)
    assert (
        sorted(p.name for p in (tmp_path / "masks").iterdir()) == ["00000.png", "00001.png"]
        and (tmp_path / "boxes.csv").is_file()
    )
    (tmp_path / "masks/mine.png").write_text("mine")
    with pytest.raises(OutputError, match="masks holds mine.png, which is no result of an earlier run, and stays"):
        go(["png"], 2)
    (tmp_path / "overlay.mp4").write_text("mine")
    with pytest.raises(OutputError, match="overlay.mp4 is no result of an earlier run, and stays"):
        go(["overlay"], 2)
    assert (
        (tmp_path / "overlay.mp4").read_text()
        == "mine"
        == (tmp_path / "notes.txt").read_text()
        == (tmp_path / "masks/mine.png").read_text()
    )
    assert (tmp_path / "masks/00001.png").is_file()


def test_a_list_of_ours_that_names_files_elsewhere_gives_no_right_to_them(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "precious").write_text("mine")
    (out / ".vidmem-files").write_text("../precious\n/etc/passwd\nboxes.csv\ncut-off-na")
    ledger = Ledger(out)
    assert ledger.names == {"boxes.csv"}
    ledger.claim("masks")
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize("way", ["file", "link to the file", "folder", "link to the folder", "folder inside", "image"])
def test_the_source_is_never_written_over(tmp_path, way):
    out = tmp_path / "r"
    (out / "masks").mkdir(parents=True)
    (out / "overlay.mp4").write_text("source")
    (out / "masks/00000.png").write_text("source")
    Ledger(out).add(out / "overlay.mp4")
    (tmp_path / "link").symlink_to(out)
    (tmp_path / "link.mp4").symlink_to(out / "overlay.mp4")
    source, where = {
        "file": (out / "overlay.mp4", out), "link to the file": (tmp_path / "link.mp4", out), "folder": (out / "masks", out),
        "link to the folder": (out / "masks", tmp_path / "link"), "folder inside": (out, out / "new"), "image": (out / "masks/00000.png", out),
    }[way]  # fmt: skip
    with pytest.raises(OutputError, match="would be written over the source"):
        open_sinks(["overlay", "png"], where, None, Ledger(where), source)
    assert (out / "overlay.mp4").read_text() == "source" == (out / "masks/00000.png").read_text()


def test_a_table_of_prompts_that_csv_cannot_read_is_a_prompt_error(tmp_path):
    from vidmem.batch import load_table

    for text in (f"video,x\na.mp4,{'1' * 200_000}\n", "video,x\na\0.mp4,1\n", 'video,x\n"a.mp4'):
        (tmp_path / "p.csv").write_text(text)
        try:
            assert all(isinstance(said, dict) for said in load_table(tmp_path / "p.csv").values())
        except PromptError as error:
            assert "p.csv" in str(error)
    (tmp_path / "p.json").write_text(json.dumps({"a.mp4": [{"obj_id": 1}]})[:-1] + "]" * 100_000)
    with pytest.raises(PromptError, match="is not JSON"):
        load_table(tmp_path / "p.json")
