"""The same clip with three memories, by name and with numbers of their own."""

from pathlib import Path

import vidmem
from vidmem.memory import Recent

DEMO = Path(__file__).parents[1] / "assets/demo.mp4"

tracker = vidmem.load("nano")
for bank in ("surprise", "confident", Recent(slots=3)):
    with tracker.session(bank=bank) as session:
        session.add(1, box=(43, 154, 201, 255))
        for frame in vidmem.open_video(DEMO, end=10):
            result = session.step(frame)
        seen = [memory.frame_idx for memory in session.memories(1)]
        print(f"{bank}: remembers frames {seen}, {session.nbytes / 1e6:.1f} MB, score {result.scores[0]:.2f}")
