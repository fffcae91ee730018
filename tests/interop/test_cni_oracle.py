"""The packaged Go plugins 1.1.1 as oracle: the same configuration through both, results and kernel state compared.

What is known to differ and is left out: names and MACs that are random in Go; `dns`, which 1.1.1 prints even empty;
interface and route fields that came after 1.1.1; the queue length of veths; the mode of reservations (0644 then, 0600 now).
"""

from __future__ import annotations

import copy
import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.cni_node import FAMILIES, GO_PLUGINS, VERSIONS, Node, links_of, plugins

if TYPE_CHECKING:
    from collections.abc import Iterator

GO_VERSIONS = VERSIONS[:-1]  # 1.1.1 knows up to 1.0.0
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "gateway": {"isGateway": True},
    "default gateway": {"isDefaultGateway": True, "routes": []},
    "masquerade": {"ipMasq": True},
    "mtu": {"mtu": 1400},
    "hairpin": {"hairpinMode": True},
    "promiscuous": {"promiscMode": True},
    "dns": {"dns": {"nameservers": ["192.0.2.53"], "domain": "d.test", "search": ["a", "b"], "options": ["c"]}},
    "mac": {"args": {"cni": {"mac": "02:00:00:00:00:77"}}},
}


@pytest.fixture
def pair() -> Iterator[tuple[Node, Node]]:
    """Two equal hosts: one with our plugins, one with Go's."""
    with Node(plugins()) as ours, Node(GO_PLUGINS) as go:
        yield ours, go


def _same(ours: Node, go: Node, build: Any) -> tuple[Any, Any]:
    """Do ADD and DEL on both; (what was seen by ours, by Go)."""
    return _seen(ours, build(ours)), _seen(go, build(go))


def _seen(node: Node, conf: dict[str, Any]) -> dict[str, Any]:
    pod = node.namespace()
    result = node.add(copy.deepcopy(conf), pod)
    seen = {"result": _normal(result, pod), "after add": _state(node, pod)}
    if conf["cniVersion"] >= "0.4.0":
        conf = {**conf, "prevResult": result}
        node.call("CHECK", conf, pod)
    node.delete(conf, pod)
    seen["after del"] = _state(node, pod)
    return seen


def _normal(result: dict[str, Any], pod: str) -> Any:
    """Without what is random: MACs, the host's name of the pair, the path of the namespace; without empty or newer fields."""
    text = json.dumps(result).replace(pod, "POD")
    shown = json.loads(re.sub(r"veth[0-9a-f]{8}", "VETH", text))
    for item in shown.get("interfaces", ()):
        item.pop("mtu", None)
        if item.get("mac") != CASES["mac"]["args"]["cni"]["mac"]:
            item.pop("mac", None)
    if not shown.get("dns"):
        shown.pop("dns", None)
    return shown


def _state(node: Node, pod: str) -> dict[str, Any]:
    return {
        "host": _links(node, node.host),
        "pod": _links(node, pod) if os.path.exists(pod) else None,
        "routes": _routes(node, node.host),
        "pod routes": _routes(node, pod),
        "rules": sorted(node.rules()),
        "forwarding": node.sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding").split(),
        "files": _files(node),
    }


def _links(node: Node, where: str) -> dict[str, Any]:
    shown = {}
    for name, link in links_of(node, where).items():
        port = link.get("linkinfo", {}).get("info_slave_data", {})
        addresses = json.loads(node.sh(f"ip -j addr show dev {name}", where))
        shown[_plain(name)] = {
            "mtu": link["mtu"],
            "up": "UP" in link["flags"],
            "kind": link.get("linkinfo", {}).get("info_kind"),
            "master": link.get("master"),
            "hairpin": port.get("hairpin"),
            "promisc": "PROMISC" in link["flags"],
            "addresses": sorted(
                (a["local"], a["prefixlen"], a.get("broadcast"), a["scope"])
                for entry in addresses
                for a in entry.get("addr_info", ())
                if a["scope"] != "link"
            ),
        }
    return shown


def _routes(node: Node, where: str) -> list[str]:
    text = node.sh("ip -4 route; ip -6 route | grep -v fe80 || true", where)
    return sorted(
        re.sub(r" (linkdown|pref medium|proto kernel metric 256|metric 1024)", "", _plain(line)).strip()
        for line in text.splitlines()
    )


def _plain(text: str) -> str:
    return re.sub(r"veth[0-9a-f]{8}", "VETH", text)


def _files(node: Node) -> dict[str, str]:
    found = {}
    for folder, _, names in os.walk(node.data):
        for name in names:
            with open(os.path.join(folder, name), encoding="utf-8", newline="") as file:
                found[os.path.relpath(os.path.join(folder, name), node.data)] = file.read()
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", CASES)
def test_bridge_does_what_go_does(pair: tuple[Node, Node], case: str, family: str) -> None:
    options = dict(CASES[case])
    routes = options.pop("routes", None)

    def build(node: Node) -> dict[str, Any]:
        conf = {**node.conf("bridge", family, "1.0.0", isGateway=False), **options}
        if routes is not None:
            conf["ipam"]["routes"] = routes
        elif "isGateway" not in options and case != "masquerade":
            conf["ipam"]["routes"] = conf["ipam"]["routes"][:1]
        return conf

    ours, go = _same(*pair, build)
    assert ours == go


@pytest.mark.parametrize("version", GO_VERSIONS)
@pytest.mark.parametrize("kind", ["bridge", "ptp"])
def test_results_of_every_version_are_go_s(pair: tuple[Node, Node], kind: str, version: str) -> None:
    ours, go = _same(*pair, lambda node: node.conf(kind, "dual", version, ipMasq=True))
    assert ours == go


@pytest.mark.parametrize("family", FAMILIES)
def test_ptp_does_what_go_does(pair: tuple[Node, Node], family: str) -> None:
    ours, go = _same(*pair, lambda node: node.conf("ptp", family, "1.0.0", mtu=1300, dns={"search": ["x"]}))
    assert ours == go


@pytest.mark.parametrize("version", GO_VERSIONS)
def test_loopback_does_what_go_does(pair: tuple[Node, Node], version: str) -> None:
    ours, go = _same(*pair, lambda node: {"cniVersion": version, "name": "lo", "type": "loopback"})
    if version != "1.0.0":  # 1.1.1 prints the form of 1.0.0 under every version's name
        assert ours.pop("result") != go.pop("result")
    assert ours == go


ADDRESS_CASES: dict[str, dict[str, Any]] = {
    "old form": {"subnet": "10.1.2.0/24"},
    "bounds": {"ranges": [[{"subnet": "10.1.2.0/24", "rangeStart": "10.1.2.9", "rangeEnd": "10.1.2.20", "gateway": "10.1.2.30"}]]},
    "gateway in the way": {"ranges": [[{"subnet": "10.1.2.0/24", "gateway": "10.1.2.2"}]]},
    "gateway at the start": {"ranges": [[{"subnet": "10.1.2.0/29", "rangeStart": "10.1.2.3", "gateway": "10.1.2.3"}]]},
    "two ranges in a set": {"ranges": [[{"subnet": "10.1.2.0/30"}, {"subnet": "10.1.3.0/29"}]]},
    "two sets": {"ranges": [[{"subnet": "10.1.2.0/29"}], [{"subnet": "fd01::/125"}]]},
    "both forms": {"subnet": "10.1.2.0/29", "ranges": [[{"subnet": "10.1.3.0/29"}]]},
}


@pytest.mark.parametrize("case", ADDRESS_CASES)
def test_host_local_gives_out_the_same_addresses_in_the_same_order(pair: tuple[Node, Node], case: str) -> None:
    """Fill the ranges, free some in the middle, go on: always the same address, and the same files."""
    histories = [_history(node, ADDRESS_CASES[case]) for node in pair]
    assert histories[0] == histories[1]


def _history(node: Node, ipam: dict[str, Any]) -> list[Any]:
    conf = {"cniVersion": "1.0.0", "name": "n", "type": "host-local", "ipam": {"type": "host-local", "dataDir": node.data, **ipam}}
    seen: list[Any] = []
    for i in range(9):
        seen.append(_attempt(node, conf, f"a{i}"))
    for i in (1, 3, 4):
        node.delete(conf, "/none", f"a{i}")
    for i in range(5):
        seen.append(_attempt(node, conf, f"b{i}"))
    return [*seen, _files(node)]


def _attempt(node: Node, conf: dict[str, Any], container_id: str) -> Any:
    ran = node.start("ADD", conf, "/none", container_id)
    document = json.loads(ran.stdout)
    return document["msg"] if ran.status else document["ips"]


CROSSES = [(plugins, lambda: GO_PLUGINS), (lambda: GO_PLUGINS, plugins)]


@pytest.mark.parametrize("kind", ["bridge", "ptp"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("adder", "deleter"), CROSSES, ids=["ours then Go", "Go then ours"])
def test_what_one_adds_the_other_checks_and_deletes(kind: str, family: str, adder: Any, deleter: Any) -> None:
    with Node(adder()) as node:
        conf = node.conf(kind, family, "1.0.0", ipMasq=True)
        node.sh("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0")  # else each takes seconds
        node.add(conf, node.namespace(), "first")
        node.settle()
        before = node.snapshot()
        pod = node.namespace()
        result = node.add(conf, pod)
        node.cni_path = deleter()
        node.check(conf, result, pod)
        node.delete({**conf, "prevResult": result}, pod)
        assert node.snapshot() == before


@pytest.mark.parametrize("kind", ["bridge", "ptp"])
def test_what_go_added_is_deleted_after_its_namespace_has_gone(kind: str) -> None:
    """Go's own DEL leaks the rules then."""
    with Node(GO_PLUGINS) as node:
        conf = node.conf(kind, "dual", "1.0.0", ipMasq=True)
        node.sh("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0")  # else each takes seconds
        node.add(conf, node.namespace(), "first")
        node.settle()
        before = node.snapshot()
        pod = node.namespace()
        node.add(conf, pod)
        node.sh("ip link del eth0", pod)
        node.cni_path = plugins()
        node.delete(conf, "")
        assert node.snapshot() == before


@pytest.mark.parametrize("go_first", [True, False])
def test_one_folder_of_reservations_serves_both_at_once(go_first: bool) -> None:
    with Node(plugins()) as node:
        conf = {
            "cniVersion": "1.0.0",
            "name": "net1",
            "type": "host-local",
            "ipam": {"type": "host-local", "dataDir": node.data, "ranges": FAMILIES["v4"]},
        }
        seen = []
        for i in range(6):
            node.cni_path = GO_PLUGINS if (i % 2 == 0) == go_first else plugins()
            seen.append(node.add(conf, "/none", f"c{i}")["ips"][0]["address"])
        assert seen == [f"10.77.0.{n}/24" for n in range(2, 8)]
        for i in range(6):
            node.cni_path = plugins() if (i % 2 == 0) == go_first else GO_PLUGINS
            node.delete(conf, "/none", f"c{i}")
        assert node.reservations() == set()


def test_foreign_ipam_is_executed_and_its_addresses_are_used() -> None:
    """`static` of the Go package, found behind our own folder in CNI_PATH."""
    with Node(f"{plugins()}:{GO_PLUGINS}") as node:
        conf = node.conf("bridge", version="1.0.0", isDefaultGateway=True)
        conf["ipam"] = {"type": "static", "addresses": [{"address": "10.77.0.50/24", "gateway": "10.77.0.1"}], "routes": []}
        pod = node.namespace()
        result = node.add(conf, pod)
        assert [ip["address"] for ip in result["ips"]] == ["10.77.0.50/24"]
        node.check(conf, result, pod)
        node.delete(conf, pod)


ERRORS: dict[str, tuple[str, dict[str, str], bytes]] = {
    "no variables": ("ADD", {"CNI_CONTAINERID": "", "CNI_NETNS": "", "CNI_IFNAME": ""}, b"{}"),
    "bad container ID": ("ADD", {"CNI_CONTAINERID": "-x"}, b'{"name": "n"}'),
    "long name": ("ADD", {"CNI_IFNAME": "0123456789abcdef"}, b'{"name": "n"}'),
    "dot": ("DEL", {"CNI_IFNAME": "."}, b'{"name": "n"}'),
    "slash": ("DEL", {"CNI_IFNAME": "a/b"}, b'{"name": "n"}'),
    "space": ("DEL", {"CNI_IFNAME": "a b"}, b'{"name": "n"}'),
    "no network name": ("ADD", {}, b"{}"),
    "bad network name": ("ADD", {}, b'{"name": "a/b"}'),
    "unknown version": ("ADD", {}, b'{"name": "n", "cniVersion": "9.9.0"}'),
    "CHECK too early": ("CHECK", {}, b'{"name": "n", "cniVersion": "0.3.1"}'),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_have_go_s_code_and_message(pair: tuple[Node, Node], case: str) -> None:
    command, env, stdin = ERRORS[case]
    documents = []
    for node in pair:
        ran = node.start(command, stdin, "/none", "c1", **{"plugin": "bridge", "CNI_PATH": "/p", "folder": node.cni_path, **env})
        assert ran.status == 1
        document = json.loads(ran.stdout)
        documents.append((document["code"], document["msg"]))
    assert documents[0] == documents[1]
