"""A camera in a browser: frames come up as JPEG through a socket, masks go down. The newest frame wins; what came meanwhile is dropped.

Up: binary, eight bytes with the sender's clock (milliseconds, a little-endian double) and a JPEG; or text, a JSON prompt `{"obj_id", "points", "labels", "box"}`,
`{"remove": obj_id}` or `{"clear": true}`. Down: JSON with the clock of the frame it answers, so that the sender can measure how late it is.

With `--allow-url` also `{"url": "rtsp://..."}`: then the server reads that camera, and each answer comes after its picture, a binary JPEG.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import struct
import time
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial

import numpy as np
from fastapi import WebSocket, WebSocketDisconnect

from vidmem.types import Frame
from vidmem.video import Camera, rle_encode
from vidmem.video.camera import ADDRESSES

from .limits import FRAME_BYTES, FRAME_SCANS, POINTS, TEXT_BYTES, WAITING, Refused
from .requests import arguments, obj_id, parse, shown

LONGER_SIDE = 1280
MOST_PIXELS = 4096 * 4096  # of a network camera's picture, before it is shrunk


class Live:
    """One camera's session. Not bound to a socket, so that it can be tested without one."""

    def __init__(self, tracker, turn, max_objects: int):
        self._session = tracker.session(max_objects=max_objects)
        self._turn, self._size, self._index = turn, None, 0
        self._room = POINTS  # points that may still be said about the newest frame
        self.dropped = 0

    @property
    def started(self) -> bool:
        """A frame has come, which a prompt can be about."""
        return self._size is not None

    def step(self, jpeg: bytes) -> dict:
        """A frame -> what to send down. Raises `Refused` for what is no picture, or of another size than the ones before."""
        return self.follow(picture(jpeg))

    def follow(self, image: np.ndarray) -> dict:
        """The same for an image (H, W, 3) uint8 RGB."""
        began = time.perf_counter()
        if self._size not in (None, image.shape[:2]):
            raise Refused(
                f"the camera changed from {self._size[1]}x{self._size[0]} to {image.shape[1]}x{image.shape[0]}; start it again"
            )
        self._size = image.shape[:2]
        with self._turn:
            result = self._session.step(Frame(self._index, None, image))
        self._index, self._room = self._index + 1, POINTS
        return self._said(result, began)

    def say(self, fields: dict) -> dict | None:
        """A prompt for the newest frame -> what to send down; None for a `remove` or `clear` before the first frame. Raises `Refused` or
        `PromptError` for what cannot be used; then nothing has changed."""
        began = time.perf_counter()
        if fields.get("clear"):
            change = self._session.clear
        elif "remove" in fields:
            change = partial(self._session.remove, obj_id(fields, "remove"))
        else:
            if not self.started:
                raise Refused("no frame has come yet; send one, then say what is on it")
            given = arguments(fields | {"mask": None}, self._size)
            self._room -= max(1, len(given["points"] or ()))
            if self._room < 0:
                raise Refused(f"more than {POINTS} points on one frame; send the next frame first")
            change = partial(self._session.add, obj_id(fields), **given)
        with self._turn:
            change()
            result = self._session.result() if self._index else None
        return self._said(result, began) if result is not None else None

    def _said(self, result, began: float) -> dict:
        objects = {
            int(o): {
                "rle": rle_encode(mask),
                "score": round(float(score), 4),
                "object_logit": round(float(logit), 3),
                "status": status.value,
            }
            for o, mask, score, logit, status in zip(
                result.obj_ids, result.masks, result.scores, result.object_logits, result.status
            )
        }
        return {
            "frame_idx": result.frame_idx,
            "size": list(self._size),
            "objects": objects,
            "ms": round(1000 * (time.perf_counter() - began), 1),
            "dropped": self.dropped,
        }

    def close(self) -> None:
        self._session.close()


def picture(jpeg: bytes) -> np.ndarray:
    """A JPEG of at most `LONGER_SIDE` -> (H, W, 3) uint8 RGB. Its header is read first: what claims to be large is never decoded."""
    import io

    from PIL import Image, UnidentifiedImageError

    if jpeg.count(b"\xff\xda") > FRAME_SCANS:  # a marker, which cannot come up in what it marks
        raise Refused(f"a frame in more than {FRAME_SCANS} scans; expected a plain JPEG")
    try:
        image = Image.open(io.BytesIO(jpeg), formats=["JPEG"])
        if max(image.size) > LONGER_SIDE or min(image.size) < 16:
            raise Refused(f"a frame of {image.size[0]}x{image.size[1]}; expected 16 to {LONGER_SIDE} pixels a side")
        return np.array(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Refused(f"a frame that is no JPEG ({type(error).__name__})") from None


def network_camera(url: str, came: Callable[[], None]) -> Camera:
    """An address that a visitor gave. Raises `Refused` for anything else: a device of this machine is not a visitor's."""
    if url.partition("://")[0].lower() not in ADDRESSES:
        raise Refused(f"{shown(url)} is no address of a camera; expected rtsp://, http:// or https://")
    return Camera(url, max_size=LONGER_SIDE, most_pixels=MOST_PIXELS, came=came)


async def serve(
    socket: WebSocket,
    live: Live,
    pool: Executor,
    heard: Callable[[], None],
    leave: asyncio.Event,
    allow_url: bool = False,
) -> None:
    """Until the socket closes, or `leave` is set. Two tasks: one takes what comes, and calls `heard`; the other does the newest of it, in the pool."""
    await socket.accept()
    newest: dict = {"frame": None, "prompts": []}
    came, cameras, loop = asyncio.Event(), [], asyncio.get_running_loop()

    async def listen():
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect
            heard()
            data, text = message.get("bytes"), message.get("text") or ""
            if data is not None:
                if not 8 < len(data) <= FRAME_BYTES:
                    raise Refused(f"a frame of {len(data)} bytes; expected at most {FRAME_BYTES}")
                live.dropped += newest["frame"] is not None
                newest["frame"] = data
            elif len(text) > TEXT_BYTES:
                raise Refused(f"a prompt of {len(text)} letters; expected at most {TEXT_BYTES}")
            elif len(newest["prompts"]) < WAITING:
                newest["prompts"].append(text)
            came.set()

    async def work():
        while True:
            await came.wait()
            came.clear()
            while newest["prompts"] or newest["frame"] is not None:
                if newest["prompts"] and (live.started or newest["frame"] is None):
                    await answer(say, newest["prompts"].pop(0), None)
                elif (data := newest["frame"]) is not None:
                    newest["frame"] = None
                    (clock,) = struct.unpack("<d", data[:8])
                    await answer(live.step, data[8:], clock if math.isfinite(clock) else 0)
            for camera in cameras:
                if (frame := camera.take()) is not None:
                    live.dropped = camera.dropped
                    await socket.send_bytes(await loop.run_in_executor(pool, as_jpeg, frame.image))
                    await answer(live.follow, frame.image, 0)
                    came.set()  # there may be another one by now
                elif camera.over:
                    error = camera.error or "the camera's stream has ended"
                    await socket.send_text(json.dumps({"error": error, "clock": None}))
                    cameras.remove(camera)
                    break

    def say(text: str) -> dict | None:
        fields = parse(text)
        return watch(fields) if "url" in fields else live.say(fields)

    def watch(fields: dict) -> None:
        if not allow_url:
            raise Refused("this server opens no addresses; it has to be started with --allow-url")
        if cameras:
            raise Refused("a camera is open already")
        cameras.append(network_camera(str(fields["url"]), wake))

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is over, and this camera's thread about to be
            loop.call_soon_threadsafe(came.set)

    async def answer(function, what, clock):
        try:
            reply = await loop.run_in_executor(pool, function, what)
        except Exception as error:  # shown to its visitor
            reply = {"error": str(error) or type(error).__name__}
        if reply is not None:
            await socket.send_text(json.dumps(reply | {"clock": clock}))

    tasks = [asyncio.create_task(task) for task in (listen(), work(), leave.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError, Refused):
                await task
        for camera in cameras:
            camera.close()
        await loop.run_in_executor(pool, live.close)
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await socket.close()


def as_jpeg(image: np.ndarray) -> bytes:
    import cv2

    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
