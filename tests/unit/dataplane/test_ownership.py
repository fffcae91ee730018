"""What is ours, and what has to be read to find it."""

from __future__ import annotations

import pytest

from dataplane.inet import Mac, parse_ip, parse_prefix
from dataplane.netfilter import Chain, Jump, comment
from dataplane.ownership import Owner, Scope, scope_of
from dataplane.state import (
    PROTO_FLANNELD,
    PROTO_KERNEL,
    PROTO_STATIC,
    Address,
    Bridge,
    FdbEntry,
    Link,
    Neighbor,
    Object,
    Route,
    Sysctl,
)

NET, IP1, MAC = parse_prefix("10.1.0.0/16"), parse_ip("10.1.0.1"), Mac(b"\x0a\x58\0\0\0\1")
CNI_COMMENT = 'name: "net" id: "it\'s\\1"'
OWNER = Owner(
    name="test",
    links=frozenset({"flannel.1"}),
    link_prefixes=("pw",),
    settings=frozenset({"eth0"}),
    route_protocol=PROTO_FLANNELD,
    chains=frozenset({"FLANNEL-FWD"}),
    chain_prefixes=("PODWIRE-",),
    comments=frozenset({"flanneld masq", CNI_COMMENT, "y" * 300}),
)

OWNED: dict[str, tuple[Object, bool]] = {
    "a device of our name": (Link("flannel.1"), True),
    "a device whose name begins with ours": (Link("flannel.10"), False),
    "a device with our prefix": (Bridge("pwbr"), True),
    "a device that we may only set": (Link("eth0"), False),
    "an address on our device": (Address("pwbr", NET), True),
    "an address on a device that we may set": (Address("eth0", NET), False),
    "a neighbour on our device": (Neighbor("flannel.1", IP1, MAC), True),
    "a forwarding entry on another's": (FdbEntry("vxlan0", MAC, IP1), False),
    "a route with our protocol": (Route(NET, "eth0", protocol=PROTO_FLANNELD), True),
    "a route of another protocol": (Route(NET, "eth0", protocol=PROTO_STATIC), False),
    "a route over our device": (Route(NET, "flannel.1", protocol=PROTO_STATIC), True),
    "a route that the kernel made for an address on our device": (Route(NET, "flannel.1", protocol=PROTO_KERNEL), False),
    "a blackhole of our protocol": (Route(NET, protocol=PROTO_FLANNELD), True),
    "a route of unknown protocol": (Route(NET, "eth0"), False),
    "our chain": (Chain(4, "filter", "FLANNEL-FWD"), True),
    "a chain with our prefix": (Chain(6, "nat", "PODWIRE-X"), True),
    "a chain of others": (Chain(4, "nat", "DOCKER"), False),
    "a rule with our comment": (Jump(4, "nat", "POSTROUTING", f"{comment('flanneld masq')} -j X"), True),
    "a rule whose comment begins with ours": (Jump(4, "nat", "POSTROUTING", f"{comment('flanneld masq 2')} -j X"), False),
    "a rule with quotes in our comment": (Jump(4, "nat", "POSTROUTING", f"-s 10.1.0.1/32 {comment(CNI_COMMENT)} -j X"), True),
    "a rule whose comment the kernel has cut": (Jump(4, "nat", "POSTROUTING", f"{comment('y' * 300)} -j X"), True),
    "a rule without comment": (Jump(4, "nat", "POSTROUTING", "-j FLANNEL-FWD"), False),
    "a setting": (Sysctl("net/ipv4/conf/pwbr/forwarding", "1"), False),
}


@pytest.mark.parametrize(("item", "ours"), OWNED.values(), ids=OWNED.keys())
def test_ours_is_known_by_its_marks(item: Object, ours: bool) -> None:
    assert OWNER.owns(item) is ours


@pytest.mark.parametrize(
    "item", [Link("eth0"), Link("lo"), Route(NET), Address("eth0", NET), Chain(4, "nat", ""), Jump(4, "nat", "X", "-j Y")]
)
def test_an_owner_without_marks_owns_nothing(item: Object) -> None:
    assert not Owner(name="nobody").owns(item)


@pytest.mark.parametrize(
    ("item", "may"),
    [
        (Link("eth0"), True),
        (Link("eth1"), False),
        (Sysctl("net/ipv4/ip_forward", "1"), True),
        (Link("pwbr"), True),
        (Address("eth0", NET), False),
    ],
)
def test_settings_of_others_may_be_changed_where_the_owner_says_so(item: Object, may: bool) -> None:
    assert OWNER.may_change(item) is may


def test_the_scope_holds_all_that_the_wish_names() -> None:
    owner = Owner(name="test")
    wish = [
        Bridge("b"),
        Address("b", NET),
        Neighbor("n", IP1, MAC),
        Route(NET, "r"),
        Sysctl("net/ipv4/conf/s/forwarding", "1"),
        Chain(4, "nat", "X"),
        Jump(6, "filter", "FORWARD", "-j X"),
    ]
    assert scope_of(owner, wish) == Scope(
        links=frozenset({"b"}),
        devices=frozenset({"b", "n"}),
        routes=frozenset({4}),
        tables=frozenset({(4, "nat"), (6, "filter")}),
        sysctls=frozenset({"net/ipv4/conf/s/forwarding"}),
    )


@pytest.mark.parametrize(
    ("owner", "scope"),
    [
        (Owner("o"), Scope()),
        (Owner("o", links=frozenset({"a"})), Scope(links=frozenset({"a"}), devices=frozenset({"a"}), routes=frozenset({4, 6}))),
        (Owner("o", link_prefixes=("pw",)), Scope(links=frozenset({"*"}), devices=frozenset({"*"}), routes=frozenset({4, 6}))),
        (Owner("o", settings=frozenset({"lo"})), Scope(links=frozenset({"lo"}))),
        (Owner("o", route_protocol=84), Scope(routes=frozenset({4, 6}))),
        (Owner("o", tables=frozenset({(4, "nat")})), Scope(tables=frozenset({(4, "nat")}))),
    ],
)
def test_a_wish_for_nothing_still_looks_where_something_of_ours_may_be_left(owner: Owner, scope: Scope) -> None:
    assert scope_of(owner, []) == scope
