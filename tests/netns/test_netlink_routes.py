"""Routes, neighbours and forwarding entries through the netlink driver; iproute2 is the witness."""

from __future__ import annotations

from errno import EEXIST
from typing import TYPE_CHECKING

from dataplane.inet import IP, Prefix, parse_ip, parse_mac, parse_prefix
from dataplane.ownership import Owner, Scope
from dataplane.plan import ADD, REMOVE, SET, Op
from dataplane.reconcile import compare
from dataplane.record import replace
from dataplane.state import (
    BLACKHOLE,
    LOCAL,
    SCOPE_HOST,
    Address,
    Bridge,
    FdbEntry,
    Link,
    Neighbor,
    Object,
    Route,
)
from tests.netns.deadline import until
from tests.netns.node import ALL, Node

if TYPE_CHECKING:
    pass

MAC, MAC2 = parse_mac("02:00:00:00:00:01"), parse_mac("02:00:00:00:00:02")


ROUTES = [
    Route(parse_prefix("10.1.0.0/24"), "eth0", via=parse_ip("10.0.0.2"), protocol=84),
    Route(parse_prefix("10.2.0.0/24"), via=parse_ip("10.0.0.2")),
    Route(parse_prefix("10.3.0.1/32"), "eth0", scope=SCOPE_HOST),
    Route(parse_prefix("10.4.0.0/24"), "eth0", src=parse_ip("10.0.0.1"), metric=7, table=1000),
    Route(parse_prefix("10.4.0.0/24"), "eth0", src=parse_ip("10.0.0.1"), metric=8, table=100),
    Route(parse_prefix("10.5.0.0/24"), "eth0", via=parse_ip("172.16.0.1"), onlink=True),
    Route(parse_prefix("10.6.0.0/24"), "eth0", via=parse_ip("10.0.0.2"), mtu=1300, advmss=1200, onlink=False),
    Route(parse_prefix("10.7.0.0/24"), "eth0", via=parse_ip("fd00::2")),
    Route(parse_prefix("10.8.0.0/24"), type=BLACKHOLE, protocol=80),
    Route(parse_prefix("0.0.0.0/0"), via=parse_ip("10.0.0.254")),
    Route(parse_prefix("fd01::/64"), "eth0", via=parse_ip("fd00::2"), src=parse_ip("fd00::1"), scope=0),
    Route(parse_prefix("fd02::/64"), "eth0", metric=1024, scope=253),
    Route(parse_prefix("fd03::/64"), "eth0", metric=5, table=1000, mtu=1300),
    Route(parse_prefix("fd04::/64"), "eth0", via=parse_ip("fd99::1"), onlink=True),
    Route(parse_prefix("fd05::/64"), type=BLACKHOLE),
    Route(parse_prefix("::/0"), via=parse_ip("fd00::2")),
]


def test_every_kind_of_route_is_read_back_as_it_was_wished_for(node: Node) -> None:
    node.add(*ROUTES)
    owner = Owner("test", route_protocol=200)
    assert not compare(node.driver, ROUTES, owner)
    seen = {entry["dst"]: entry for family in ("-4", "-6") for entry in node.ip(family, "route", "show", "table", "all")}
    assert (seen["10.1.0.0/24"]["gateway"], seen["10.1.0.0/24"]["protocol"]) == ("10.0.0.2", "84")
    assert seen["10.5.0.0/24"]["flags"] == ["onlink"]
    assert "onlink" in seen["fd04::/64"]["flags"]
    assert seen["10.6.0.0/24"]["metrics"] == [{"mtu": 1300, "advmss": 1200}]
    assert seen["10.7.0.0/24"]["via"] == {"family": "inet6", "host": "fd00::2"}
    assert seen["10.3.0.1"]["scope"] == "host"
    assert seen["10.8.0.0/24"]["type"] == "blackhole"
    assert seen["fd02::/64"]["metric"] == 1024
    node.do(REMOVE, *ROUTES)
    node.do(REMOVE, *ROUTES)
    assert not {route.key for route in ROUTES} & {item.key for item in node.driver.read(ALL)}


def test_set_replaces_a_route_in_place(node: Node) -> None:
    for old in (ROUTES[0], ROUTES[10]):
        node.add(old)
        via = parse_ip("10.0.0.3" if old.dst.version == 4 else "fd00::3")
        wish = replace(old, via=via)
        assert node.driver.apply([Op(SET, wish, old)]) == ()
        assert [item for item in node.driver.read(ALL) if item.key == wish.key] == [node.found(wish)]
        assert node.has(wish)


def test_removing_a_route_leaves_one_of_another_protocol(node: Node) -> None:
    foreign = Route(parse_prefix("10.1.0.0/24"), "eth0", protocol=4)
    node.add(foreign)
    node.do(REMOVE, replace(foreign, protocol=84))
    assert node.has(foreign)


def test_of_a_batch_only_the_wrong_ones_fail_and_each_is_named(node: Node) -> None:
    def route(number: int) -> Route:
        via = "192.0.2.1" if number % 100 == 0 else "10.0.0.2"
        return Route(Prefix(IP((0x0B000000 + number * 256).to_bytes(4, "big")), 24), "eth0", via=parse_ip(via), protocol=84)

    ops = [Op(ADD, route(number)) for number in range(2000)]
    failures = node.driver.apply(ops)
    assert [failure.op for failure in failures] == ops[::100]
    assert str(failures[3].error) == (
        "add route 11.1.44.0/24 via 192.0.2.1 dev eth0: Network is unreachable: Nexthop has invalid gateway"
    )
    assert len(node.ip("-4", "route", "show", "proto", "84")) == 1980


def test_a_batch_that_fails_whole_overflows_no_buffer(node: Node) -> None:
    ops = [
        Op(ADD, replace(ROUTES[0], dst=Prefix(IP((0x0B000000 + n * 256).to_bytes(4, "big")), 24), via=None, device="gone0"))
        for n in range(3)
    ]
    bad = [
        Op(SET, Route(Prefix(IP((0x0B000000 + n * 256).to_bytes(4, "big")), 24), via=parse_ip("192.0.2.1"))) for n in range(3000)
    ]
    failures = node.driver.apply([*ops, *bad])
    assert len(failures) == 3003
    assert str(failures[0].error) == "add route 11.0.0.0/24 dev gone0: there is no device gone0"
    assert all("the answer was lost" not in str(failure.error) for failure in failures)


def test_adding_what_exists_is_success_only_if_it_equals_the_wish(node: Node) -> None:
    wishes: list[tuple[Object, Object]] = [
        (ROUTES[0], replace(ROUTES[0], via=parse_ip("10.0.0.3"))),
        (ROUTES[10], replace(ROUTES[10], via=parse_ip("fd00::3"))),
        (Address("eth0", parse_prefix("10.1.0.1/24")), Address("eth0", parse_prefix("10.1.0.1/24"), scope=SCOPE_HOST)),
        (Neighbor("eth0", parse_ip("10.0.0.9"), MAC), Neighbor("eth0", parse_ip("10.0.0.9"), MAC2)),
    ]
    for there, other in wishes:
        node.add(there)
        node.add(there)
        (failure,) = node.driver.apply([Op(ADD, other)])
        assert failure.error.errno == EEXIST
        assert "and differs" in str(failure.error)
        assert node.has(there)


def test_removing_what_hangs_on_an_absent_device_is_success(node: Node) -> None:
    node.do(
        REMOVE,
        Bridge("gone0"),
        Address("gone0", parse_prefix("10.9.0.1/24")),
        Route(parse_prefix("10.9.0.0/24"), "gone0"),
        Neighbor("gone0", parse_ip("10.9.0.2"), MAC),
        FdbEntry("gone0", MAC, parse_ip("10.9.0.2")),
    )


def test_a_number_out_of_range_is_a_failure_of_its_operation_only(node: Node) -> None:
    good = ROUTES[0]
    (failure,) = node.driver.apply([Op(ADD, replace(good, metric=2**32)), Op(ADD, good)])
    assert "does not fit" in str(failure.error)
    assert node.has(good)


def test_connected_routes_are_read_and_local_and_multicast_ones_are_not(node: Node) -> None:
    until(lambda: "fe80::/64" in {entry["dst"] for entry in node.ip("-6", "route", "show", "dev", "eth0")})
    read = [item for item in node.driver.read(Scope(routes=frozenset({4, 6}))) if isinstance(item, Route)]
    assert {str(item.dst) for item in read} == {"10.0.0.0/24", "fd00::/64", "fe80::/64"}
    assert {item.device for item in read if item.dst.version == 4} == {"eth0"}


def test_the_way_to_an_address(node: Node) -> None:
    node.do(SET, Link("lo"))
    node.add(ROUTES[0], ROUTES[8], ROUTES[10])

    def way(ip: str) -> tuple[object, ...] | None:
        route = node.driver.route_to(parse_ip(ip))
        return None if route is None else (route.device, route.via and str(route.via), str(route.src), route.type)

    assert way("10.1.0.7") == ("eth0", "10.0.0.2", "10.0.0.1", 1)
    assert way("10.0.0.7") == ("eth0", None, "10.0.0.1", 1)
    assert way("10.0.0.1") == ("lo", None, "10.0.0.1", LOCAL)
    assert way("fd01::7") == ("eth0", "fd00::2", "fd00::1", 1)
    assert way("10.8.0.7") is None
    assert way("203.0.113.1") is None
    assert way("2001:db8::1") is None


def test_a_flannel_peer(vtep: Node) -> None:
    ip, public = parse_ip("10.244.1.0"), parse_ip("10.0.0.2")
    peer = [
        Neighbor("flannel.1", ip, MAC),
        FdbEntry("flannel.1", MAC, public),
        Route(Prefix(ip, 24), "flannel.1", via=ip, onlink=True, protocol=84),
    ]
    vtep.add(*peer)
    (arp,) = vtep.ip("neigh", "show", "dev", "flannel.1")
    assert (arp["dst"], arp["lladdr"], arp["state"]) == ("10.244.1.0", str(MAC), ["PERMANENT"])
    (fdb,) = [entry for entry in vtep.bridge("fdb", "show", "dev", "flannel.1") if entry["mac"] == str(MAC)]
    assert (fdb["dst"], fdb["flags"], fdb["state"]) == ("10.0.0.2", ["self"], "permanent")
    (route,) = vtep.ip("route", "show", "proto", "84")
    assert (route["gateway"], route["flags"]) == ("10.244.1.0", ["onlink"])
    assert all(vtep.has(item) for item in peer)
    vtep.do(REMOVE, *reversed(peer))
    vtep.do(REMOVE, *reversed(peer))
    assert not any(vtep.found(item) for item in peer)


def test_a_forwarding_entry_moves(vtep: Node) -> None:
    vtep.add(FdbEntry("flannel.1", MAC, parse_ip("10.0.0.2")))
    wish = FdbEntry("flannel.1", MAC, parse_ip("10.0.0.3"))
    (failure,) = vtep.driver.apply([Op(ADD, wish)])
    assert failure.error.errno == EEXIST
    vtep.do(SET, wish)
    assert vtep.has(wish)
    assert len([item for item in vtep.driver.read(ALL) if isinstance(item, FdbEntry)]) == 1


def test_a_learned_neighbour_gives_way_to_a_wish(node: Node) -> None:
    node.ip("neigh", "add", "10.0.0.9", "lladdr", str(MAC2), "dev", "eth0", "nud", "stale")
    wish = Neighbor("eth0", parse_ip("10.0.0.9"), MAC)
    assert node.found(wish) is None
    node.add(wish)
    assert node.has(wish)
