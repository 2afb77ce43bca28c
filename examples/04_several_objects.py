"""Several objects with names and colours, which start on frames of their own."""

from pathlib import Path

import vidmem

DEMO = Path(__file__).parents[1] / "assets/demo.mp4"

prompts = [
    vidmem.PromptAt(1, box=(43, 154, 201, 255), label="fish", color=(255, 136, 0)),
    vidmem.PromptAt(2, 4, box=(460, 0, 535, 300), label="rock"),  # on frame 4
]
look = vidmem.Look(opacity=0.3, thickness=3)
report = vidmem.track(vidmem.open_video(DEMO, end=8), prompts=prompts, out="out/several", look=look)
print(report.summary())
