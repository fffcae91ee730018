"""Listen on all devices of several namespaces at once, with packet sockets (packet(7)) and the kernel's own time stamps."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from dataplane.drivers.netns import entered
from labs.trace.hop import IN, OUT, Frame

_ETH_P_ALL = 3
_SO_TIMESTAMPNS = 35  # asm-generic/socket.h; not in the socket module. The answer comes as a control message of the same number
_TIMESPEC = struct.Struct("@ll")
_ARPHRD_ETHER, _ARPHRD_LOOPBACK = 1, 772
_BUFFER_BYTES = 4 << 20
_SNAP_BYTES = 65536


@contextmanager
def taps(netns_paths: Mapping[str, str]) -> Iterator[dict[str, socket.socket]]:
    """A socket that hears every device, for each named namespace.

    Raises:
        KernelError: a namespace cannot be entered.
    """
    with ExitStack() as stack:
        yield {place: stack.enter_context(_tap(path)) for place, path in netns_paths.items()}


def _tap(netns: str) -> socket.socket:
    with entered(netns):
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
    tap.setblocking(False)
    tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    tap.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    return tap


def frames_of(place: str, tap: socket.socket, marker: bytes) -> tuple[Frame, ...]:
    """All frames heard so far that contain `marker`, in the order of capture. The rest is dropped."""
    return tuple(frame for frame in _heard(place, tap) if marker in frame.octets)


def _heard(place: str, tap: socket.socket) -> Iterable[Frame]:
    while True:
        try:
            octets, control, _, address = tap.recvmsg(_SNAP_BYTES, socket.CMSG_SPACE(_TIMESPEC.size))
        except BlockingIOError:
            return
        device, _, packet_type, hardware_type, *_ = address
        direction = OUT if packet_type == socket.PACKET_OUTGOING else IN
        if hardware_type != _ARPHRD_LOOPBACK:
            yield Frame(place, device, direction, _at_ns(control), hardware_type == _ARPHRD_ETHER, octets)


def _at_ns(control: Iterable[tuple[int, int, bytes]]) -> int:
    for level, kind, text in control:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack(text[: _TIMESPEC.size])
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return 0
