#!/usr/bin/env python3
"""`kill -9` at random moments over `vidmem track`, `vidmem batch` (its driver and its workers) and the app.

    python scripts/kill_runs.py --kills 100 --seed 1

`track`: the same command into the same folder, killed again and again. After each kill every label map must open, every line must be whole, and the
overlay must play or be empty. Then one run to the end must give what an undisturbed run gives, and not a file more.

`batch`: clips with two workers. A killed driver is followed by the same command; a killed worker is the driver's own matter. Runs change `--save` now and
then, so that results are replaced too. Published (with `done.json`) must mean: the files of the list are there, and whole. Counted are published results
that are not (half-written), items whose results were published again without a reason (doubled), items without results at the end (lost), and what is
left behind: work folders, parts, processes.

`app`: a visitor loads a clip, or the project that was taken home from the app before, tracks and exports; the server is killed in the midst of it. What
was taken home whole must open and go on in the next app (else it is lost), what came must be whole, and after the next start only its own folder may be
there (two: doubled), without a file of the visitor before and without a process that still reads for it (left behind). The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]
ENVIRONMENT = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT))
KINDS = ("overlay,png,rle,csv,vos", "png,csv", "rle,sav")


def make_clip(path: Path, frames: int) -> None:
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for t in range(frames):
            image = np.full((64, 96, 3), 60, np.uint8)
            image[10:40, 10 + t % 40 : 40 + t % 40] = (230, 120, 30)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def start(*arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "vidmem", *map(str, arguments)],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def broken(folder: Path) -> list[str]:
    """Files of results that are not whole."""
    import av
    from PIL import Image

    wrong = []
    for path in folder.rglob("*"):
        try:
            if path.suffix == ".png":
                Image.open(path).load()
            elif path.suffix in (".jsonl", ".json"):
                for line in path.read_text().splitlines():
                    json.loads(line) if path.suffix == ".jsonl" else None
                if path.suffix == ".json":
                    json.loads(path.read_text())
            elif path.suffix == ".csv":
                text = path.read_text()
                if text and (not text.endswith("\n") or len({line.count(",") for line in text.splitlines()}) != 1):
                    raise ValueError("a line is cut off")
            elif path.suffix == ".mp4" and path.is_file() and path.stat().st_size > 48:  # more than FFmpeg's first box
                with av.open(str(path)) as container:
                    sum(1 for _ in container.decode(video=0))
        except av.error.InvalidDataError:
            if path.stat().st_size > 10_000:  # the first fragment was not whole yet
                wrong.append(f"{path}: does not play")
        except (OSError, ValueError, SyntaxError) as error:
            wrong.append(f"{path}: {error}")
    return wrong


def listing(folder: Path) -> dict[str, bytes]:
    """Every file -> its content, but for the overlay and the timings in a record."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: b"" if name.endswith((".mp4", "done.json")) else data for name, data in found.items()}


def killed_tracks(scratch: Path, kills: int, chance: random.Random, frames: int = 150) -> dict:
    make_clip(scratch / "clip.mp4", frames)
    arguments = [
        "track",
        scratch / "clip.mp4",
        "--box",
        "10,10,40,40",
        "--runtime",
        "onnx",
        "--threads",
        "1",
        "--save",
        KINDS[0],
        "--out",
    ]
    began = time.perf_counter()
    assert start(*arguments, scratch / "calm").wait() == 0
    whole, half, done = time.perf_counter() - began, [], 0
    while done < kills:
        process = start(*arguments, scratch / "out")
        time.sleep(chance.uniform(0.2, 1.1) * whole)
        ended = process.poll()
        process.kill()
        said = process.communicate()[1].decode()
        done += ended is None
        if ended not in (None, 0):
            half.append(f"the run after a kill was refused: {said[-300:]}")
            break
        half += broken(scratch / "out")
    process = start(*arguments, scratch / "out")
    process.wait()
    calm, out = listing(scratch / "calm"), listing(scratch / "out")
    return {"kills": done, "half_written": half, "lost": sorted(calm.keys() - out.keys()), "left_behind": sorted(out.keys() - calm.keys()),
            "different": sorted(name for name in calm.keys() & out.keys() if calm[name] != out[name])}  # fmt: skip


def children(pid: int) -> list[int]:
    """Its workers, as far as they live."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [
                int(c) for c in task.read_text().split() if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()
            ]
        except OSError:  # it died while we looked
            pass
    return found


def check_published(out: Path, seen: dict[str, tuple[int, str]], count: Counter, faults: list[str]) -> None:
    for record in out.glob("*/done.json"):
        folder = record.parent
        try:
            said, inode = json.loads(record.read_text()), record.stat().st_ino
            listed = set((folder / ".vidmem-files").read_text().split())
        except FileNotFoundError:
            continue  # being replaced at this moment by a worker that is about to notice
        missing = [name for name in listed if not (folder / name).is_file()]
        if missing or broken(folder):
            faults.append(f"{folder.name}: {missing or broken(folder)}")
        if (
            folder.name in seen
            and seen[folder.name] != (inode, said["settings"])
            and seen[folder.name][1] == said["settings"]
        ):
            count["doubled"] += 1
        seen[folder.name] = inode, said["settings"]


def killed_batches(scratch: Path, kills: int, chance: random.Random, clips: int = 8) -> dict:
    videos, out = scratch / "videos", scratch / "out"
    videos.mkdir()
    for number in range(clips):
        make_clip(videos / f"c{number}.mp4", 20 + 3 * number)
    table = scratch / "p.csv"
    table.write_text("video,x0,y0,x1,y1\n" + "".join(f"c{n}.mp4,10,10,40,40\n" for n in range(clips)))
    arguments = ["batch", videos, "--prompts", table, "--out", out, "--workers", "2", "--runtime", "onnx", "--save"]
    count, faults, seen, workers, save = Counter(), [], {}, set(), KINDS[0]
    while count["driver"] + count["worker"] < kills:
        process, target = start(*arguments, save), chance.choice(("driver", "worker"))
        until = time.perf_counter() + chance.uniform(0.4, 8.0)
        while time.perf_counter() < until and process.poll() is None:
            workers.update(children(process.pid))
            time.sleep(0.02)
        if process.poll() is not None:
            count["ended"] += 1
            save = chance.choice([kind for kind in KINDS if kind != save])
        elif target == "driver":
            process.kill()
            count["driver"] += 1
            time.sleep(0.5)  # its workers notice
        else:
            for worker in chance.sample(own, 1) if (own := children(process.pid)) else []:
                os.kill(worker, signal.SIGKILL)
                count["worker"] += 1
            process.communicate(timeout=120)
        process.communicate()
        check_published(out, seen, count, faults)
    for save in KINDS[:2]:
        process = start(*arguments, save)
        process.communicate(timeout=120)
        check_published(out, seen, count, faults)
    for record in (out / ".failed").rglob("*.json"):
        faults.append(f"{record.name}: {json.loads(record.read_text())['error']}")
    lost = [f"c{n}" for n in range(clips) if not (out / f"c{n}.mp4/done.json").is_file()]
    listed = {
        path.parent / name for path in out.glob("*/.vidmem-files") for name in [*path.read_text().split(), path.name]
    }
    own = {out / name for name in (".lock", "report.json", "report.csv")}
    left = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file() and p not in listed | own) + [
        p.name for p in out.glob(".work*")
    ]
    alive = [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    return {"kills": count["driver"] + count["worker"], "of_drivers": count["driver"], "of_workers": count["worker"], "half_written": faults,
            "doubled": count["doubled"], "lost": lost, "left_behind": left, "alive": alive}  # fmt: skip


def reading_for(folder: Path) -> list[int]:
    """Processes of a killed app that still read an upload in there."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"app.decode" in (line := path.read_bytes()) and str(folder).encode() in line:
                found.append(int(path.parent.name))
        except OSError:  # it ended while we looked
            pass
    return found


def whole_project(data: bytes) -> bool:
    import io
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.testzip() is None and "project.json" in archive.namelist()
    except (zipfile.BadZipFile, ValueError):
        return False


STAGES = ("nothing", "an upload", "tracking", "an export", "what was taken home")


class AppVisit(threading.Thread):
    """A visitor's way through the app, in its own thread until the app is killed under it; `brought` is what was taken home."""

    def __init__(self, base: str, upload: bytes, name: str):
        super().__init__(daemon=True)
        self.base, self.upload, self.name_of_it, self.brought, self.refused = base, upload, name, None, []
        self.reached = STAGES[0]

    def run(self) -> None:
        import httpx

        try:
            with httpx.Client(base_url=self.base, timeout=60) as client:
                self.visit(client)
        except httpx.HTTPError:  # the kill
            pass

    def visit(self, client) -> None:
        visit = f"/api/visits/{client.post('/api/visits').json()['token']}"

        def done() -> dict:
            while (said := client.get(f"{visit}/state").json())["busy"]:
                time.sleep(0.05)
            return said["work"]

        def say(path: str, said: dict | None = None, **how) -> None:
            answer = client.post(f"{visit}/{path}", **({"json": said} if said is not None else {}), **how)
            if answer.status_code != 200:
                self.refused.append(f"{path}: {answer.text[:200]}")

        while True:  # again and again, so that a late kill also meets an early stage
            self.reached = "an upload"
            say("video", content=self.upload, params={"name": self.name_of_it})
            if error := done()["error"]:
                self.refused.append(f"{self.name_of_it}: {error}")
                return
            say("prompt", {"frame_idx": 0, "obj_id": 1, "box": [10, 10, 40, 40]})
            self.reached = "tracking"
            say("track", {"from": 0})
            done()
            self.reached = "an export"
            say("export/project")
            if name := done().get("file"):
                answer = client.get(f"{visit}/export/{name}")
                self.brought = answer.content
                self.reached = "what was taken home"


def killed_apps(scratch: Path, kills: int, chance: random.Random, frames: int = 12) -> dict:
    import httpx

    temporary = scratch / "tmp"
    temporary.mkdir()
    make_clip(scratch / "clip.mp4", frames)
    clip, home, count = (scratch / "clip.mp4").read_bytes(), None, Counter()
    faults, lost, left, doubled, half = [], [], [], 0, []
    opened = taken = 0

    def begin():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        process = subprocess.Popen([sys.executable, "-m", "app", "--port", str(port), "--threads", "1"], cwd=ROOT,
                                   env=ENVIRONMENT | {"TMPDIR": str(temporary)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        base, until = f"http://127.0.0.1:{port}", time.monotonic() + 120
        while True:
            try:
                httpx.get(f"{base}/api/about", timeout=20)
                return process, base
            except httpx.HTTPError:
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit("the app did not start") from None
                time.sleep(0.1)

    def look() -> None:
        """Right after a start: only the new app's folder, and nothing in it."""
        nonlocal doubled
        roots = list(temporary.glob("vidmem-app-*"))
        doubled += len(roots) > 1
        left.extend(str(path.relative_to(temporary)) for root in roots for path in root.rglob("*") if path.is_file())

    for number in range(kills):
        process, base = begin()
        look()
        takes_project = home is not None and number % 2 == 1
        visitor = AppVisit(base, home if takes_project else clip, "p.vidmem.zip" if takes_project else "clip.mp4")
        visitor.start()
        stage, until = chance.choice(STAGES), time.monotonic() + 60
        while STAGES.index(visitor.reached) < STAGES.index(stage) and visitor.is_alive() and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 0.2))
        process.kill()
        process.wait()
        visitor.join(60)
        count[visitor.reached] += 1
        opened += takes_project and visitor.reached not in STAGES[:2]
        taken += visitor.brought is not None
        if visitor.refused:
            (lost if takes_project else faults).extend(visitor.refused)
        if visitor.brought is not None:
            home = visitor.brought
            if not whole_project(home):
                half.append(f"kill {number}: what was taken home is not whole")
        until = time.monotonic() + 20
        while reading_for(temporary) and time.monotonic() < until:
            time.sleep(0.1)
        left.extend(f"process {pid}" for pid in reading_for(temporary))
    process, base = begin()
    look()
    process.terminate()
    process.wait(30)
    left.extend(path.name for path in temporary.glob("vidmem-app-*"))
    return {"kills": kills, "killed_in": dict(count), "taken_home": taken, "opened_again": opened, "half_written": half, "doubled": doubled, "lost": lost, "left_behind": left, "faults": faults}  # fmt: skip


OF = {"track": killed_tracks, "batch": killed_batches, "app": killed_apps}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="in all, in equal parts over what is named by --of")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--of", choices=tuple(OF), nargs="*", default=tuple(OF))
    args = parser.parse_args(argv)
    chance, said = random.Random(args.seed), {}
    for number, name in enumerate(args.of):
        kills = args.kills // len(args.of) + (number < args.kills % len(args.of))
        with tempfile.TemporaryDirectory(prefix="vidmem-kill-") as scratch:
            said[name] = OF[name](Path(scratch), kills, chance)
        print(json.dumps({name: said[name]}), flush=True)
    bad = any(
        value
        for result in said.values()
        for key, value in result.items()
        if key not in ("kills", "of_drivers", "of_workers", "killed_in", "taken_home", "opened_again")
    )
    print(
        json.dumps({"seed": args.seed, "kills": sum(result["kills"] for result in said.values()), "bad": bad, **said})
    )
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
