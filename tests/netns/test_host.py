"""A whole namespace through one face: links, settings, addresses, routes and rules in one turn of the loop."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from dataplane.drivers.host import HostKernel
from dataplane.drivers.netns import identity
from dataplane.drivers.run import run
from dataplane.errors import KernelError
from dataplane.inet import parse_ip, parse_prefix
from dataplane.netfilter import Chain, Jump, comment
from dataplane.ownership import Owner, Scope
from dataplane.plan import ADD, REMOVE, SET, Op
from dataplane.reconcile import compare, reconcile
from dataplane.state import PROTO_FLANNELD, Address, Bridge, Link, Object, Route, Sysctl, Veth

OWNER = Owner(
    name="test",
    link_prefixes=("pw",),
    settings=frozenset({"lo"}),
    route_protocol=PROTO_FLANNELD,
    chain_prefixes=("PODWIRE-",),
    comments=frozenset({"podwire test"}),
    tables=frozenset({(4, "nat"), (6, "nat")}),
)
SAID = comment("podwire test")


def wish(pod: str) -> list[Object]:
    """A node with a bridge, a pod's veth on it, a route to another node's pods, and masquerading."""
    return [
        Link("lo", up=True),
        Bridge("pwbr", mtu=1450),
        Veth("pwv0", master="pwbr", mtu=1450, hairpin=True, peer="eth0", peer_netns=pod),
        Sysctl("net/ipv4/ip_forward", "1"),
        Sysctl("net/ipv4/conf/pwbr/proxy_arp", "1"),
        Address("pwbr", parse_prefix("10.244.1.1/24")),
        Address("pwbr", parse_prefix("fd00:244:0:1::1/64"), nodad=True),
        Route(parse_prefix("10.244.2.0/24"), "pwbr", parse_ip("10.244.1.254"), protocol=PROTO_FLANNELD),
        Chain(4, "nat", "PODWIRE-MASQ", (f"-s 10.244.0.0/16 ! -d 10.244.0.0/16 {SAID} -j MASQUERADE",)),
        Jump(4, "nat", "POSTROUTING", f"{SAID} -j PODWIRE-MASQ"),
        Chain(6, "nat", "PODWIRE-MASQ", (f"-s fd00:244::/48 ! -d fd00:244::/48 {SAID} -j MASQUERADE",)),
        Jump(6, "nat", "POSTROUTING", f"{SAID} -j PODWIRE-MASQ"),
    ]


def told(path: str, *argv: str) -> str:
    ran = run(list(argv), netns=path)
    assert ran.status == 0, ran
    return ran.stdout.decode()


def test_a_node_is_built_kept_and_taken_down(namespace: Callable[[], str]) -> None:
    node, pod = namespace(), namespace()
    with HostKernel(node) as kernel:
        turn = reconcile(kernel, wish(pod), OWNER)
        assert turn.converged, turn.failures
        assert not compare(kernel, wish(pod), OWNER)
        assert "master pwbr" in told(node, "ip", "link", "show", "pwv0")
        assert "10.244.2.0/24 via 10.244.1.254 dev pwbr proto 84" in told(node, "ip", "route")
        assert f"-A POSTROUTING {SAID} -j PODWIRE-MASQ" in told(node, "iptables-save", "-t", "nat")
        assert "eth0" in told(pod, "ip", "link")
        assert reconcile(kernel, [], OWNER).converged
        assert "pw" not in told(node, "ip", "link")
        assert "PODWIRE" not in told(node, "iptables-save", "-t", "nat") + told(node, "ip6tables-save", "-t", "nat")


def test_a_fresh_process_finds_nothing_to_do(namespace: Callable[[], str]) -> None:
    node, pod = namespace(), namespace()
    with HostKernel(node) as kernel:
        assert reconcile(kernel, wish(pod), OWNER).converged
    with HostKernel(node) as kernel:
        assert reconcile(kernel, wish(pod), OWNER).done == ()


def test_what_was_lost_or_spoilt_comes_back(namespace: Callable[[], str]) -> None:
    node, pod = namespace(), namespace()
    with HostKernel(node) as kernel:
        reconcile(kernel, wish(pod), OWNER)
        told(node, "ip", "link", "set", "pwbr", "down")
        told(node, "iptables", "-t", "nat", "-F")
        told(node, "ip", "address", "flush", "dev", "pwbr")
        assert compare(kernel, wish(pod), OWNER)
        turn = reconcile(kernel, wish(pod), OWNER)
        assert turn.converged, turn.failures
        assert not compare(kernel, wish(pod), OWNER)


def test_a_device_of_another_kind_is_replaced_and_gets_back_its_ports(namespace: Callable[[], str]) -> None:
    node, pod = namespace(), namespace()
    with HostKernel(node) as kernel:
        reconcile(kernel, wish(pod), OWNER)
        told(node, "ip", "link", "delete", "pwbr")
        told(node, "ip", "link", "add", "pwbr", "type", "veth", "peer", "name", "pwstray")
        turn = reconcile(kernel, wish(pod), OWNER)
        assert turn.converged, turn.failures
        assert not compare(kernel, wish(pod), OWNER)
        assert "master pwbr" in told(node, "ip", "link", "show", "pwv0")


def test_a_new_address_in_the_same_subnet_survives_the_removal_of_the_old_one(namespace: Callable[[], str]) -> None:
    node = namespace()
    with HostKernel(node) as kernel:
        first, second = ([Bridge("pwbr"), Address("pwbr", parse_prefix(f"10.244.1.{host}/24"))] for host in (1, 2))
        assert reconcile(kernel, first, OWNER).converged
        assert reconcile(kernel, second, OWNER).converged
        assert not compare(kernel, second, OWNER)
        addresses = told(node, "ip", "-4", "address", "show", "dev", "pwbr")
        assert "10.244.1.2/24" in addresses
        assert "10.244.1.1/24" not in addresses


def test_operations_of_all_drivers_are_carried_out_in_order_and_failures_are_told_by_each(namespace: Callable[[], str]) -> None:
    node = namespace()
    bridge, missing = Op(ADD, Bridge("pwbr")), Op(ADD, Address("pwnone", parse_prefix("10.1.0.1/24")))
    proxy, bad = Op(SET, Sysctl("net/ipv4/conf/pwbr/proxy_arp", "1")), Op(SET, Sysctl("net/ipv4/conf/pwbr/no_such", "1"))
    chain, dangling = Op(ADD, Chain(4, "nat", "PODWIRE-A")), Op(ADD, Jump(4, "filter", "FORWARD", "-j PODWIRE-B"))
    with HostKernel(node) as kernel:
        failures = kernel.apply([chain, bridge, missing, bad, proxy, dangling, Op(REMOVE, bridge.item)])
        assert [failure.op for failure in failures] == [missing, bad, dangling]
        found = kernel.read(Scope(links=frozenset({"pwbr"}), tables=frozenset({(4, "nat")})))
    assert found == {Chain(4, "nat", "PODWIRE-A")}


def test_a_namespace_that_is_gone_fails_every_operation_and_is_named() -> None:
    path = f"/run/netns/pwt{os.getpid()}-none"
    op = Op(ADD, Bridge("pwbr"))
    with HostKernel(path) as kernel:
        (failure,) = kernel.apply([op])
        assert failure.op == op
        assert path in str(failure.error)
        with pytest.raises(KernelError, match=path):
            kernel.read(Scope(links=frozenset({"lo"})))


def test_the_calling_thread_stays_where_it_is(namespace: Callable[[], str]) -> None:
    before = identity("/proc/thread-self/ns/net")
    node, pod = namespace(), namespace()
    with HostKernel(node) as kernel:
        reconcile(kernel, wish(pod), OWNER)
    assert identity("/proc/thread-self/ns/net") == before


def test_closing_gives_back_all_descriptors(namespace: Callable[[], str]) -> None:
    node, pod = namespace(), namespace()
    before = os.listdir("/proc/self/fd")
    with HostKernel(node) as kernel:
        reconcile(kernel, wish(pod), OWNER)
    assert os.listdir("/proc/self/fd") == before
