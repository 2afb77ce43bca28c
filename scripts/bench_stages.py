#!/usr/bin/env python3
"""Where the whole job's time goes, at 854x480: milliseconds of one core that each part takes of a frame.

    python scripts/bench_stages.py --json assets/figures/stages.json

The parts of `vidmem.track` from a file to an overlay and label maps, one after the other in one thread, with one object and with five. Milliseconds are the
processor's, so that what else the machine does counts for less; medians over frames, which the engines take in turn. In the job itself decoding and writing have threads
of their own beside the network: on two cores a frame takes about half the sum. The last line of output is the JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
from bench_job import BOXES, SIZE, scaled_clip

FRAMES, WARM = 60, 12


class Clock:
    """Milliseconds of the processor, by part."""

    def __init__(self):
        self.frame: dict[str, float] = {}

    def run(self, part: str, what, *args):
        began = time.process_time()
        out = what(*args)
        self.frame[part] = self.frame.get(part, 0.0) + 1000 * (time.process_time() - began)
        return out


def frames_of(clip: Path, factor: float, tracker, objects: int, folder: Path) -> Iterator[dict[str, float]]:
    """The parts of each frame, one at a time."""
    import av

    import vidmem
    from vidmem.render import mask_boxes, overlay
    from vidmem.types import resize_logits
    from vidmem.video import PngSink
    from vidmem.video.sink import OverlaySink

    clock, engine = Clock(), tracker.network.engine
    run = engine.run
    engine.run = lambda graph, *arrays: clock.run(f"network: {graph}", run, graph, *arrays)
    folder.mkdir()
    try:
        with (
            vidmem.open_video(clip) as video,
            tracker.session() as session,
            av.open(str(folder / "o.mp4"), "w") as file,
        ):
            stream = file.add_stream("libx264", rate=24, options=OverlaySink.options)
            stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
            for obj_id, box in enumerate(BOXES[:objects], 1):
                session.add(obj_id, box=[v * factor for v in box])
            labels, source = PngSink(folder / "masks"), iter(video)
            for t in range(FRAMES):
                clock.frame = {}
                frame = clock.run("decode, to RGB", next, source)
                result = clock.run("step", session.step, frame)
                session.settled()
                shown = [logits for logits, there in zip(result.mask_logits, result.object_logits) if there > 0]
                clock.run(
                    "masks at the frame's size",
                    lambda s=shown: mask_boxes(np.stack([resize_logits(m, SIZE) > 0 for m in s])) if s else None,
                )
                image = clock.run("draw", overlay, frame.image, result)
                picture = clock.run(
                    "to YUV", lambda i=image: av.VideoFrame.from_ndarray(i, format="rgb24").reformat(format="yuv420p")
                )
                picture.pts = t
                file.mux(clock.run("H.264", stream.encode, picture))
                clock.run("label maps", labels.write, frame, result)
                inside = sum(ms for part, ms in clock.frame.items() if part.startswith(("network", "masks")))
                clock.frame["the session"] = clock.frame.pop("step") - inside
                yield clock.frame
    finally:
        engine.run = run


def usual(values: list[float]) -> float:
    """The median; of what few frames have, the mean."""
    return round(median(values) or sum(values) / len(values), 2)


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", default=["onnx:fp32", "openvino:fp32", "openvino:bf16"])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)

    from vidmem.catalogue.choose import Request, named
    from vidmem.catalogue.tracker import MODELS, Tracker
    from vidmem.evaluation.machine import check_writable, write_figure
    from vidmem.search import Greedy

    check_writable(args.json)
    figure: dict = {"command": "scripts/bench_stages.py", "size": "854x480", "engines": {}}
    with tempfile.TemporaryDirectory() as temporary:
        clip, factor = scaled_clip(Path(temporary))
        trackers = {}
        for engine in args.engines:
            network = named(Request("nano", *engine.split(":"), threads=1), strict=False)
            trackers[engine] = Tracker(network, MODELS["nano"].make_bank(), Greedy())
        for objects in (1, 5):
            runs = [
                frames_of(clip, factor, tracker, objects, Path(temporary) / f"{engine}-{objects}")
                for engine, tracker in trackers.items()
            ]
            every = list(zip(*runs))[WARM:]
            for engine, rows in zip(trackers, zip(*every)):
                parts = dict.fromkeys(part for row in rows for part in row)
                spent = {part: usual([row.get(part, 0.0) for row in rows]) for part in parts}
                figure["engines"].setdefault(engine.replace(":", " "), {})[str(objects)] = spent
                print(engine, objects, spent, flush=True)
    write_figure(figure | {"load_average": round(os.getloadavg()[0], 1)}, args.json)
    print(json.dumps(figure))


if __name__ == "__main__":
    main()
