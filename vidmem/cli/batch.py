"""`vidmem batch`: its options, and what it prints."""

from __future__ import annotations

import sys
from pathlib import Path

from vidmem.cli.looks import look_options, make_look
from vidmem.cli.options import bank_options, make_tracker, save_names
from vidmem.errors import OutputError, PromptError

INTERRUPTED = 130
MOST = 256  # workers, or streams of each


def batch(args) -> int:
    from tqdm import tqdm

    from vidmem.batch import LocalCrew, RayCrew, Settings, find_items, load_table, open_place, run
    from vidmem.batch.places import Folder

    save = tuple(save_names(args.save))
    for name in ("workers", "streams"):
        if not 1 <= getattr(args, name) <= MOST:
            raise PromptError(f"--{name} is {getattr(args, name)}; expected from 1 to {MOST}")
    if not args.stall > 0:
        raise PromptError(f"--stall is {args.stall:g}; expected seconds, more than 0")
    source, out = open_place(args.folder), open_place(args.out)
    if source.same(out):
        raise OutputError(f"--out is the folder of the videos, {args.folder}; choose another, or one inside it")
    table = load_table(args.prompts)
    mine = (out.path,) if isinstance(out, Folder) else ()
    items = find_items(source.files((*mine, args.prompts)), table)
    args.threads = args.threads or 1
    tracker = make_tracker(args)  # here too, so that a wrong option is said once, and now
    names = ("model", "runtime", "device", "threads", "weights", "image_size", "precision", "clean", "learner")
    where = [
        place.path if isinstance(place, Folder) else given for place, given in ((source, args.folder), (out, args.out))
    ]
    settings = Settings(
        str(where[0]),
        str(where[1]),
        {name: getattr(args, name) for name in names},
        tracker.bank,
        tracker.search,
        save,
        args.max_size,
        make_look(args),
        args.sound,
        args.detector,
        str(args.detector_weights) if args.detector_weights else None,
        tracker.learner,
    )
    del tracker
    crew = (
        (lambda: RayCrew(settings, args.workers, args.ray, args.streams))
        if args.ray
        else (lambda: LocalCrew(settings, args.workers, args.streams, args.stall))
    )
    with tqdm(
        total=sum(item.size for item in items) or 1, unit="B", unit_scale=True, disable=None, dynamic_ncols=True
    ) as bar:

        def progress(done: int, total: int, report) -> None:
            bar.set_postfix_str(
                ", ".join(f"{count} {state}" for state, count in sorted(report.states.items())), refresh=False
            )
            bar.update(done - bar.n)

        report = run(items, settings, out, crew, retry_failed=args.retry_failed, progress=progress)
    print(report.table())
    print(f"report: {args.out}/report.json, report.csv")
    if report.interrupted:
        print("interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return INTERRUPTED
    return report.exit_code


def add_batch_command(commands, common) -> None:
    p = commands.add_parser("batch", parents=[common], help="follow objects through every video below a folder")
    p.epilog = """examples:
  vidmem batch videos --prompts boxes.csv --out results                  a line video,obj_id,x0,y0,x1,y1 for each object
  vidmem batch videos --prompts masks/ --out results --workers 4         masks/clip.png for videos/clip.mp4

exit code: 0; 2 when videos or prompts failed; 1 when vidmem did; 130 after Ctrl-C."""
    p.add_argument(
        "folder",
        metavar="FOLDER",
        help="a tree of videos and folders of images; with fsspec also s3://... and the like",
    )
    p.add_argument(
        "--prompts",
        type=Path,
        metavar="FILE",
        required=True,
        help="CSV or JSON with boxes, clicks, masks or texts of each video, or a folder of masks of first frames",
    )
    p.add_argument(
        "--out",
        required=True,
        metavar="FOLDER",
        help="folder for the results, one folder a video; what is done there is not done again",
    )
    p.add_argument("--workers", type=int, metavar="N", default=1, help="processes, of one thread each (default: 1)")
    p.add_argument(
        "--streams",
        type=int,
        metavar="N",
        default=1,
        help="videos at a time in each process, which share its model (default: 1; more on a GPU)",
    )
    p.add_argument(
        "--save",
        metavar="NAMES",
        default="overlay,png,rle,csv",
        help="any of overlay, png, rle, csv, sav, vos, mot, webm, rgba (default: %(default)s)",
    )
    p.add_argument("--max-size", type=int, metavar="PIXELS", help="shrink frames to this longer side, pixels")
    p.add_argument("--retry-failed", action="store_true", help="try again what failed before")
    p.add_argument(
        "--stall",
        type=float,
        metavar="SECONDS",
        default=600,
        help="seconds without a frame after which a local worker counts as dead (default: %(default)s)",
    )
    p.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="actors of a Ray cluster instead of processes here; local: a cluster of this machine alone",
    )
    look_options(p)
    bank_options(p)
    p.set_defaults(run=batch)
