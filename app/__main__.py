"""`python -m app`: the browser app. See `--help`."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from importlib.util import find_spec
from pathlib import Path

from vidmem.cli.options import bank_options, make_tracker
from vidmem.errors import RuntimeMissing, VidmemError

from .given import Given
from .limits import Limits, Refused, parse_auth
from .shelf import Shelf, default_folder
from .words import Words


def server():
    """What runs the app. Raises `RuntimeMissing`."""
    try:
        if find_spec("gradio") is None:  # not imported here: that takes seconds, and is done when the server listens
            raise ModuleNotFoundError(name="gradio")
        from .page import serve
    except ImportError as error:
        raise RuntimeMissing(
            f"the app needs gradio 6.20 or newer ({error.name} is missing): pip install 'vidmem[app]'"
        ) from error
    return serve


def shelf_of(args, limits: Limits) -> Shelf | None:
    """Where projects are kept. On a server for others nothing is, unless a folder is named."""
    if args.no_projects and args.projects:
        raise Refused("--projects and --no-projects; choose one")
    if args.no_projects or (args.auth and not args.projects):
        return None
    return Shelf(args.projects or default_folder(), limits.projects_mb)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="vidmem app", description="A page on which objects are clicked, tracked, corrected and taken home."
    )
    parser.add_argument(
        "source", nargs="?", type=Path, metavar="VIDEO", help="a video, or a folder of images, to begin with"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; others than this machine's need --auth (default: %(default)s)",
    )
    parser.add_argument("--port", type=int, default=7860, metavar="N", help="default: %(default)s; 0: any that is free")
    parser.add_argument(
        "--projects",
        type=Path,
        metavar="FOLDER",
        help="where work is kept; whoever can open the page can open it there (default: ~/.local/share/vidmem/projects, and nowhere with --auth)",
    )
    parser.add_argument("--no-projects", action="store_true", help="keep nothing when a visit is over")
    parser.add_argument(
        "--auth", metavar="NAME:PASSWORD", help="asked of everybody; put TLS in front of it where others can listen"
    )
    parser.add_argument(
        "--allow-url", action="store_true", help="let visitors open network cameras (rtsp, http) from this machine"
    )
    for f in dataclasses.fields(Limits):
        if f.name == "allow_url":
            continue
        parser.add_argument(
            f"--max-{f.name.replace('_', '-')}",
            dest=f.name,
            type=type(f.default),
            default=f.default,
            help="default: %(default)s",
        )
    bank_options(parser)
    args = parser.parse_args(argv)
    try:
        auth = parse_auth(args.auth)
        limits = Limits(**{f.name: getattr(args, f.name) for f in dataclasses.fields(Limits)})
        serve = server()
        given = Given(args.source) if args.source else None
        words = Words(args.detector, args.detector_weights, args.threads)
        serve(make_tracker(args), limits, args.host, args.port, auth, args.model, given, shelf_of(args, limits), words)
    except VidmemError as error:
        print(f"vidmem: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
