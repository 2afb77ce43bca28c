"""Nothing is sent anywhere, and nothing is kept where nobody asked for it: what engines would do by themselves is switched off."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")
ROOT = Path(__file__).resolve().parents[1]

STEP = """
import json, os, sys
import numpy as np
import vidmem
session = vidmem.load("nano", runtime="onnx", threads=1).session()
session.add(1, box=(8, 8, 24, 24))
session.step(np.zeros((64, 96, 3), np.uint8))
sockets = []
for handle in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []:
    try:
        target = os.readlink(f"/proc/self/fd/{handle}")
    except OSError:
        continue
    sockets += [target] if target.startswith("socket:") else []
print(json.dumps({"sockets": sockets, "telemetry": os.environ.get("ORT_DISABLE_TELEMETRY")}))
"""


def run(program: str, home: Path, **more: str) -> str:
    """In a process of its own, for what is imported once is imported; its home and its temporary folder are empty."""
    for name in ("home", "tmp"):
        (home / name).mkdir()
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "ORT_", "RAY_"))}
    environment = plain | {"HOME": str(home / "home"), "TMPDIR": str(home / "tmp"), "PYTHONPATH": str(ROOT)} | more
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not (ROOT / "models/nano/encode.onnx").is_file(), reason="no nano weights")
def test_onnxruntime_reports_nothing_and_keeps_nothing(tmp_path):
    """Left alone it writes `.ses` into the temporary folder, and a number of this machine and a database of events into the home."""
    said = json.loads(run(STEP, tmp_path))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert said == {"sockets": [], "telemetry": "1"}


@pytest.mark.skipif(not (ROOT / "models/nano/encode.onnx").is_file(), reason="no nano weights")
def test_who_wants_its_reports_has_them(tmp_path):
    assert '"telemetry": "0"' in run(STEP, tmp_path, ORT_DISABLE_TELEMETRY="0")


def test_ray_is_told_to_report_nothing(monkeypatch):
    ray = pytest.importorskip("ray")
    from vidmem.batch import RayCrew

    class Begun(Exception):
        pass

    def init(*given, **how):
        seen.append(os.environ.get("RAY_USAGE_STATS_ENABLED"))  # what Ray looks at when a cluster begins
        raise Begun

    seen = []
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(Begun):
        RayCrew(None, 1, "local")
    assert seen == ["0"]
