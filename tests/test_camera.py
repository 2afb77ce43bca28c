"""A camera's frames come as they come: the newest is taken, the others leave gaps, nothing piles up, and what was written is whole."""

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from clips import encode as write_clip
from scenes import click, new_session, scene

import vidmem
from vidmem.cli.main import main
from vidmem.errors import PromptError, SourceError
from vidmem.video import Camera, Sink, is_camera, open_camera
from vidmem.video.camera import without_password

ROOT = Path(__file__).resolve().parents[1]
FRAMES = 30


class Slow(SimpleHTTPRequestHandler):
    """A stream: pictures as MPEG-TS, piece by piece over as many seconds as its name says."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        path = Path(self.directory) / self.path.lstrip("/")
        data, seconds = path.read_bytes(), float(path.stem)
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        for at in range(0, len(data), 188):
            try:
                self.wfile.write(data[at : at + 188])
            except OSError:
                return
            time.sleep(seconds * 188 / len(data))


@pytest.fixture
def address(tmp_path):
    write_clip(tmp_path / "2.ts", [scene(t).image for t in range(FRAMES)])
    write_clip(tmp_path / "60.ts", [scene(t).image for t in range(1500)])
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Slow, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/2.ts"
    server.shutdown()


@pytest.mark.parametrize(
    "source, camera",
    [("0", True), ("12", True), ("/dev/video0", True), ("rtsp://host/a", True), ("HTTP://host", True), ("clip.mp4", False),
     ("2024", False), ("file:///etc/passwd", False), ("concat:a", False), ("rtsp", False), (Path("0"), True), ("", False)],
)  # fmt: skip
def test_what_is_a_camera(source, camera):
    assert is_camera(source) is camera


def test_a_source_says_whether_it_is_live(address, tmp_path):
    with open_camera(address) as camera, vidmem.open_video(tmp_path / "2.ts") as video:
        assert camera.live and not video.live and camera.frame_rate == video.frame_rate


def test_the_newest_frame_is_taken_and_the_others_are_counted(address):
    with Camera(address) as camera:
        assert camera.wait()
        first = camera.take()
        while not camera.over:
            time.sleep(0.02)
        last = camera.take()
        assert camera.take() is None and not camera.wait() and camera.error == ""
    assert last.index == FRAMES - 1 and last.pts_seconds > first.pts_seconds
    assert (
        camera.dropped == FRAMES - 2 - first.index if first.index == 0 else camera.dropped >= FRAMES - 2 - first.index
    )


def test_a_slow_session_misses_frames_and_results_say_which_and_when(address):
    """Indices and times are the source's; the banks count what was stepped."""

    class Slowly:
        def __init__(self, session):
            self.session, self.seen = session, []

        def step(self, frame):
            time.sleep(0.15)
            self.seen.append((frame.index, frame.pts_seconds))
            return self.session.step(frame)

        def __getattr__(self, name):
            return getattr(self.session, name)

    class Kept(Sink):
        def __init__(self):
            self.results = []

        def write(self, frame, result):
            assert frame.index == result.frame_idx and frame.pts_seconds == result.pts_seconds
            self.results.append(result)

        def close(self):
            pass

    session, kept, report = Slowly(new_session()), Kept(), vidmem.Report()
    with open_camera(address) as camera:
        vidmem.track(camera, session, [vidmem.PromptAt(1, None, points=click(1, 0))], [kept], report=report)
    indices = [result.frame_idx for result in kept.results]
    assert [(r.frame_idx, r.pts_seconds) for r in kept.results] == session.seen
    assert indices == sorted(set(indices)) and indices[-1] - indices[0] > len(indices) and report.dropped > 0
    held = session.memories(1)
    assert [m.verdict.frame_idx - held[0].verdict.frame_idx for m in held][-2:] == [len(indices) - 2, len(indices) - 1]
    assert [m.frame_idx for m in held][-1] == indices[-1] and "of the camera's were left out" in report.summary()


def test_the_stream_may_end_and_end_says_when_to_stop(address):
    with open_camera(address, end=5, max_size=32) as camera:
        frames = list(camera)
    assert 1 <= len(frames) <= 5 and all(f.index < 5 and max(f.size) == 32 for f in frames) and camera.scale == 0.5


@pytest.mark.parametrize("source", ["97", "rtsp://127.0.0.1:9/x", "http://user:secret@127.0.0.1:9/x"])
def test_a_camera_that_is_not_there_is_said_in_a_line(source, tmp_path, capsys):
    assert main(["track", source, "--box", "1,1,20,20", "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "the camera" in said and "cannot be read" in said and "secret" not in said
    assert not list(tmp_path.iterdir())


def test_what_needs_a_whole_video_is_refused(address, tmp_path, capsys):
    for more in (["--reverse"], ["--both-ways"], ["--start", "3"]):
        assert main(["track", address, "--box", "1,1,20,20", "--out", str(tmp_path / "out"), *more]) == 2
        assert "are for files" in capsys.readouterr().err
    with open_camera(address) as camera, pytest.raises(PromptError, match="may be left out"):
        vidmem.track(camera, new_session(), [vidmem.PromptAt(1, 7, points=click(1, 0))])
    for wrong in ("clip.mp4", "file:///etc/passwd"):
        with pytest.raises(SourceError, match="no address of a camera"):
            Camera(wrong)


def test_a_picture_beyond_the_bound_is_refused(address):
    with (
        pytest.raises(SourceError, match="64x52; expected at most 1000 pixels"),
        Camera(address, most_pixels=1000) as camera,
    ):
        list(camera)


def test_a_password_is_not_shown():
    assert without_password("rtsp://me:secret@host:554/a?token=x") == "rtsp://host:554/a"


@pytest.mark.skipif(not (ROOT / "models/nano/encode.onnx").is_file(), reason="no nano weights")
def test_ctrl_c_leaves_whole_files(address, tmp_path):
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "vidmem",
        "track",
        address.replace("/2.ts", "/60.ts"),
        "--box",
        "0,4,14,18",
        "--threads",
        "1",
        "--out",
        str(out),
    ]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    )  # fmt: skip
    until = time.monotonic() + 60
    while not list(out.glob("masks/*.png")) and time.monotonic() < until and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    count = len(list(out.glob("masks/*.png")))
    assert process.returncode == 130 and "what was written is whole" in said and count >= 1
    assert len((out / "masks.jsonl").read_text().splitlines()) == count
    with vidmem.open_video(out / "overlay.mp4") as video:
        assert len(list(video)) == count
