"""Tell systemd that the process is alive: `Type=notify`, `WatchdogSec=` in its unit; elsewhere this does nothing (sd_notify(3))."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> bool:
    """state: `READY=1` or `WATCHDOG=1` -> whether somebody was told."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    if address.startswith("@"):  # an abstract socket
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(state.encode(), address)
    except OSError:  # nobody listens any more: no reason to stop
        return False
    return True
