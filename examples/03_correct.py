"""Clicks that correct the frame that is shown, and taking one back."""

from pathlib import Path

import vidmem

DEMO = Path(__file__).parents[1] / "assets/demo.mp4"

tracker = vidmem.load("nano")
with tracker.session() as session:
    video = vidmem.open_video(DEMO, end=6)
    session.add(1, points=[(140, 200)])  # one click on the fish, which finds half of it
    before = session.step(video[0])
    after = session.add(1, points=[(62, 215)])  # its tail too; labels=[0] would say: not this
    print(f"{before.masks[0].sum()} pixels, and after the click {after.masks[0].sum()}")
    session.undo()
    print(f"taken back: {session.result().masks[0].sum()}")
    for frame in video[1:]:
        session.step(frame)
    print(session)
