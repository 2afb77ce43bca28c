"""Places that cannot be written, and disks that are full: said in one line, with nothing half-written and nothing left behind."""

import os
import sys

import pytest
from clips import numbered
from nowrite import unwritable

from vidmem.cli.main import main

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="permissions and limits as on Linux")


@pytest.fixture
def clip(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "p.csv").write_text("video,x0,y0,x1,y1\na.mp4,2,2,20,20\n")
    return numbered(tmp_path / "videos/a.mp4", 4)


def arguments(kind: str, folder, out) -> list[str]:
    return {
        "track": ["track", f"{folder}/videos/a.mp4", "--box", "2,2,20,20", "--runtime", "onnx", "--threads", "1", "--save", "overlay,png,rle,csv"],
        "batch": ["batch", f"{folder}/videos", "--prompts", f"{folder}/p.csv", "--runtime", "onnx", "--workers", "1", "--save", "png"],
        "export": ["export", "nano"],
    }[kind] + ["--out", str(out)]  # fmt: skip


def test_the_helper_makes_a_folder_that_cannot_be_written(tmp_path):
    with unwritable(tmp_path), pytest.raises(PermissionError):
        (tmp_path / "x").write_text("x")
    (tmp_path / "x").write_text("x")


@pytest.mark.parametrize("kind, below", [
    ("track", ""), ("track", "new/er"), ("batch", ""), ("batch", "new/er"), ("export", "new"),  # which replaces `out` itself as a whole
])  # fmt: skip
def test_a_folder_for_results_that_cannot_be_written_is_said_at_once(kind, below, clip, tmp_path, capsys):
    if kind == "export":
        pytest.importorskip("onnx")
    out = tmp_path / "out"
    with unwritable(out):
        assert main(arguments(kind, tmp_path, out / below)) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("vidmem: ") and "out" in said and "cannot be written (Permission denied)" in said
    assert "another folder" in said and list(out.iterdir()) == []


@pytest.mark.parametrize("kind", ["track", "batch"])
def test_a_source_that_cannot_be_written_is_no_hindrance(kind, clip, tmp_path):
    with unwritable(tmp_path / "videos"):
        assert main(arguments(kind, tmp_path, tmp_path / "out")) == 0
    assert list((tmp_path / "out").rglob("00003.png")) and os.listdir(tmp_path / "videos") == ["a.mp4"]


def test_a_home_that_cannot_be_written_is_no_hindrance(clip, tmp_path, monkeypatch):
    """Caches there save time, and that is all they do."""
    (tmp_path / "home").mkdir()
    for name in [name for name in os.environ if name.startswith(("XDG_", "VIDMEM_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with unwritable(tmp_path / "home"):
        assert main(arguments("track", tmp_path, tmp_path / "out")) == 0
    assert (tmp_path / "out/masks/00003.png").is_file() and os.listdir(tmp_path / "home") == []
