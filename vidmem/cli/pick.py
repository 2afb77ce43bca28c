"""`vidmem pick`: a frame to read coordinates from, without an editor."""

from __future__ import annotations

import shlex
from pathlib import Path

from vidmem.errors import OutputError

MARK = "vidmem pick"  # in the PNG: what may be written over


def pick_frame(args) -> int:
    from PIL import Image, PngImagePlugin

    from vidmem.render.grid import grid
    from vidmem.video import open_video
    from vidmem.video.sink import writing

    out = args.out or Path(f"{args.source.stem or 'frames'}-frame{args.frame}.png")
    with open_video(args.source, start=args.frame) as video:
        frame = next(iter(video))
    if out.exists() and not _ours(out):
        raise OutputError(f"{out} is no picture of an earlier `vidmem pick`, and stays; choose another --out")
    picture, step = grid(frame.image)
    note = PngImagePlugin.PngInfo()
    note.add_text("Software", MARK)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(out, "PNG", pnginfo=note)
    at = f" --at {args.frame}" if args.frame else ""
    height, width = frame.size
    print(f"{out}: frame {args.frame} of {width}x{height} pixels, a line every {step}; read x,y from it, then:")
    print(f"vidmem track {shlex.quote(str(args.source))} --click x,y{at} --out results")
    return 0


def _ours(path: Path) -> bool:
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG",)) as image:
            return image.info.get("Software") == MARK
    except Exception:  # no picture at all
        return False


def add_pick_command(commands, common) -> None:
    p = commands.add_parser(
        "pick", parents=[common], help="a frame with its coordinates, to read a click or a box from"
    )
    p.add_argument("source", type=Path, metavar="VIDEO", help="video file, folder of images, or image")
    p.add_argument("--out", type=Path, metavar="PNG", help="the picture (default: VIDEO-frame0.png, here)")
    p.add_argument("--frame", type=int, default=0, metavar="N", help="which frame, from 0 (default: the first)")
    p.set_defaults(run=pick_frame)
