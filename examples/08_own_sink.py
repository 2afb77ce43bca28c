"""An export of your own: anything with `write(frame, result)` and `close()`, here the speed of the object."""

from pathlib import Path

import vidmem
from vidmem.video import Sink

DEMO = Path(__file__).parents[1] / "assets/demo.mp4"


class Speed(Sink):
    def __init__(self):
        self.last, self.speeds = None, []

    def write(self, frame, result):
        x0, y0, x1, y1 = result.boxes[0]
        here = frame.pts_seconds, (x0 + x1) / 2, (y0 + y1) / 2
        if self.last:
            seconds, dx, dy = (now - then for now, then in zip(here, self.last))
            self.speeds.append((dx**2 + dy**2) ** 0.5 / seconds)
        self.last = here

    def close(self):
        pass


speed = Speed()
vidmem.track(vidmem.open_video(DEMO, end=12), box=(43, 154, 201, 255), sinks=[speed])
print(f"{sum(speed.speeds) / len(speed.speeds):.0f} pixels a second")
