"""Results as they come, as for a camera: masks, boxes, scores, and whether the object is there."""

from pathlib import Path

import vidmem

DEMO = Path(__file__).parents[1] / "assets/demo.mp4"

tracker = vidmem.load("nano")
with tracker.session() as session, vidmem.open_video(DEMO, end=8) as video:
    session.add(1, box=(43, 154, 201, 255))  # waits for the first frame
    for frame in video:
        result = session.step(frame)
        area, box = int(result.masks[0].sum()), result.boxes[0].tolist()
        print(
            f"{frame.pts_seconds:.2f} s: {result.status[0].value}, {area} pixels in {box}, score {result.scores[0]:.2f}"
        )
