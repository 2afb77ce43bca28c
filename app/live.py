"""A camera in a browser: frames come up as JPEG through a socket, masks go down. The newest frame wins; what came meanwhile is dropped.

Up: binary, eight bytes with the sender's clock (milliseconds, a little-endian double) and a JPEG; or text, a JSON prompt `{"obj_id", "points", "labels", "box"}`,
`{"remove": obj_id}` or `{"clear": true}`. Down: JSON with the clock of the frame it answers, so that the sender can measure how late it is.

With `--allow-url` also `{"url": "rtsp://..."}`: then the server reads that camera, and each answer comes after its picture, a binary JPEG.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import threading
import time
from collections.abc import Callable

import numpy as np
from fastapi import WebSocket, WebSocketDisconnect
from starlette.concurrency import run_in_threadpool

from vidmem.errors import VidmemError
from vidmem.types import Frame
from vidmem.video import rle_encode

from .limits import Refused

MOST_BYTES = 2 << 20  # of one frame
LONGER_SIDE = 1280


class Live:
    """One camera's session. Not bound to a socket, so that it can be tested without one."""

    def __init__(self, tracker, turn, max_objects: int):
        self._session = tracker.session(max_objects=max_objects)
        self._turn, self._size, self._index = turn, None, 0
        self.dropped = 0

    def step(self, jpeg: bytes) -> dict:
        """A frame -> what to send down. Raises `Refused` for what is no picture, or of another size than the ones before."""
        return self.follow(picture(jpeg))

    def follow(self, image: np.ndarray) -> dict:
        """The same for (H, W, 3) uint8 RGB."""
        began = time.perf_counter()
        if self._size not in (None, image.shape[:2]):
            raise Refused(f"the camera changed from {self._size[1]}x{self._size[0]} to {image.shape[1]}x{image.shape[0]}; start it again")
        self._size = image.shape[:2]
        with self._turn:
            result = self._session.step(Frame(self._index, None, image))
        self._index += 1
        return self._said(result, began)

    def say(self, said: dict) -> dict | None:
        """A prompt for the newest frame -> what to send down; None before the first frame."""
        began = time.perf_counter()
        with self._turn:
            if said.get("clear"):
                self._session.clear()
            elif said.get("remove"):
                self._session.remove(said["remove"])
            else:
                self._session.add(said.get("obj_id"), **{key: said.get(key) for key in ("points", "labels", "box")})
            return self._said(self._session.result(), began) if self._index else None

    def _said(self, result, began: float) -> dict:
        objects = {
            int(o): {"rle": rle_encode(mask), "score": round(float(score), 4), "object_logit": round(float(logit), 3), "status": status.value}
            for o, mask, score, logit, status in zip(result.obj_ids, result.masks, result.scores, result.object_logits, result.status)
        }
        return {"frame_idx": result.frame_idx, "size": list(self._size), "objects": objects, "ms": round(1000 * (time.perf_counter() - began), 1), "dropped": self.dropped}

    def close(self) -> None:
        self._session.close()


def picture(jpeg: bytes) -> np.ndarray:
    """A JPEG of at most `LONGER_SIDE` -> (H, W, 3) uint8 RGB. Its header is read first: what claims to be large is never decoded."""
    import io

    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(jpeg), formats=["JPEG"])
        if max(image.size) > LONGER_SIDE or min(image.size) < 16:
            raise Refused(f"a frame of {image.size[0]}x{image.size[1]}; expected 16 to {LONGER_SIDE} pixels a side")
        return np.array(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise Refused(f"a frame that is no JPEG ({type(error).__name__})") from None


class NetworkCamera:
    """Reads an address in a thread; `take` gives the newest frame once, what came between is counted in `dropped`."""

    PROTOCOLS = "http,https,tcp,udp,rtp,rtsp,tls,crypto,httpproxy"  # no file, no concat: an address must not reach into the server

    def __init__(self, url: str, came: Callable[[], None]):
        if url.partition("://")[0].lower() not in ("http", "https", "rtsp"):
            raise Refused(f"{url[:80]!r} is no address of a camera; expected rtsp://, http:// or https://")
        self.dropped, self.error, self._url, self._came = 0, "", url, came
        self._newest, self._lock, self._end = None, threading.Lock(), threading.Event()
        threading.Thread(target=self._read, name="vidmem-app-camera", daemon=True).start()

    def _read(self) -> None:
        import av
        import cv2

        try:
            with av.open(self._url, options={"protocol_whitelist": self.PROTOCOLS, "rtsp_transport": "tcp"}, timeout=(5.0, 5.0)) as container:
                for frame in container.decode(video=0):
                    scale = min(1.0, LONGER_SIDE / max(frame.width, frame.height))
                    image = frame.to_ndarray(format="rgb24")
                    if scale < 1:
                        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                    with self._lock:
                        self.dropped += self._newest is not None
                        self._newest = image
                    self._came()
                    if self._end.is_set():
                        return
            self.error = "the camera's stream has ended"
        except (av.FFmpegError, OSError, ValueError, IndexError) as error:
            self.error = f"the camera cannot be read: {getattr(error, 'strerror', None) or error}"
        self._came()

    def take(self) -> np.ndarray | None:
        with self._lock:
            image, self._newest = self._newest, None
        return image

    def close(self) -> None:
        self._end.set()


async def serve(socket: WebSocket, live: Live, allow_url: bool = False) -> None:
    """Until the socket closes. Two tasks: one takes what comes, the other does the newest of it."""
    await socket.accept()
    newest: dict = {"frame": None, "prompts": []}
    came, cameras, loop = asyncio.Event(), [], asyncio.get_running_loop()

    async def listen():
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect
            if (data := message.get("bytes")) is not None:
                if not 8 < len(data) <= MOST_BYTES:
                    raise Refused(f"a frame of {len(data)} bytes; expected at most {MOST_BYTES}")
                live.dropped += newest["frame"] is not None
                newest["frame"] = data
            elif len(newest["prompts"]) < 50:
                newest["prompts"].append(message.get("text") or "")
            came.set()

    async def work():
        while True:
            await came.wait()
            came.clear()
            while newest["prompts"] or newest["frame"] is not None:
                if newest["prompts"]:
                    said = parsed(newest["prompts"].pop(0))
                    await answer(watch if "url" in said else live.say, said, None)
                elif (data := newest["frame"]) is not None:
                    newest["frame"] = None
                    await answer(live.step, data[8:], struct.unpack("<d", data[:8])[0])
            for camera in cameras:
                if (image := camera.take()) is not None:
                    live.dropped = camera.dropped
                    await socket.send_bytes(await run_in_threadpool(as_jpeg, image))
                    await answer(live.follow, image, 0)
                    came.set()  # there may be another one by now
                elif camera.error:
                    await socket.send_text(json.dumps({"error": camera.error, "clock": None}))
                    cameras.remove(camera)
                    break

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
            said = await run_in_threadpool(function, what)
        except (VidmemError, TypeError, ValueError) as error:
            said = {"error": str(error)}
        if said is not None:
            await socket.send_text(json.dumps(said | {"clock": clock}))

    tasks = [asyncio.create_task(listen()), asyncio.create_task(work())]
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
        live.close()
        with contextlib.suppress(RuntimeError):
            await socket.close()


def as_jpeg(image: np.ndarray) -> bytes:
    import cv2

    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


def parsed(text: str) -> dict:
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    return said if isinstance(said, dict) else {}
