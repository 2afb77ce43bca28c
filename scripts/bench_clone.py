#!/usr/bin/env python3
"""How long until a newcomer sees a result: a fresh clone in a folder with a space, `make demo` twice, `make test`, import.

    python scripts/bench_clone.py --json assets/figures/clone.json

Clones the committed state. The last line of output is the JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--skip-tests", action="store_true")
    args = parser.parse_args(argv)
    sys.path.insert(0, str(ROOT))
    from vidmem.evaluation.machine import check_writable, write_figure

    check_writable(args.json)
    os.environ["VIDMEM_GATE"] = "0"  # in the background it would take cores from what is timed next

    def timed(*command, cwd):
        began = time.perf_counter()
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        print(f"{' '.join(command)}: {time.perf_counter() - began:.1f} s\n{done.stdout[-600:]}", flush=True)
        return round(time.perf_counter() - began, 2)

    with tempfile.TemporaryDirectory(prefix="a folder ") as folder:
        clone = Path(folder) / "vidmem clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        figure = {"command": "scripts/bench_clone.py", "demo_first_s": timed("make", "demo", cwd=clone)}
        figure["demo_again_s"] = timed("make", "demo", cwd=clone)
        python = str(clone / ".venv/bin/python")
        imports = []
        for _ in range(7):
            code = "import time; t = time.perf_counter(); import vidmem; print(time.perf_counter() - t)"
            imports.append(
                float(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout)
            )
        figure["import_s"] = round(median(imports), 3)
        if not args.skip_tests:
            figure["test_s"] = timed("make", "test", cwd=clone)
    write_figure(figure, args.json)
    print(json.dumps(figure))


if __name__ == "__main__":
    main()
