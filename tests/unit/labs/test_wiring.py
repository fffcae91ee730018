"""The wiring, put into kernels in memory."""

from __future__ import annotations

from dataplane.fake import FakeKernel
from dataplane.inet import parse_ip, parse_prefix
from dataplane.reconcile import reconcile
from dataplane.state import Address, Link, Route, Sysctl, Veth
from labs.catalog import find_topology
from labs.layout import Layout
from labs.wiring import desired_wiring, wiring_owner

LAYOUT = Layout(find_topology("flannel"))
WIRING = desired_wiring(LAYOUT)


def test_the_switch_comes_first_and_has_a_cable_into_every_machine() -> None:
    assert next(iter(WIRING)) == "underlay"
    cables = [item for item in WIRING["underlay"] if isinstance(item, Veth)]
    assert {(cable.name, cable.peer, cable.peer_netns) for cable in cables} == {
        (name, "eth0", f"/run/netns/pw-flannel-{name}") for name in ("outside", "node1", "node2", "node3")
    }
    assert {cable.master for cable in cables} == {"br0"}


def test_a_node_forwards_and_sends_what_it_does_not_know_to_the_outside() -> None:
    assert Sysctl("net/ipv4/ip_forward", "1") in WIRING["node2"]
    assert Route(parse_prefix("0.0.0.0/0"), "eth0", via=parse_ip("192.168.50.1")) in WIRING["node2"]


def test_the_outside_has_an_address_of_the_world_and_no_way_to_the_pods() -> None:
    assert Address("lo", parse_prefix("203.0.113.1/32")) in WIRING["outside"]
    assert not any(isinstance(item, Route) for item in WIRING["outside"])


def test_wiring_converges_in_one_turn() -> None:
    for items in WIRING.values():
        kernel = FakeKernel([Link("lo", up=False), Link("eth0", up=False)])
        assert reconcile(kernel, items, wiring_owner(items)).converged
        assert not reconcile(kernel, items, wiring_owner(items)).done
