"""Every example runs as it stands, and the page on Python names all that is public."""

import ast
import re
import runpy
from pathlib import Path

import pytest

import vidmem

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PAGE = (ROOT / "docs/python.md").read_text(encoding="utf-8")

SAYS = {
    "01_one_line": "object 1: 12 frames tracking",
    "02_frame_by_frame": "tracking",
    "03_correct": "taken back",
    "04_several_objects": "object 2: 4 frames",
    "05_effects": "out/green.png",
    "06_opencv": "frame 4",
    "07_memory_banks": "surprise: remembers frames [0",
    "08_own_sink": "pixels a second",
    "09_both_ways": "object 1: 10 frames tracking",
    "10_read_results": "frame 4",
    "11_go_on_later": "frame 11: object 1 tracking",
}


def test_there_are_eleven_examples_and_each_is_short():
    assert [path.stem for path in EXAMPLES] == list(SAYS)
    assert all(len(path.read_text().splitlines()) <= 45 for path in EXAMPLES)


@pytest.mark.skipif(not (ROOT / "models/nano/encode.onnx").is_file(), reason="no nano weights")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_as_it_stands(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path), run_name="__main__")
    out = capsys.readouterr().out
    assert SAYS[path.stem] in out
    for name in re.findall(r"\bout/[\w./-]+", out):
        assert Path(name).exists(), name


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_begins_with_what_it_shows_and_is_listed(path):
    doc = ast.get_docstring(ast.parse(path.read_text()))
    assert doc and f"[{path.stem}](../examples/{path.name})" in PAGE


def test_the_page_names_every_public_name_and_no_other():
    listed = set(re.findall(r"^\| `vidmem\.(\w+)", PAGE, re.M))
    assert listed == set(vidmem.__all__)


def test_the_notebook_was_executed_as_it_stands():
    import json
    import sys

    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from make_notebook import CELLS
    finally:
        sys.path.pop(0)
    cells = json.loads((ROOT / "examples/tour.ipynb").read_text(encoding="utf-8"))["cells"]
    assert [(cell["cell_type"], "".join(cell["source"])) for cell in cells] == CELLS
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert all(out["output_type"] != "error" for cell in code for out in cell["outputs"])
    assert any("image/png" in out.get("data", {}) for cell in code for out in cell["outputs"])
