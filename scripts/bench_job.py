#!/usr/bin/env python3
"""How fast is the whole job: decode, track, draw and write, at 854x480?

The demo clip is scaled to 854x480 once (not timed). Each run is `vidmem.track` from the file to an overlay video and
indexed PNGs, as `vidmem track --save overlay,png` does it, with one object and with five. Runs with one and with five
objects alternate; the median of `--repeats` is reported with the fastest and the slowest, because the machine is shared.
Loading the model is not counted, closing the files is.

    python scripts/bench_job.py --json assets/figures/job.json

The last line of output is the JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from fractions import Fraction
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
SIZE = (480, 854)  # H, W
FISH = json.loads((ROOT / "assets/demo.json").read_text())["box"]
BOXES = [FISH, [400, 200, 480, 300], [500, 60, 620, 160], [250, 240, 330, 340], [20, 250, 110, 350]]  # on the demo clip


def scaled_clip(folder: Path) -> tuple[Path, float]:
    """The demo clip at 854x480 -> its path and the factor of its coordinates."""
    import av
    import cv2

    import vidmem

    path = folder / "clip.mp4"
    with vidmem.open_video(ROOT / "assets/demo.mp4") as video, av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=video.frame_rate, options={"crf": "18"})
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for frame in video:
            image = cv2.resize(frame.image, SIZE[::-1])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
        return path, SIZE[1] / video.size[1]


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, help="threads of the network (default: every core)")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)

    import vidmem
    from vidmem.evaluation.machine import check_writable, write_figure
    from vidmem.prompts import PromptAt
    from vidmem.video import open_sinks

    check_writable(args.json)
    tracker = vidmem.load("nano", threads=args.threads)
    runs: dict[int, list] = {1: [], 5: []}
    with tempfile.TemporaryDirectory() as temporary:
        clip, factor = scaled_clip(Path(temporary))
        for repeat in range(args.repeats):
            for count in runs:
                prompts = [PromptAt(i + 1, box=[v * factor for v in box]) for i, box in enumerate(BOXES[:count])]
                out = Path(temporary) / f"{count}-{repeat}"
                with vidmem.open_video(clip) as video, tracker.session() as session:
                    sinks = open_sinks(["overlay", "png"], out, Fraction(24))
                    report = vidmem.track(video, session, prompts, sinks)
                assert len(list((out / "masks").glob("*.png"))) == report.frames
                steps = sorted(report.step_ms)
                runs[count].append((report.fps, median(steps), steps[int(0.95 * len(steps))], steps[-1]))
    figure = {"command": f"scripts/bench_job.py --repeats {args.repeats}", "size": "854x480", "save": "overlay,png"}
    for count, rows in runs.items():
        fps = [row[0] for row in rows]
        figure[f"objects_{count}"] = {
            "fps_median": round(median(fps), 1), "fps_min": round(min(fps), 1), "fps_max": round(max(fps), 1),
            "step_ms_p50": round(median(row[1] for row in rows), 1), "step_ms_p95": round(median(row[2] for row in rows), 1),
            "step_ms_max": round(max(row[3] for row in rows), 1),
        }  # fmt: skip
    write_figure(figure, args.json)
    print(json.dumps(figure))


if __name__ == "__main__":
    main()
