"""What was written, read again: masks from `masks.jsonl`, boxes from `boxes.csv`."""

import csv
import json
from pathlib import Path

import vidmem
from vidmem.video import rle_decode

DEMO = Path(__file__).parents[1] / "assets/demo.mp4"

vidmem.track(vidmem.open_video(DEMO, end=5), box=(43, 154, 201, 255), out="out/read", save=["rle", "csv"])
for line in Path("out/read/masks.jsonl").read_text().splitlines():
    frame = json.loads(line)
    mask = rle_decode(frame["objects"][0]["segmentation"])  # (H, W) bool; pycocotools reads it too
    print(f"frame {frame['frame_idx']}: {mask.sum()} of {mask.size} pixels")
with open("out/read/boxes.csv") as file:
    print([row["x0"] for row in csv.DictReader(file)])
