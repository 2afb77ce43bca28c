"""A video into an overlay, label maps, run lengths and a table, in one line."""

from pathlib import Path

import vidmem

DEMO = Path(__file__).parents[1] / "assets/demo.mp4"

video = vidmem.open_video(DEMO, end=12)  # or "clip.mp4", for all of it
report = vidmem.track(video, box=(43, 154, 201, 255), out="out/one-line")
print(report.summary())
print("open", report.files[0])
