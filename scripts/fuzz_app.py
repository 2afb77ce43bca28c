#!/usr/bin/env python3
"""One hostile visitor of the app beside an honest one: how long the honest one's click takes meanwhile.

    python scripts/fuzz_app.py --seconds 60

Both are processes of their own; the app runs with nano and one thread, as `python -m app` starts it. The hostile one, whose own work gives way
to the app's because it would be done elsewhere, does everything it can think of
at once, in random order: masks that claim to be huge or are very long, floods of points, searches as broad as they come, tracking of as many
objects as there may be, projects that swell, uploads that never end, sixty prompts and sockets together, headers that never end, answers that nobody
takes. The honest one clicks, half a second after each answer. The last line is JSON; exit 1 when the median click takes over `--most` seconds, when
the app answers anything with a 5xx that is not "full", or when it needs over `--most-mb` of memory.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from pathlib import Path
from statistics import median

import httpx
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SIZE, COUNT = (180, 320), 40


def make_clip(path: Path) -> None:
    import av

    ground = (
        np.random.default_rng(0)
        .integers(0, 255, (SIZE[0] // 10, SIZE[1] // 10, 3), np.uint8)
        .repeat(10, 0)
        .repeat(10, 1)
    )
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for t in range(COUNT):
            image = ground.copy()
            image[60:120, 40 + 4 * t : 100 + 4 * t] = (220, 30, 30)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


class Visitor:
    def __init__(self, address: str, clip: Path):
        self.clip, self.client = clip.read_bytes(), httpx.Client(base_url=address, timeout=60)
        self.arrive()

    def arrive(self) -> None:
        self.path = f"/api/visits/{self.client.post('/api/visits').json()['token']}"
        self.post("video", content=self.clip)
        self.wait()

    def post(self, path: str, **said) -> httpx.Response:
        return self.client.post(f"{self.path}/{path}", **said)

    def wait(self, seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while self.client.get(f"{self.path}/state?since=1000000000").json().get("busy") and time.monotonic() < until:
            time.sleep(0.05)

    def click(self, frame_idx: int, obj_id: int = 1) -> httpx.Response:
        return self.post(
            "prompt", json={"frame_idx": frame_idx, "obj_id": obj_id, "points": [[70 + 4 * frame_idx, 90]]}
        )


class Hostile:
    """Every method but `run` is an attack; what it is answered with is counted."""

    def __init__(self, address: str, clip: Path, seed: int):
        self.visitor, self.address, self.random, self.codes = (
            Visitor(address, clip),
            address,
            random.Random(seed),
            Counter(),
        )
        self.host, port = address.removeprefix("http://").split(":")
        self.port = int(port)

    def run(self, seconds: float) -> dict:
        until = time.monotonic() + seconds
        attacks = [getattr(self, name) for name in vars(type(self)) if not name.startswith("_") and name != "run"]

        def go():
            while time.monotonic() < until:
                with contextlib.suppress(httpx.HTTPError, OSError, KeyError, ValueError):
                    answer = self.random.choice(attacks)()
                    if answer is not None:
                        self.codes[answer.status_code] += 1
                        if answer.status_code == 500:
                            print("500:", answer.request.url.path, answer.text[:200], file=sys.stderr)

        threads = [threading.Thread(target=go, daemon=True) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, until + 15 - time.monotonic()))
        return {str(code): count for code, count in sorted(self.codes.items())}

    def _prompt(self, **said):
        return self.visitor.post(
            "prompt", json={"frame_idx": self.random.randrange(COUNT), "obj_id": self.random.randrange(1, 21)} | said
        )

    def claims_a_huge_mask(self):
        return self._prompt(mask={"size": list(SIZE), "counts": "0" + "PPPPPP1"})

    def long_mask(self):
        return self._prompt(mask={"size": list(SIZE), "counts": "o" * self.random.choice([1000, 200_000, 400_000])})

    def many_points(self):
        return self._prompt(points=[[9, 9]] * self.random.choice([50, 100, 1000, 40_000]))

    def deep(self):
        return self.visitor.post("prompt", content=b"[" * self.random.choice([5000, 400_000, 5_000_000]))

    def numbers(self):
        return self.visitor.post(
            "settings",
            json={
                "search": "tree",
                "search_numbers": {"width": self.random.choice([1, 2, 8, 10**4, 10**9]), "uncertainty": 100},
            },
        )

    def many_slots(self):
        return self.visitor.post(
            "settings", json={"bank": "recent", "bank_numbers": {"slots": self.random.choice([7, 32, 10**9])}}
        )

    def many_objects(self):
        for obj_id in range(1, 21):
            self.visitor.click(obj_id % COUNT, obj_id)
        return self.visitor.post("track", json={"from": 0})

    def sixty_prompts(self):
        def ask():
            with contextlib.suppress(httpx.HTTPError):
                self.codes[self._prompt(points=[[9, 9]]).status_code] += 1

        threads = [threading.Thread(target=ask, daemon=True) for _ in range(60)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def asks_for_everything(self):
        return self.visitor.client.get(f"{self.visitor.path}/state")

    def swelling_project(self):
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(
                "project.json", '{"version": 1, "x": [' + "[]," * self.random.choice([100_000, 5_000_000]) + "[]]}"
            )
        return self.visitor.post("video", content=data.getvalue())

    def export(self):
        return self.visitor.post(f"export/{self.random.choice(['project', 'webm', 'rgba', 'csv'])}")

    def uploads_that_never_end(self):
        for connection in [
            self._open(
                f"POST {self.visitor.path}/video HTTP/1.1\r\nHost: {self.host}\r\nContent-Length: 100000000\r\n\r\n"
            )
            for _ in range(8)
        ]:
            connection.sendall(bytes(1 << 20))

    def headers_that_never_end(self):
        for _ in range(20):
            self._open(f"GET / HTTP/1.1\r\nHost: {self.host}\r\n")

    def takes_no_answer(self):
        for _ in range(5):
            self._open(f"GET /static/app.js HTTP/1.1\r\nHost: {self.host}\r\n\r\n")

    def sockets(self):
        key = "\r\n".join(
            [
                "Upgrade: websocket",
                "Connection: Upgrade",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            ]
        )
        for _ in range(20):
            self._open(f"GET {self.visitor.path}/live HTTP/1.1\r\nHost: {self.host}\r\n{key}\r\n\r\n")

    def gradios_upload(self):
        return self.visitor.client.post("/gradio_api/upload", files={"files": ("x", bytes(1000))})

    def comes_anew(self):
        if self.random.random() < 0.1:
            old, self.visitor.path = self.visitor.path, "/api/visits/x"
            self.visitor.client.post(f"{old}/end")
            self.visitor.arrive()

    def _open(self, text: str) -> socket.socket:
        connection = socket.create_connection((self.host, self.port), 10)
        self._kept = [*getattr(self, "_kept", [])[-300:], connection]
        connection.sendall(text.encode())
        return connection


def clicks(visitor: Visitor, seconds: float, pause: float = 0.5) -> list[float]:
    """How long each took, in seconds; one that was not answered with 200 counts as a minute."""
    took, until, n = [], time.monotonic() + seconds, 0
    while time.monotonic() < until:
        began = time.monotonic()
        try:
            good = visitor.click(n % 20).status_code == 200
        except httpx.HTTPError:
            good = False
        took.append(time.monotonic() - began if good else 60.0)
        n += 1
        if n % 15 == 0:
            visitor.post("objects/1", json={"remove": True})  # so that there is room for another prompt
        time.sleep(pause)
    return took


def peak_mb(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) // 1024


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--most", type=float, default=1.0, help="seconds that the median click may take (default: %(default)s)"
    )
    parser.add_argument(
        "--most-mb",
        type=int,
        default=1280,
        help="that the app may need at most, an engine's graphs for all shapes of frames among it (default: %(default)s)",
    )
    parser.add_argument("--attack", nargs=2, metavar=("ADDRESS", "CLIP"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.attack:
        os.nice(19)
        print(json.dumps(Hostile(args.attack[0], Path(args.attack[1]), args.seed).run(args.seconds)), flush=True)
        os._exit(0)  # threads that wait for an answer are no reason to stay
    with socket.socket() as probe, tempfile.TemporaryDirectory() as folder:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        make_clip(clip := Path(folder) / "clip.mp4")
        environment = os.environ | {
            "TMPDIR": folder,
            "XDG_DATA_HOME": folder,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        }
        app = subprocess.Popen(
            [sys.executable, "-m", "app", "--port", str(port), "--threads", "1"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            for _ in range(600):
                with contextlib.suppress(httpx.HTTPError):
                    httpx.get(f"{address}/api/about")
                    break
                time.sleep(0.1)
            honest = Visitor(address, clip)
            quiet = clicks(honest, min(5.0, args.seconds / 3))
            attack = [
                sys.executable,
                __file__,
                "--attack",
                address,
                str(clip),
                "--seconds",
                str(args.seconds),
                "--seed",
                str(args.seed),
            ]
            hostile = subprocess.Popen(attack, stdout=subprocess.PIPE, env=environment, text=True)
            time.sleep(2)
            took = clicks(honest, args.seconds - 2)
            answers = json.loads(hostile.communicate(timeout=60)[0] or "{}")
            memory, alive = peak_mb(app.pid), app.poll() is None
            app.terminate()
            app.wait(30)
            left = sum(1 for path in Path(folder).glob("vidmem-app-*/**/*"))
        finally:
            app.kill()
            app.wait()
    said = {"clicks": len(took), "median_ms": round(1000 * median(took)), "p95_ms": round(1000 * sorted(took)[int(0.95 * len(took))]),
            "quiet_median_ms": round(1000 * median(quiet)), "app_peak_mb": memory, "answers_to_the_hostile": answers, "files_left": left}  # fmt: skip
    print(json.dumps(said))
    return int(not alive or median(took) > args.most or memory > args.most_mb or left > 0 or "500" in answers)


if __name__ == "__main__":
    sys.exit(main())
