"""TUN devices on the real kernel."""

from __future__ import annotations

import os
import select
import socket
from errno import EBUSY, EINVAL
from typing import TYPE_CHECKING

import pytest

from dataplane.drivers.netlink import NetlinkDriver
from dataplane.drivers.netns import entered
from dataplane.drivers.tun import open_tun
from dataplane.errors import KernelError
from dataplane.inet import parse_ip, parse_prefix
from dataplane.plan import ADD, SET, Op
from dataplane.state import Address, Bridge, Link, Route

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def path(namespace: Callable[[], str]) -> str:
    return namespace()


@pytest.fixture
def driver(path: str) -> Iterator[NetlinkDriver]:
    made = NetlinkDriver(path)
    yield made
    made.close()


def test_a_packet_sent_to_the_device_is_read_bare(path: str, driver: NetlinkDriver) -> None:
    handle = open_tun("flannel0", netns=path)
    try:
        ops = [
            Op(SET, Link("flannel0", mtu=1472)),
            Op(SET, Link("lo")),
            Op(ADD, Address("flannel0", parse_prefix("10.244.0.0/32"))),
            Op(ADD, Route(parse_prefix("10.244.0.0/16"), "flannel0")),
        ]
        assert [str(failure.error) for failure in driver.apply(ops)] == []
        send(path, "10.244.1.7", b"hello")
        packet = next(packet for packet in packets(handle) if packet[0] == 0x45)  # the kernel also sends IPv6 of its own
        assert packet[12:20] == bytes(parse_ip("10.244.0.0")) + bytes(parse_ip("10.244.1.7"))
        assert packet.endswith(b"hello")
        assert not os.get_blocking(handle)
    finally:
        os.close(handle)


def send(path: str, ip: str, payload: bytes) -> None:
    with entered(path), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(payload, (ip, 9))


def packets(handle: int) -> Iterator[bytes]:
    while select.select([handle], [], [], 30)[0]:
        yield os.read(handle, 2000)


def test_a_device_goes_with_its_file_and_a_persistent_one_stays(path: str, driver: NetlinkDriver) -> None:
    os.close(open_tun("tun1", netns=path))
    assert driver.link_index("tun1") is None
    os.close(open_tun("tun1", persistent=True, netns=path))
    index = driver.link_index("tun1")
    assert index is not None
    os.close(open_tun("tun1", persistent=True, netns=path))
    assert driver.link_index("tun1") == index
    os.close(open_tun("tun1", netns=path))
    assert driver.link_index("tun1") is None


def test_a_device_in_use_or_of_another_kind_is_told(path: str, driver: NetlinkDriver) -> None:
    handle = open_tun("tun1", netns=path)
    try:
        with pytest.raises(KernelError, match=r"open TUN device tun1: .*another process has it open") as in_use:
            open_tun("tun1", netns=path)
        assert in_use.value.errno == EBUSY
    finally:
        os.close(handle)
    assert driver.apply([Op(ADD, Bridge("br0"))]) == ()
    with pytest.raises(KernelError, match="another kind") as other:
        open_tun("br0", netns=path)
    assert other.value.errno == EINVAL


@pytest.mark.parametrize("name", ["", "sixteen-bytes-xx"])
def test_a_name_that_does_not_fit_is_refused(name: str) -> None:
    with pytest.raises(KernelError, match="1 to 15 bytes"):
        open_tun(name)


def test_a_refused_device_leaks_no_file(path: str, driver: NetlinkDriver) -> None:
    assert driver.apply([Op(ADD, Bridge("br0"))]) == ()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KernelError):
        open_tun("br0", netns=path)
    assert len(os.listdir("/proc/self/fd")) == before
