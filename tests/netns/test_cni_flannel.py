"""flannel on the real kernel, as installed: subnet.env to a bridge attachment, and back to nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dataplane.drivers import netns
from tests.cni_node import VERSIONS, WITH_PREV_RESULT, Node, Refused, addresses_of, links_of, ping

if TYPE_CHECKING:
    from collections.abc import Iterator

ENV = {
    "v4": "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.3.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n",
    "v6": "FLANNEL_IPV6_NETWORK=fd44::/48\nFLANNEL_IPV6_SUBNET=fd44:0:0:3::1/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n",
    "dual": "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.3.1/24\nFLANNEL_IPV6_NETWORK=fd44::/48\n"
    "FLANNEL_IPV6_SUBNET=fd44:0:0:3::1/64\n"
    "FLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n",
}
IPS = {"v4": {"10.244.3.2/24"}, "v6": {"fd44:0:0:3::2/64"}, "dual": {"10.244.3.2/24", "fd44:0:0:3::2/64"}}
GATEWAYS = {"v4": ["10.244.3.1"], "v6": ["fd44:0:0:3::1"], "dual": ["10.244.3.1", "fd44:0:0:3::1"]}


@pytest.fixture
def node() -> Iterator[Node]:
    with Node() as made:
        yield made


def _conf(node: Node, family: str = "v4", version: str = "1.1.0", **more: Any) -> dict[str, Any]:
    _write_env(node, ENV[family])
    return {
        "cniVersion": version,
        "name": "net1",
        "type": "flannel",
        "subnetFile": f"{node.folder}/subnet.env",
        "dataDir": f"{node.folder}/flannel",
        "ipam": {"dataDir": node.data},
        "delegate": {"bridge": "pwtbr0", "hairpinMode": True},
        **more,
    }


def _write_env(node: Node, text: str) -> None:
    (Path(node.folder) / "subnet.env").write_text(text)


def _scratch(node: Node) -> set[str]:
    folder = f"{node.folder}/flannel"
    return set(os.listdir(folder)) if os.path.isdir(folder) else set()


@pytest.mark.parametrize("family", ENV)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_pod_lives_in_the_node_s_subnet_and_leaves_nothing(node: Node, version: str, family: str) -> None:
    conf = _conf(node, family, version)
    node.add(conf, node.namespace(), "first")
    before = node.snapshot()
    pod = node.namespace()
    result = node.add(conf, pod)
    assert result["cniVersion"] == version
    assert addresses_of(node, pod, "eth0") == {ip.replace("2/", "3/") for ip in IPS[family]}
    assert links_of(node, pod)["eth0"]["mtu"] == (1450 if family == "v4" else 1430)
    for gateway in GATEWAYS[family]:
        assert ping(node, pod, gateway)
    if version in WITH_PREV_RESULT:
        node.check(conf, result, pod)
        conf["prevResult"] = result
    node.delete(conf, pod)
    assert node.snapshot() == before
    node.delete(conf, pod)
    assert node.snapshot() == before


def test_the_network_is_routed_through_the_bridge_and_the_file_is_flannel_s(node: Node) -> None:
    pod = node.namespace()
    node.add(_conf(node), pod)
    assert "10.244.0.0/16 via 10.244.3.1 dev eth0" in node.sh("ip route", pod)
    path = Path(node.folder) / "flannel" / "c1"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert json.loads(path.read_text()) == {
        "cniVersion": "1.1.0",
        "name": "net1",
        "type": "bridge",
        "bridge": "pwtbr0",
        "hairpinMode": True,
        "ipMasq": False,
        "isGateway": True,
        "mtu": 1450,
        "ipam": {
            "type": "host-local",
            "dataDir": node.data,
            "ranges": [[{"subnet": "10.244.3.0/24"}]],
            "routes": [{"dst": "10.244.0.0/16"}],
        },
    }


def test_masquerading_is_ours_where_flanneld_does_none(node: Node) -> None:
    node.add(_conf(node, "dual"), node.namespace())
    assert [line for line in node.rules() if line.endswith("MASQUERADE")]


GARBLED = {
    "empty scratch": "",
    "scratch without anything": "{}",
    "scratch without a type": '{"name": "net1", "ipam": {}}',
    "scratch of an odd type": '{"name": "net1", "type": 5, "ipam": {}}',
    "scratch of an odd ipam": '{"name": "net1", "type": "bridge", "ipam": "host-local"}',
    "scratch that is no text": "\0\x01",
}


@pytest.mark.parametrize("how", ["empty", "deleted"])
@pytest.mark.parametrize("lost", ["nothing", "scratch", "scratch and subnet.env", *GARBLED])
def test_del_works_with_whatever_is_left(node: Node, how: str, lost: str) -> None:
    conf = _conf(node, "dual")
    node.add(conf, node.namespace(), "first")
    before = node.snapshot()
    pod = node.namespace()
    node.add(conf, pod)
    if lost.startswith("scratch"):
        os.unlink(f"{node.folder}/flannel/c1")
    if "subnet.env" in lost:
        os.unlink(f"{node.folder}/subnet.env")
    if lost in GARBLED:
        Path(f"{node.folder}/flannel/c1").write_text(GARBLED[lost])
    if how == "deleted":
        netns.delete(pod)
    node.delete(conf, pod if how == "deleted" else "")
    _write_env(node, ENV["dual"])
    assert node.snapshot() == before


def test_two_interfaces_of_one_container_do_not_overwrite_each_other(node: Node) -> None:
    conf, pod = _conf(node), node.namespace()
    node.add(conf, pod)
    second = {**conf, "name": "net2", "delegate": {"bridge": "pwtbr1"}}
    _write_env(node, ENV["v4"].replace("10.244.3", "10.244.4"))
    node.add(second, pod, CNI_IFNAME="net1")
    assert _scratch(node) == {"c1", "c1:net1"}
    node.delete(second, pod, CNI_IFNAME="net1")
    assert (_scratch(node), node.reservations("net1"), node.reservations("net2")) == ({"c1"}, {"10.244.3.2"}, set())
    node.delete(conf, pod)
    assert (_scratch(node), node.reservations("net1")) == (set(), set())


def test_del_does_not_follow_the_file_of_another_network(node: Node) -> None:
    conf, pod = _conf(node), node.namespace()
    node.add(conf, pod)
    other = {**conf, "name": "net2"}
    node.delete(other, "", CNI_IFNAME="eth0")
    assert (_scratch(node), node.reservations("net1")) == ({"c1"}, {"10.244.3.2"})
    os.rename(f"{node.folder}/networks/net1", f"{node.folder}/networks/net2")
    node.delete(other, "", CNI_IFNAME="eth0")
    assert node.reservations("net2") == set()


def test_while_subnet_env_is_missing_add_is_to_be_tried_again_and_status_says_so(node: Node) -> None:
    conf = _conf(node)
    node.call("STATUS", conf)
    os.unlink(f"{node.folder}/subnet.env")
    for command, code in (("ADD", 11), ("STATUS", 50)):
        with pytest.raises(Refused, match=r"subnet\.env: no such file or directory") as refused:
            node.call(command, conf, node.namespace() if command == "ADD" else "")
        assert refused.value.code == code
    assert _scratch(node) == set()


def test_a_failed_add_leaves_no_file(node: Node) -> None:
    pod = node.namespace()
    node.sh("ip link add pwtbr0 type veth peer name other")
    with pytest.raises(Refused, match="is not a bridge"):
        node.add(_conf(node), pod)
    assert (_scratch(node), node.reservations()) == (set(), set())


def test_the_file_stays_as_long_as_the_delegate_s_del_fails(node: Node) -> None:
    conf, pod = _conf(node), node.namespace()
    node.add(conf, pod)
    with pytest.raises(Refused, match="failed to find plugin"):
        node.delete(conf, pod, CNI_PATH="/nonexistent", folder=node.cni_path)
    assert _scratch(node) == {"c1"}
    node.delete(conf, pod)
    assert (_scratch(node), node.reservations()) == (set(), set())


def test_check_reaches_the_delegate(node: Node) -> None:
    conf, pod = _conf(node), node.namespace()
    result = node.add(conf, pod)
    node.sh("ip addr del 10.244.3.2/24 dev eth0", pod)
    with pytest.raises(Refused, match="missing address"):
        node.check(conf, result, pod)


def test_gc_reaches_the_delegate_and_removes_the_files_of_the_dead(node: Node) -> None:
    conf = _conf(node)
    for i in range(3):
        node.add(conf, node.namespace(), f"c{i}")
    living = [{"containerID": "c1", "ifname": "eth0"}]
    node.call("GC", {**conf, "cni.dev/valid-attachments": living})
    assert (_scratch(node), node.reservations()) == ({"c1"}, {"10.244.3.3"})


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "delegate.name": ({"delegate": {"name": "x"}}, "'delegate' dictionary must not have 'name' field"),
    "delegate.ipam": ({"delegate": {"ipam": {}}}, "'delegate' dictionary must not have 'ipam' field"),
    "delegate.type": ({"delegate": {"type": 5}}, "must have (string) 'type' field"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_delegate_that_says_too_much_is_refused(node: Node, case: str) -> None:
    more, words = REFUSALS[case]
    with pytest.raises(Refused) as refused:
        node.add(_conf(node, **more), node.namespace())
    assert refused.value.code == 7
    assert words in refused.value.msg


def test_the_delegate_may_be_ptp(node: Node) -> None:
    conf, pod = _conf(node, "dual", delegate={"type": "ptp"}), node.namespace()
    result = node.add(conf, pod)
    assert ping(node, pod, "10.244.3.1")
    node.check(conf, result, pod)
    node.delete(conf, pod)
    assert set(links_of(node, node.host)) == {"lo"}
