"""Kernel objects in the words that people know."""

from __future__ import annotations

import pytest

from dataplane.inet import parse_ip, parse_mac, parse_prefix
from dataplane.netfilter import Chain
from dataplane.state import BLACKHOLE, Address, Bridge, FdbEntry, Ipip, Link, Neighbor, Object, Route, Sysctl, Veth, Vxlan
from dataplane.words import words

NET, VIA, MAC = parse_prefix("10.244.1.0/24"), parse_ip("10.0.0.2"), parse_mac("02:00:00:00:00:01")


@pytest.mark.parametrize(
    ("item", "want"),
    [
        (Route(NET, "eth0", via=VIA), "route 10.244.1.0/24 via 10.0.0.2 dev eth0"),
        (Route(parse_prefix("::/0"), "eth0", metric=5, table=9, onlink=True), "route default dev eth0 metric 5 table 9 onlink"),
        (Route(NET, "eth0", src=VIA), "route 10.244.1.0/24 dev eth0 src 10.0.0.2"),
        (Route(NET, type=BLACKHOLE), "blackhole route 10.244.1.0/24"),
        (Address("eth0", NET), "address 10.244.1.0/24 dev eth0"),
        (Neighbor("vx", VIA, MAC), "neighbour 10.0.0.2 lladdr 02:00:00:00:00:01 dev vx"),
        (FdbEntry("vx", MAC, VIA), "fdb entry 02:00:00:00:00:01 dst 10.0.0.2 dev vx"),
        (Sysctl("net/ipv4/ip_forward", "1"), "sysctl net/ipv4/ip_forward = 1"),
        (Link("eth0"), "link eth0"),
        (Bridge("cni0"), "bridge cni0"),
        (Vxlan("flannel.1", vni=1), "vxlan device flannel.1 id 1"),
        (Ipip("tunl0"), "ipip device tunl0"),
        (Veth("v0", peer="eth0", peer_netns="/run/netns/x", master="cni0"), "veth v0 peer eth0 in /run/netns/x master cni0"),
        (Chain(4, "nat", "X"), "Chain(family=4, table='nat', name='X')"),
    ],
)
def test_words(item: Object, want: str) -> None:
    assert words(item) == want
