"""Blur, spotlight and green screen, as files and as pictures."""

from pathlib import Path

import vidmem

DEMO = Path(__file__).parents[1] / "assets/demo.mp4"

tracker = vidmem.load("nano")
video = vidmem.open_video(DEMO, end=6)
vidmem.track(
    video, box=(43, 154, 201, 255), out="out/blur", save=["overlay"], look=vidmem.Look(effect="blur"), model=tracker
)

with tracker.session() as session:
    session.add(1, box=(43, 154, 201, 255))
    result = session.step(video[0])
for effect in ("spotlight", "green", "pixelate-object"):
    result.plot(video[0], effect=effect).save(f"out/{effect}.png")  # a PIL image, which notebooks show
    print(f"out/{effect}.png")
