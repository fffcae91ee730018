"""Listen on all devices of several namespaces at once, with packet sockets (packet(7)) and the kernel's own time stamps.

The kernel begins to stamp packets a while after the first socket has asked for it (net_enable_timestamp defers it to a work queue),
and until then stamps them when they are read: an order that says nothing. So `taps` waits until packets are stamped on their way.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress

from dataplane.drivers.netns import entered
from dataplane.errors import KernelError
from labs.trace.hop import IN, OUT, Frame

_ETH_P_ALL = 3
_SO_TIMESTAMPNS = 35  # asm-generic/socket.h; not in the socket module. The answer comes as a control message of the same number
_TIMESPEC = struct.Struct("@ll")
_WITH_ETHERNET = (1, 772)  # ARPHRD_ETHER, ARPHRD_LOOPBACK
_BUFFER_BYTES = 4 << 20
_SNAP_BYTES = 65536
_STAMPS_PATIENCE_S, _STAMPS_POLL_S = 5.0, 0.001


@contextmanager
def taps(netns_paths: Mapping[str, str]) -> Iterator[dict[str, socket.socket]]:
    """A socket that hears every device, for each named namespace.

    Raises:
        KernelError: a namespace cannot be entered, or the kernel does not stamp packets.
    """
    with ExitStack() as stack:
        sockets = {place: stack.enter_context(_tap(path)) for place, path in netns_paths.items()}
        for path in netns_paths.values():
            with suppress(OSError):  # its loopback device is down: any other will do, stamps are for the whole machine
                _await_stamps(path)
                break
        yield sockets


def _await_stamps(netns: str) -> None:
    """Send to ourselves over lo until the stamp is that of the sending, and not of the later reading."""
    with entered(netns):
        probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with probe:
        probe.bind(("127.0.0.1", 0))
        probe.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        deadline = time.monotonic() + _STAMPS_PATIENCE_S
        while time.monotonic() < deadline:
            probe.sendto(b"stamp", probe.getsockname())
            sent_ns = time.time_ns()
            time.sleep(_STAMPS_POLL_S)
            if _at_ns(probe.recvmsg(16, socket.CMSG_SPACE(_TIMESPEC.size))[1]) <= sent_ns:
                return
    raise KernelError("capture", f"packets carry no time stamps after {_STAMPS_PATIENCE_S:.0f} s")


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
        yield Frame(place, device, direction, _at_ns(control), hardware_type in _WITH_ETHERNET, octets)


def _at_ns(control: Iterable[tuple[int, int, bytes]]) -> int:
    for level, kind, text in control:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack(text[: _TIMESPEC.size])
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return 0
