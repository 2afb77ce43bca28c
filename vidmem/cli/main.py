"""The command line: parses, calls the library, shows the result."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

from vidmem.cli.background import gate_once
from vidmem.cli.batch import add_batch_command
from vidmem.cli.doctor import doctor
from vidmem.cli.engines import add_engine_commands
from vidmem.cli.looks import look_options, make_look
from vidmem.cli.models import banks, models
from vidmem.cli.options import bank_options, coordinates, joined, make_tracker, save_names, zoom_option
from vidmem.cli.pick import add_pick_command
from vidmem.engines import ENGINES
from vidmem.errors import PromptError, VidmemError

INTERRUPTED = 130  # what shells report for Ctrl-C


EXAMPLES = """examples:
  vidmem pick clip.mp4                                        a picture with coordinates, to read a click or a box from
  vidmem track clip.mp4 --click 480,200 --out results
  vidmem track clip.mp4 --box 420,130,560,300 --out results --effect blur
  vidmem app                                                  the browser app: click, correct, export"""

TRACKING = """files, by their names in --save:
  overlay overlay.mp4         H.264 that browsers play     sav  objects/001/00000.png  a mask for each object (SA-V)
  png     masks/00000.png     label maps (DAVIS)           vos  tracks.json            YouTube-VOS
  rle     masks.jsonl         COCO run lengths, a frame    mot  mot.txt                MOTChallenge
                              a line                       webm cutout.webm            cut-out with alpha
  csv     boxes.csv           boxes, scores, status        rgba cutout/00000.png       the same as images

a prompts file is a list; "frame", "labels", "label" and "color" may be left out:
  [{"obj_id": 1, "box": [420, 130, 560, 300], "label": "dog", "color": "#ff8800"},
   {"obj_id": 2, "frame": 40, "points": [[100, 80], [130, 90]], "labels": [1, 0]},
   {"obj_id": 3, "mask": "object3.png"}]

examples:
  vidmem track clip.mp4 --click 480,200 --not-click 400,90 --out results
  vidmem track clip.mp4 --box 420,130,560,300 --out results --save overlay,csv --effect spotlight
  vidmem track clip.mp4 --box 420,130,560,300 --at 120 --both-ways --out results
  vidmem track frames/ --prompts prompts.json --out results --bank surprise --bank-store 32
  vidmem track 0 --text "red cup" --out results               the first camera, until Ctrl-C or --end 500

exit code: 0; 2 when the input is at fault; 1 when vidmem is; 130 after Ctrl-C. What was written by then is whole."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other error does; takes no abbreviations, which would change their meaning with every new
    option; shows examples as they were written."""

    def __init__(self, *args, **kwargs):
        super().__init__(
            *args, **{"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter, **kwargs}
        )

    def error(self, message: str):
        self.exit(2, f"vidmem: {message}; see {self.prog} --help\n")


def simple_prompts(args) -> list:
    """`--click`, `--box`, `--mask` (one object, 1; a label map: each of its objects) and `--text` (the next ids), or `--prompts`."""
    from vidmem.prompts import PromptAt, load_prompts

    placed = args.click or args.not_click or args.box or args.mask
    if bool(placed or args.text) == bool(args.prompts):
        raise PromptError(
            "say what to track: --click, --box, --mask or --text, or --prompts FILE (not both), or --pick"
        )
    if args.prompts:
        return load_prompts(args.prompts)
    first = _placed(args) if placed else []
    last = max((p.obj_id for p in first), default=0)
    return first + [PromptAt(last + i, text=text) for i, text in enumerate(args.text or [], 1)]


def _placed(args) -> list:
    from vidmem.prompts import PromptAt, load_mask

    clicks = [(p, 1) for p in args.click or []] + [(p, 0) for p in args.not_click or []]
    points, labels = ([p for p, _ in clicks] or None), ([label for _, label in clicks] or None)
    if not args.mask:
        return [PromptAt(1, None, points, labels, args.box)]
    if points or args.box:
        raise PromptError("--mask came with --click or --box; give the mask alone, or use --prompts")
    return [PromptAt(obj_id, mask=mask) for obj_id, mask in load_mask(args.mask).items()]


def check_said(args) -> None:
    """Raises `PromptError` for what `simple_prompts` would take and nobody can mean."""
    if args.pick and (args.click or args.not_click or args.box or args.mask or args.text or args.prompts):
        raise PromptError(
            "--pick waits for clicks in the browser; leave --click, --box, --mask, --text and --prompts out"
        )
    if args.not_click and not (args.click or args.box or args.mask or args.prompts):
        raise PromptError("--not-click says what is not the object; give --click or --box too")
    if args.at is not None and not (args.click or args.box or args.mask):
        raise PromptError('--at is for --click, --box and --mask; in --prompts FILE say "frame" for each')
    if args.at is not None and args.at < 0:
        raise PromptError(f"--at is {args.at}; expected the index of a frame, from 0")
    if args.reverse and args.both_ways:
        raise PromptError("--reverse and --both-ways; choose one: both ways is back and forth from the prompts")
    if args.zoom and (args.reverse or args.both_ways or args.text):
        raise PromptError("--zoom goes forward from places; leave it, or --reverse, --both-ways and --text")


def track(args) -> int:
    import vidmem
    from vidmem.detect import watched
    from vidmem.directions import track_back
    from vidmem.pipeline import check_reach
    from vidmem.video import SINKS, Ledger, is_camera, open_camera, open_sinks

    check_said(args)
    camera = is_camera(args.source)
    if camera and (args.reverse or args.both_ways or args.start or args.pick):
        raise PromptError(
            "--reverse, --both-ways, --start and --pick are for files; a camera's frames come as they come"
        )
    path = None if camera else Path(args.source)
    names, tracker = save_names(args.save), make_tracker(args) if args.pick else None
    prompts = app_module("pick").pick(path, tracker, args.model) if args.pick else simple_prompts(args)
    if args.at is not None:  # a text is looked for everywhere
        prompts = [p if p.text is not None else dataclasses.replace(p, frame_idx=args.at) for p in prompts]
    report = vidmem.Report()
    how = {"end": args.end, "max_size": args.max_size} | ({} if camera else {"start": args.start})
    source: Any = (open_camera if camera else vidmem.open_video)(args.source, **how)
    with source as video:
        scaled = [prompt.scaled(video.scale) for prompt in prompts]
        check_reach(video, scaled)
        tracker = tracker or make_tracker(args)
        look = make_look(args).of(prompts)
        sinks = open_sinks(
            names, args.out, video.frame_rate, Ledger(args.out), path, look, path if args.sound else None
        )
        try:
            if args.reverse or args.both_ways:
                if any(p.text for p in scaled):
                    raise PromptError("--text looks forward from the first frame; leave --reverse and --both-ways")
                track_back(video, tracker, scaled, sinks, args.both_ways, report=report)
            else:
                with tracker.zoomed() if args.zoom else tracker.session() as session:
                    if any(p.text is not None for p in scaled):
                        session = watched(session, args.detector, args.detector_weights, args.threads)
                    vidmem.track(video, session, scaled, sinks, report=report)
        finally:
            for problem in report.problems:
                print(f"warning: {problem}", file=sys.stderr)
            if report.frames:
                print(report.summary())
                print(f"runtime: {tracker.why or tracker.network.runtime}")
                files = [SINKS[name][0] for name in sorted(names, key=lambda name: name != "overlay")]
                first, *others = [str(args.out.resolve() / file) for file in files]  # the one to look at first
                print(f"results: {first}" + (f", and {', '.join(map(os.path.basename, others))}" if others else ""))
    if report.interrupted:
        print(f"interrupted after {report.frames} frames; what was written is whole", file=sys.stderr)
    elif report.frames:
        gate_once(args)
    return INTERRUPTED if report.interrupted else 0


def evaluate(args) -> int:
    from vidmem.detect import open_detector
    from vidmem.evaluation import find_sequences
    from vidmem.evaluation.expressions import load_expressions
    from vidmem.evaluation.machine import check_writable, write_figure
    from vidmem.evaluation.run import SCORES, mean_scores, scores_line
    from vidmem.evaluation.run import evaluate as run

    check_writable(args.json)
    texts, detector = {}, None
    if args.prompt == "text":
        texts = load_expressions(args.texts or args.data)
    tracker = make_tracker(args)
    rows: list[dict[str, Any]] = []
    if args.prompt == "text" and (args.detector or not tracker.network.reads_words):
        detector = open_detector(args.detector or "words", args.detector_weights, args.threads)
    for sequence in find_sequences(args.data):
        out = args.masks / sequence.name if args.masks else None
        row = run(sequence, tracker, args.prompt, out, texts.get(sequence.name), detector, args.zoom)
        score = {name: getattr(row.score, name) for name in SCORES if hasattr(row.score, name)}
        rows.append({"name": row.name, "frames": row.frames, **score, "fps": round(row.fps, 1)})
        print(f"{row.name:22s} {scores_line(score)}  {row.fps:5.1f} fps", flush=True)
    mean = mean_scores(rows)
    print(f"{'mean':22s} {scores_line(mean)}")
    if args.json:
        settings = {
            "model": args.model,
            "prompt": args.prompt,
            "runtime": tracker.network.runtime,
            "bank": repr(tracker.bank),
            "search": repr(tracker.search),
        } | ({"zoom": True} if args.zoom else {})
        chosen = {name: getattr(args, name) for name in ("weights", "device", "image_size", "precision")}
        settings |= {name: str(value) for name, value in chosen.items() if value is not None}
        write_figure({**settings, "mean": mean, "sequences": rows}, args.json)
    return 0


def app_module(name: str):
    """A module of the app, which lies beside this package in a checkout, and is installed under the name `vidmem_app`. An installed copy beside
    a checkout is of another day: the checkout's own comes first."""
    from importlib import import_module

    root = Path(__file__).resolve().parents[2]
    own = (root / "app" / "page.py").is_file() and (root / "pyproject.toml").is_file()
    if own and str(root) not in sys.path:
        sys.path.insert(0, str(root))
    return import_module(f"{'app' if own else 'vidmem_app'}.{name}")


def browser_app(argv: list[str]) -> int:
    return app_module("__main__").main(argv)


def build_parser() -> argparse.ArgumentParser:
    from vidmem import __version__

    parser = Parser(prog="vidmem", description="Segment and track any object in video.", epilog=EXAMPLES)
    parser.add_argument("--version", action="version", version=f"vidmem {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    common = Parser(add_help=False)  # lets --debug stand behind the command too
    common.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands, each with --help")

    command = commands.add_parser(
        "track",
        parents=[common],
        epilog=TRACKING,
        help="follow objects through a video, a folder of images or a camera",
    )
    command.add_argument(
        "source",
        metavar="VIDEO",
        help="video file, folder of images in natural order, or camera: 0, rtsp://..., http://...",
    )
    group = command.add_argument_group(
        "what to track", "one of these; coordinates are source pixels, from the top left corner"
    )
    group.add_argument(
        "--click", type=coordinates(2, "x,y"), action="append", metavar="X,Y", help="on the object; again for more"
    )
    group.add_argument(
        "--not-click",
        type=coordinates(2, "x,y"),
        action="append",
        metavar="X,Y",
        help="beside the object, with --click or --box; again for more",
    )
    group.add_argument("--box", type=coordinates(4, "x0,y0,x1,y1"), metavar="X0,Y0,X1,Y1", help="around the object")
    group.add_argument("--mask", type=Path, metavar="PNG", help="image: the object, or a label map of several")
    group.add_argument(
        "--text", action="append", metavar="WORDS", help="what to look for, such as 'black dog'; again for more"
    )
    group.add_argument(
        "--prompts", type=Path, metavar="JSON", help="many objects, frames, names and colours; form below"
    )
    group.add_argument(
        "--pick", action="store_true", help="click, box or paint it in the browser app, which opens for that"
    )
    group.add_argument(
        "--at", type=int, metavar="N", help="frame of --click, --box or --mask (default: the first tracked)"
    )
    group = command.add_argument_group("which frames")
    group.add_argument("--start", type=int, default=0, metavar="N", help="index of the first frame (default: 0)")
    group.add_argument("--end", type=int, metavar="N", help="index after the last frame (default: the end)")
    group.add_argument("--max-size", type=int, metavar="PIXELS", help="shrink frames to this longer side")
    group.add_argument(
        "--reverse", action="store_true", help="from the end to the beginning, prompts on the last frame"
    )
    group.add_argument(
        "--both-ways", action="store_true", help="from the prompts to both ends; --at says where they are"
    )
    group = command.add_argument_group("what to write")
    group.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="for the results; made where it is not there"
    )
    group.add_argument(
        "--save", default="overlay,png,rle,csv", metavar="NAMES", help="any of the names below (default: %(default)s)"
    )
    look_options(command.add_argument_group("how overlay.mp4 looks"))
    zoom_option(command)
    bank_options(command)
    command.add_argument(
        "--gate",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="after the first job on a machine, try once in the background which engine is the fastest, for the next one (default: yes)",
    )
    command.set_defaults(run=track)
    add_pick_command(commands, common)

    command = commands.add_parser("app", parents=[common], add_help=False, help="the browser app; vidmem app --help")
    command.set_defaults(run=None)
    add_batch_command(commands, common)
    command = commands.add_parser(
        "eval",
        parents=[common],
        help="score J, F and J&F over DATA/*/frames and DATA/*/masks, or DATA/JPEGImages and DATA/Annotations",
    )
    command.add_argument("data", type=Path, metavar="DATA", help="folder of sequences, or one sequence")
    command.add_argument(
        "--prompt",
        choices=("mask", "box", "click", "text"),
        default="mask",
        help="what each object's first frame is given (default: mask)",
    )
    command.add_argument(
        "--texts",
        type=Path,
        metavar="FILE",
        help="with --prompt text: names of objects (default: DATA/meta_expressions.json)",
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write the scores to this file")
    command.add_argument("--masks", type=Path, metavar="FOLDER", help="write the label maps below this folder")
    zoom_option(command)
    bank_options(command)
    command.set_defaults(run=evaluate)

    command = commands.add_parser(
        "banks", parents=[common], help="memory banks and searches; `vidmem banks NAME`: its numbers"
    )
    command.add_argument("name", nargs="?", metavar="NAME", help="a bank or a search")
    command.set_defaults(run=banks)

    command = commands.add_parser(
        "models", parents=[common], help="models, banks and searches there are; `models get NAME`"
    )
    command.add_argument("action", nargs="?", choices=("get",), help="get: download the weights of a model")
    command.add_argument("get", nargs="?", metavar="NAME", help="which model")
    command.add_argument("--sha256", help="refuse a download with another hash")
    command.set_defaults(run=models)

    add_engine_commands(commands, common)
    command = commands.add_parser("doctor", parents=[common], help="what is installed, what works, what is missing")
    command.add_argument("--tensorrt", type=Path, metavar="DIR", help="build, gate and time the engines of this export")
    command.add_argument("--weights", type=Path, help="the weights that were exported, to compare with")
    command.add_argument(
        "--runtime",
        default="tensorrt",
        choices=[name for name, card in ENGINES.items() if card.fixed],
        help="with --tensorrt (default: %(default)s)",
    )
    command.set_defaults(run=doctor)
    return parser


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["app"]:
        return browser_app(argv[1:])
    parser = build_parser()
    args = parser.parse_args(joined(argv))
    if args.command is None:
        parser.print_help()
        return 0
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
