#!/usr/bin/env python3
"""What an engine costs before it runs: megabytes and seconds of its installation, and the time until the first frame is there.

    python scripts/bench_start.py --json assets/figures/start.json

Makes a virtual environment for each engine in a temporary folder, with what `vidmem` needs and that engine alone. Then processes of
both take turns, `--repeats` times; each loads `nano` on one thread and steps through frames of the demo with one object, then with two.
Seconds are the processor's, so that what else the machine does counts for less; medians are reported. The last line of output is the JSON.
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
ENGINES = {"onnx": "onnxruntime", "openvino": "openvino"}
BASE = ["numpy", "opencv-python-headless", "av", "pillow", "safetensors", "tqdm"]
CHILD = """
import json, sys, time
began = time.process_time()
import vidmem
tracker = vidmem.load("nano", runtime=sys.argv[1], threads=1)
said = {"load": time.process_time() - began}
frames, steps = list(vidmem.open_video(sys.argv[2], end=12)), []
with tracker.session() as session:
    session.add(1, box=(43, 154, 201, 255))
    for frame in frames:
        if frame.index == 8:
            session.add(2, box=(400, 200, 480, 300))
        began = time.process_time()
        session.step(frame)
        steps.append(time.process_time() - began)
usual = sorted(steps[5:8])[1]
print(json.dumps(said | {"first_frame": steps[0], "usual_frame": usual, "frame_with_a_second_object": steps[8] + steps[9]}))
"""


def installed(folder: Path, package: str) -> tuple[str, dict]:
    """A new environment with that package -> its Python, megabytes and seconds."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python, sizes = str(folder / "bin/python"), []
    for packages in (BASE, [package]):
        began = time.perf_counter()
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages], check=True)
        seconds = time.perf_counter() - began
        sizes.append(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()))
    megabytes = [round(size / 1e6) for size in sizes]
    return python, {"base_mb": megabytes[0], "with_engine_mb": megabytes[1], "install_s": round(seconds, 1)}


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    sys.path.insert(0, str(ROOT))
    from vidmem.evaluation.machine import check_writable, write_figure

    check_writable(args.json)
    runs: dict[str, list[dict]] = {name: [] for name in ENGINES}
    with tempfile.TemporaryDirectory() as folder:
        made = {name: installed(Path(folder) / name, package) for name, package in ENGINES.items()}
        settings = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "VIDMEM_CACHE": folder}
        for _ in range(args.repeats):
            for name, (python, _sizes) in made.items():
                command = [python, "-c", CHILD, name, str(ROOT / "assets/demo.mp4")]
                done = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
                runs[name].append(json.loads(done.stdout))
                print(name, runs[name][-1], flush=True)
    rows = {
        name: made[name][1] | {key: round(median(run[key] for run in own), 3) for key in own[0]}
        for name, own in runs.items()
    }
    figure = {
        "command": f"scripts/bench_start.py --repeats {args.repeats}",
        "engines": rows,
        "load_average": os.getloadavg()[0],
    }
    write_figure(figure, args.json)
    print(json.dumps(figure))


if __name__ == "__main__":
    main()
