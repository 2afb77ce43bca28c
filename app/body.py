"""What comes in a request, in so many bytes and so much time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import Request
from starlette.requests import ClientDisconnect

from .limits import PAUSE_SECONDS, SAID_BYTES, SAID_SECONDS, Refused
from .requests import parse


async def received(request: Request, most: int, seconds: float, too_much: str) -> AsyncIterator[bytes]:
    """The pieces of a request's body. Raises `Refused` beyond `most` bytes, with the text `too_much`; when the whole takes more than `seconds`;
    and when nothing comes for `PAUSE_SECONDS`."""
    length, size, pieces = request.headers.get("content-length", ""), 0, request.stream()
    if length.isdecimal() and len(length) < 20 and int(length) > most:
        raise Refused(too_much, 413)
    until = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            async with asyncio.timeout_at(min(until, asyncio.get_running_loop().time() + PAUSE_SECONDS)):
                piece = await anext(pieces)
        except StopAsyncIteration:
            return
        except ClientDisconnect:  # nobody is there to be answered, and it is nothing for a log
            raise Refused(f"the request was broken off after {size} bytes; send it again") from None
        except TimeoutError:
            raise Refused(
                f"the request did not come whole: {size} bytes in at most {seconds} s; try a faster connection, or a smaller file",
                408,
            ) from None
        size += len(piece)
        if size > most:
            raise Refused(too_much, 413)
        yield piece


async def body(request: Request) -> dict:
    """The JSON object that was sent. Raises `Refused`."""
    return parse(
        b"".join(
            [
                piece
                async for piece in received(request, SAID_BYTES, SAID_SECONDS, f"more than {SAID_BYTES} bytes of JSON")
            ]
        )
    )
