"""The command line: parses, calls the library, shows the result."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vidmem.cli.batch import add_batch_command
from vidmem.cli.doctor import doctor
from vidmem.cli.engines import add_engine_commands
from vidmem.cli.models import models
from vidmem.cli.options import bank_options, make_tracker, numbers
from vidmem.engines import ENGINES
from vidmem.errors import PromptError, VidmemError

INTERRUPTED = 130  # what shells report for Ctrl-C


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other error does."""

    def error(self, message: str):
        self.exit(2, f"vidmem: {message}; see {self.prog} --help\n")


def simple_prompts(args) -> list:
    """`--click`, `--box`, `--mask` (one object, 1; a label map: each of its objects) or `--prompts`."""
    from vidmem.prompts import PromptAt, load_mask, load_prompts

    simple = args.click or args.not_click or args.box or args.mask
    if bool(simple) == bool(args.prompts):
        raise PromptError("say what to track: --click, --box or --mask, or --prompts FILE (not both)")
    if args.prompts:
        return load_prompts(args.prompts)
    clicks = [(p, 1) for p in args.click or []] + [(p, 0) for p in args.not_click or []]
    points, labels = ([p for p, _ in clicks] or None), ([label for _, label in clicks] or None)
    if not args.mask:
        return [PromptAt(1, None, points, labels, args.box)]
    if points or args.box:
        raise PromptError("--mask came with --click or --box; give the mask alone, or use --prompts")
    return [PromptAt(obj_id, mask=mask) for obj_id, mask in load_mask(args.mask).items()]


def track(args) -> int:
    import vidmem
    from vidmem.video import Ledger, open_sinks

    prompts = simple_prompts(args)
    report = vidmem.Report()
    with vidmem.open_video(args.source, start=args.start, end=args.end, max_size=args.max_size) as video:
        tracker = make_tracker(args)
        names = [name for name in args.save.split(",") if name]
        sinks = open_sinks(names, args.out, video.frame_rate, Ledger(args.out), args.source)
        scaled = [prompt.scaled(video.scale) for prompt in prompts]
        try:
            with tracker.session() as session:
                vidmem.track(video, session, scaled, sinks, report=report)
        finally:
            for problem in report.problems:
                print(f"warning: {problem}", file=sys.stderr)
            if report.frames:
                print(report.summary())
                print(f"runtime: {tracker.why or tracker.network.runtime}")
                print(f"results: {args.out.resolve()}")
    if report.interrupted:
        print(f"interrupted after {report.frames} frames; what was written is whole", file=sys.stderr)
    return INTERRUPTED if report.interrupted else 0


def evaluate(args) -> int:
    from vidmem.evaluation import find_sequences
    from vidmem.evaluation.machine import check_writable, write_figure
    from vidmem.evaluation.run import evaluate as run

    check_writable(args.json)
    tracker, rows = make_tracker(args), []
    for sequence in find_sequences(args.data):
        row = run(sequence, tracker, args.prompt, args.masks / sequence.name if args.masks else None)
        rows.append({"name": row.name, "frames": row.frames, "j": row.score.j, "f": row.score.f,
                     "j_and_f": row.score.j_and_f, "fps": round(row.fps, 1)})  # fmt: skip
        print(
            f"{row.name:22s} J {row.score.j:.3f}  F {row.score.f:.3f}  J&F {row.score.j_and_f:.3f}  {row.fps:5.1f} fps",
            flush=True,
        )
    mean = {key: sum(row[key] for row in rows) / len(rows) for key in ("j", "f", "j_and_f")}
    print(f"{'mean':22s} J {mean['j']:.3f}  F {mean['f']:.3f}  J&F {mean['j_and_f']:.3f}")
    if args.json:
        settings = {
            "model": args.model,
            "prompt": args.prompt,
            "runtime": tracker.network.runtime,
            "bank": repr(tracker.bank),
            "search": repr(tracker.search),
        }
        chosen = {name: getattr(args, name) for name in ("weights", "device", "image_size", "precision")}
        settings |= {name: str(value) for name, value in chosen.items() if value is not None}
        write_figure({**settings, "mean": mean, "sequences": rows}, args.json)
    return 0


def browser_app(argv: list[str]) -> int:
    """`app` lies beside this package in a checkout, and is installed under the name `vidmem_app`."""
    from importlib import import_module, util

    root = Path(__file__).resolve().parents[2]
    if util.find_spec("vidmem_app") is None and (root / "app").is_dir():
        sys.path.insert(0, str(root))
        return import_module("app.__main__").main(argv)
    return import_module("vidmem_app.__main__").main(argv)


def build_parser() -> argparse.ArgumentParser:
    from vidmem import __version__

    parser = Parser(prog="vidmem", description="Segment and track any object in video.")
    parser.add_argument("--version", action="version", version=f"vidmem {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    common = argparse.ArgumentParser(add_help=False)  # lets --debug stand behind the command too
    common.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", required=True)

    p = commands.add_parser("track", parents=[common], help="follow objects through a video file or a folder of images")
    p.add_argument("source", type=Path, help="video file, or folder of images")
    p.add_argument("--out", type=Path, required=True, help="folder for the results")
    p.add_argument("--click", type=numbers(2, "x,y"), action="append", help="x,y on the object; again for more")
    p.add_argument("--not-click", type=numbers(2, "x,y"), action="append", help="x,y beside the object; again for more")
    p.add_argument("--box", type=numbers(4, "x0,y0,x1,y1"), help="box around the object on the first frame")
    p.add_argument("--mask", type=Path, help="image: the object on the first frame, or a label map of several")
    p.add_argument("--prompts", type=Path, help="JSON for many objects and frames; see the README")
    p.add_argument("--save", default="overlay,png,rle,csv", help="what to write (default: %(default)s)")
    p.add_argument("--start", type=int, default=0, help="index of the first frame")
    p.add_argument("--end", type=int, help="index after the last frame")
    p.add_argument("--max-size", type=int, help="shrink frames to this longer side, pixels")
    bank_options(p)
    p.set_defaults(run=track)

    p = commands.add_parser("app", parents=[common], add_help=False, help="the browser app; vidmem app --help")
    p.set_defaults(run=None)
    add_batch_command(commands, common)
    p = commands.add_parser("eval", parents=[common], help="score J, F and J&F over DATA/*/frames and DATA/*/masks")
    p.add_argument("data", type=Path)
    p.add_argument("--prompt", choices=("mask", "box", "click"), default="mask")
    p.add_argument("--json", type=Path, help="write the scores to this file")
    p.add_argument("--masks", type=Path, help="write the label maps below this folder")
    bank_options(p)
    p.set_defaults(run=evaluate)

    p = commands.add_parser("models", parents=[common], help="models, banks and searches there are; `models get NAME`")
    p.add_argument("action", nargs="?", choices=("get",), help="get: download the weights of a model")
    p.add_argument("get", nargs="?", metavar="NAME", help="which model")
    p.add_argument("--sha256", help="refuse a download with another hash")
    p.set_defaults(run=models)

    add_engine_commands(commands, common)
    p = commands.add_parser("doctor", parents=[common], help="what is installed, what works, what is missing")
    p.add_argument("--tensorrt", type=Path, metavar="DIR", help="build, gate and time the engines of this export")
    p.add_argument("--weights", type=Path, help="the weights that were exported, to compare with")
    p.add_argument(
        "--runtime",
        default="tensorrt",
        choices=[name for name, card in ENGINES.items() if card.fixed],
        help="with --tensorrt (default: %(default)s)",
    )
    p.set_defaults(run=doctor)
    return parser


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["app"]:
        return browser_app(argv[1:])
    parser = build_parser()
    args = parser.parse_args(argv)
    try:
        return args.run(args)
    except VidmemError as error:
        if args.debug:
            raise
        print(f"vidmem: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # `vidmem models | head`
        sys.stdout = None
        return 0
    except KeyboardInterrupt:
        print("vidmem: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:  # ours, by definition: whatever a user gives wrong has an error of its own
        if args.debug:
            raise
        print(
            f"vidmem: internal error, {type(error).__name__}: {error}; --debug shows where, please report it",
            file=sys.stderr,
        )
        return 1
