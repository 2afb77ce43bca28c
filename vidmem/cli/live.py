"""`vidmem live`: objects in a stream that does not wait, as lines of JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from vidmem.cli.options import bank_options, make_tracker, zoom_option
from vidmem.cli.places import place_options, simple_prompts
from vidmem.errors import PromptError, SessionClosed

INTERRUPTED = 130


def add_live_command(commands, common) -> None:
    from vidmem.live import Limits

    p = commands.add_parser(
        "live", parents=[common],
        help="follow objects in a camera as they come: answers with their age as lines of JSON, events, percentiles",
    )  # fmt: skip
    p.add_argument(
        "source", metavar="SOURCE", help="a camera (0, rtsp://..., http://...), or a file, which plays at its own speed"
    )
    place_options(p)
    p.add_argument(
        "--answers",
        type=Path,
        metavar="FILE",
        help="write answers there; - (the default) is standard output",
        default=Path("-"),
    )
    p.add_argument("--masks", action="store_true", help="masks in the answers too, as COCO run lengths")
    p.add_argument(
        "--seconds", type=float, metavar="S", help="end after so many (default: at the stream's end, or Ctrl-C)"
    )
    p.add_argument("--max-size", type=int, metavar="PIXELS", help="shrink frames to this longer side")
    for field in dataclasses.fields(Limits):
        name = f"--{field.name.replace('_', '-')}"
        p.add_argument(name, type=float, default=field.default, metavar="N", help="default: %(default)s")
    zoom_option(p)
    bank_options(p)
    p.set_defaults(run=live)


def live(args) -> int:
    """Until the stream's end, `--seconds` or Ctrl-C. Returns 2 where the source failed."""
    from vidmem.live import Event, Limits, follow

    try:
        limits = Limits(**{f.name: getattr(args, f.name) for f in dataclasses.fields(Limits)})
    except ValueError as error:
        raise PromptError(str(error)) from None
    prompts = simple_prompts(args)
    if any(p.text is not None for p in prompts):
        raise PromptError(
            "vidmem live follows places; give --click, --box or --mask (vidmem track 0 --text ... looks for words)"
        )

    def heard(event: Event) -> None:
        about = f" object {event.obj_id}" if event.obj_id is not None else ""
        at = f" at frame {event.frame_idx}" if event.frame_idx is not None else ""
        print(f"{event.seconds:8.2f} s  {event.kind}{about}{at}: {event.why}", file=sys.stderr, flush=True)

    end = time.monotonic() + (args.seconds if args.seconds is not None else float("inf"))
    interrupted = False
    out = sys.stdout if str(args.answers) == "-" else args.answers.open("w")
    with follow(args.source, make_tracker(args), limits, max_size=args.max_size, heard=heard, zoom=args.zoom) as job:
        asked = []
        with contextlib.suppress(SessionClosed):  # the source may have failed already; an event says so
            asked += [job.add(p.obj_id, points=p.points, labels=p.labels, box=p.box, mask=p.mask) for p in prompts]
        old = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            for answer in job:
                out.write(json.dumps(told(answer, args.masks)) + "\n")
                out.flush()
                while asked and asked[0].done() and not asked[0].cancelled():
                    asked.pop(0).result()  # a prompt that cannot be used ends the job
                if time.monotonic() > end:
                    break
        except KeyboardInterrupt:
            interrupted = True
        finally:
            signal.signal(signal.SIGTERM, old)
            if out is not sys.stdout:
                out.close()
    for future in asked:
        if future.done() and not future.cancelled():
            future.result()
    print(json.dumps(job.stats()), file=sys.stderr)
    failed = any(event.kind == "failed" for event in job.events)
    return INTERRUPTED if interrupted else 2 if failed else 0


def told(answer, masks: bool) -> dict[str, Any]:
    """An answer as a line: what a controller needs, and nothing that looks good when it is old."""
    from vidmem.video import rle_encode

    result = answer.result
    line: dict[str, Any] = {"frame_idx": None if result is None else result.frame_idx, "validity": answer.validity,
                            "age_ms": round(answer.age_ms, 1), "late": answer.late, "dropped": answer.dropped}  # fmt: skip
    line["objects"] = [] if result is None else [
        {"obj_id": int(obj_id), "status": status, "score": round(float(score), 3), "box": [round(float(v), 1) for v in box]}
        | ({"mask": rle_encode(mask)} if masks else {})
        for obj_id, status, score, box, mask in zip(result.obj_ids, result.status, result.scores, result.boxes, result.masks)
    ]  # fmt: skip
    return line
