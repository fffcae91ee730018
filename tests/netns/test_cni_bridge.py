"""bridge on the real kernel: installed executables with an empty environment, in a host namespace of the test's own."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from dataplane.drivers import netns
from tests.cni_node import DEFAULTS, FAMILIES, VERSIONS, WITH_PREV_RESULT, Node, Refused, addresses_of, links_of, ping

if TYPE_CHECKING:
    from collections.abc import Iterator

IPS = {"v4": {"10.77.0.2/24"}, "v6": {"fd77::2/64"}, "dual": {"10.77.0.2/24", "fd77::2/64"}}
GATEWAYS = {"v4": {"10.77.0.1/24"}, "v6": {"fd77::1/64"}, "dual": {"10.77.0.1/24", "fd77::1/64"}}


@pytest.fixture
def node() -> Iterator[Node]:
    with Node() as made:
        yield made


def _result_ips(result: dict[str, Any]) -> set[str]:
    if "ips" in result:
        return {ip["address"] for ip in result["ips"]}
    return {result[key]["ip"] for key in ("ip4", "ip6") if key in result}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_pod_gets_its_addresses_and_reaches_the_gateway_and_leaves_nothing(node: Node, version: str, family: str) -> None:
    conf = node.conf("bridge", family, version, ipMasq=True)
    other = node.namespace()
    node.add(conf, other, "first")
    before = node.snapshot()
    pod = node.namespace()
    result = node.add(conf, pod)
    expected = {ip.replace("2/", "3/") for ip in IPS[family]}
    assert result["cniVersion"] == version
    assert _result_ips(result) == expected == addresses_of(node, pod, "eth0")
    assert addresses_of(node, node.host, "pwtbr0") == GATEWAYS[family]
    for gateway in GATEWAYS[family]:
        assert ping(node, pod, gateway.partition("/")[0])
    for neighbour in IPS[family]:
        assert ping(node, pod, neighbour.partition("/")[0])
    if version in WITH_PREV_RESULT:
        node.check(conf, result, pod)
        conf["prevResult"] = result
    node.delete(conf, pod)
    assert "eth0" not in links_of(node, pod)
    assert node.snapshot() == before
    node.delete(conf, pod)


@pytest.mark.parametrize("with_result", [True, False])
@pytest.mark.parametrize("how", ["empty", "deleted", "stale file"])
def test_del_leaves_nothing_when_the_namespace_has_gone(node: Node, how: str, with_result: bool) -> None:
    conf = node.conf("bridge", "dual", ipMasq=True)
    node.add(conf, node.namespace(), "first")
    before = node.snapshot()
    pod = node.namespace()
    result = node.add(conf, pod)
    if with_result:
        conf["prevResult"] = result
    gone = _take_away(node, pod, how)
    node.delete(conf, gone)
    node.delete(conf, gone)
    if how == "stale file":
        os.unlink(gone)
    assert node.snapshot() == before


def _take_away(node: Node, pod: str, how: str) -> str:
    if how == "empty":
        return ""
    netns.delete(pod)
    if how == "stale file":
        with open(pod, "w", encoding="utf-8"):
            return pod
    return pod


def test_the_layout_of_the_rules_is_the_reference_s(node: Node) -> None:
    node.add(node.conf("bridge", ipMasq=True, name="r1net"), node.namespace())
    words = '-m comment --comment "name: \\"r1net\\" id: \\"c1\\""'
    assert node.rules() == [
        ":CNI-608d31a66a361d517121cded -",
        f"-A POSTROUTING -s 10.77.0.2/32 {words} -j CNI-608d31a66a361d517121cded",
        f"-A CNI-608d31a66a361d517121cded -d 10.77.0.0/24 {words} -j ACCEPT",
        f"-A CNI-608d31a66a361d517121cded ! -d 224.0.0.0/4 {words} -j MASQUERADE",
    ]


def test_traffic_to_the_outside_is_masqueraded_and_traffic_within_is_not(node: Node) -> None:
    outside = node.namespace()
    name = os.path.basename(outside)
    node.sh(f"ip link add up0 type veth peer name in0 netns {name}; ip addr add 192.0.2.1/24 dev up0; ip link set up0 up")
    node.sh("ip addr add 192.0.2.2/24 dev in0; ip link set in0 up", outside)
    pod = node.namespace()
    node.add(node.conf("bridge", ipMasq=True), pod)
    assert ping(node, pod, "192.0.2.2")  # the outside has no route back to 10.77.0.0/24: only a masqueraded ping returns


def test_del_of_one_attachment_leaves_the_masquerading_of_the_other(node: Node) -> None:
    conf, pod = node.conf("bridge", ipMasq=True), node.namespace()
    first = node.add(conf, pod)
    before = node.rules()
    conf["ipam"]["routes"] = []
    second = node.add(conf, pod, CNI_IFNAME="net1")
    assert len(node.rules()) == len(before) + 1
    node.delete({**conf, "prevResult": second}, pod, CNI_IFNAME="net1")
    assert node.rules() == before
    node.delete({**conf, "prevResult": first}, pod)
    assert node.rules() == []


DAMAGES = {
    "bridge down": ("host", "ip link set pwtbr0 down", "bridge pwtbr0"),
    "bridge gone": ("host", "ip link del pwtbr0", "missing bridge pwtbr0"),
    "gateway address": ("host", "ip addr del 10.77.0.1/24 dev pwtbr0", "missing address 10.77.0.1/24"),
    "host end down": ("host", "ip link set {veth} down", "up is False"),
    "host end off the bridge": ("host", "ip link set {veth} nomaster", "master"),
    "hairpin off": ("host", "ip link set {veth} type bridge_slave hairpin off", "hairpin is False"),
    "forwarding off": ("host", "echo 0 > /proc/sys/net/ipv4/ip_forward", "ip_forward"),
    "jump gone": ("host", "iptables -t nat -F POSTROUTING", "Jump"),
    "chain empty": ("host", "iptables -t nat -F {chain}", "Chain"),
    "address": ("pod", "ip addr del 10.77.0.2/24 dev eth0", "missing address 10.77.0.2/24"),
    "IPv6 address": ("pod", "ip addr del fd77::2/64 dev eth0", "missing address fd77::2/64"),
    "no default route": ("pod", "ip route del default", "missing route default"),
    "other gateway": ("pod", "ip route replace default via 10.77.0.9", "via is 10.77.0.9, should be 10.77.0.1"),
    "blackhole": ("pod", "ip route del default; ip route add blackhole default", "blackhole route default"),
    "link down": ("pod", "ip link set eth0 down", "up is False"),
    "other MAC": ("pod", "ip link set eth0 address 02:00:00:00:00:99", "mac is 02:00:00:00:00:99"),
    "interface gone": ("pod", "ip link del eth0", "missing veth eth0"),
    "reservation gone": ("host", "rm {data}/net1/10.77.0.2", "10.77.0.2"),
    "reservation of another": ("host", "printf 'x\\r\\neth0' > {data}/net1/10.77.0.2", "10.77.0.2"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_check_finds(node: Node, damage: str) -> None:
    where, command, words = DAMAGES[damage]
    conf, pod = node.conf("bridge", "dual", ipMasq=True, hairpinMode=True), node.namespace()
    result = node.add(conf, pod)
    node.check(conf, result, pod)
    chain = node.rules()[0].split()[0][1:]
    command = command.format(veth=result["interfaces"][1]["name"], chain=chain, data=node.data)
    node.sh(command, node.host if where == "host" else pod)
    with pytest.raises(Refused) as refused:
        node.check(conf, result, pod)
    assert words in refused.value.msg + refused.value.details


def test_check_does_not_mind_what_others_add(node: Node) -> None:
    conf, pod = node.conf("bridge", ipMasq=True), node.namespace()
    result = node.add(conf, pod)
    node.sh("ip link set pwtbr0 promisc on; ip addr add 10.99.0.1/24 dev pwtbr0; iptables -t nat -A POSTROUTING -j RETURN")
    node.sh("ip addr add 10.98.0.1/24 dev eth0; ip route add 10.97.0.0/16 via 10.77.0.7; ip link set eth0 mtu 1400", pod)
    node.check(conf, result, pod)


def test_an_existing_interface_is_refused_and_left_alone(node: Node) -> None:
    conf, pod = node.conf("bridge", ipMasq=True), node.namespace()
    result = node.add(conf, pod)
    before = node.snapshot()
    with pytest.raises(Refused, match=r'container veth name \(\\"eth0\\"\) already exists'):
        node.add(conf, pod)
    assert node.snapshot() == before
    node.check(conf, result, pod)


def test_a_missing_namespace_is_code_3_and_nothing_is_made(node: Node) -> None:
    before = node.snapshot()
    with pytest.raises(Refused) as refused:
        node.add(node.conf("bridge"), "/run/netns/pwt-none")
    assert refused.value.code == 3
    assert node.snapshot() == before


def test_the_plugin_s_own_namespace_is_code_8_before_anything_is_done(node: Node) -> None:
    before = node.snapshot()
    for command in ("ADD", "DEL"):
        with pytest.raises(Refused) as refused:
            node.call(command, node.conf("bridge"), node.host)
        assert refused.value.code == 8
    assert node.snapshot() == before


# What makes an ADD fail at a late step: the packet filter's program, found along PATH, refuses or is broken.
def test_a_failed_add_undoes_everything_and_the_next_one_succeeds(node: Node) -> None:
    conf, pod = node.conf("bridge", "dual", ipMasq=True), node.namespace()
    tools = os.path.join(node.folder, "tools")
    os.mkdir(tools)
    for tool in ("iptables-restore", "ip6tables-restore"):
        with open(os.path.join(tools, tool), "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\necho refused >&2\nexit 1\n")
        os.chmod(os.path.join(tools, tool), 0o755)
    before = node.snapshot()
    with pytest.raises(Refused, match="refused"):
        node.add(conf, pod, PATH=tools)
    after = node.snapshot()
    after["files"].pop(f"{node.data}/net1/lock")
    assert after == before
    assert "eth0" not in links_of(node, pod)
    result = node.add(conf, pod)
    node.check(conf, result, pod)


def test_a_bridge_keeps_its_mac_as_ports_come_and_go(node: Node) -> None:
    conf, pods = node.conf("bridge"), [node.namespace() for _ in range(3)]
    macs = []
    for i, pod in enumerate(pods):
        node.add(conf, pod, f"c{i}")
        macs.append(links_of(node, node.host)["pwtbr0"]["address"])
    for i, pod in enumerate(pods):
        node.delete(conf, pod, f"c{i}")
        macs.append(links_of(node, node.host)["pwtbr0"]["address"])
    assert len(set(macs)) == 1
    assert int(macs[0][:2], 16) & 3 == 2  # unicast, locally administered


def test_a_foreign_bridge_without_a_mac_is_healed(node: Node) -> None:
    node.sh("ip link add pwtbr0 type bridge; ip link add a0 type veth peer name a1; ip link set a0 master pwtbr0; ip link del a0")
    assert links_of(node, node.host)["pwtbr0"]["address"] == "00:00:00:00:00:00"
    node.add(node.conf("bridge", "dual"), node.namespace())
    mac = links_of(node, node.host)["pwtbr0"]["address"]
    node.add(node.conf("bridge", "dual"), node.namespace(), "c2")
    assert links_of(node, node.host)["pwtbr0"]["address"] == mac != "00:00:00:00:00:00"


def test_an_existing_bridge_is_used_as_it_is(node: Node) -> None:
    node.sh("ip link add pwtbr0 type bridge; ip link set pwtbr0 mtu 1300; ip addr add 10.77.0.1/24 dev pwtbr0")
    index = links_of(node, node.host)["pwtbr0"]["ifindex"]
    node.add(node.conf("bridge", mtu=1400), node.namespace())
    assert links_of(node, node.host)["pwtbr0"]["ifindex"] == index


def test_another_device_of_the_bridge_s_name_is_refused_and_left_alone(node: Node) -> None:
    node.sh("ip link add pwtbr0 type veth peer name b1")
    before = node.snapshot()
    with pytest.raises(Refused, match="already exists but is not a bridge") as refused:
        node.add(node.conf("bridge"), node.namespace())
    assert refused.value.code == 7
    after = node.snapshot()
    after["files"].pop(f"{node.data}/net1/lock")
    assert after == before


def test_another_address_on_the_bridge_is_refused_unless_forced(node: Node) -> None:
    node.sh("ip link add pwtbr0 type bridge; ip addr add 10.66.0.1/24 dev pwtbr0; ip addr add fd66::1/64 dev pwtbr0")
    with pytest.raises(Refused, match="already has an IP address different from 10.77.0.1/24"):
        node.add(node.conf("bridge", "dual"), node.namespace())
    assert addresses_of(node, node.host, "pwtbr0") == {"10.66.0.1/24", "fd66::1/64"}
    node.add(node.conf("bridge", "dual", forceAddress=True), node.namespace())
    assert addresses_of(node, node.host, "pwtbr0") == {"10.77.0.1/24", "fd66::1/64", "fd77::1/64"}


@pytest.mark.parametrize("routes", [[], DEFAULTS["dual"], [{"dst": "0.0.0.0/0", "gw": "10.77.0.254"}]])
def test_default_gateway_adds_each_default_route_once(node: Node, routes: list[dict[str, str]]) -> None:
    conf = node.conf("bridge", "dual", isDefaultGateway=True)
    conf["ipam"]["routes"] = routes
    pod = node.namespace()
    result = node.add(conf, pod)
    assert sorted(route["dst"] for route in result["routes"]) == ["0.0.0.0/0", "::/0"]
    via = routes[0].get("gw", "10.77.0.1") if routes else "10.77.0.1"
    assert [route["gateway"] for route in json.loads(node.sh("ip -j route show default", pod))] == [via]
    assert [route["gateway"] for route in json.loads(node.sh("ip -6 -j route show default", pod))] == ["fd77::1"]


def test_layer_2_only(node: Node) -> None:
    conf = {"cniVersion": "1.0.0", "name": "l2", "type": "bridge", "bridge": "pwtbr0"}
    pod = node.namespace()
    result = node.add(conf, pod)
    assert "ips" not in result
    assert [item["name"] for item in result["interfaces"]][::2] == ["pwtbr0", "eth0"]
    assert "UP" in links_of(node, pod)["eth0"]["flags"]
    node.check(conf, result, pod)
    node.delete(conf, pod)
    assert set(links_of(node, node.host)) == {"lo", "pwtbr0"}


@pytest.mark.parametrize("version", VERSIONS[:2])
def test_layer_2_only_is_refused_where_the_result_could_not_be_told(node: Node, version: str) -> None:
    pod = node.namespace()
    with pytest.raises(Refused, match="no valid IP addresses"):
        node.add({"cniVersion": version, "name": "l2", "type": "bridge", "bridge": "pwtbr0"}, pod)
    assert set(links_of(node, pod)) == {"lo"}
    assert set(links_of(node, node.host)) == {"lo"}


def test_the_container_s_interface_can_be_left_down(node: Node) -> None:
    conf = {"cniVersion": "1.0.0", "name": "l2", "type": "bridge", "bridge": "pwtbr0", "disableContainerInterface": True}
    pod = node.namespace()
    result = node.add(conf, pod)
    assert "UP" not in links_of(node, pod)["eth0"]["flags"]
    node.check(conf, result, pod)
    node.delete(conf, pod)


@pytest.mark.parametrize(
    ("keys", "flag", "value"),
    [
        ({"hairpinMode": True}, "hairpin", True),
        ({}, "hairpin", False),
        ({"portIsolation": True}, "isolated", True),
        ({}, "isolated", False),
    ],
)
def test_port_flags(node: Node, keys: dict[str, bool], flag: str, value: bool) -> None:
    conf, pod = node.conf("bridge", **keys), node.namespace()
    result = node.add(conf, pod)
    port = links_of(node, node.host)[result["interfaces"][1]["name"]]
    assert port["linkinfo"]["info_slave_data"][flag] is value
    node.check(conf, result, pod)


def test_mtu_promiscuous_mode_and_mac(node: Node) -> None:
    conf = node.conf("bridge", mtu=1400, promiscMode=True, runtimeConfig={"mac": "02:11:22:33:44:55"})
    pod = node.namespace()
    result = node.add(conf, pod, CNI_ARGS="MAC=02:00:00:00:00:01")
    links, inner = links_of(node, node.host), links_of(node, pod)["eth0"]
    assert (links["pwtbr0"]["mtu"], links[result["interfaces"][1]["name"]]["mtu"], inner["mtu"]) == (1400, 1400, 1400)
    assert links["pwtbr0"]["promiscuity"] >= 1
    assert inner["address"] == result["interfaces"][2]["mac"] == "02:11:22:33:44:55"
    assert [item.get("mtu") for item in result["interfaces"]] == [1400, 1400, 1400]
    node.check(conf, result, pod)


def test_duplicate_address_detection_finds_the_other_holder(node: Node) -> None:
    conf = node.conf("bridge", "v6", enabledad=True)
    pod = node.namespace()
    node.check(conf, node.add(conf, pod), pod)
    thief = node.conf("bridge", "v6", enabledad=True, name="net2")  # another store, so the same address again
    thief["bridge"] = "pwtbr0"
    with pytest.raises(Refused, match="in use by another host"):
        node.add(thief, node.namespace(), "c2")
    assert node.reservations("net2") == set()


def test_ipv6_addresses_are_usable_at_once(node: Node) -> None:
    pod = node.namespace()
    node.add(node.conf("bridge", "v6"), pod)
    shown = node.sh("ip -6 addr show dev eth0 scope global", pod)
    assert "fd77::2/64" in shown
    assert "tentative" not in shown


def test_many_adds_at_once_share_one_bridge_without_duplicates(node: Node) -> None:
    conf = node.conf("bridge", "dual", ipMasq=True)
    pods = [node.namespace() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda item: node.add(conf, item[1], f"c{item[0]}"), enumerate(pods)))
    assert len({ip for result in results for ip in _result_ips(result)}) == 16
    assert addresses_of(node, node.host, "pwtbr0") == GATEWAYS["dual"]
    rules = [line for line in node.rules() if line.startswith("-A")]
    assert len(rules) == len(set(rules)) == 8 * 6  # a jump and two rules in the chain, in each family
    for i, (pod, result) in enumerate(zip(pods, results, strict=True)):
        node.check(conf, result, pod, f"c{i}")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: node.delete(conf, item[1], f"c{item[0]}"), enumerate(pods)))
    assert node.rules() == []
    assert node.reservations() == set()


def test_gc_removes_what_the_dead_left_and_nothing_of_the_living(node: Node) -> None:
    conf = node.conf("bridge", "dual", ipMasq=True)
    alive = node.namespace()
    result = node.add(conf, alive, "alive")
    before = node.snapshot()
    for i in range(2):
        pod = node.namespace()
        node.add(conf, pod, f"dead{i}")
        netns.delete(pod)
    node.call("GC", {**conf, "cni.dev/valid-attachments": [{"containerID": "alive", "ifname": "eth0"}]})
    after = node.snapshot()
    assert after["rules"] == before["rules"]
    assert after["files"] == before["files"]
    node.check(conf, result, alive, "alive")


def test_gc_without_a_list_of_the_living_removes_nothing(node: Node) -> None:
    conf = node.conf("bridge", ipMasq=True)
    node.add(conf, node.namespace())
    before = node.snapshot()
    with pytest.raises(Refused, match="valid-attachments") as refused:
        node.call("GC", conf)
    assert refused.value.code == 7
    assert node.snapshot() == before


def test_status_tells_when_the_addresses_are_used_up(node: Node) -> None:
    conf = node.conf("bridge")
    conf["ipam"]["ranges"] = [[{"subnet": "10.77.0.0/29", "rangeStart": "10.77.0.2", "rangeEnd": "10.77.0.3"}]]
    node.call("STATUS", conf)
    for i in range(2):
        node.add(conf, node.namespace(), f"c{i}")
    with pytest.raises(Refused, match="2 of 2 reserved") as refused:
        node.call("STATUS", conf)
    assert refused.value.code == 50
    before = node.snapshot()
    pod = node.namespace()
    with pytest.raises(Refused, match="no IP addresses available in range set: 10.77.0.2-10.77.0.3") as exhausted:
        node.add(conf, pod, "c9")
    assert exhausted.value.code == 11
    assert node.snapshot() == before
    assert set(links_of(node, pod)) == {"lo"}


def test_an_add_that_was_killed_is_cleaned_up_without_its_namespace(node: Node) -> None:
    """A runtime may be killed with its plugin: DEL finds the pair by its name alone."""
    conf, pod = node.conf("bridge", ipMasq=True), node.namespace()
    node.add(conf, node.namespace(), "first")
    before = node.snapshot()
    node.add(conf, pod)
    node.delete(conf, "")  # the namespace lives on, the runtime has forgotten it
    assert node.snapshot() == before
    assert "eth0" not in links_of(node, pod)


@pytest.mark.parametrize("key", ["vlan", "vlanTrunk", "macspoofchk"])
def test_what_is_not_supported_is_refused_by_name(node: Node, key: str) -> None:
    value: Any = {"vlan": 100, "vlanTrunk": [{"id": 5}], "macspoofchk": True}[key]
    with pytest.raises(Refused, match=key) as refused:
        node.add(node.conf("bridge", **{key: value}), node.namespace())
    assert refused.value.code == 7
    assert set(links_of(node, node.host)) == {"lo"}
