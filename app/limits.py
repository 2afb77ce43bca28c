"""What a visitor may do, and where the server listens."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from vidmem.errors import UserError


class Refused(UserError):
    """Something a visitor, or whoever started the server, may not do; the message says what would do."""

    def __init__(self, message: str, status: int = 400):
        super().__init__(message)
        self.status = status  # of the HTTP answer


@dataclass(frozen=True)
class Limits:
    """Defaults suit one machine and a few people."""

    upload_mb: int = 500
    frames: int = 2000
    """Of one video; what comes after is left out, and the visitor is told."""
    longer_side: int = 1280
    """Pixels; larger videos are shrunk for the app. The command line works at full size."""
    objects: int = 20
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
        raise Refused(f"--host {host} can be reached by others; give --auth NAME:PASSWORD too, or leave --host out (127.0.0.1)")
    return host


def parse_auth(text: str | None) -> tuple[str, str] | None:
    """`NAME:PASSWORD`. Raises `Refused` for anything else, and for a password of fewer than eight letters."""
    if text is None:
        return None
    name, colon, password = text.partition(":")
    if not (name and colon and len(password) >= 8):
        raise Refused("--auth takes NAME:PASSWORD with at least eight letters in the password")
    return name, password
