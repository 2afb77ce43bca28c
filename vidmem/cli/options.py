"""Options that several commands share, and what is made of them."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from vidmem.errors import PromptError


def numbers(count: int, names: str):
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


def bank_options(parser: argparse.ArgumentParser) -> None:
    """`--bank`, `--search`, and a `--bank-FIELD` or `--search-FIELD` for each of their numbers: made from the dataclasses."""
    from vidmem.catalogue.tracker import MODELS, RUNTIMES
    from vidmem.detect import DETECTORS
    from vidmem.memory import BANKS
    from vidmem.search import SEARCHES

    parser.add_argument("--model", default="nano", help=f"one of: {', '.join(MODELS)}")
    parser.add_argument("--bank", help=f"memory policy, one of: {', '.join(BANKS)} (default: the model's own)")
    parser.add_argument("--search", default="greedy", help=f"one of: {', '.join(SEARCHES)}")
    parser.add_argument("--runtime", default="auto", help=f"one of: {', '.join(RUNTIMES)}")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda for the pytorch and onnx runtimes")
    parser.add_argument("--threads", type=int, help="threads of the network (default: every core)")
    parser.add_argument("--weights", type=Path, help="other weights of the model: a folder for nano, a file for SAM 2")
    parser.add_argument(
        "--image-size", type=int, help="pixels a side of SAM 2's input, a multiple of 32 (default: 1024)"
    )
    parser.add_argument(
        "--precision", choices=("fp32", "bf16"), help="of the products (default: fp32, or what auto finds)"
    )
    parser.add_argument("--detector", default="words", help=f"what looks for texts, one of: {', '.join(DETECTORS)}")
    parser.add_argument("--detector-weights", type=Path, metavar="FOLDER", help="of the detector (default: its own)")
    parser.add_argument(
        "--clean",
        action=argparse.BooleanOptionalAction,
        help="drop stray parts of masks and fill small holes (default: on nano, not on SAM 2, which is equal to the original)",
    )
    for kind, table in (("bank", BANKS), ("search", SEARCHES)):
        for name in dict.fromkeys(f.name for policy in table.values() for f in dataclasses.fields(policy)):
            parser.add_argument(
                f"--{kind}-{name.replace('_', '-')}",
                metavar="VALUE",
                help=f"a number of the {kind}; see `vidmem models`",
            )


def changed(args, kind: str, policy):
    """The policy with what `--bank-FIELD` or `--search-FIELD` say. Raises `PromptError` for what it has not or cannot be."""
    given = {k.removeprefix(f"{kind}_"): v for k, v in vars(args).items() if k.startswith(f"{kind}_") and v is not None}
    if not given:
        return policy
    known = [f.name for f in dataclasses.fields(policy)]
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
    )  # fmt: skip
    bank, search = changed(args, "bank", tracker.bank), changed(args, "search", tracker.search)
    return dataclasses.replace(tracker, bank=bank, search=search)


def watched(session, prompts, args):
    """The session, inside a watcher with the detector that was asked for where a prompt holds a text."""
    from vidmem.detect import Watcher, open_detector

    if all(p.text is None for p in prompts):
        return session
    return Watcher(session, open_detector(args.detector, args.detector_weights, args.threads))
