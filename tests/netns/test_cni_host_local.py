"""host-local as an executable: what stands in its files, and what it answers."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cni_node import FAMILIES, VERSIONS, WITH_PREV_RESULT, Node, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

POD = "/var/run/netns/none"


@pytest.fixture
def node() -> Iterator[Node]:
    with Node() as made:
        yield made


def _conf(node: Node, ranges: list[Any], version: str = "1.1.0", **ipam: Any) -> dict[str, Any]:
    return {
        "cniVersion": version,
        "name": "net1",
        "type": "bridge",
        "ipam": {"type": "host-local", "dataDir": node.data, "ranges": ranges, **ipam},
    }


def _add(node: Node, conf: dict[str, Any], container_id: str = "c1", **env: str) -> dict[str, Any]:
    return node.add(conf, POD, container_id, plugin="host-local", **env)


def _delete(node: Node, conf: dict[str, Any], container_id: str = "c1", **env: str) -> None:
    node.delete(conf, POD, container_id, plugin="host-local", **env)


def _ips(result: dict[str, Any]) -> list[str]:
    return [ip["address"] for ip in result["ips"]]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("version", VERSIONS)
def test_addresses_are_reserved_and_given_back(node: Node, version: str, family: str) -> None:
    conf = _conf(node, FAMILIES[family], version, routes=[{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "fd77::9"}])
    result = _add(node, conf)
    wanted = {"v4": ["10.77.0.2"], "v6": ["fd77::2"], "dual": ["10.77.0.2", "fd77::2"]}[family]
    folder = Path(node.data) / "net1"
    for i, ip in enumerate(wanted):
        assert (folder / ip).read_bytes() == b"c1\r\neth0"
        assert (folder / f"last_reserved_ip.{i}").read_bytes() == ip.encode()
    assert node.reservations() == set(wanted)
    if version < "0.3":
        expected = {key: result[key]["ip"].partition("/")[0] for key in ("ip4", "ip6") if key in result}
        assert list(expected.values()) == wanted
    else:
        assert _ips(result) == [f"{ip}/{64 if ':' in ip else 24}" for ip in wanted]
        assert [ip["gateway"] for ip in result["ips"]] == [ip[:-1] + "1" for ip in wanted]
        assert result["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "fd77::9"}]
    if version in WITH_PREV_RESULT:
        node.check(conf, result, POD, plugin="host-local")
    _delete(node, conf)
    assert node.reservations() == set()
    _delete(node, conf)


def test_modes_of_files_are_the_reference_s(node: Node) -> None:
    _add(node, _conf(node, FAMILIES["v4"]))
    folder = Path(node.data) / "net1"
    modes = {name: (folder / name).stat().st_mode & 0o777 for name in os.listdir(folder)}
    assert modes == {"10.77.0.2": 0o600, "last_reserved_ip.0": 0o600, "lock": 0o750}
    assert folder.stat().st_mode & 0o777 == 0o755


def test_two_interfaces_of_one_container_have_addresses_of_their_own(node: Node) -> None:
    conf = _conf(node, FAMILIES["v4"])
    first, second = _add(node, conf), _add(node, conf, CNI_IFNAME="net1")
    assert _ips(first) != _ips(second)
    _delete(node, conf)
    assert node.reservations() == {"10.77.0.3"}


def test_a_second_add_of_the_same_interface_is_refused_and_keeps_the_first(node: Node) -> None:
    conf = _conf(node, FAMILIES["v4"])
    _add(node, conf)
    with pytest.raises(Refused, match=r"10\.77\.0\.2 has been allocated to c1, duplicate allocation is not allowed"):
        _add(node, conf)
    assert node.reservations() == {"10.77.0.2"}


def test_a_very_long_container_id_is_known_again(node: Node) -> None:
    conf = _conf(node, FAMILIES["v4"])
    _add(node, conf, "x" * 9000)
    _delete(node, conf, "x" * 8999)
    assert node.reservations() == {"10.77.0.2"}
    _delete(node, conf, "x" * 9000)
    assert node.reservations() == set()


def test_files_of_old_versions_without_an_interface_are_understood(node: Node) -> None:
    folder = Path(node.data) / "net1"
    folder.mkdir(parents=True)
    (folder / "10.77.0.7").write_text(" c1 \n")
    conf = _conf(node, FAMILIES["v4"])
    node.check(conf, {"cniVersion": "1.1.0", "ips": [{"address": "10.77.0.7/24"}]}, POD, plugin="host-local")
    _delete(node, conf)
    assert node.reservations() == set()


def test_an_empty_file_that_a_crash_left_is_no_reservation(node: Node) -> None:
    folder = Path(node.data) / "net1"
    folder.mkdir(parents=True)
    (folder / "10.77.0.2").touch()
    assert _ips(_add(node, _conf(node, FAMILIES["v4"]))) == ["10.77.0.2/24"]
    assert (folder / "10.77.0.2").read_bytes() == b"c1\r\neth0"


def test_del_of_an_unknown_container_makes_no_folder(node: Node) -> None:
    _delete(node, _conf(node, FAMILIES["v4"]), "unknown")
    assert not os.path.exists(node.data)


def test_del_needs_no_ranges(node: Node) -> None:
    _add(node, _conf(node, FAMILIES["v4"]))
    _delete(node, {"cniVersion": "1.0.0", "name": "net1", "ipam": {"type": "host-local", "dataDir": node.data}})
    assert node.reservations() == set()


def test_addresses_go_round(node: Node) -> None:
    conf = _conf(node, [[{"subnet": "10.77.0.0/29"}]])
    seen = []
    for i in range(7):
        (ip,) = _ips(_add(node, conf, f"c{i}"))
        seen.append(ip)
        _delete(node, conf, f"c{i}")
    assert seen == [f"10.77.0.{n}/29" for n in (2, 3, 4, 5, 6, 2, 3)]


SOURCES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "CNI_ARGS": ({}, {"CNI_ARGS": "IP=10.77.0.99"}),
    "CNI_ARGS with a length": ({}, {"CNI_ARGS": "IgnoreUnknown=1;FOO=BAR;IP=10.77.0.99/8"}),
    "args.cni.ips": ({"args": {"cni": {"ips": ["10.77.0.99"]}}}, {}),
    "runtimeConfig.ips": ({"runtimeConfig": {"ips": ["10.77.0.99/24"]}}, {}),
}


@pytest.mark.parametrize("source", SOURCES)
def test_an_address_can_be_asked_for(node: Node, source: str) -> None:
    more, env = SOURCES[source]
    conf = {**_conf(node, FAMILIES["v4"]), **more}
    assert _ips(_add(node, conf, **env)) == ["10.77.0.99/24"]
    with pytest.raises(
        Refused, match=r"requested IP address 10\.77\.0\.99 is not available in range set 10\.77\.0\.1-10\.77\.0\.254"
    ):
        _add(node, conf, "c2", **env)


def test_one_address_of_each_range_set_can_be_asked_for(node: Node) -> None:
    conf = {**_conf(node, FAMILIES["dual"]), "args": {"cni": {"ips": ["fd77::99", "10.77.0.99"]}}}
    assert _ips(_add(node, conf)) == ["10.77.0.99/24", "fd77::99/64"]


REFUSALS: dict[str, tuple[dict[str, Any], str, int]] = {
    "outside": ({"args": {"cni": {"ips": ["10.78.0.1"]}}}, "failed to allocate all requested IPs: 10.78.0.1", 7),
    "gateway": ({"args": {"cni": {"ips": ["10.77.0.1"]}}}, "requested ip 10.77.0.1 is subnet's gateway", 7),
    "not an address": ({"runtimeConfig": {"ips": ["x"]}}, "runtimeConfig.ips", 7),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_bad_request_reserves_nothing(node: Node, case: str) -> None:
    more, words, code = REFUSALS[case]
    with pytest.raises(Refused) as refused:
        _add(node, {**_conf(node, FAMILIES["dual"]), **more})
    assert words in refused.value.msg
    assert refused.value.code == code
    assert node.reservations() == set()


def test_unknown_arguments_are_refused(node: Node) -> None:
    with pytest.raises(Refused, match="FOO=BAR") as refused:
        _add(node, _conf(node, FAMILIES["v4"]), CNI_ARGS="FOO=BAR")
    assert refused.value.code == 4


def test_an_exhausted_second_range_set_reserves_nothing_of_the_first(node: Node) -> None:
    conf = _conf(node, [FAMILIES["v4"][0], [{"subnet": "10.78.0.0/30"}]])
    _add(node, conf)
    held = node.reservations()
    with pytest.raises(
        Refused, match=r"failed to allocate for range 1: no IP addresses available in range set: 10\.78\.0\.1-10\.78\.0\.2"
    ):
        _add(node, conf, "c2")
    assert node.reservations() == held


def test_no_address_is_held_twice_under_parallel_adds(node: Node) -> None:
    conf = _conf(node, FAMILIES["v4"])
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda i: _add(node, conf, f"c{i}"), range(24)))
    assert len({ip for result in results for ip in _ips(result)}) == 24 == len(node.reservations())


@pytest.mark.parametrize("key", ["cni.dev/valid-attachments", "cni.dev/attachments"])
def test_gc_keeps_exactly_the_living(node: Node, key: str) -> None:
    conf = _conf(node, FAMILIES["dual"])
    for i in range(4):
        _add(node, conf, f"c{i}")
    _add(node, conf, "c0", CNI_IFNAME="net1")
    (Path(node.data) / "net1" / "10.77.0.200").write_text("c1")
    (Path(node.data) / "net1" / "10.77.0.201").write_text("dead")
    living = [{"containerID": "c0", "ifname": "eth0"}, {"containerID": "c1", "ifname": "eth0"}]
    bare = {"cniVersion": "1.1.0", "name": "net1", "ipam": {"type": "host-local", "dataDir": node.data}}
    node.call("GC", {**bare, key: living}, plugin="host-local")
    assert node.reservations() == {"10.77.0.2", "fd77::2", "10.77.0.3", "fd77::3", "10.77.0.200"}
    node.call("GC", {**bare, key: []}, plugin="host-local")
    assert node.reservations() == set()


def test_gc_without_a_list_removes_nothing(node: Node) -> None:
    conf = _conf(node, FAMILIES["v4"])
    _add(node, conf)
    with pytest.raises(Refused) as refused:
        node.call("GC", conf, plugin="host-local")
    assert refused.value.code == 7
    assert node.reservations() == {"10.77.0.2"}


def test_check_without_a_reservation_fails(node: Node) -> None:
    conf = _conf(node, FAMILIES["v4"])
    with pytest.raises(Refused, match="Failed to find address added by container c1"):
        node.check(conf, {"cniVersion": "1.1.0", "ips": [{"address": "10.77.0.2/24"}]}, POD, plugin="host-local")
