"""Frames that OpenCV reads and draws on: their channels are blue, green, red."""

from pathlib import Path

import cv2

import vidmem

DEMO = Path(__file__).parents[1] / "assets/demo.mp4"

capture = cv2.VideoCapture(str(DEMO))
with vidmem.load("nano").session() as session:
    session.add(1, box=(43, 154, 201, 255))
    for _ in range(5):
        _, image = capture.read()
        result = session.step(image, color="bgr")
        x0, y0, x1, y1 = map(int, result.boxes[0])
        cv2.rectangle(image, (x0, y0), (x1, y1), (0, 255, 255), 2)
Path("out").mkdir(exist_ok=True)
cv2.imwrite("out/opencv.png", image)
print(f"frame {result.frame_idx}: {result.boxes[0].tolist()} in out/opencv.png")
