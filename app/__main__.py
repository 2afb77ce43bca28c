"""`python -m app`: the browser app. See `--help`."""

from __future__ import annotations

import argparse
import dataclasses
import sys

from vidmem.cli.options import bank_options, make_tracker
from vidmem.errors import RuntimeMissing, VidmemError

from .limits import Limits, parse_auth


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="vidmem app", description="A page on which objects are clicked, tracked, corrected and taken home."
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; others than this machine's need --auth (default: %(default)s)",
    )
    parser.add_argument("--port", type=int, default=7860)
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
        try:
            from .page import serve
        except ImportError as error:
            raise RuntimeMissing(
                f"the app needs gradio 6.20 or newer ({error.name} is missing): pip install 'vidmem[app]'"
            ) from error
        serve(make_tracker(args), limits, args.host, args.port, auth, args.model)
    except VidmemError as error:
        print(f"vidmem: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
