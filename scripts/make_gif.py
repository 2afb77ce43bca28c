"""Make the README's moving picture from an overlay video: one palette for the whole clip, smaller until it fits.

One palette, taken from frames across the clip, keeps still parts from flickering and lets PIL store only what changed.
Dithering is off for the same reason: its noise moves, and costs more bytes than all else together.

usage: python scripts/make_gif.py VIDEO OUT.gif [--width 480 --fps 10 --max-mb 4]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

SHRINK = 0.88  # of the width, from one try to the next
MIN_WIDTH = 160  # pixels; narrower than this, the clip is too long for the limit
COLOURS = 255


def read_frames(path, fps):
    """PIL images of the video at `fps`: for each tick of that clock, the first frame that is not earlier."""
    import av

    images, tick = [], 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or 25)
        for index, frame in enumerate(container.decode(stream)):
            if index / rate >= tick / fps - 1e-9:
                images.append(frame.to_image())
                tick += 1
    return images


def shared_palette(images):
    """A PIL palette image made from up to 12 frames across the clip."""
    from PIL import Image

    picked = images[:: max(len(images) // 12, 1)][:12]
    width, height = picked[0].size
    sheet = Image.new("RGB", (width, height * len(picked)))
    for row, image in enumerate(picked):
        sheet.paste(image, (0, row * height))
    return sheet.quantize(COLOURS, method=Image.Quantize.MEDIANCUT)


def write_gif(images, path, width, fps):
    """Write the GIF at `width` pixels; return its size in bytes."""
    from PIL import Image

    height = max(round(images[0].height * width / images[0].width), 1)
    small = [image.resize((width, height), Image.Resampling.LANCZOS) for image in images]
    palette = shared_palette(small)
    indexed = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in small]
    indexed[0].save(path, save_all=True, append_images=indexed[1:], duration=round(1000 / fps), loop=0, optimize=False)
    return path.stat().st_size


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=480, help="pixels, at most")
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--max-mb", type=float, default=4.0, help="megabytes of 10**6 bytes")
    args = parser.parse_args(argv)
    images = read_frames(args.video, args.fps)
    if not images:
        sys.exit(f"{args.video}: no frames")
    width = min(args.width, images[0].width)
    while (size := write_gif(images, args.out, width, args.fps)) > args.max_mb * 1e6:
        width = int(width * SHRINK)
        if width < MIN_WIDTH:
            args.out.unlink()
            sys.exit(f"{args.out}: {len(images)} frames do not fit in {args.max_mb} MB; lower --fps or cut the video")
    print(f"{args.out}: {len(images)} frames, {width} pixels wide, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
