"""Options of how results are drawn."""

from __future__ import annotations

import argparse

from vidmem.render import EFFECTS, Look


def look_options(parser) -> None:
    """For `overlay.mp4`. parser: of a command, or a group of its options."""
    add = parser.add_argument
    add("--opacity", type=float, default=0.5, metavar="0..1", help="of the tint; 0: outlines alone (default: 0.5)")
    add("--outline", action="store_true", help="outlines alone, as --opacity 0")
    add("--thickness", type=int, metavar="PIXELS", help="of the outline; 0: none (default: 2)")
    add(
        "--labels",
        action=argparse.BooleanOptionalAction,
        help="name, status and score beside each object (default: on)",
    )
    add(
        "--effect",
        metavar="NAME",
        help=f"instead of the tint, and without outline and labels unless asked for: {', '.join(EFFECTS)}",
    )
    add("--no-sound", dest="sound", action="store_false", help="leave the video's sound out of the overlay")


def make_look(args) -> Look:
    """Raises `PromptError` for a number or an effect that there is not."""
    return Look(0.0 if args.outline else args.opacity, args.thickness, args.labels, args.effect)
