"""What a trace hears."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from dataplane.drivers.netlink import NetlinkDriver
from dataplane.drivers.netns import entered
from dataplane.plan import SET, Op
from dataplane.state import Link
from labs.trace.capture import frames_of, taps


def test_frames_are_stamped_when_they_pass_and_not_when_they_are_read(namespace: Callable[[], str]) -> None:
    netns = namespace()
    driver = NetlinkDriver(netns)
    assert driver.apply([Op(SET, Link("lo"))]) == ()
    driver.close()
    late = []
    for _ in range(100):  # without waiting for the kernel a few of a hundred were late
        with taps({"here": netns}) as sockets:
            passed_ns = send(netns, b"marker")
            time.sleep(0.002)
            frames = frames_of("here", sockets["here"], b"marker")
        assert [frame.device for frame in frames] == ["lo", "lo"]
        late += [frame.at_ns - passed_ns for frame in frames if frame.at_ns > passed_ns]
    assert late == []


def send(netns: str, text: bytes) -> int:
    """Send over lo; the time when it was done."""
    with entered(netns):
        handle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with handle:
        handle.bind(("127.0.0.1", 0))
        handle.sendto(text, handle.getsockname())
        return time.time_ns()
