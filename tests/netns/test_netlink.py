"""The netlink driver on the real kernel, with iproute2 as an independent witness."""

from __future__ import annotations

import json
import os
import subprocess
from errno import EEXIST, ENODEV, EOPNOTSUPP
from typing import TYPE_CHECKING, Any

import pytest

from dataplane.drivers.netlink import NetlinkDriver
from dataplane.errors import KernelError
from dataplane.inet import IP, Prefix, parse_ip, parse_mac, parse_prefix
from dataplane.ownership import Owner, Scope
from dataplane.plan import ADD, REMOVE, SET, Op
from dataplane.reconcile import compare, reconcile
from dataplane.record import replace
from dataplane.state import (
    BLACKHOLE,
    LOCAL,
    SCOPE_HOST,
    Address,
    Bridge,
    FdbEntry,
    Ipip,
    Link,
    Neighbor,
    Object,
    Route,
    Veth,
    Vxlan,
    agrees,
)
from tests.netns.deadline import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAC, MAC2 = parse_mac("02:00:00:00:00:01"), parse_mac("02:00:00:00:00:02")
ALL = Scope(links=frozenset("*"), devices=frozenset("*"), routes=frozenset({4, 6}))


class Node:
    """A namespace with a driver in it, and what iproute2 says about it."""

    def __init__(self, path: str) -> None:
        self.path, self.driver = path, NetlinkDriver(path)

    def ip(self, *args: str) -> Any:
        return self._tool("ip", "-n", os.path.basename(self.path), "-d", "-j", *args)

    def bridge(self, *args: str) -> Any:
        return self._tool("bridge", "-n", os.path.basename(self.path), "-d", "-j", *args)

    @staticmethod
    def _tool(*argv: str) -> Any:
        out = subprocess.run(argv, capture_output=True, check=True, text=True).stdout
        return json.loads(out) if out.strip() else []

    def link(self, name: str) -> Any:
        return self.ip("link", "show", name)[0]

    def do(self, verb: str, *items: Object) -> None:
        """Carry out operations that must all succeed."""
        assert [str(failure.error) for failure in self.driver.apply([Op(verb, item) for item in items])] == []

    def add(self, *items: Object) -> None:
        self.do(ADD, *items)

    def bring_up(self, *links: Link) -> None:
        self.do(ADD, *links)
        self.do(SET, *links)

    def found(self, wish: Object) -> Object | None:
        return next((item for item in self.driver.read(ALL) if item.key == wish.key), None)

    def has(self, wish: Object) -> bool:
        found = self.found(wish)
        return found is not None and agrees(wish, found)


@pytest.fixture
def nodes(namespace: Callable[[], str]) -> Iterator[Callable[[], Node]]:
    made: list[Node] = []

    def make() -> Node:
        made.append(Node(namespace()))
        return made[-1]

    yield make
    for node in made:
        node.driver.close()


@pytest.fixture
def node(nodes: Callable[[], Node]) -> Node:
    """A namespace with `eth0` (10.0.0.1/24, fd00::1/64), a veth that is up with its peer."""
    made = nodes()
    made.bring_up(Veth("eth0", peer="far0"))
    made.do(SET, Link("far0"))
    until(lambda: made.link("eth0")["operstate"] == "UP")  # the kernel tells carrier from a work queue
    made.add(Address("eth0", parse_prefix("10.0.0.1/24")), Address("eth0", parse_prefix("fd00::1/64"), nodad=True))
    return made


# --- links ---


def test_a_bridge_is_made_down_with_its_settings_and_brought_up(nodes: Callable[[], Node]) -> None:
    node = nodes()
    wish = Bridge("br0", mtu=1400, mac=MAC, promisc=True)
    node.add(wish)
    seen = node.link("br0")
    assert (seen["linkinfo"]["info_kind"], seen["mtu"], seen["address"]) == ("bridge", 1400, str(MAC))
    assert "PROMISC" in seen["flags"]
    assert "UP" not in seen["flags"]
    node.do(SET, wish)
    assert "UP" in node.link("br0")["flags"]
    assert node.has(wish)


def test_a_veth_reaches_into_another_namespace(nodes: Callable[[], Node]) -> None:
    host, pod = nodes(), nodes()
    host.bring_up(Bridge("cni0"))
    wish = Veth("veth1", mtu=1400, master="cni0", peer="eth0", peer_netns=pod.path, peer_mac=MAC, peer_mtu=1400)
    host.bring_up(wish)
    seen = pod.link("eth0")
    assert (seen["mtu"], seen["address"], seen["linkinfo"]["info_kind"]) == (1400, str(MAC), "veth")
    assert "UP" not in seen["flags"]
    pod.do(SET, Link("eth0"))
    assert host.link("veth1")["master"] == "cni0"
    assert host.has(wish)
    assert pod.has(Veth("eth0", up=True, mtu=1400, mac=MAC))
    host.do(REMOVE, wish)
    assert pod.driver.link_index("eth0") is None


def test_many_veths_into_one_namespace_in_one_batch_leak_no_file(nodes: Callable[[], Node]) -> None:
    host, pod = nodes(), nodes()
    before = len(os.listdir("/proc/self/fd"))
    veths = [Veth(f"veth{n}", master="cni0", peer=f"eth{n}", peer_netns=pod.path) for n in range(200)]
    host.add(Bridge("cni0"), *veths)
    assert len(host.ip("link", "show", "master", "cni0")) == 200
    assert len(pod.ip("link", "show", "type", "veth")) == 200
    assert len(os.listdir("/proc/self/fd")) == before


def test_bridge_port_flags(node: Node) -> None:
    node.bring_up(Bridge("br0"))
    wish = Veth("eth0", master="br0", hairpin=True, isolated=True)
    node.do(SET, wish)
    flags = node.link("eth0")["linkinfo"]["info_slave_data"]
    assert (flags["hairpin"], flags["isolated"]) == (True, True)
    assert node.has(wish)
    changed = replace(wish, hairpin=False)
    found = node.found(changed)
    assert node.driver.apply([Op(SET, changed, found)]) == ()
    flags = node.link("eth0")["linkinfo"]["info_slave_data"]
    assert (flags["hairpin"], flags["isolated"]) == (False, True)


def test_settings_change_one_by_one_and_master_is_taken_away(node: Node) -> None:
    node.bring_up(Bridge("br0"))
    for wish in (
        Link("eth0", mtu=1300),
        Link("eth0", mac=MAC2),
        Link("eth0", promisc=True),
        Link("eth0", promisc=False),
        Link("eth0", master="br0"),
        Link("eth0", master=""),
        Link("eth0", up=False),
    ):
        assert node.driver.apply([Op(SET, wish, node.found(wish))]) == ()
        assert node.has(wish)
    seen = node.link("eth0")
    assert (seen["mtu"], seen["address"], "master" in seen, "UP" in seen["flags"]) == (1300, str(MAC2), False, False)


def test_somebody_listening_does_not_count_as_promisc(node: Node) -> None:
    node.bring_up(Bridge("br0"))
    node.do(SET, Link("eth0", master="br0"))
    assert node.link("eth0")["promiscuity"] > 0  # the bridge listens on its ports
    assert node.has(Link("eth0", promisc=False))


def test_a_vxlan_device_is_the_one_that_flannel_makes(node: Node) -> None:
    wish = Vxlan("flannel.1", mtu=1450, mac=MAC, vni=1, local=parse_ip("10.0.0.1"), underlay="eth0")
    node.bring_up(wish)
    seen = node.link("flannel.1")
    data = seen["linkinfo"]["info_data"]
    assert (seen["mtu"], seen["address"], seen["qdisc"]) == (1450, str(MAC), "noqueue")
    want = {
        "id": 1,
        "local": "10.0.0.1",
        "link": "eth0",
        "port": 8472,
        "learning": False,
        "ttl": 0,
        "ageing": 300,
        "udp_csum": True,
        "udp_zero_csum6_tx": False,
        "udp_zero_csum6_rx": False,
    }
    assert {name: data.get(name) for name in want} == want
    assert "gbp" not in data
    assert "external" not in data
    assert node.has(replace(wish, port=8472, gbp=False))


def test_a_vxlan_device_of_ipv6_with_port_gbp_and_learning(node: Node) -> None:
    wish = Vxlan("vx6", vni=16777215, port=4789, local=parse_ip("fd00::1"), underlay="eth0", learning=True, gbp=True)
    node.bring_up(wish)
    data = node.link("vx6")["linkinfo"]["info_data"]
    assert (data["id"], data["port"], data["local6"], data["learning"]) == (16777215, 4789, "fd00::1", True)
    assert data["gbp"]
    assert node.has(wish)


def test_what_this_kernel_cannot_make_is_told_by_name(node: Node) -> None:
    wish = Ipip("tunl9", local=parse_ip("10.0.0.1"), remote=parse_ip("10.0.0.2"), ttl=64)
    failures = node.driver.apply([Op(ADD, wish)])
    if failures:
        (failure,) = failures
        assert failure.error.errno == EOPNOTSUPP
        assert str(failure.error) == "add ipip device tunl9: Operation not supported: Unknown device type"
    else:  # a kernel that has ipip
        assert node.has(replace(wish, up=False))


def test_a_device_of_somebody_else_that_is_absent_is_told(node: Node) -> None:
    (failure,) = node.driver.apply([Op(ADD, Link("uplink0", mtu=1400))])
    assert failure.error.errno == ENODEV
    assert str(failure.error).startswith("add link uplink0: No such device")


def test_adding_a_link_that_exists(node: Node) -> None:
    node.bring_up(Bridge("br0", mtu=1400))
    assert node.driver.apply([Op(ADD, Bridge("br0", mtu=1400))]) == ()
    (differs,) = node.driver.apply([Op(ADD, Bridge("br0", mtu=1300))])
    assert differs.error.errno == EEXIST
    (other_kind,) = node.driver.apply([Op(ADD, Vxlan("br0", vni=5))])
    assert "add vxlan device br0 id 5: File exists" in str(other_kind.error)
    assert "bridge br0" in str(other_kind.error)


def test_a_bridge_made_anew_in_one_batch_is_not_taken_for_the_old_one(node: Node) -> None:
    node.bring_up(Bridge("br0"))
    address = Address("br0", parse_prefix("10.1.0.1/24"))
    ops = [Op(SET, Link("br0")), Op(REMOVE, Bridge("br0")), Op(ADD, Bridge("br0")), Op(ADD, address), Op(SET, Bridge("br0"))]
    assert node.driver.apply(ops) == ()
    assert node.has(address)


def test_link_index(node: Node) -> None:
    assert node.driver.link_index("eth0") == node.link("eth0")["ifindex"]
    assert node.driver.link_index("absent0") is None


# --- addresses ---


def test_addresses(node: Node) -> None:
    wishes = [
        Address("eth0", parse_prefix("10.1.0.1/24"), broadcast=parse_ip("10.1.0.255")),
        Address("eth0", parse_prefix("10.2.0.1/32"), scope=SCOPE_HOST),
        Address("eth0", parse_prefix("fd01::1/64"), nodad=True, scope=0),
        Address("eth0", parse_prefix("fe80::1/64"), nodad=True),
    ]
    node.add(*wishes)
    assert all(node.has(wish) for wish in wishes)
    seen = {entry["local"]: entry for entry in node.ip("addr", "show", "eth0")[0]["addr_info"]}
    assert seen["10.1.0.1"]["broadcast"] == "10.1.0.255"
    assert "broadcast" not in seen["10.2.0.1"]
    assert seen["10.2.0.1"]["scope"] == "host"
    assert seen["fd01::1"]["nodad"]
    node.do(REMOVE, *wishes)
    node.do(REMOVE, *wishes)
    assert not any(node.found(wish) for wish in wishes)


def test_an_address_gets_another_broadcast(node: Node) -> None:
    old = Address("eth0", parse_prefix("10.1.0.1/24"))
    node.add(old)
    wish = replace(old, broadcast=parse_ip("10.1.0.255"))
    assert node.driver.apply([Op(SET, wish, node.found(old))]) == ()
    assert node.has(wish)


def test_the_kernels_link_local_address_is_not_read_and_loopbacks_are(node: Node) -> None:
    node.do(SET, Link("lo"))
    until(lambda: any(entry["local"].startswith("fe80::") for entry in node.ip("addr", "show", "eth0")[0]["addr_info"]))
    read = {str(item.prefix) for item in node.driver.read(Scope(devices=frozenset({"eth0", "lo"}))) if isinstance(item, Address)}
    assert read == {"10.0.0.1/24", "fd00::1/64", "127.0.0.1/8", "::1/128"}


# --- routes ---


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


# --- neighbours and forwarding entries ---


@pytest.fixture
def vtep(node: Node) -> Node:
    node.bring_up(Vxlan("flannel.1", vni=1, local=parse_ip("10.0.0.1"), underlay="eth0"))
    return node


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


# --- scopes, errors, the whole ---


def test_a_scope_bounds_what_is_read(vtep: Node) -> None:
    vtep.add(Neighbor("eth0", parse_ip("10.0.0.9"), MAC), Address("flannel.1", parse_prefix("10.244.0.0/32")))
    read = vtep.driver.read(Scope(links=frozenset({"eth0", "gone0"}), devices=frozenset({"flannel.1", "gone0"})))
    assert {item.key for item in read} == {("link", "eth0"), ("address", "flannel.1", parse_prefix("10.244.0.0/32"))}
    assert vtep.driver.read(Scope()) == frozenset()
    many = Scope(devices=frozenset({"eth0", *(f"gone{n}" for n in range(20))}))
    assert vtep.driver.read(many) == vtep.driver.read(Scope(devices=frozenset({"eth0"}))) != frozenset()


def test_a_turn_converges_and_the_next_one_has_nothing_to_do(node: Node) -> None:
    owner = Owner("test", links=frozenset({"cni0", "veth1", "flannel.1"}), settings=frozenset({"eth0"}), route_protocol=84)
    desired: list[Object] = [
        Bridge("cni0", mac=MAC, mtu=1450),
        Veth("veth1", peer="far1", master="cni0", hairpin=True, mtu=1450),
        Vxlan("flannel.1", mtu=1450, mac=MAC2, local=parse_ip("10.0.0.1"), underlay="eth0"),
        Link("eth0", promisc=True),
        Address("cni0", parse_prefix("10.244.0.1/24"), broadcast=parse_ip("10.244.0.255")),
        Address("flannel.1", parse_prefix("10.244.0.0/32")),
        Neighbor("flannel.1", parse_ip("10.244.1.0"), MAC),
        FdbEntry("flannel.1", MAC, parse_ip("10.0.0.2")),
        Route(parse_prefix("10.244.1.0/24"), "flannel.1", via=parse_ip("10.244.1.0"), onlink=True, protocol=84),
        Route(parse_prefix("10.245.0.0/16"), type=BLACKHOLE, protocol=84),
    ]
    first = reconcile(node.driver, desired, owner)
    assert [str(failure.error) for failure in first.failures] == []
    assert first.converged
    assert not compare(node.driver, desired, owner)
    moved = [replace(item, vni=2) if isinstance(item, Vxlan) else item for item in desired]
    assert reconcile(node.driver, moved, owner).converged  # another VNI: the device is made anew with all that hangs on it
    assert not compare(node.driver, moved, owner)
    assert reconcile(node.driver, [], owner).converged
    assert {entry["ifname"] for entry in node.ip("link", "show")} == {"lo", "eth0", "far0"}


def test_a_namespace_that_is_not_there_is_an_error(tmp_path: object) -> None:
    with pytest.raises(KernelError, match=r"enter network namespace .*No such file"):
        NetlinkDriver(f"{tmp_path}/x")


def test_a_veth_into_a_namespace_that_is_not_there_is_a_failure(node: Node) -> None:
    (failure,) = node.driver.apply([Op(ADD, Veth("v0", peer="v1", peer_netns="/run/netns/pwt-gone"))])
    assert str(failure.error) == "add veth v0 peer v1 in /run/netns/pwt-gone: No such file or directory"
    assert node.driver.link_index("v0") is None
