"""What an engine does beside its work: it reports nothing, keeps nothing where nobody asked for it, and does not hang in a forked process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

STEP = """
import json, os, sys
import numpy as np
import vidmem
session = vidmem.load("nano", runtime="RUNTIME", threads=1).session()
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


@pytest.fixture(params=["onnx", "openvino"])
def runtime(request):
    pytest.importorskip({"onnx": "onnxruntime"}.get(request.param, request.param))
    if not (ROOT / "models/nano/encode.onnx").is_file():
        pytest.skip("no nano weights")
    return request.param


def test_an_engine_reports_nothing_and_keeps_nothing(runtime, tmp_path):
    """Left alone ONNX Runtime writes `.ses` into the temporary folder, and both keep a number of this machine and their events in the home."""
    said = json.loads(run(STEP.replace("RUNTIME", runtime), tmp_path))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert said == {"sockets": [], "telemetry": "1" if runtime == "onnx" else None}


@pytest.mark.skipif(not (ROOT / "models/nano/encode.onnx").is_file(), reason="no nano weights")
def test_who_wants_its_reports_has_them(tmp_path):
    pytest.importorskip("onnxruntime")
    assert '"telemetry": "0"' in run(STEP.replace("RUNTIME", "onnx"), tmp_path, ORT_DISABLE_TELEMETRY="0")


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


FORK = """
import os, time
import numpy as np
import vidmem
image = np.zeros((64, 96, 3), np.uint8)

def go():
    session = tracker.session()
    session.add(1, box=(8, 8, 24, 24))
    session.step(image)

tracker = vidmem.load("nano", runtime="RUNTIME", threads=1)
go()
child = os.fork()
if not child:
    go()
    os._exit(7)
until = time.monotonic() + 60
while time.monotonic() < until:
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        raise SystemExit(0 if os.waitstatus_to_exitcode(status) == 7 else "the child broke")
    time.sleep(0.05)
os.kill(child, 9)
raise SystemExit("the child hangs")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_process_that_was_forked_after_a_step_can_step(runtime, tmp_path):
    """As `multiprocessing` does by default on Linux before Python 3.14: with one thread there is none that the child lacks."""
    run(FORK.replace("RUNTIME", runtime), tmp_path)
