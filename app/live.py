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
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from functools import partial

import numpy as np
from fastapi import WebSocket, WebSocketDisconnect

from vidmem.types import Frame
from vidmem.video import rle_encode

from .limits import FRAME_BYTES, FRAME_SCANS, POINTS, TEXT_BYTES, WAITING, Refused
from .said import arguments, obj_id, parse, shown

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

    def say(self, said: dict) -> dict | None:
        """A prompt for the newest frame -> what to send down; None for a `remove` or `clear` before the first frame. Raises `Refused` or
        `PromptError` for what cannot be used; then nothing has changed."""
        began = time.perf_counter()
        if said.get("clear"):
            change = self._session.clear
        elif "remove" in said:
            change = partial(self._session.remove, obj_id(said, "remove"))
        else:
            if not self.started:
                raise Refused("no frame has come yet; send one, then say what is on it")
            given = arguments(said | {"mask": None}, self._size)
            self._room -= max(1, len(given["points"] or ()))
            if self._room < 0:
                raise Refused(f"more than {POINTS} points on one frame; send the next frame first")
            change = partial(self._session.add, obj_id(said), **given)
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


class NetworkCamera:
    """Reads an address in a thread; `take` gives the newest frame once, what came between is counted in `dropped`."""

    PROTOCOLS = "http,https,tcp,udp,rtp,rtsp,tls,crypto,httpproxy"  # no file, no concat: an address must not reach into the server

    def __init__(self, url: str, came: Callable[[], None]):
        if url.partition("://")[0].lower() not in ("http", "https", "rtsp"):
            raise Refused(f"{shown(url)} is no address of a camera; expected rtsp://, http:// or https://")
        self.dropped, self.error, self._url, self._came = 0, "", url, came
        self._newest, self._lock, self._end = None, threading.Lock(), threading.Event()
        threading.Thread(target=self._read, name="vidmem-app-camera", daemon=True).start()

    def _read(self) -> None:
        import av
        import cv2

        try:
            with av.open(
                self._url, options={"protocol_whitelist": self.PROTOCOLS, "rtsp_transport": "tcp"}, timeout=(5.0, 5.0)
            ) as container:
                for frame in self._frames(container):
                    if frame.width * frame.height > MOST_PIXELS:
                        raise ValueError(
                            f"its pictures are {frame.width}x{frame.height}; expected at most {MOST_PIXELS} pixels"
                        )
                    scale = min(1.0, LONGER_SIDE / max(frame.width, frame.height))
                    image = frame.to_ndarray(format="rgb24")
                    if scale < 1:
                        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                    with self._lock:
                        self.dropped += self._newest is not None
                        self._newest = image
                    self._came()
            self.error = "the camera's stream has ended"
        except (av.FFmpegError, OSError, ValueError, IndexError) as error:
            self.error = f"the camera cannot be read: {getattr(error, 'strerror', None) or error}"
        self._came()

    def _frames(self, container) -> Iterator:
        """Until `close`, which is noticed at each packet: they come also where pictures do not."""
        for packet in container.demux(video=0):
            if self._end.is_set():
                return
            yield from packet.decode()

    def take(self) -> np.ndarray | None:
        with self._lock:
            image, self._newest = self._newest, None
        return image

    def close(self) -> None:
        self._end.set()


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
                if (image := camera.take()) is not None:
                    live.dropped = camera.dropped
                    await socket.send_bytes(await loop.run_in_executor(pool, as_jpeg, image))
                    await answer(live.follow, image, 0)
                    came.set()  # there may be another one by now
                elif camera.error:
                    await socket.send_text(json.dumps({"error": camera.error, "clock": None}))
                    cameras.remove(camera)
                    break

    def say(text: str) -> dict | None:
        said = parse(text)
        return watch(said) if "url" in said else live.say(said)

    def watch(said: dict) -> None:
        if not allow_url:
            raise Refused("this server opens no addresses; it has to be started with --allow-url")
        if cameras:
            raise Refused("a camera is open already")
        cameras.append(NetworkCamera(str(said["url"]), wake))

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is over, and this camera's thread about to be
            loop.call_soon_threadsafe(came.set)

    async def answer(function, what, clock):
        try:
            said = await loop.run_in_executor(pool, function, what)
        except Exception as error:  # shown to its visitor
            said = {"error": str(error) or type(error).__name__}
        if said is not None:
            await socket.send_text(json.dumps(said | {"clock": clock}))

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
