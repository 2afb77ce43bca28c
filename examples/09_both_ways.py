"""From a prompt in the middle to both ends."""

from pathlib import Path

import vidmem
from vidmem.directions import track_back
from vidmem.video import open_sinks

DEMO = Path(__file__).parents[1] / "assets/demo.mp4"

with vidmem.open_video(DEMO, end=10) as video:
    sinks = open_sinks(["overlay", "csv"], Path("out/both"), video.frame_rate)
    report = track_back(
        video, vidmem.load("nano"), [vidmem.PromptAt(1, 5, box=(50, 150, 215, 255))], sinks, both_ways=True
    )
print(report.summary())
