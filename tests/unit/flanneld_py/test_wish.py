"""The whole wish of a node, and what it takes for its own: played on the kernel in memory."""

from __future__ import annotations

from dataplane.fake import FakeKernel
from dataplane.inet import parse_ip, parse_prefix
from dataplane.netfilter import Chain, Jump
from dataplane.reconcile import reconcile
from dataplane.record import replace
from dataplane.state import (
    BLACKHOLE,
    PROTO_BOOT,
    PROTO_KERNEL,
    PROTO_STATIC,
    Address,
    FdbEntry,
    Link,
    Neighbor,
    Route,
    Sysctl,
    Vxlan,
)
from flanneld_py.backend.common import Backend
from flanneld_py.backend.host_gw import HostGw
from flanneld_py.backend.vxlan import VxlanBackend
from flanneld_py.masq import FORWARD_CHAIN, MASQ_CHAIN
from flanneld_py.wish import FILTER_OWNER, Node, Rules, desired_filter, desired_network, network_owner, refused
from tests.unit.flanneld_py.backend.test_backends import NETWORK, UPLINK, lease

ETH0 = Link("eth0", mtu=1500)
GROUND = (ETH0, Address("eth0", parse_prefix("192.168.50.1/24")), Sysctl("net/ipv4/ip_forward", "0"))


def node(backend: Backend | None = None, rules: Rules | None = None, old_devices: frozenset[str] = frozenset()) -> Node:
    chosen = backend or VxlanBackend()
    return Node(NETWORK, lease(1, chosen.lease_type), chosen, UPLINK, rules or Rules(), old_devices)


def settle(kernel: FakeKernel, this: Node, numbers: tuple[int, ...]) -> None:
    leases = tuple(lease(number, this.backend.lease_type) for number in (1, *numbers))
    turn = reconcile(kernel, desired_network(this, leases), network_owner(this))
    assert turn.converged, turn


def found(kernel: FakeKernel, kind: type) -> set[object]:
    return {item for item in kernel.objects.values() if isinstance(item, kind)}


def test_a_second_turn_finds_nothing_to_do() -> None:
    kernel = FakeKernel(GROUND)
    settle(kernel, node(), (2, 3))
    count = len(kernel.applied)
    settle(kernel, node(), (2, 3))
    assert len(kernel.applied) == count


def test_a_peer_that_left_leaves_nothing_and_the_other_stays() -> None:
    kernel = FakeKernel(GROUND)
    settle(kernel, node(), (2, 3))
    settle(kernel, node(), (3,))
    assert {o.dst for o in found(kernel, Route) if isinstance(o, Route)} == {parse_prefix("10.5.3.0/24")}
    assert len(found(kernel, Neighbor)) == len(found(kernel, FdbEntry)) == 1


def test_forwarding_is_switched_on() -> None:
    kernel = FakeKernel(GROUND)
    settle(kernel, node(HostGw()), ())
    assert Sysctl("net/ipv4/ip_forward", "1") in found(kernel, Sysctl)


def test_routes_of_others_are_left_alone() -> None:
    foreign = {
        Route(parse_prefix("10.5.77.0/24"), "eth0", protocol=PROTO_STATIC, scope=0),
        Route(parse_prefix("10.5.78.0/24"), "eth0", protocol=PROTO_BOOT, scope=0),
        Route(parse_prefix("10.6.1.0/24"), "eth0", protocol=84, scope=0),  # another daemon's network
        Route(parse_prefix("192.168.50.0/24"), "eth0", protocol=PROTO_KERNEL, scope=253),
    }
    kernel = FakeKernel((*GROUND, *foreign))
    settle(kernel, node(HostGw()), (2,))
    assert foreign < found(kernel, Route)


def test_a_route_that_a_go_flanneld_left_is_taken_over() -> None:
    left = Route(parse_prefix("10.5.2.0/24"), "eth0", via=parse_ip("192.168.50.9"), protocol=PROTO_BOOT, scope=0)
    kernel = FakeKernel((*GROUND, left))
    settle(kernel, node(HostGw()), (2,))
    assert Route(parse_prefix("10.5.2.0/24"), "eth0", via=parse_ip("192.168.50.2"), protocol=84, scope=0) in found(kernel, Route)


def test_the_kernels_link_local_address_stays_and_a_stray_one_goes() -> None:
    kernel = FakeKernel(GROUND)
    settle(kernel, node(), ())
    link_local, stray = Address("flannel.1", parse_prefix("fe80::1/64")), Address("flannel.1", parse_prefix("10.5.9.9/32"))
    kernel.objects.update({item.key: item for item in (link_local, stray)})
    settle(kernel, node(), ())
    assert link_local in found(kernel, Address)
    assert stray not in found(kernel, Address)


def test_a_device_with_another_vni_or_uplink_is_made_anew_with_all_on_it() -> None:
    kernel = FakeKernel(GROUND)
    settle(kernel, node(), (2,))
    device = kernel.objects["link", "flannel.1"]
    kernel.objects[device.key] = replace(device, underlay="eth1")
    settle(kernel, node(), (2,))
    assert {o.underlay for o in found(kernel, Vxlan) if isinstance(o, Vxlan)} == {"eth0"}
    assert len(found(kernel, FdbEntry)) == 1


def test_the_device_of_an_earlier_backend_goes() -> None:
    kernel = FakeKernel((*GROUND, Link("flannel0"), Route(NETWORK, "flannel0", protocol=84, scope=0)))
    settle(kernel, node(old_devices=frozenset({"flannel0"})), ())
    assert ("link", "flannel0") not in kernel.objects
    assert not found(kernel, Route)


def test_the_blackhole_stands_behind_the_bridges_own_route() -> None:
    bridge = Route(parse_prefix("10.5.1.0/24"), "eth0", protocol=PROTO_KERNEL, scope=253)
    kernel = FakeKernel((*GROUND, bridge))
    settle(kernel, node(HostGw(), Rules(blackhole_route=True)), ())
    blackholes = {o for o in found(kernel, Route) if isinstance(o, Route) and o.type == BLACKHOLE}
    assert [o.dst for o in blackholes] == [parse_prefix("10.5.1.0/24")]
    assert bridge in found(kernel, Route)


def test_it_converges_after_a_failure_at_any_operation() -> None:
    for number in range(12):
        kernel = FakeKernel(GROUND, fail_at=number)
        this = node()
        leases = (lease(1), lease(2), lease(3))
        for _ in range(3):
            turn = reconcile(kernel, desired_network(this, leases), network_owner(this))
        assert turn.converged, (number, turn)


def test_rules_follow_the_flags_and_others_rules_stay() -> None:
    foreign = Jump(4, "filter", "FORWARD", "-s 10.9.9.9/32 -j ACCEPT")
    kernel = FakeKernel((foreign,))
    for rules, wanted in (
        (Rules(ip_masq=True), {MASQ_CHAIN, FORWARD_CHAIN}),
        (Rules(), {FORWARD_CHAIN}),
        (Rules(ip_masq=True, forward_rules=False), {MASQ_CHAIN}),
        (Rules(forward_rules=False), set()),
    ):
        assert reconcile(kernel, desired_filter(node(rules=rules)), FILTER_OWNER).converged
        assert {o.name for o in found(kernel, Chain) if isinstance(o, Chain)} == wanted
        assert {o.target for o in found(kernel, Jump) if isinstance(o, Jump)} == wanted | {"ACCEPT"}


def test_without_random_fully_the_ports_are_the_kernels_choice() -> None:
    chain = next(
        o for o in desired_filter(node(rules=Rules(ip_masq=True, random_fully=False))) if isinstance(o, Chain) and o.table == "nat"
    )
    assert [rule.rpartition("-j ")[2] for rule in chain.rules] == ["RETURN"] * 4 + ["MASQUERADE"] * 2


def test_our_own_lease_is_not_among_the_refused() -> None:
    assert refused(node(), (lease(1), lease(2))) == {}
    assert list(refused(node(), (lease(1), lease(2, "host-gw"))).values()) == ["backend host-gw is not ours"]
