"""Keys, devices and agreement of kernel objects."""

from __future__ import annotations

import pytest

from dataplane.inet import Mac, parse_ip, parse_prefix
from dataplane.state import Address, Bridge, FdbEntry, Link, Neighbor, Object, Route, Sysctl, Veth, Vxlan, agrees, differing

MAC, OTHER_MAC = Mac(b"\x0a\x58\0\0\0\1"), Mac(b"\x0a\x58\0\0\0\2")
NET, IP1 = parse_prefix("10.1.0.0/16"), parse_ip("10.1.0.1")

DIFFERENCES: dict[str, tuple[Object, Object, tuple[str, ...]]] = {
    "what the wish leaves open may be anything": (Bridge("b", mtu=None), Bridge("b", mtu=1400, mac=MAC), ()),
    "a named field counts": (Bridge("b", mtu=1500), Bridge("b", mtu=1400), ("mtu",)),
    "up counts, for it is wished for by default": (Bridge("b"), Bridge("b", up=False), ("up",)),
    "what was not told does not fulfil a wish": (Bridge("b", mtu=1500), Bridge("b"), ("mtu",)),
    "another kind": (Bridge("b"), Vxlan("b"), ("kind",)),
    "a plain link is a wish about any kind": (Link("b", mtu=1500), Bridge("b", mtu=1500), ()),
    "a kind is not fulfilled by a plain link": (Bridge("b"), Link("b"), ("kind",)),
    "how a pair was made cannot be read back": (Veth("v", peer="p", peer_mac=MAC), Veth("v"), ()),
    "nor how an address was added": (Address("d", NET, nodad=True), Address("d", NET), ()),
    "several": (Vxlan("x", vni=1, port=8472), Vxlan("x", vni=2, port=4789), ("vni", "port")),
    "no master is a wish too": (Bridge("b", master=""), Bridge("b", master="m"), ("master",)),
}


@pytest.mark.parametrize(("wanted", "found", "names"), DIFFERENCES.values(), ids=DIFFERENCES.keys())
def test_found_falls_short_of_the_wish_in(wanted: Object, found: Object, names: tuple[str, ...]) -> None:
    assert differing(wanted, found) == names
    assert agrees(wanted, found) is not bool(names)


SAME: dict[str, tuple[Object, Object, bool]] = {
    "a device by its name, whatever its kind": (Link("a"), Bridge("a", mtu=1), True),
    "an address by device and prefix": (Address("a", NET), Address("a", NET, scope=253), True),
    "an address elsewhere": (Address("a", NET), Address("b", NET), False),
    "a route by table, destination and metric": (Route(NET, "a"), Route(NET, "b", IP1), True),
    "a route of another metric": (Route(NET, "a"), Route(NET, "a", metric=5), False),
    "a neighbour by device and address": (Neighbor("a", IP1, MAC), Neighbor("a", IP1, OTHER_MAC), True),
    "a forwarding entry by device and MAC": (FdbEntry("a", MAC, IP1), FdbEntry("a", MAC, IP1 + 1), True),
    "a setting by its name": (Sysctl("net/x", "0"), Sysctl("net/x", "1"), True),
}


@pytest.mark.parametrize(("one", "other", "same"), SAME.values(), ids=SAME.keys())
def test_one_key_is_one_object(one: Object, other: Object, same: bool) -> None:
    assert (one.key == other.key) is same


@pytest.mark.parametrize(
    ("item", "device"),
    [
        (Link("a"), None),
        (Address("a", NET), "a"),
        (Route(NET, "a"), "a"),
        (Route(NET), None),
        (Neighbor("a", IP1, MAC), "a"),
        (FdbEntry("a", MAC, IP1), "a"),
        (Sysctl("net/ipv4/ip_forward", "1"), None),
        (Sysctl("net/ipv4/conf/all/forwarding", "1"), None),
        (Sysctl("net/ipv6/conf/default/accept_dad", "0"), None),
        (Sysctl("net/ipv6/conf/eth0.5/accept_dad", "0"), "eth0.5"),
        (Sysctl("net/ipv4/neigh/eth0/gc_stale_time", "9"), "eth0"),
    ],
)
def test_the_device_that_an_object_hangs_on(item: Object, device: str | None) -> None:
    assert item.dev == device
