"""ptp on the real kernel, as installed."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from dataplane.drivers import netns
from tests.cni_node import FAMILIES, VERSIONS, WITH_PREV_RESULT, Node, Refused, addresses_of, links_of, ping

if TYPE_CHECKING:
    from collections.abc import Iterator

IPS = {"v4": ["10.77.0.2"], "v6": ["fd77::2"], "dual": ["10.77.0.2", "fd77::2"]}
GATEWAYS = {"v4": ["10.77.0.1"], "v6": ["fd77::1"], "dual": ["10.77.0.1", "fd77::1"]}
LENGTHS = {4: ("24", "32"), 6: ("64", "128")}


@pytest.fixture
def node() -> Iterator[Node]:
    with Node() as made:
        yield made


def _lengths(ip: str) -> tuple[str, str]:
    return LENGTHS[6 if ":" in ip else 4]


def _host_end(node: Node) -> str:
    return next(name for name in links_of(node, node.host) if name.startswith("veth"))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_pod_is_routed_to_its_host_and_leaves_nothing(node: Node, version: str, family: str) -> None:
    conf = node.conf("ptp", family, version, ipMasq=True)
    node.sh("iptables-save -t nat >/dev/null; sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
    before = node.snapshot()
    pod = node.namespace()
    result = node.add(conf, pod)
    host_end = _host_end(node)
    assert addresses_of(node, pod, "eth0") == {f"{ip}/{_lengths(ip)[0]}" for ip in IPS[family]}
    assert {f"{gw}/{_lengths(gw)[1]}" for gw in GATEWAYS[family]} <= addresses_of(node, node.host, host_end)
    for gateway in GATEWAYS[family]:
        assert ping(node, pod, gateway)
    for ip in IPS[family]:
        assert ping(node, node.host, ip)
    if version in WITH_PREV_RESULT:
        node.check(conf, result, pod)
        conf["prevResult"] = result
    node.delete(conf, pod)
    after = node.snapshot()
    assert {name.rpartition("/")[2] for name in after["files"]} - {name.rpartition("/")[2] for name in before["files"]} == {"lock"}
    assert {**after, "files": 0} == {**before, "files": 0}
    node.delete(conf, pod)


def test_neighbours_of_one_subnet_meet_through_the_host(node: Node) -> None:
    pods = [node.namespace(), node.namespace()]
    for i, pod in enumerate(pods):
        node.add(node.conf("ptp", "dual"), pod, f"c{i}")
    assert ping(node, pods[0], "10.77.0.3")
    assert ping(node, pods[0], "fd77::3")


def test_the_routes_are_the_reference_s(node: Node) -> None:
    pod = node.namespace()
    node.add(node.conf("ptp", "dual"), pod)
    host_end = _host_end(node)
    assert node.sh("ip route", pod).replace(" \n", "\n").splitlines() == [
        "default via 10.77.0.1 dev eth0",
        "10.77.0.0/24 via 10.77.0.1 dev eth0 src 10.77.0.2",
        "10.77.0.1 dev eth0 scope link src 10.77.0.2",
    ]
    shown = {line.partition(" metric")[0] for line in node.sh("ip -6 route | grep -v fe80", pod).splitlines()}
    assert shown == {
        "fd77::1 dev eth0 src fd77::2",
        "fd77::/64 via fd77::1 dev eth0 src fd77::2",
        "default via fd77::1 dev eth0",
    }
    assert node.sh("ip route").strip() == f"10.77.0.2 dev {host_end} scope host"


@pytest.mark.parametrize("how", ["empty", "deleted", "stale file"])
def test_del_leaves_nothing_when_the_namespace_has_gone(node: Node, how: str) -> None:
    conf = node.conf("ptp", "dual", ipMasq=True)
    node.add(conf, node.namespace(), "first")
    before = node.snapshot()
    pod = node.namespace()
    node.add(conf, pod)
    gone = pod if how != "empty" else ""
    if gone:
        netns.delete(pod)
    if how == "stale file":
        with open(pod, "w", encoding="utf-8"):
            pass
    node.delete(conf, gone)
    node.delete(conf, gone)
    if how == "stale file":
        os.unlink(pod)
    assert node.snapshot() == before


DAMAGES = {
    "host end down": ("host", "ip link set {veth} down", "up is False"),
    "host address": ("host", "ip addr del 10.77.0.1/32 dev {veth}", "missing address 10.77.0.1/32"),
    "host route": ("host", "ip route del 10.77.0.2", "missing route 10.77.0.2/32"),
    "forwarding": ("host", "echo 0 > /proc/sys/net/ipv6/conf/all/forwarding", "forwarding"),
    "rules": ("host", "ip6tables -t nat -F", "Jump"),
    "gateway route": ("pod", "ip route del 10.77.0.0/24; ip route del 10.77.0.1", "missing route 10.77.0.1/32"),
    "default route": ("pod", "ip -6 route del default", "missing route default"),
    "address": ("pod", "ip addr del fd77::2/64 dev eth0", "missing address fd77::2/64"),
    "reservation": ("host", "rm {data}/net1/fd77::2", "fd77::2"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_check_finds(node: Node, damage: str) -> None:
    where, command, words = DAMAGES[damage]
    conf, pod = node.conf("ptp", "dual", ipMasq=True), node.namespace()
    result = node.add(conf, pod)
    node.check(conf, result, pod)
    node.sh(command.format(veth=_host_end(node), data=node.data), node.host if where == "host" else pod)
    with pytest.raises(Refused) as refused:
        node.check(conf, result, pod)
    assert words in refused.value.msg + refused.value.details


def test_a_failed_add_undoes_everything(node: Node) -> None:
    conf, pod = node.conf("ptp", "dual", ipMasq=True), node.namespace()
    tools = os.path.join(node.folder, "tools")
    os.mkdir(tools)
    with open(os.path.join(tools, "iptables-restore"), "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\necho refused >&2\nexit 1\n")
    os.chmod(os.path.join(tools, "iptables-restore"), 0o755)
    with pytest.raises(Refused, match="refused"):
        node.add(conf, pod, PATH=tools)
    assert set(links_of(node, pod)) == set(links_of(node, node.host)) == {"lo"}
    assert node.reservations() == set()
    assert node.rules() == []
    node.add(conf, pod)


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, {"nameservers": ["192.0.2.53"], "domain": "cluster.test"}),
        ({"dns": {"nameservers": ["192.0.2.99"]}}, {"nameservers": ["192.0.2.99"]}),
        ({"dns": {"nameservers": []}}, None),
    ],
)
def test_dns_of_the_configuration_replaces_the_ipam_s_if_any_field_is_given(
    node: Node, own: dict[str, Any], expected: dict[str, Any] | None
) -> None:
    resolv = os.path.join(node.folder, "resolv.conf")
    with open(resolv, "w", encoding="utf-8") as file:
        file.write("domain cluster.test\nnameserver 192.0.2.53\n")
    conf = node.conf("ptp", **own)
    conf["ipam"]["resolvConf"] = resolv
    assert node.add(conf, node.namespace()).get("dns") == expected


def test_mtu(node: Node) -> None:
    pod = node.namespace()
    node.add(node.conf("ptp", mtu=1300), pod)
    assert links_of(node, pod)["eth0"]["mtu"] == links_of(node, node.host)[_host_end(node)]["mtu"] == 1300


def test_route_options_are_applied(node: Node) -> None:
    conf = node.conf("ptp")
    conf["ipam"]["routes"] = [{"dst": "10.1.0.0/16", "mtu": 1200, "advmss": 1000, "priority": 50, "table": 100}]
    pod = node.namespace()
    result = node.add(conf, pod)
    assert result["routes"] == [{"dst": "10.1.0.0/16", "mtu": 1200, "advmss": 1000, "priority": 50, "table": 100}]
    (route,) = json.loads(node.sh("ip -j route show table 100", pod))
    assert (route["dst"], route["gateway"], route["metric"]) == ("10.1.0.0/16", "10.77.0.1", 50)
    assert route["metrics"] == [{"mtu": 1200, "advmss": 1000}]
    node.check(conf, result, pod)


def test_ptp_without_ipam_is_refused(node: Node) -> None:
    with pytest.raises(Refused, match=r"ipam\.type") as refused:
        node.add({"cniVersion": "1.0.0", "name": "n", "type": "ptp"}, node.namespace())
    assert refused.value.code == 7
