"""Links and addresses through the netlink driver, and how its operations fail; iproute2 is the witness."""

from __future__ import annotations

import os
from errno import EEXIST, ENODEV, EOPNOTSUPP
from typing import TYPE_CHECKING

import pytest

from dataplane.drivers.netlink import NetlinkDriver
from dataplane.errors import KernelError
from dataplane.inet import parse_ip, parse_mac, parse_prefix
from dataplane.ownership import Owner, Scope
from dataplane.plan import ADD, REMOVE, SET, Op
from dataplane.reconcile import compare, reconcile
from dataplane.record import replace
from dataplane.state import (
    BLACKHOLE,
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
)
from tests.netns.deadline import until
from tests.netns.node import ALL, Node

if TYPE_CHECKING:
    from collections.abc import Callable

MAC, MAC2 = parse_mac("02:00:00:00:00:01"), parse_mac("02:00:00:00:00:02")


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
    for _ in range(2):
        assert node.driver.apply([Op(ADD, Bridge("br0", mtu=1400))]) == ()
    (differs,) = node.driver.apply([Op(ADD, Bridge("br0", mtu=1300))])
    assert differs.error.errno == EEXIST
    (other_kind,) = node.driver.apply([Op(ADD, Vxlan("br0", vni=5))])
    assert "add vxlan device br0 id 5: File exists" in str(other_kind.error)
    assert "bridge br0" in str(other_kind.error)


def test_a_bridge_made_anew_in_one_batch_is_not_taken_for_the_old_one(node: Node) -> None:
    node.bring_up(Bridge("br0"))
    address = Address("br0", parse_prefix("10.1.0.1/24"))
    ops = [Op(ADD, address), Op(REMOVE, Bridge("br0")), Op(ADD, Bridge("br0")), Op(ADD, address), Op(SET, Bridge("br0"))]
    assert node.driver.apply(ops) == ()
    assert node.has(address)


def test_link_index(node: Node) -> None:
    assert node.driver.link_index("eth0") == node.link("eth0")["ifindex"]
    assert node.driver.link_index("absent0") is None


def test_of_the_errors_of_one_link_the_first_is_told(node: Node) -> None:
    (failure,) = node.driver.apply([Op(SET, Link("eth0", mtu=1, hairpin=True))])
    assert str(failure.error) == "set link eth0: Invalid argument: mtu less than device minimum"


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


def test_a_socket_that_is_gone_fails_every_operation_and_every_reading(nodes: Callable[[], Node]) -> None:
    driver = nodes().driver
    driver.close()
    ops = [
        Op(ADD, Bridge("br0")),
        Op(ADD, Route(parse_prefix("10.1.0.0/24"), type=BLACKHOLE)),
        Op(ADD, Neighbor("eth0", parse_ip("10.0.0.2"), MAC)),
    ]
    assert [failure.op for failure in driver.apply(ops)] == ops
    for read in (lambda: driver.read(ALL), lambda: driver.link_index("lo"), lambda: driver.route_to(parse_ip("10.0.0.1"))):
        with pytest.raises(KernelError, match="Bad file descriptor"):
            read()
