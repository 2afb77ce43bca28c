"""Hand items to workers, and know at every moment what is done."""

from __future__ import annotations

import csv
import io
import json
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field

from vidmem.batch.crews import Crew
from vidmem.batch.places import Folder
from vidmem.batch.plan import Item
from vidmem.batch.work import Settings, failed_name, keep_failed
from vidmem.errors import OutputError, VidmemError
from vidmem.names import cell, shown
from vidmem.video.ledger import DONE

ATTEMPTS = 2  # of an item whose worker dies; what is wrong with a file itself is not tried again
COLUMNS = ("video", "state", "frames", "objects", "fps", "seconds", "error")


@dataclass
class BatchReport:
    """What there is after a run, of this one and earlier ones."""

    records: dict[str, dict] = field(default_factory=dict)
    """video -> its record; `state` is done, failed or waiting."""
    seconds: float = 0.0
    did: list[str] = field(default_factory=list)
    """Videos done in this run."""
    interrupted: bool = False

    @property
    def now(self) -> int:
        """Items done in this run."""
        return sum(self.records[name]["state"] == "done" for name in self.did)

    @property
    def states(self) -> Counter:
        return Counter(record["state"] for record in self.records.values())

    @property
    def exit_code(self) -> int:
        """0 when nothing failed; 2 when videos or prompts are at fault; 1 when anything else is."""
        codes = [record.get("exit_code", 1) for record in self.records.values() if record["state"] == "failed"]
        return 0 if not codes else 2 if set(codes) == {2} else 1

    def table(self) -> str:
        """A line for each failure, then the sums."""
        lines = [
            f"failed  {shown(r['video'])}: {shown(str(r.get('error', 'no reason was kept')))}"
            for r in self.records.values()
            if r["state"] == "failed"
        ]
        states, frames = self.states, sum(r.get("frames", 0) for r in self.records.values())
        lines.append(
            f"{states['done']} done ({self.now} in this run), {states['failed']} failed, {states['waiting']} waiting; {frames} frames, {self.seconds:.1f} s"
        )
        return "\n".join(lines)

    def write(self, out, settings: Settings) -> None:
        """`report.json` for programs and `report.csv` for spreadsheets."""
        whole = {"settings": {"source": settings.source, "save": settings.save, "bank": repr(settings.bank), "search": repr(settings.search),
                              "load": {k: str(v) for k, v in settings.load.items() if v is not None}},
                 "states": dict(self.states), "seconds": round(self.seconds, 3), "interrupted": self.interrupted,
                 "videos": list(self.records.values())}  # fmt: skip
        out.write("report.json", json.dumps(whole, indent=1).encode())
        text = io.StringIO()
        table = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows({key: cell(value) for key, value in record.items()} for record in self.records.values())
        out.write("report.csv", text.getvalue().encode())

    @staticmethod
    def check(out) -> None:
        """Raises `OutputError` where a file of another kind has the report's name: it would be lost."""
        try:
            known = json.loads(out.read("report.json") or b"{}")
        except (ValueError, RecursionError):
            known = None
        table = out.read("report.csv") or b""
        if not isinstance(known, dict) or (known and not {"videos", "states"} <= known.keys()):
            raise OutputError(
                "report.json in --out is no report of ours, and stays; choose another folder, or move it away"
            )
        if table and not table.startswith(",".join(COLUMNS).encode()):
            raise OutputError(
                "report.csv in --out is no report of ours, and stays; choose another folder, or move it away"
            )


def run(
    items: list[Item],
    settings: Settings,
    out,
    crew: Callable[[], Crew],
    *,
    retry_failed: bool = False,
    progress: Callable[[int, int, BatchReport], None] | None = None,
) -> BatchReport:
    """Do what is not done yet. crew: makes the workers, and is not asked when there is nothing to do. progress: called with the bytes done, all
    bytes, and the report so far.

    An item counts as done when its results are published with these settings for this file; a failure counts until the file or the
    settings change, or with retry_failed not at all. Ctrl-C ends the run with what was done. The report is written in any case.
    """
    with _alone(out):
        BatchReport.check(out)
        out.clean()
        began, report = time.perf_counter(), BatchReport()
        left: deque[Item] = deque()
        for item in items:
            known = _refused(item) if item.problem else _known(item, settings, out, retry_failed)
            report.records[item.name] = known or {"video": item.name, "state": "waiting"}
            if known is None:
                left.append(item)
        try:
            if left:
                _hand_out(
                    deque(sorted(left, key=lambda item: -item.size)),
                    sum(i.size for i in items),
                    items,
                    report,
                    crew,
                    out,
                    settings,
                    progress,
                )
        except KeyboardInterrupt:
            report.interrupted = True
        finally:
            for item in items:
                _look_again(report, item, out)
            report.seconds = time.perf_counter() - began
            report.write(out, settings)
            out.clean()
    return report


def _refused(item: Item) -> dict:
    """What is known to be impossible needs no worker."""
    return {"video": item.name, "state": "failed", "stamp": item.stamp, "error": shown(item.problem), "exit_code": 2}


def _look_again(report: BatchReport, item: Item, out) -> None:
    """Done is what is there now, not what was said to be."""
    record = report.records[item.name]
    if record["state"] != "done":
        return
    try:
        lost = out.missing(item.name)
    except VidmemError:  # something else stands there now
        lost = DONE
    if lost:
        report.records[item.name] = record | {
            "state": "failed",
            "error": f"{item.name}/{lost} is gone from the results; run the same command again",
        }


def _known(item: Item, settings: Settings, out, retry_failed: bool) -> dict | None:
    """The record of an earlier run that still holds."""
    wanted = settings.of(item)
    for name in (f"{item.name}/{DONE}", *(() if retry_failed else (failed_name(item.name),))):
        try:
            record = json.loads(out.read(name) or b"null")
        except (ValueError, RecursionError):
            continue
        if (
            isinstance(record, dict)
            and record.get("state") in ("done", "failed")
            and (record.get("stamp"), record.get("settings")) == (item.stamp, wanted)
        ):
            return record
    return None


def _hand_out(
    left: deque[Item], total: int, items: list[Item], report: BatchReport, crew, out, settings: Settings, progress
) -> None:
    """The largest first, so that nobody waits for the last one."""
    sizes = {item.name: item.size for item in items}
    attempts: Counter[str] = Counter()
    at_work: dict[int, Item] = {}
    workers = crew()
    try:
        idle = list(range(workers.count))
        while left or at_work:
            while left and idle:
                worker, item = idle.pop(), left.popleft()
                at_work[worker] = item
                attempts[item.name] += 1
                workers.give(worker, item)
            if (done := workers.next(0.5)) is None:
                continue
            worker, record = done
            idle.append(worker)
            if worker not in at_work:
                continue
            item = at_work.pop(worker)
            if isinstance(record, str):
                if attempts[item.name] < ATTEMPTS:
                    left.append(item)
                    continue
                record = {"video": item.name, "state": "failed", "stamp": item.stamp, "settings": settings.of(item),
                          "error": f"the worker died {ATTEMPTS} times on this video, {record}"}  # fmt: skip
                keep_failed(out, record)
            report.records[item.name] = record
            if record["state"] == "done":
                report.did.append(item.name)
            if progress:
                progress(
                    sum(sizes[name] for name, r in report.records.items() if r["state"] != "waiting"), total, report
                )
    finally:
        workers.close()


@contextmanager
def _alone(out):
    """Two runs into one folder would do everything twice. On an object store nobody can tell."""
    if not isinstance(out, Folder):
        yield
        return
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    try:
        out.path.mkdir(parents=True, exist_ok=True)
        file = (out.path / ".lock").open("a")
    except OSError as error:
        raise OutputError(f"{out.path} cannot be written ({error.strerror or error}); choose another folder") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OutputError(
                f"another run is writing into {out.path}; wait for it, or choose another folder"
            ) from None
        yield
