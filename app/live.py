"""A camera in a browser: frames come up as JPEG through a socket, masks go down. The newest frame wins; what came meanwhile is dropped.

Up: binary, eight bytes with the sender's clock (milliseconds, a little-endian double) and a JPEG; or text, a JSON prompt `{"obj_id", "points", "labels", "box"}`,
`{"remove": obj_id}` or `{"clear": true}`. Down: JSON with the clock of the frame it answers, so that the sender can measure how late it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import time

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
        began = time.perf_counter()
        image = picture(jpeg)
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


async def serve(socket: WebSocket, live: Live) -> None:
    """Until the socket closes. Two tasks: one takes what comes, the other does the newest of it."""
    await socket.accept()
    newest: dict = {"frame": None, "prompts": []}
    came = asyncio.Event()

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
                    await answer(live.say, parsed(newest["prompts"].pop(0)), None)
                elif (data := newest["frame"]) is not None:
                    newest["frame"] = None
                    await answer(live.step, data[8:], struct.unpack("<d", data[:8])[0])

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
        live.close()
        with contextlib.suppress(RuntimeError):
            await socket.close()


def parsed(text: str) -> dict:
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    return said if isinstance(said, dict) else {}
