"""What a visitor may do, and where the server listens. Every number that bounds something from outside is here."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from vidmem.errors import UserError

# What whoever starts the server may change is in `Limits`; the rest suits every machine.
SAID_BYTES = 512 << 10  # of JSON in one request: a painted mask of the largest frame has a tenth of that
SAID_SECONDS = 20  # for such a request to be here whole
PAUSE_SECONDS = 30  # without a byte of an upload
FRAME_BYTES = 2 << 20  # of a camera's JPEG
FRAME_SCANS = 64  # of a progressive one; each costs a pass over the picture
TEXT_BYTES = 32 << 10  # of a prompt through a camera's socket
COUNTS = 256 << 10  # letters of one mask's RLE
POINTS = 100  # of one object on one frame
PROMPTS = 500  # of one project
UNDO = 100  # steps back
OBJ_ID = 65535  # the largest that a session takes
SLOWEST, FASTEST = 0.01, 1000  # frames per second of a project
PROJECT_BYTES = 128 << 20  # of a saved project's JSON
WAITING = 8  # requests of one visit that wait for, or do, something with its session
AT_ONCE = 16  # requests of one visit of any kind; a browser makes six
LETTERS = 60  # of a name, or of a number that is said as text

WHOLE_NUMBER, NUMBER = (
    32,
    1000.0,
)  # the most that a number of a bank or a search may be, either way, unless it stands here
POLICY_NUMBERS = {
    "width": 8, "frames": 10_000, "lag": 2000, "span": 1000, "longest": 1000, "shortest": 1000, "gap": 1000, "stride": 1000,
    "window": 256, "stable_frames": 1000, "prototypes": 1024, "seed": 2**31 - 1,
}  # fmt: skip


class Refused(UserError):
    """Something a visitor, or whoever started the server, may not do; the message says what would do."""

    def __init__(self, message: str, status: int = 400):
        super().__init__(message)
        self.status = status  # of the HTTP answer


@dataclass(frozen=True)
class Limits:
    """Defaults suit one machine and a few people."""

    upload_mb: int = 500
    upload_seconds: int = 900
    frames: int = 2000
    """Of one video; what comes after is left out, and the visitor is told."""
    frames_mb: int = 2000
    """Of one video's frames as the app keeps them, on disk; what comes after is left out too."""
    projects_mb: int = 20_000
    """Of all projects that are kept together; beyond it new ones are not, and the visitor is told."""
    longer_side: int = 1280
    """Pixels; larger videos are shrunk for the app. The command line works at full size."""
    objects: int = 20
    pathways: int = 24
    """Objects times the width of the search: what one frame may cost, for the other visitors wait for it."""
    visitors: int = 8
    idle_minutes: float = 30
    """Without a request; then the visitor's files and memory are freed."""
    decode_seconds: int = 300
    decode_mb: int = 4096
    """Memory of the process that reads an upload."""
    allow_url: bool = False
    """Visitors may name a network camera, which this machine then calls: with that, they can reach what it can reach."""


def check_host(host: str, auth: tuple[str, str] | None) -> str:
    """The host to listen on. Raises `Refused` for one that others can reach when there is no password."""
    try:
        near = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        near = False
    if not near and auth is None:
        raise Refused(
            f"--host {host} can be reached by others; give --auth NAME:PASSWORD too, or leave --host out (127.0.0.1)"
        )
    return host


def parse_auth(text: str | None) -> tuple[str, str] | None:
    """`NAME:PASSWORD`. Raises `Refused` for anything else, and for a password of fewer than eight letters."""
    if text is None:
        return None
    name, colon, password = text.partition(":")
    if not (name and colon and len(password) >= 8):
        raise Refused("--auth takes NAME:PASSWORD with at least eight letters in the password")
    return name, password
