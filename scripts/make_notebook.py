#!/usr/bin/env python3
"""Write examples/tour.ipynb and execute it, so that what it shows is what happened.

pip install nbclient ipykernel nbformat && python scripts/make_notebook.py
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CELLS = [
    ('markdown', '# A tour of vidmem\n\nA fish is followed, hidden, lost and found again. Run it from a checkout: `pip install ".[cpu]"`, then open it in Jupyter.'),
    ('code', 'from collections import Counter\n\nimport vidmem\n\nvideo = vidmem.open_video("../assets/demo.mp4")\ntracker = vidmem.load("nano", runtime="onnx")\ntracker, len(video), video.size'),
    ('markdown', 'A box on the first frame says what to follow. Coordinates are source pixels; a result shows itself.'),
    ('code', 'session = tracker.session()\nsession.add(1, box=(43, 154, 201, 255))\nresults = [session.step(frame) for frame in list(video)[:120]]\nresults[0]'),
    ('code', 'frames = list(video)[:120]\nresults[60].plot(frames[60]).reduce(2)'),
    ('markdown', 'What the session believes, frame by frame. Scores are predicted IoUs.'),
    ('code', 'print(Counter(result.status[0].value for result in results))\nprint(min(results, key=lambda result: result.scores[0]))'),
    ('markdown', 'What is remembered, and what of it the next frame reads.'),
    ('code', 'for entry in session.memories(1):\n    print(\n        entry.frame_idx,\n        f"{entry.verdict.iou:.2f}",\n        "prompted" if entry.prompted else "",\n        "read next" if entry.read else "",\n    )'),
    ('markdown', 'A click on the newest frame adds another object; `undo` takes it back.'),
    ('code', 'added = session.add(2, points=[(330, 200)], labels=[1])\nprint(added)\nsession.undo(), session.obj_ids'),
    ('markdown', 'The same in one line, into files:'),
    ('code', 'import tempfile\n\nwith tempfile.TemporaryDirectory() as out:\n    print(\n        vidmem.track(\n            "../assets/demo.mp4", box=(43, 154, 201, 255), out=out, save=["csv", "rle"], progress=False\n        ).summary()\n    )\nsession.close()'),
]  # fmt: skip


def main() -> None:
    import nbformat
    from nbclient import NotebookClient

    make = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    book = nbformat.v4.new_notebook(cells=[make[kind](text) for kind, text in CELLS])
    for n, cell in enumerate(book.cells):
        cell["id"] = f"cell-{n}"  # not a new one each time
    NotebookClient(book, timeout=600, resources={"metadata": {"path": str(ROOT / "examples")}}).execute()
    book.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for cell in book.cells:
        cell.metadata.pop("execution", None)  # times of this machine
    nbformat.write(book, ROOT / "examples/tour.ipynb")


if __name__ == "__main__":
    main()
