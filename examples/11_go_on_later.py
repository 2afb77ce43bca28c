"""A session's state as bytes: stop here, go on in another process or on another day, with the same masks."""

from pathlib import Path

import vidmem

DEMO = Path(vidmem.__file__).parents[1] / "assets/demo.mp4"
STATE = Path("out/session.vidmem")

tracker = vidmem.load("nano", runtime="onnx")
with tracker.session() as session:
    session.add(1, box=(43, 154, 201, 255))
    for frame in vidmem.open_video(DEMO, end=6):
        session.step(frame)
    STATE.parent.mkdir(exist_ok=True)
    STATE.write_bytes(session.to_bytes())
print(f"out/session.vidmem: {STATE.stat().st_size / 1e6:.1f} MB, at frame {frame.index}")

with tracker.session() as session:  # in another process: the same model, engine, bank and search
    session.restore(STATE.read_bytes())
    for frame in vidmem.open_video(DEMO, start=session.frame_idx + 1, end=12):
        result = session.step(frame)
print(f"frame {frame.index}: object {result.obj_ids[0]} {result.status[0].value}")
