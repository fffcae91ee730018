"""One ICMP echo (RFC 792) that can be recognised on every wire it crosses: its payload is a marker that nothing else carries."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from dataclasses import dataclass

from dataplane.drivers.netns import entered
from dataplane.inet import IP

_ECHO_REQUEST, _ECHO_REPLY = 8, 0
_HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence number
_MARKER_BYTES = 16


@dataclass(frozen=True, slots=True)
class Echo:
    """A ping. `rtt_ms` is None if no answer came; `error` is the kernel's word if it did not even send it."""

    marker: bytes
    rtt_ms: float | None
    error: str | None = None


def ping(netns: str, address: IP, seq: int, timeout_s: float) -> Echo:
    """Send one echo request from a namespace and wait for its answer.

    Raises:
        KernelError: the namespace cannot be entered.
    """
    marker, identifier = os.urandom(_MARKER_BYTES), os.getpid() & 0xFFFF
    with entered(netns):
        handle = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with handle:
        handle.setblocking(False)
        sent_at = time.perf_counter()
        try:
            handle.sendto(echo_request(identifier, seq, marker), (str(address), 0))
        except OSError as error:  # no route, or a filter: the answer is already known
            return Echo(marker, None, error.strerror)
        answered = _await_reply(handle, marker, time.monotonic() + timeout_s)
        return Echo(marker, (time.perf_counter() - sent_at) * 1000 if answered else None)


def _await_reply(handle: socket.socket, marker: bytes, deadline: float) -> bool:
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([handle], [], [], left)
        if ready and is_reply(handle.recv(2048), marker):
            return True
    return False


def echo_request(identifier: int, seq: int, payload: bytes) -> bytes:
    """The ICMP message with its checksum."""
    bare = _HEADER.pack(_ECHO_REQUEST, 0, 0, identifier, seq) + payload
    return _HEADER.pack(_ECHO_REQUEST, 0, checksum(bare), identifier, seq) + payload


def is_reply(packet: bytes, marker: bytes) -> bool:
    """Whether an IPv4 packet is the echo reply that carries `marker`."""
    header_bytes = (packet[0] & 0x0F) * 4
    return packet[header_bytes : header_bytes + 1] == bytes([_ECHO_REPLY]) and packet.endswith(marker)


def checksum(octets: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = octets + bytes(len(octets) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
