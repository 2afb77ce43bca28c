"""Where an object is, as options: clicks, a box, a mask, or a file of prompts."""

from __future__ import annotations

from pathlib import Path

from vidmem.cli.options import coordinates
from vidmem.errors import PromptError


def place_options(group) -> None:
    """group: a parser, or a group of one."""
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
        "--prompts", type=Path, metavar="JSON", help="many objects, frames, names and colours; form below"
    )


def simple_prompts(args) -> list:
    """`--click`, `--box`, `--mask` (one object, 1; a label map: each of its objects) and `--text` (the next ids), or `--prompts`."""
    from vidmem.prompts import PromptAt, load_prompts

    placed = args.click or args.not_click or args.box or args.mask
    if bool(placed or getattr(args, "text", None)) == bool(args.prompts):
        raise PromptError(
            "say what to track: --click, --box, --mask or --text, or --prompts FILE (not both), or --pick"
        )
    if args.prompts:
        return load_prompts(args.prompts)
    first = _placed(args) if placed else []
    last = max((p.obj_id for p in first), default=0)
    return first + [PromptAt(last + i, text=text) for i, text in enumerate(getattr(args, "text", None) or [], 1)]


def _placed(args) -> list:
    from vidmem.prompts import PromptAt, load_mask

    clicks = [(p, 1) for p in args.click or []] + [(p, 0) for p in args.not_click or []]
    points, labels = ([p for p, _ in clicks] or None), ([label for _, label in clicks] or None)
    if not args.mask:
        return [PromptAt(1, None, points, labels, args.box)]
    if points or args.box:
        raise PromptError("--mask came with --click or --box; give the mask alone, or use --prompts")
    return [PromptAt(obj_id, mask=mask) for obj_id, mask in load_mask(args.mask).items()]
