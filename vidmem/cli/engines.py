"""`vidmem export`, `gate` and `bench`: everything about engines on the command line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from vidmem.cli.options import bank_options, coordinates, make_tracker
from vidmem.errors import ModelError, PromptError


def export(args) -> int:
    from vidmem.catalogue.export import export_model

    manifest = export_model(
        args.model, args.out, to=args.to, weights=args.weights, size=args.size, objects=args.objects, slots=args.slots,
        pointers=args.pointers, precision=args.precision, frame_size=tuple(args.frame_size[::-1]), sms=tuple(args.sm),
        data=args.data,
    )  # fmt: skip
    for name in manifest.files:
        print(f"{args.out / name} ({(args.out / name).stat().st_size / 1e6:.1f} MB)")
    return 0


def gate(args) -> int:
    """Try engines against PyTorch (nano without torch: ONNX Runtime, or OpenVINO) in float32; the verdicts are what `auto` goes by."""
    from tqdm import tqdm

    from vidmem.catalogue.choose import Request, gated, named, open_network, verdict_key
    from vidmem.catalogue.tracker import MODELS, SEARCHES, pick
    from vidmem.catalogue.verdict import write_verdict
    from vidmem.errors import RuntimeMissing
    from vidmem.evaluation.gate import LENGTH, GateClip, demo_clips
    from vidmem.evaluation.gate import gate as run
    from vidmem.video import open_video

    card = pick(MODELS, "model", args.model)
    asked = Request(args.model, threads=args.threads, weights=args.weights, image_size=args.image_size)
    if bool(args.video) != bool(args.box):
        raise PromptError(
            "--video and --box go together: frames to try the engines on, and an object on the first of them"
        )
    clips = demo_clips(args.frames or LENGTH)
    if args.video:
        with open_video(args.video, end=args.frames or LENGTH) as video:
            clips = [GateClip(list(video), args.box)]
    bank, search = card.make_bank(args.bank), SEARCHES["greedy"]()
    reference, refused = None, 0
    for runtime in ("pytorch", "onnx", "openvino"):
        try:
            reference = named(dataclasses.replace(asked, runtime=runtime))
            break
        except (RuntimeMissing, ModelError) as error:
            problem = error
    if reference is None:
        raise problem
    for runtime, precision in gated(asked):
        if args.runtime not in ("auto", runtime) or args.precision not in (None, precision):
            continue
        try:
            candidate = named(dataclasses.replace(asked, runtime=runtime, precision=precision), strict=False)
        except (RuntimeMissing, ModelError) as error:
            print(f"{runtime} {precision}: not tried, {error}")
            continue
        with tqdm(unit="frame", disable=None, leave=False) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            verdict = run(candidate, reference, bank, search, clips, precision, progress)
        write_verdict(verdict_key(asked, runtime, precision), verdict)
        refused += not verdict.passed
        print(verdict, flush=True)
    print(f"auto takes: {open_network(asked)[1]}")
    return int(bool(refused))


def doctor_tensorrt(folder: Path, weights: Path | None, runtime: str, say=print) -> int:
    """Build, gate and time the engines of an export on the GPU here: a report to paste. runtime: one that takes fixed shapes; weights:
    what was exported, for the reference. -> 0 when the gate was passed. It has not been run yet: where this was written there was no GPU."""
    from vidmem.catalogue.choose import Request, named
    from vidmem.catalogue.tracker import MODELS, SEARCHES, Tracker
    from vidmem.catalogue.verdict import gate_key, write_verdict
    from vidmem.engines.manifest import Manifest
    from vidmem.evaluation.bench import bench as run_bench
    from vidmem.evaluation.bench import load_images
    from vidmem.evaluation.gate import demo_clips
    from vidmem.evaluation.gate import gate as run_gate
    from vidmem.evaluation.machine import describe

    manifest, here = Manifest.read(folder), describe()
    if weights is None and not MODELS[manifest.model].embedded:
        raise ModelError("--tensorrt DIR needs --weights FILE too: what was exported, to compare with")
    say(json.dumps({"machine": here, "export": dataclasses.asdict(manifest)}, indent=1))
    asked = Request(manifest.model, runtime, weights=folder)
    candidate = named(asked, strict=False)
    reference = named(
        Request(manifest.model, "pytorch", device="cuda", weights=weights, image_size=manifest.size or None)
    )
    bank, search = MODELS[manifest.model].make_bank(), SEARCHES["greedy"]()
    verdict = run_gate(candidate, reference, bank, search, demo_clips(), manifest.precision)
    write_verdict(gate_key(asked.graphs(), runtime, manifest.precision), verdict)
    say(str(verdict))
    for network in (candidate, reference):
        say(
            json.dumps(
                run_bench(Tracker(network, bank, search), load_images(None, (480, 854), 40), manifest.objects or 1)
            )
        )
    return int(not verdict.passed)


def bench(args) -> int:
    from vidmem.evaluation.bench import bench as run
    from vidmem.evaluation.bench import load_images
    from vidmem.evaluation.machine import check_writable, write_figure

    check_writable(args.json)
    width, height = (int(side) for side in args.size)
    images = load_images(args.video, (height, width), 40)
    tracker = make_tracker(args)
    figure = run(tracker, images, args.objects, args.frames, args.warm) | {
        "precision": args.precision or "",
        "why": tracker.why,
    }
    print(f"{'ms':9s}" + "".join(f"{name:>9s}" for name in ("p50", "p95", "p99", "max", "jitter")))
    for name, row in figure["ms"].items():
        print(f"{name:9s}" + "".join(f"{value:9.2f}" for value in row.values()))
    write_figure(figure, args.json)
    print(json.dumps(figure))
    return 0


def add_engine_commands(commands, common) -> None:
    """The three subparsers."""
    p = commands.add_parser("export", parents=[common], help="write a model's four graphs for another engine")
    p.add_argument("model", metavar="MODEL", help="its name, from `vidmem models`")
    p.add_argument(
        "--to", metavar="NAME", default="onnx", help="onnx, openvino, tensorrt or tensorrt-rtx (default: %(default)s)"
    )
    p.add_argument(
        "--sm", type=int, nargs="+", default=[], metavar="89",
        help="with tensorrt-rtx: compute capabilities of the GPUs to build engines for, 75, 80, 86, 89 or 120",
    )  # fmt: skip
    p.add_argument("--out", metavar="FOLDER", type=Path, required=True, help="folder for the graphs and their manifest")
    p.add_argument("--weights", metavar="PATH", type=Path, help="as for track")
    p.add_argument(
        "--size", metavar="PIXELS", type=int, default=1024, help="pixels a side of SAM 2's input (default: %(default)s)"
    )
    p.add_argument("--objects", type=int, help="fixed shapes for so many objects (default: open; tensorrt: 1)")
    p.add_argument(
        "--frame-size", metavar="W,H", type=coordinates(2, "width,height"), default=[854, 480],
        help="frames that fixed shapes of nano are for: those of another shape are refused (default: 854,480)",
    )  # fmt: skip
    p.add_argument("--slots", type=int, default=7, help="spatial memories of fixed shapes (default: %(default)s)")
    p.add_argument(
        "--pointers", metavar="N", type=int, default=16, help="object pointers of fixed shapes (default: %(default)s)"
    )
    p.add_argument(
        "--precision",
        metavar="NAME",
        default="fp32",
        help="fp32, fp16 or bf16, written into the graphs; int8, with --to openvino: of the encoder alone (default: %(default)s)",
    )
    p.add_argument(
        "--data", metavar="FOLDER", type=Path, help="with int8: videos to calibrate on, other ones than will be tracked"
    )
    p.set_defaults(run=export)

    p = commands.add_parser(
        "gate", parents=[common], help="try the engines here against float32, for `--runtime auto` to go by"
    )
    p.add_argument("model", metavar="MODEL", help="its name, from `vidmem models`")
    p.add_argument("--runtime", metavar="NAME", default="auto", help="one of them only (default: all)")
    p.add_argument("--precision", choices=("fp32", "bf16", "int8"), help="one of them only")
    p.add_argument("--bank", metavar="NAME", help="memory policy (default: the model's own)")
    p.add_argument("--weights", metavar="PATH", type=Path, help="as for track")
    p.add_argument("--image-size", metavar="PIXELS", type=int, help="as for track")
    p.add_argument("--threads", metavar="N", type=int, help="as for track")
    p.add_argument("--frames", metavar="N", type=int, help="frames of a clip (default: 50)")
    p.add_argument("--video", metavar="PATH", type=Path, help="your own frames instead of the demo's three clips")
    p.add_argument(
        "--box", type=coordinates(4, "x0,y0,x1,y1"), metavar="X0,Y0,X1,Y1", help="the object on the first of them"
    )
    p.set_defaults(run=gate)

    p = commands.add_parser("bench", parents=[common], help="milliseconds of each stage; the last line is JSON")
    p.add_argument("--objects", type=int, default=1, metavar="N", help="objects at a time (default: 1)")
    p.add_argument(
        "--size",
        type=coordinates(2, "width,height"),
        metavar="W,H",
        default=[854, 480],
        help="of the frames (default: 854,480)",
    )
    p.add_argument("--frames", metavar="N", type=int, default=60, help="frames that count (default: %(default)s)")
    p.add_argument("--warm", metavar="N", type=int, default=20, help="frames before them (default: %(default)s)")
    p.add_argument("--video", metavar="PATH", type=Path, help="frames of this video (default: moving noise)")
    p.add_argument("--json", metavar="FILE", type=Path, help="write the figures to this file")
    bank_options(p)
    p.set_defaults(run=bench)
