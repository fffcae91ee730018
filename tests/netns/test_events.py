"""What the kernel tells when something changes."""

from __future__ import annotations

import os
import select
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from dataplane.drivers.events import KINDS, NetlinkEvents
from dataplane.drivers.netlink import NetlinkDriver
from dataplane.drivers.sysctl import SysctlDriver
from dataplane.errors import KernelError
from dataplane.inet import IP, Prefix, parse_ip, parse_mac, parse_prefix
from dataplane.plan import ADD, REMOVE, SET, Op
from dataplane.state import Address, Bridge, FdbEntry, Link, Neighbor, Object, Route, Sysctl, Veth, Vxlan
from tests.netns.deadline import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAC = parse_mac("02:00:00:00:00:01")


@pytest.fixture
def path(namespace: Callable[[], str]) -> str:
    return namespace()


def ip_link(path: str) -> str:
    argv = ["ip", "-n", os.path.basename(path), "link", "show", "eth0"]
    return subprocess.run(argv, capture_output=True, check=True, text=True).stdout


@pytest.fixture
def driver(path: str) -> Iterator[NetlinkDriver]:
    """With a veth that is up, and quiet: no address and no packet of the kernel's own that would be told later."""
    made = NetlinkDriver(path)
    no_link_local = Sysctl("net/ipv6/conf/default/addr_gen_mode", "1")
    assert SysctlDriver(path).apply([Op(SET, no_link_local)]) == ()
    ops = [Op(ADD, Veth("eth0", peer="far0")), Op(ADD, Address("eth0", parse_prefix("10.0.0.1/24")))]
    ops += [Op(SET, Link("eth0")), Op(SET, Link("far0")), Op(ADD, Vxlan("vx0"))]
    assert made.apply(ops) == ()
    until(lambda: "state UP" in ip_link(path))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        (Bridge("br0"), "link"),
        (Address("eth0", parse_prefix("10.9.0.1/24")), "address"),
        (Address("eth0", parse_prefix("fd09::1/64"), nodad=True), "address"),
        (Route(parse_prefix("10.1.0.0/24"), "eth0", via=parse_ip("10.0.0.2")), "route"),
        (Route(parse_prefix("fd01::/64"), type=6), "route"),
        (Neighbor("eth0", parse_ip("10.0.0.9"), MAC), "neighbor"),
        (FdbEntry("vx0", MAC, parse_ip("10.0.0.9")), "neighbor"),
    ],
)
def test_what_comes_and_goes_is_told_by_its_kind(path: str, driver: NetlinkDriver, item: Object, kind: str) -> None:
    events = NetlinkEvents(path, [kind])
    try:
        for verb in (ADD, REMOVE):
            assert events.drain() == frozenset()
            assert driver.apply([Op(verb, item)]) == ()
            assert select.select([events], [], [], 30)[0] == [events]
            assert events.drain() == {kind}
    finally:
        events.close()


def test_only_what_was_asked_for_is_told(path: str, driver: NetlinkDriver) -> None:
    routes, links = NetlinkEvents(path, ["route"]), NetlinkEvents(path, ["link"])
    try:
        assert driver.apply([Op(ADD, Bridge("br0"))]) == ()
        until(lambda: links.drain() == {"link"})
        assert routes.drain() == frozenset()
    finally:
        routes.close()
        links.close()


def test_when_events_are_lost_everything_may_have_changed(path: str, driver: NetlinkDriver) -> None:
    events = NetlinkEvents(path)
    try:
        routes = [Route(Prefix(IP((0x0B000000 + n * 256).to_bytes(4, "big")), 24), "eth0") for n in range(3000)]
        assert driver.apply([Op(ADD, route) for route in routes]) == ()
        assert events.drain() == KINDS
        assert driver.apply([Op(REMOVE, routes[0])]) == ()
        until(lambda: "route" in events.drain())  # and it goes on
    finally:
        events.close()


def test_an_event_that_cannot_be_read_counts_as_lost(path: str) -> None:
    events = NetlinkEvents(path)
    events.close()
    kernel, events._socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    with kernel, events._socket:
        kernel.send(b"garbage")
        assert events.drain() == KINDS


def test_an_unknown_kind_and_an_absent_namespace_are_refused() -> None:
    with pytest.raises(ValueError, match="rule: events are told for address, link, neighbor, route"):
        NetlinkEvents(groups=["rule"])
    with pytest.raises(KernelError):
        NetlinkEvents("/run/netns/pwt-gone")
