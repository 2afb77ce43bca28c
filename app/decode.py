"""Reads an upload in a process of its own, with little memory and time: `python decode.py FILE FOLDER LIMITS`.

Video decoders are where files attack. This process knows no other visitor's files by name, may not become large, and what it writes is
plain JPEG. Playlists, which name other files and addresses, are refused before anything is opened by what they name.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

DEMUXERS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,ogg,flv,asf,gif,mxf,m4v,h264,hevc,yuv4mpegpipe,ivf"
QUALITY = 95


def main(path: str, folder: str, limits: str) -> None:
    import resource

    limits = json.loads(limits)
    resource.setrlimit(resource.RLIMIT_AS, (limits["decode_mb"] << 20,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (limits["decode_seconds"],) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import av
    import cv2

    from vidmem.errors import VidmemError
    from vidmem.video import open_video

    try:
        if not Path(path).is_dir():  # which is a saved project's frames
            with av.open(path, options={"format_whitelist": DEMUXERS, "protocol_whitelist": "file"}) as container:
                if not container.streams.video:
                    raise ValueError("it has no picture")
    except (av.FFmpegError, ValueError, OSError) as error:
        fail(f"this is no video that the app takes ({getattr(error, 'strerror', None) or error}); try MP4, MOV, MKV, WebM or AVI")
    try:
        count = 0
        with open_video(Path(path), max_size=limits["longer_side"]) as video:
            say(size=list(video.size), fps=float(video.frame_rate or 25), expected=video.frame_count)
            for frame in video:
                if count == limits["frames"]:
                    say(cut=True)
                    break
                name = Path(folder) / f"{count:05d}.jpg"
                cv2.imwrite(str(name), frame.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
                count += 1
                if count % 10 == 0:
                    say(count=count)
            say(count=count, problems=video.problems)
    except VidmemError as error:
        fail(str(error).replace(path, "the video"))


def say(**what) -> None:
    print(json.dumps(what), flush=True)


def fail(message: str) -> None:
    say(error=message)
    sys.exit(1)


def decode(path: Path, folder: Path, limits, heard: Callable[[dict], None], stopped: Callable[[], bool]) -> str:
    """Run the process; `heard` gets each line it says. -> what went wrong, or an empty text. stopped: asked now and then; True ends it."""
    import os

    numbers = {name: getattr(limits, name) for name in ("decode_mb", "decode_seconds", "longer_side", "frames")}
    root = str(Path(__file__).resolve().parents[1])
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": os.pathsep.join([root, *sys.path]), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, __file__, str(path), str(folder), json.dumps(numbers)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=environment, cwd=folder,
    )  # fmt: skip
    error = ""
    try:
        for line in process.stdout:
            try:
                said = json.loads(line)
            except ValueError:
                continue
            error = said.get("error", error)
            heard(said)
            if stopped():
                return "stopped"
    finally:
        process.kill()
        code = process.wait()
    if error or code == 0:
        return error
    return f"reading the video took more than {limits.decode_seconds} s or {limits.decode_mb} MB; cut it, or use the command line" if code < 0 else "this video cannot be read"


if __name__ == "__main__":
    main(*sys.argv[1:])
