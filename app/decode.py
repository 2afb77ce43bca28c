"""Reads an upload, a video or a saved project, in a process of its own with little memory and time: `python -m app.decode FILE FOLDER LIMITS`.

Decoders are where files attack. This process knows no other visitor's files by name, may not become large, and what it writes is plain JPEG.
Playlists, which name other files and addresses, are refused before anything is opened by what they name. It says what it does in lines of JSON,
and ends when the app does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from .limits import COUNTS, FASTEST, SLOWEST, Limits

DEMUXERS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,ogg,flv,asf,gif,mxf,m4v,h264,hevc,yuv4mpegpipe,ivf"
QUALITY = 95
LINE = COUNTS + (64 << 10)  # bytes of a line that is said


def main(path: str, folder: str, numbers: str, app: str) -> None:
    import resource

    limits = Limits(**json.loads(numbers))
    resource.setrlimit(resource.RLIMIT_AS, (limits.decode_mb << 20,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (limits.decode_seconds,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(10)  # clicks come first
    threading.Thread(target=follow, args=(int(app),), daemon=True).start()
    from vidmem.errors import VidmemError

    try:
        read(Path(path), Path(folder), limits)
    except VidmemError as error:
        fail(str(error).replace(path, "the video"))
    except (MemoryError, ImportError):  # a library that finds no room is not imported
        fail(
            f"reading it takes more than {limits.decode_mb} MB, which is the limit here; make the video smaller, or use the command line"
        )
    except OSError as error:  # a full disk, most likely
        fail(f"the server cannot keep it ({error.strerror}); try a shorter video, or tell who runs this server")


def follow(app: int) -> None:
    """Nobody waits for the frames any more when the app is gone, however it went."""
    while os.getppid() == app:
        time.sleep(0.5)
    os._exit(1)


def read(path: Path, folder: Path, limits: Limits) -> None:
    from .archive import records, unpack

    if path.is_dir():  # of this machine's own: nobody can send one
        frames(path, folder, limits)
        return
    with path.open("rb") as file:
        packed = file.read(2) == b"PK"
    if not packed:
        check(path)
        frames(path, folder, limits)
        return
    unpacked = folder / "unpacked"
    unpacked.mkdir()
    try:
        saved = unpack(path, unpacked, limits)
        count, size = frames(unpacked, folder, limits)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    for record in records(saved, count, size, limits) if saved is not None else ():
        say(saved=record)


def check(path: Path) -> None:
    """Raises `Refused` for what is no video of a kind that names no other files."""
    import av

    from .limits import Refused

    try:
        with av.open(str(path), options={"format_whitelist": DEMUXERS, "protocol_whitelist": "file"}) as container:
            if not container.streams.video:
                raise ValueError("it has no picture")
    except MemoryError:
        raise
    except (av.FFmpegError, ValueError, OSError) as error:
        raise Refused(
            f"this is no video that the app takes ({getattr(error, 'strerror', None) or error}); try MP4, MOV, MKV, WebM or AVI"
        ) from None


def frames(path: Path, folder: Path, limits: Limits) -> tuple[int, tuple[int, int]]:
    """A video, or a folder of pictures, as JPEG files -> how many, and (H, W) of each."""
    import cv2

    from vidmem.video import open_video

    count = size = 0
    with open_video(path, max_size=limits.longer_side) as video:
        say(
            size=list(video.size),
            fps=min(max(float(video.frame_rate or 25), SLOWEST), FASTEST),
            expected=video.frame_count,
        )
        for frame in video:
            if count == limits.frames or size > limits.frames_mb << 20:
                say(cut=True)
                break
            name = folder / f"{count:05d}.jpg"
            name.write_bytes(cv2.imencode(".jpg", frame.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])
            count, size = count + 1, size + name.stat().st_size
            if count % 10 == 0:
                say(count=count)
        say(count=count, problems=video.problems[:5])
        return count, video.size


def say(**what) -> None:
    print(json.dumps(what), flush=True)


def fail(message: str) -> None:
    say(error=message[:500])
    sys.exit(1)


def decode(path: Path, folder: Path, limits: Limits, heard: Callable[[dict], None], stopped: Callable[[], bool]) -> str:
    """Run the process; `heard` gets each thing it says. -> what went wrong, or an empty text. stopped: asked ten times a second; True ends it."""
    root = str(Path(__file__).resolve().parents[1])
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": os.pathsep.join([root, *filter(None, sys.path)]),
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", f"{__package__}.decode", str(path), str(folder), json.dumps(dataclasses.asdict(limits)), str(os.getpid())],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, cwd=folder,
    )  # fmt: skip
    threading.Thread(target=watch, args=(process, 2 * limits.decode_seconds, stopped), daemon=True).start()
    error = ""
    try:
        while line := process.stdout.readline(LINE):
            with contextlib.suppress(ValueError, RecursionError):
                report = json.loads(line)
                error = report.get("error", error)
                heard(report)
    finally:
        process.kill()
        code = process.wait()
        process.stdout.close()
    if error or code == 0:
        return error
    most = f"{limits.decode_seconds} s or {limits.decode_mb} MB"
    return (
        "stopped"
        if stopped()
        else f"this video cannot be read: it took more than {most}, or broke its decoder; cut it, or use the command line"
    )


def watch(process: subprocess.Popen, seconds: float, stopped: Callable[[], bool]) -> None:
    """Ends it when it should stop, or has said nothing for long: a process that hangs uses no time that the system counts."""
    until = time.monotonic() + seconds
    while process.poll() is None:
        if stopped() or time.monotonic() > until:
            process.kill()
        time.sleep(0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
