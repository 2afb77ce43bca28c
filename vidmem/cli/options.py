"""Options that several commands share, and what is made of them."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
from pathlib import Path

from vidmem.errors import OutputError, PromptError


def coordinates(count: int, names: str):
    """A parser of `count` comma-separated numbers."""

    def parse(text: str) -> list[float]:
        try:
            values = [float(part) for part in text.split(",")]
        except ValueError:
            values = []
        if len(values) != count:
            raise argparse.ArgumentTypeError(
                f"{text!r}; expected {names} in pixels, such as {'10,20,30,40'[: 3 * count - 1]}"
            )
        return values

    return parse


def joined(argv: list[str]) -> list[str]:
    """`--box -10,20,30,40` as `--box=-10,20,30,40`: argparse takes what begins with a minus for an option."""
    out: list[str] = []
    for word in argv:
        after = out and out[-1].startswith("--") and "=" not in out[-1] and len(out[-1]) > 2
        if after and re.match(r"-[\d.]", word):
            out[-1] += f"={word}"
        else:
            out.append(word)
    return out


def save_names(text: str) -> list[str]:
    """What `--save` says, without spaces. Raises `OutputError` for nothing, or for a name that there is not."""
    from vidmem.video import SINKS

    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in SINKS]
    if unknown or not names:
        raise OutputError(f"cannot save {unknown[0] if unknown else 'nothing'!r}; choose from: {', '.join(SINKS)}")
    return names


def zoom_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--zoom", action="store_true",
        help="follow small objects at full resolution, each in a part of the frame that goes with it (for objects under a tenth of the frame)",
    )  # fmt: skip


def bank_options(parser: argparse.ArgumentParser) -> None:
    """`--bank`, `--search`, and a `--bank-FIELD` or `--search-FIELD` for each of their numbers: made from the dataclasses."""
    from vidmem.catalogue.tracker import MODELS, RUNTIMES
    from vidmem.detect import DETECTORS
    from vidmem.learn import LEARNERS
    from vidmem.memory import BANKS
    from vidmem.search import SEARCHES

    group = parser.add_argument_group(
        "model, memory and engine",
        "`vidmem models` says what there is. Banks and searches have numbers, such as --bank-slots 7 or --search-width 3: `vidmem banks NAME`.",
    )
    group.add_argument("--model", default="nano", help=f"one of: {', '.join(MODELS)} (default: nano)", metavar="NAME")
    group.add_argument(
        "--bank", help=f"memory policy, one of: {', '.join(BANKS)} (default: the model's own)", metavar="NAME"
    )
    group.add_argument(
        "--search", default="greedy", help=f"one of: {', '.join(SEARCHES)} (default: greedy)", metavar="NAME"
    )
    group.add_argument(
        "--runtime", default="auto", help=f"one of: {', '.join(RUNTIMES)} (default: auto)", metavar="NAME"
    )
    group.add_argument("--device", default="cpu", help="cpu, or cuda for the pytorch and onnx runtimes", metavar="NAME")
    group.add_argument("--threads", type=int, metavar="N", help="threads of the network (default: every core)")
    group.add_argument(
        "--weights", type=Path, metavar="PATH", help="other weights of the model: a folder for nano, else a file"
    )
    group.add_argument(
        "--image-size",
        type=int,
        metavar="PIXELS",
        help="pixels a side of the input, a multiple of 32, not for nano (default: 1024; ReSurgSAM2: 512)",
    )
    group.add_argument(
        "--precision",
        choices=("fp32", "bf16", "int8"),
        help="of the products; int8: of the encoder's alone (default: fp32, or what auto finds)",
    )
    group.add_argument(
        "--detector",
        metavar="NAME",
        help=f"what looks for texts, one of: {', '.join(DETECTORS)} (default: the model itself where it can, else words)",
    )
    group.add_argument("--detector-weights", type=Path, metavar="FOLDER", help="of the detector (default: its own)")
    group.add_argument(
        "--clean",
        action=argparse.BooleanOptionalAction,
        help="drop stray parts of masks and fill small holes (default: on nano, not on SAM 2, which is equal to the original)",
    )
    parser.add_argument(
        "--learner",
        help=f"what learns each object's looks, one of: none, {', '.join(LEARNERS)} (default: none)",
        metavar="NAME",
    )
    for kind, table in (("bank", BANKS), ("search", SEARCHES), ("learner", LEARNERS)):
        for name in dict.fromkeys(f.name for policy in table.values() for f in dataclasses.fields(policy)):
            group.add_argument(f"--{kind}-{name.replace('_', '-')}", metavar="VALUE", help=argparse.SUPPRESS)


def changed(args, kind: str, policy):
    """The policy with what `--bank-FIELD` or `--search-FIELD` say. Raises `PromptError` for what it has not or cannot be."""
    given = {k.removeprefix(f"{kind}_"): v for k, v in vars(args).items() if k.startswith(f"{kind}_") and v is not None}
    if not given:
        return policy
    known = [] if policy is None else [f.name for f in dataclasses.fields(policy)]
    try:
        values = {name: literal(value) for name, value in given.items()}
        unknown = sorted(values.keys() - set(known))
        if unknown:
            raise ValueError(f"the {kind} has no {unknown[0]}, it has {', '.join(sorted(known)) or 'no numbers'}")
        return dataclasses.replace(policy, **values)
    except (ValueError, TypeError) as error:
        raise PromptError(f"{kind} options {given}: {error}") from None


def literal(text: str):
    """A number, true, false or null as JSON has them; else the word itself."""
    try:
        return json.loads(text.lower())
    except (ValueError, RecursionError):
        return text


def make_tracker(args):
    from vidmem.catalogue.tracker import load

    tracker = load(
        args.model, runtime=args.runtime, bank=args.bank, search=args.search, device=args.device, threads=args.threads,
        weights=args.weights, image_size=args.image_size, precision=args.precision, clean=args.clean,
        learner=args.learner,
    )  # fmt: skip
    bank, search = changed(args, "bank", tracker.bank), changed(args, "search", tracker.search)
    learner = changed(args, "learner", tracker.learner)
    return dataclasses.replace(tracker, bank=bank, search=search, learner=learner)
