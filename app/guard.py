"""What stands in front of every route, Gradio's and sockets included."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import re
import time
from collections import Counter, OrderedDict
from urllib.parse import urlsplit

from .head import ours
from .limits import AT_ONCE

PAGE = ("/", "/theme.css", "/manifest.json", "/favicon.ico")  # what of Gradio the page needs, with what is under these
OURS = ("/api/about", "/api/visits", "/api/projects")
UNDER = ("/assets/", "/static/")
INLINE = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"no-referrer"),
]


class Guard:
    """Asks for the password, for the name by which we are called, and where requests come from: a page elsewhere that makes a visitor's
    browser call us (or a name that is made to point to us) gets nothing. Closes what the page does not use. Lets a visit have no more
    than `AT_ONCE` requests at a time. And tells the browser to run no script but ours."""

    def __init__(self, app, auth: tuple[str, str] | None, hosts: set[str]):
        self.app, self.auth, self.hosts = app, auth, hosts
        self.guesses, self.going = Guesses(), Counter()

    async def __call__(self, scope, receive, send):
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        refusal = self._refusal(scope)
        if refusal is not None:
            return await refuse(scope, send, *refusal)
        if scope["type"] == "websocket":
            return await self.app(scope, receive, send)
        answer = Page(send, scope) if scope["path"] == "/" else Marked(send)
        visit = scope["path"].split("/")[3] if scope["path"].startswith("/api/visits/") else None
        if visit is None:
            return await self.app(scope, receive, answer)
        if self.going[visit] >= AT_ONCE:
            return await refuse(scope, send, 429, b"too many requests at once; send the next when one is answered")
        self.going[visit] += 1
        try:
            return await self.app(scope, receive, answer)
        finally:
            self.going[visit] -= 1
            if not self.going[visit]:
                del self.going[visit]

    def _refusal(self, scope) -> tuple | None:
        """-> status, what to say, further headers; None: let it pass."""
        headers = {k.decode("latin1").lower(): v.decode("latin1") for k, v in scope["headers"]}
        host, origin = headers.get("host", ""), headers.get("origin")
        if self.hosts and ("@" in host or name_of(f"//{host}") not in self.hosts):
            return 421, b"not allowed"
        if origin is not None and place_of(origin) != host:
            return 403, b"not allowed"
        if self.auth is not None and (
            refusal := self._unknown(headers.get("authorization"), (scope.get("client") or ("",))[0])
        ):
            return refusal
        path = scope["path"]
        ours = path in OURS or path.startswith(("/api/visits/", "/api/projects/"))
        page = scope.get("method") in ("GET", "HEAD") and (path in PAGE or path.startswith(UNDER))
        return None if ours or page else (404, b"there is nothing here")

    def _unknown(self, given: str | None, address: str) -> tuple | None:
        if (seconds := self.guesses.wait(address)) > 0:
            return (
                429,
                b"too many wrong passwords; try again in a minute",
                [(b"retry-after", str(int(seconds) + 1).encode())],
            )
        kind, _, text = (given or "").partition(" ")
        try:
            guess = base64.b64decode(text) if kind.lower() == "basic" else b""
        except ValueError:
            guess = b""
        if hmac.compare_digest(guess, ":".join(self.auth).encode()):
            return None
        if given is not None:  # a browser's first request has none, and is no guess
            self.guesses.wrong(address)
        return 401, b"not allowed", [(b"www-authenticate", b'Basic realm="vidmem"')]


class Guesses:
    """Wrong passwords, counted by the address they came from (of IPv6, the network). After `MOST` of them within a minute nothing from
    there is looked at for the rest of it, right or wrong: a guesser learns nothing from more."""

    MOST, SECONDS, ADDRESSES = 10, 60.0, 10_000

    def __init__(self):
        self._wrong: OrderedDict[str, tuple[float, int]] = OrderedDict()  # since when, how many

    def wait(self, address: str) -> float:
        """Seconds until somebody there may try again; 0 or less: now."""
        since, many = self._wrong.get(network(address), (0.0, 0))
        return since + self.SECONDS - time.monotonic() if many >= self.MOST else 0.0

    def wrong(self, address: str) -> None:
        now, key = time.monotonic(), network(address)
        since, many = self._wrong.pop(key, (now, 0))
        self._wrong[key] = (since, many + 1) if now < since + self.SECONDS else (now, 1)
        while len(self._wrong) > self.ADDRESSES:
            self._wrong.popitem(last=False)


def network(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((int(ip) >> 64 << 64, 64)))


def name_of(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def place_of(origin: str) -> str | None:
    """The host and port; None for what is no origin, the word null among it."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


async def refuse(scope, send, status: int, text: bytes, headers: list = ()) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    kind = b"application/json" if scope["path"].startswith("/api/") else b"text/plain"
    body = b'{"error": "%s"}' % text if kind.endswith(b"json") else text
    await send(
        {"type": "http.response.start", "status": status, "headers": [(b"content-type", kind), *HEADERS, *headers]}
    )
    await send({"type": "http.response.body", "body": body})


def policy(scripts: list[bytes], host: str = "") -> bytes:
    """The Content-Security-Policy. scripts: sources of inline ones, which alone may run. Gradio makes functions of text (hence unsafe-eval),
    so a name that is taken for HTML could still do harm only through a script of ours; styles cannot be listed, Gradio sets them everywhere."""
    sources = b" ".join(b"'sha256-" + base64.b64encode(hashlib.sha256(script).digest()) + b"'" for script in scripts)
    socket = (
        f"ws://{host} wss://{host}".encode() if re.fullmatch(r"[\w.:\[\]-]+", host) else b""
    )  # 'self' is no socket to older browsers
    return (
        b"default-src 'self'; script-src 'self' 'unsafe-eval' " + sources + b"; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        b"font-src 'self' data:; media-src 'self' blob: mediastream:; connect-src 'self' " + socket + b"; object-src 'none'; "
        b"base-uri 'self'; form-action 'none'; frame-ancestors 'self'"
    )  # fmt: skip


class Marked:
    """Sends an answer on with the headers that all answers have."""

    def __init__(self, send):
        self._send = send

    async def __call__(self, message) -> None:
        if message["type"] == "http.response.start":
            message = message | {
                "headers": [
                    *message.get("headers", []),
                    *HEADERS,
                    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
                ]
            }
        await self._send(message)


class Page:
    """Sends the page on, whole, for its policy names the scripts in it."""

    def __init__(self, send, scope):
        self._send, self._start, self._body = send, None, b""
        self._host = next((v.decode("latin1") for k, v in scope["headers"] if k == b"host"), "")
        scope["headers"] = [(k, v) for k, v in scope["headers"] if k != b"accept-encoding"]  # it has to be read here

    async def __call__(self, message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        if message["type"] != "http.response.body":
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        scripts, whole = policy(INLINE.findall(self._body), self._host), ours(self._body, self._host)
        kept = [(k, v) for k, v in self._start.get("headers", []) if k.lower() != b"content-length"]
        await self._send(
            self._start
            | {
                "headers": [
                    *kept,
                    *HEADERS,
                    (b"content-length", b"%d" % len(whole)),
                    (b"content-security-policy", scripts),
                ]
            }
        )
        await self._send({"type": "http.response.body", "body": whole})
