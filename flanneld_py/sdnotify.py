"""sd_notify(3): tells systemd (Type=notify) that the node is part of the network."""

from __future__ import annotations

import logging
import socket

log = logging.getLogger(__name__)


def ready(address: str) -> None:
    """Send READY=1 to the socket that systemd named; "" is nobody. Never fails: systemd will say that it heard nothing."""
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"READY=1", "\0" + address[1:] if address.startswith("@") else address)
    except OSError as error:
        log.warning("systemd not told NOTIFY_SOCKET=%s error=%s", address, error)
