"""However the app ends, visitors' files do not stay: after kill -9 the next start removes them, and SIGTERM does at once. Real processes."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from clips import encode as write_clip

from tests.visitors import square

pytest.importorskip("gradio", reason="the app needs gradio")
httpx = pytest.importorskip("httpx", reason="no httpx")

from app import roots  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "red.mp4", [square(t % 40) for t in range(120)])


@contextlib.contextmanager
def running(temporary: Path):
    """`python -m app` -> (process, client), its temporary files there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "TMPDIR": str(temporary),
        "XDG_DATA_HOME": str(temporary / "data"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "--port", str(port), "--threads", "1"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
    try:
        until = time.monotonic() + 60
        while True:
            try:
                client.get("/api/about")
                break
            except httpx.HTTPError:
                assert process.poll() is None and time.monotonic() < until
                time.sleep(0.1)
        yield process, client
    finally:
        client.close()
        process.kill()
        process.wait()


def work(client, clip) -> str:
    """Somebody comes, loads a video and tracks -> the address of the visit."""
    visit = f"/api/visits/{client.post('/api/visits').json()['token']}"
    assert client.post(f"{visit}/video", content=clip.read_bytes()).status_code == 200
    while client.get(f"{visit}/state").json()["busy"]:
        time.sleep(0.05)
    assert client.post(f"{visit}/prompt", json={"frame_idx": 0, "obj_id": 1, "points": [[14, 20]]}).status_code == 200
    assert client.post(f"{visit}/track", json={"from": 0}).status_code == 200
    return visit


def files(folder: Path) -> list[Path]:
    """What visitors brought; onnxruntime and Gradio keep something of their own beside it."""
    return [path for path in folder.glob(f"{roots.PREFIX}*/**/*") if path.is_file()]


def decoders(folder: Path) -> list[int]:
    """Processes that read an upload which lies in there."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if b"app.decode" in (line := path.read_bytes()) and str(folder).encode() in line:
                found.append(int(path.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_after_kill_9_nothing_runs_on_and_the_next_start_sweeps_and_removes_its_own_on_sigterm(tmp_path, clip):
    with running(tmp_path) as (process, client):
        work(client, clip)
        other = f"/api/visits/{client.post('/api/visits').json()['token']}"
        client.post(f"{other}/video", content=clip.read_bytes())  # being read when the end comes
        process.kill()
        process.wait()
    assert files(tmp_path)
    until = time.monotonic() + 10
    while decoders(tmp_path) and time.monotonic() < until:
        time.sleep(0.1)
    assert not decoders(tmp_path)
    with running(tmp_path) as (process, client):
        assert len(list(tmp_path.glob("vidmem-app-*"))) == 1 and not files(tmp_path)
        work(client, clip)
        assert files(tmp_path)
        process.send_signal(signal.SIGTERM)  # in the midst of it
        process.wait(15)
    assert not list(tmp_path.glob("vidmem-app-*"))


def test_headers_that_never_end_are_not_waited_for(tmp_path, monkeypatch):
    """As many connections as the door lets in, each with a byte now and then; a visitor comes in all the same, and they are closed."""
    import uvicorn

    from app import door

    monkeypatch.setattr(door, "SECONDS", 0.5)
    monkeypatch.setattr(door, "MOST", 20)

    async def answer(scope, receive, send):
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-length", b"40000000")] if scope["path"] == "/large" else [],
            }
        )
        await send({"type": "http.response.body", "body": bytes(40_000_000 if scope["path"] == "/large" else 2)})

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(answer, host="127.0.0.1", port=port, http=door.Door, log_level="critical", lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)

    def ended(connection, seconds: float, drip: bytes = b"") -> bool:
        until = time.monotonic() + seconds
        connection.settimeout(0.1)
        while time.monotonic() < until:
            try:
                connection.sendall(drip)
                if not connection.recv(1):
                    return True
            except TimeoutError:
                continue
            except OSError:
                return True
        return False

    try:
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
        for one in slow:
            with contextlib.suppress(OSError):
                one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200
        assert all(ended(one, 5, b"X") for one in slow)
        taker = socket.create_connection(("127.0.0.1", port))
        taker.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")  # and nothing is read of what comes
        until = time.monotonic() + 10
        while server.server_state.connections and time.monotonic() < until:
            time.sleep(0.05)
        assert not server.server_state.connections, "an answer that nobody takes is not kept"
        with httpx.Client() as polite:
            for _ in range(3):
                assert polite.get(f"http://127.0.0.1:{port}/").status_code == 200
                time.sleep(0.3)
    finally:
        server.should_exit = True
        thread.join(10)


def test_a_root_in_use_is_never_swept_and_one_left_behind_is(tmp_path, monkeypatch):
    monkeypatch.setattr(roots.tempfile, "tempdir", str(tmp_path))
    mine = roots.Root()
    (left := tmp_path / f"{roots.PREFIX}left").mkdir()
    (left / "frame.jpg").write_bytes(b"x")
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (tmp_path / f"{roots.PREFIX}link").symlink_to(elsewhere)
    (tmp_path / f"{roots.PREFIX}file").write_text("no folder")
    assert roots.sweep() == [left] and mine.path.is_dir() and elsewhere.is_dir()
    mine.close()
    mine.close()
    assert not mine.path.exists() and roots.lock(mine.path) is None
