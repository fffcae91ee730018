"""The topology `flannel`: all six pairs of backend and datastore, and what each puts on the wire."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import product

import pytest

from dataplane.drivers.run import run
from labs.check import check
from labs.harness import running_lab
from labs.layout import Layout
from labs.programs import node_daemons
from labs.state import read_state
from labs.status import lab_status
from labs.trace.hop import Hop
from labs.trace.run import trace
from tests.netns.lab_fixture import lab_name, leftovers, namespaces_of, own_devices

BACKENDS, DATASTORES = ("udp", "vxlan", "host-gw"), ("local", "etcd")


@pytest.mark.parametrize(("backend", "datastore"), [*product(BACKENDS, DATASTORES)])
def test_pods_on_three_nodes_reach_each_other_without_nat(backend: str, datastore: str) -> None:
    name, devices = lab_name(f"{backend}-{datastore}"), own_devices()
    with running_lab("flannel", name=name, backend=backend, datastore=datastore) as layout:
        namespaces = namespaces_of(name)
        verdict = check(layout)
        assert [pair.document() for pair in verdict.pairs if not pair.ok] == []
        assert (len(verdict.inside), len(verdict.outside)) == (6 * 5 + 3 * 6, 6)
        assert all_parts_run(layout)
        found = trace(layout, "node1-pod1", "node2-pod1")
        assert found.rtt_ms is not None
        for hops in (found.request, found.reply):
            ON_THE_WIRE[backend](layout, [hop for hop in hops if hop.place == "underlay"])
    assert leftovers(name, namespaces) == []
    assert own_devices() == devices


def all_parts_run(layout: Layout) -> bool:
    state = read_state(layout.name)
    assert state is not None
    return lab_status(state).ok


def names(hop: Hop) -> list[str]:
    return [layer.name for layer in hop.layers]


def one_ip_packet_a_datagram_to_port_8285(_: Layout, hops: Sequence[Hop]) -> None:
    assert [names(hop) for hop in hops] == [["Ethernet", "IPv4", "UDP", "IPv4", "ICMP"]] * 2
    assert {hop.layers[2].get("dport") for hop in hops} == {"8285"}


def vni_1_port_8472_and_the_two_vteps_inside(layout: Layout, hops: Sequence[Hop]) -> None:
    assert [names(hop) for hop in hops] == [["Ethernet", "IPv4", "UDP", "VXLAN", "Ethernet", "IPv4", "ICMP"]] * 2
    assert {(hop.layers[2].get("dport"), hop.layers[3].get("vni")) for hop in hops} == {("8472", "1")}
    inner = {frozenset({hop.layers[4].get("src"), hop.layers[4].get("dst")}) for hop in hops}
    assert inner == {frozenset({vtep_mac(layout, "node1"), vtep_mac(layout, "node2")})}


def plain_packets(_: Layout, hops: Sequence[Hop]) -> None:
    assert [names(hop) for hop in hops] == [["Ethernet", "IPv4", "ICMP"]] * 2


def vtep_mac(layout: Layout, node: str) -> str:
    words = run(["ip", "-o", "link", "show", "flannel.1"], netns=layout.netns(node)).stdout.decode().split()
    return words[words.index("link/ether") + 1]


ON_THE_WIRE: dict[str, Callable[[Layout, Sequence[Hop]], None]] = {
    "udp": one_ip_packet_a_datagram_to_port_8285,
    "vxlan": vni_1_port_8472_and_the_two_vteps_inside,
    "host-gw": plain_packets,
}


def test_a_vxlan_trace_tells_the_whole_way_through_both_nodes() -> None:
    name = lab_name("way")
    with running_lab("flannel", name=name, nodes=2, pods=1) as layout:
        found = trace(layout, "node1-pod1", "node2-pod1")
    way = [(hop.place, hop.device if not hop.device.startswith("veth") else "veth", hop.direction) for hop in found.request]
    assert way == [
        ("node1-pod1", "eth0", "out"),
        ("node1", "veth", "in"),
        ("node1", "cni0", "in"),
        ("node1", "flannel.1", "out"),
        ("node1", "eth0", "out"),
        ("underlay", "node1", "in"),
        ("underlay", "node2", "out"),
        ("node2", "eth0", "in"),
        ("node2", "flannel.1", "in"),
        ("node2", "cni0", "out"),
        ("node2", "veth", "out"),
        ("node2-pod1", "eth0", "in"),
    ]
    into_tunnel = found.request[3]
    assert [line.split()[0] for line in into_tunnel.lookups] == ["route", "neighbour", "fdb"]
    assert into_tunnel.lookups[0].endswith("dev flannel.1 onlink")


def test_a_daemon_that_is_not_there_is_seen_by_status() -> None:
    with running_lab("flannel", name=lab_name("status"), nodes=1, pods=1, backend="host-gw") as layout:
        state = read_state(layout.name)
        assert state is not None
        (daemon,) = node_daemons(layout, sys.executable)
        run(["sh", "-c", f"kill -9 $(cat {daemon.pid_file})"])
        status = lab_status(state)
        assert not status.ok
        assert [node.daemon_text for node in status.nodes] == ["-", "flanneld ended"]


def test_masquerading_between_pods_is_seen_by_check_and_by_trace() -> None:
    with running_lab("flannel", name=lab_name("nat"), nodes=2, pods=1, backend="host-gw") as layout:
        rule = ["POSTROUTING", "-o", "cni0", "-j", "MASQUERADE"]
        assert run(["iptables", "-w", "-t", "nat", "-I", *rule], netns=layout.netns("node2")).status == 0
        wrong = [pair.document() for pair in check(layout).pairs if not pair.ok]
        found = trace(layout, "node1-pod1", "node2-pod1")
    gateway = {item["source_seen"] for item in wrong}
    assert {(item["from"], item["to"]) for item in wrong} == {("node1-pod1", "node2-pod1"), ("node1", "node2-pod1")}
    assert len(gateway) == 1
    assert [hop.device for hop in found.request if "NAT has changed the source" in hop.what] == ["cni0"]


def test_twelve_nodes_with_four_pods_each_are_put_up_and_checked() -> None:
    with running_lab("flannel", name=lab_name("many"), nodes=12, pods=4, backend="host-gw") as layout:
        verdict = check(layout)
    assert [pair.document() for pair in verdict.pairs if not pair.ok] == []
    assert len(verdict.inside) == 48 * 47 + 12 * 48
