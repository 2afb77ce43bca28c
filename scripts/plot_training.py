#!/usr/bin/env python3
"""Draw the training and validation curves of the embedded model.

python scripts/plot_training.py --run runs/nano         # reads its logs, writes assets/figures/training.json and the picture
python scripts/plot_training.py                         # the picture again, from the committed JSON
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FIGURE = ROOT / "assets/figures/training.json"
SMOOTH = 10  # rows of the log that are averaged


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a folder with log.jsonl and validation.jsonl")
    parser.add_argument("--out", type=Path, default=ROOT / "assets/nano_training.png")
    args = parser.parse_args(argv)

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    if args.run:
        FIGURE.write_text(
            json.dumps(
                {"training": rows(args.run / "log.jsonl"), "validation": rows(args.run / "validation.jsonl")}, indent=1
            )
            + "\n"
        )
    figure = json.loads(FIGURE.read_text())
    picture, (left, right) = pyplot.subplots(1, 2, figsize=(11, 3.6), sharex=True)
    for name, label in (
        ("track", "tracked"),
        ("box", "from a box"),
        ("click", "from a click"),
        ("silent", "silent while absent"),
        ("seen", "seen while present"),
    ):
        steps, values = zip(*((row["step"], row[name]) for row in figure["training"] if name in row))
        means = [
            sum(values[max(0, i - SMOOTH) : i + 1]) / len(values[max(0, i - SMOOTH) : i + 1])
            for i in range(len(values))
        ]
        left.plot(steps, means, label=label)
    for name, label in (
        ("mask", "J&F from masks"),
        ("box", "from boxes"),
        ("click", "from clicks"),
        ("stories", "J&F, stories"),
        ("returned", "J after a return"),
    ):
        found = [(row["step"], row[name]) for row in figure["validation"] if name in row]
        right.plot(*zip(*found), marker="o", label=label) if found else None
    left.set_title("training clips: IoU, presence")
    right.set_title("held-out videos and stories")
    for side in (left, right):
        side.set_xlabel("step")
        side.set_ylim(0, 1)
        side.grid(alpha=0.3)
        side.legend(fontsize=8, loc="lower right")
    picture.tight_layout()
    picture.savefig(args.out, dpi=90)


def rows(path: Path) -> list[dict]:
    """The lines of a log; a run that was restarted repeats steps, of which the last count."""
    said = [json.loads(line) for line in path.read_text().splitlines()]
    return sorted({row["step"]: row for row in said}.values(), key=lambda row: row["step"])


if __name__ == "__main__":
    main()
