"""host-local's decisions: configuration, ranges, the choice of an address; and its files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cni.conf import parse_conf
from cni.errors import CniError
from cni.filelock import Locked
from cni.host_local_ipam.conf import data_dir, parse_ipam_conf
from cni.host_local_ipam.desired import desired_leases, held_by, stale, wrongly_held
from cni.host_local_ipam.ranges import Range, make_range, next_free, shown, size
from cni.host_local_ipam.resolv import parse_resolv_conf
from cni.host_local_ipam.store import Holder, Store
from cni.result import Dns
from dataplane.errors import ConfigError
from dataplane.inet import IP, parse_ip, parse_prefix


def _range(subnet: str, start: str = "", end: str = "", gateway: str = "") -> Range:
    bounds = [parse_ip(text) if text else None for text in (start, end, gateway)]
    return make_range("r", parse_prefix(subnet), *bounds)


def _conf(version: str = "1.0.0", ipam: Any = None, **keys: Any) -> Any:
    return parse_conf(json.dumps({"name": "net", "cniVersion": version, "ipam": ipam, **keys}).encode())


@pytest.mark.parametrize(
    ("subnet", "start", "end", "gateway"),
    [
        ("192.0.2.0/24", "192.0.2.1", "192.0.2.254", "192.0.2.1"),
        ("192.0.2.0/25", "192.0.2.1", "192.0.2.126", "192.0.2.1"),
        ("192.0.2.12/30", "192.0.2.13", "192.0.2.14", "192.0.2.13"),
        ("2001:db8:1::/64", "2001:db8:1::1", "2001:db8:1:0:ffff:ffff:ffff:ffff", "2001:db8:1::1"),
        ("2001:db8:1::/126", "2001:db8:1::1", "2001:db8:1::3", "2001:db8:1::1"),
    ],
)
def test_defaults_of_a_range(subnet: str, start: str, end: str, gateway: str) -> None:
    made = _range(subnet)
    assert (str(made.start), str(made.end), str(made.gateway)) == (start, end, gateway)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("192.0.2.0/31",), "too small to allocate from"),
        (("192.0.2.0/32",), "too small to allocate from"),
        (("fd00::/127",), "too small to allocate from"),
        (("192.0.2.12/24",), "Network has host bits set. For a subnet mask of length 24 the network address is 192.0.2.0"),
        (("fd00::1/64",), "Network has host bits set"),
        (("192.0.2.0/24", "192.0.3.0"), "RangeStart 192.0.3.0 not in network 192.0.2.0/24"),
        (("192.0.2.0/24", "", "192.0.3.0"), "RangeEnd 192.0.3.0 not in network 192.0.2.0/24"),
        (("192.0.2.0/24", "fd00::1"), "RangeStart fd00::1 not in network"),
        (("192.0.2.0/24", "192.0.2.9", "192.0.2.8"), "lies behind"),
    ],
)
def test_a_range_that_cannot_be_is_refused(args: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        _range(*args)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("address", "inside"),
    [("192.0.2.39", False), ("192.0.2.40", True), ("192.0.2.50", True), ("192.0.2.51", False), ("fd00::1", False)],
)
def test_membership(address: str, inside: bool) -> None:
    assert (parse_ip(address) in _range("192.0.2.0/24", "192.0.2.40", "192.0.2.50")) is inside


def _walk(ranges: tuple[Range, ...], last: str, taken: set[str] | None = None) -> str | None:
    found = next_free(ranges, parse_ip(last) if last else None, lambda ip: str(ip) not in (taken or set()))
    return str(found[0]) if found else None


SMALL = (_range("10.0.0.0/29"),)  # .1 is the gateway, .2 to .6 can be had
TWO = (_range("192.168.1.0/29"), _range("192.168.2.0/30"))


@pytest.mark.parametrize(
    ("ranges", "last", "taken", "expected"),
    [
        (SMALL, "", (), "10.0.0.2"),
        (SMALL, "10.0.0.2", (), "10.0.0.3"),
        (SMALL, "10.0.0.6", (), "10.0.0.2"),
        (SMALL, "10.0.0.5", ("10.0.0.6",), "10.0.0.2"),
        (SMALL, "10.0.0.3", ("10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.2"), "10.0.0.3"),
        (SMALL, "10.9.9.9", (), "10.0.0.2"),
        (SMALL, "", tuple(f"10.0.0.{n}" for n in range(2, 7)), None),
        (TWO, "192.168.1.6", (), "192.168.2.2"),
        (TWO, "192.168.2.2", (), "192.168.1.2"),
        (TWO, "192.168.1.3", ("192.168.1.4", "192.168.1.5", "192.168.1.6", "192.168.2.2"), "192.168.1.2"),
    ],
)
def test_the_next_free_address(ranges: tuple[Range, ...], last: str, taken: tuple[str, ...], expected: str | None) -> None:
    assert _walk(ranges, last, set(taken)) == expected


def test_neither_broadcast_nor_gateway_is_given_out() -> None:
    seen: set[str] = set()
    last = ""
    while (ip := _walk(SMALL, last, seen)) is not None:
        seen.add(ip)
        last = ip
    assert seen == {f"10.0.0.{n}" for n in range(2, 7)}
    assert (len(seen), shown(SMALL)) == (size(SMALL), "10.0.0.1-10.0.0.6")


def _sets(conf: Any, cni_args: str = "") -> list[str]:
    return [shown(ranges) for ranges in parse_ipam_conf(conf, cni_args).range_sets]


def test_range_sets_come_in_the_reference_s_order() -> None:
    conf = _conf(
        ipam={
            "subnet": "10.1.0.0/24",
            "rangeStart": "10.1.0.9",
            "ranges": [[{"subnet": "10.2.0.0/24"}, {"subnet": "10.3.0.0/24"}]],
        },
        runtimeConfig={"ipRanges": [[{"subnet": "10.4.0.0/24", "gateway": "10.4.0.9"}]]},
    )
    assert _sets(conf) == ["10.4.0.1-10.4.0.254", "10.1.0.9-10.1.0.254", "10.2.0.1-10.2.0.254,10.3.0.1-10.3.0.254"]


@pytest.mark.parametrize(
    ("ipam", "words"),
    [
        (None, "IPAM config missing 'ipam' key"),
        ({}, "no IP ranges specified"),
        ({"ranges": []}, "no IP ranges specified"),
        ({"ranges": [[]]}, "invalid range set 0: empty range set"),
        ({"ranges": [[{"subnet": "10.1.0.0/24"}, {"subnet": "fd01::/64"}]]}, "mixed address families"),
        (
            {"ranges": [[{"subnet": "10.1.0.0/22"}, {"subnet": "10.1.2.0/24"}]]},
            "subnets 10.1.0.1-10.1.3.254 and 10.1.2.1-10.1.2.254 overlap",
        ),
        ({"ranges": [[{"subnet": "10.1.0.0/22"}], [{"subnet": "10.1.2.0/24"}]]}, "range set 0 overlaps with 1"),
        ({"subnet": "10.1.2.0/24", "ranges": [[{"subnet": "10.1.0.0/22"}]]}, "range set 0 overlaps with 1"),
        ({"ranges": [[{}]]}, "ipam.ranges[0][0].subnet"),
        ({"ranges": [{"subnet": "10.1.2.0/24"}]}, "a list is wanted"),
        ({"subnet": "10.1.2.0"}, "ipam.subnet"),
        ({"subnet": 5}, "a string is wanted"),
        ({"subnet": "10.1.2.0/24", "routes": [{"dst": "x"}]}, "ipam.routes[0].dst"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_by_name(ipam: Any, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_ipam_conf(_conf(ipam=ipam), "")
    assert words in str(error.value)


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_old_versions_allow_one_range_set_a_family(version: str) -> None:
    ranges = [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd01::/64"}]]
    assert len(_sets(_conf(version, {"ranges": ranges}))) == 2
    with pytest.raises(ConfigError, match=f"CNI version {version} does not support more than 1 address per family"):
        parse_ipam_conf(_conf(version, {"ranges": [*ranges, [{"subnet": "10.2.0.0/24"}]]}), "")


def test_requested_addresses_of_all_sources_count_each_once() -> None:
    conf = _conf(
        ipam={"subnet": "10.1.0.0/24"},
        args={"cni": {"ips": ["10.1.0.5", "10.1.0.6/24"]}},
        runtimeConfig={"ips": ["10.1.0.6", "10.1.0.7"]},
    )
    assert [str(ip) for ip in parse_ipam_conf(conf, "IP=10.1.0.4/8").requested] == ["10.1.0.4", "10.1.0.5", "10.1.0.6", "10.1.0.7"]


def test_the_folder_is_named_after_the_network() -> None:
    assert data_dir(_conf(ipam={"dataDir": "/d"})) == "/d/net"
    assert data_dir(_conf()) == "/var/lib/cni/networks/net"


DUAL = parse_ipam_conf(_conf(ipam={"ranges": [[{"subnet": "10.1.0.0/29"}], [{"subnet": "fd01::/64"}]]}), "")


def _ip(text: str) -> IP:
    return parse_ip(text)


def test_one_address_of_each_set_behind_the_last() -> None:
    leases = desired_leases(DUAL, "c", "eth0", {}, {0: _ip("10.1.0.4"), 1: None})
    assert [(str(lease.ip.address), str(lease.ip.gateway), lease.range_index) for lease in leases] == [
        ("10.1.0.5/29", "10.1.0.1", 0),
        ("fd01::2/64", "fd01::1", 1),
    ]


@pytest.mark.parametrize(("ifname", "refused"), [("eth0", True), ("eth1", False)])
def test_the_same_attachment_gets_no_second_address(ifname: str, refused: bool) -> None:
    taken = {_ip("10.1.0.2"): Holder("c", "eth0")}
    if not refused:
        assert len(desired_leases(DUAL, "c", ifname, taken, {})) == 2
        return
    with pytest.raises(CniError, match=r"range 0: 10\.1\.0\.2 has been allocated to c, duplicate allocation is not allowed"):
        desired_leases(DUAL, "c", ifname, taken, {})


def test_what_del_gives_back() -> None:
    taken = {
        _ip("10.1.0.2"): Holder("c", "eth0"),
        _ip("10.1.0.3"): Holder("c", "eth1"),
        _ip("10.1.0.4"): Holder("c", ""),
        _ip("10.1.0.5"): Holder("d", ""),
    }
    assert held_by(taken, "c", "eth0") == (_ip("10.1.0.2"),)
    assert held_by(taken, "c", "eth7") == (_ip("10.1.0.4"),)
    assert held_by(taken, "d", "eth0") == (_ip("10.1.0.5"),)
    assert held_by(taken, "e", "eth0") == ()
    assert set(stale(taken, [("c", "eth1")])) == {_ip("10.1.0.2"), _ip("10.1.0.5")}
    assert set(stale(taken, [])) == set(taken)


def test_check_compares_the_addresses_themselves() -> None:
    taken = {_ip("10.1.0.2"): Holder("c", "eth0"), _ip("fd01::2"): Holder("x", "eth0")}
    addresses = [_ip("10.1.0.2"), _ip("fd01::2"), _ip("192.0.2.1")]
    assert wrongly_held(DUAL, "c", "eth0", taken, addresses) == (_ip("fd01::2"),)


def test_resolv_conf() -> None:
    text = (
        "# c\n; c\n"
        + "nameserver 192.0.2.1\nnameserver fd00::1\ndomain a\ndomain b\nsearch x y\noptions ndots:2 z\nnameserver\nother q\n"
    )
    assert parse_resolv_conf(text) == Dns(("192.0.2.1", "fd00::1"), "b", ("x", "y"), ("ndots:2", "z"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(str(tmp_path / "net"))
    made.create()
    return made


def test_a_reservation_is_whole_or_not_there(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at the last moment before the link, nothing is reserved; and what is left is in nobody's way."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", killed)
        with pytest.raises(KeyboardInterrupt):
            store.reserve(_ip("10.1.0.2"), "c", "eth0", 0)
    assert store.reservations() == {}
    assert store.reserve(_ip("10.1.0.2"), "c", "eth0", 0)
    assert (Path(store.folder) / "10.1.0.2").read_bytes() == b"c\r\neth0"


def test_a_taken_address_is_not_taken_again(store: Store) -> None:
    assert store.reserve(_ip("fd01::2"), "c", "eth0", 1)
    assert not store.reserve(_ip("fd01::2"), "d", "eth0", 1)
    assert store.reservations() == {_ip("fd01::2"): Holder("c", "eth0")}
    assert store.last_reserved(1) == _ip("fd01::2")
    assert store.last_reserved(0) is None


def test_release_frees_the_address_for_the_next_container(store: Store) -> None:
    store.reserve(_ip("10.1.0.2"), "c", "eth0", 0)
    store.release([_ip("10.1.0.2"), _ip("10.1.0.3")])
    assert store.reserve(_ip("10.1.0.2"), "d", "eth0", 0)


def test_other_files_are_not_reservations(store: Store) -> None:
    for name in ("lock", "last_reserved_ip.0", ".hidden", "notes"):
        (Path(store.folder) / name).write_text("10.1.0.2")
    (Path(store.folder) / "10.1.0.9").touch()
    (Path(store.folder) / "10.1.0.8").mkdir()
    assert store.reservations() == {}


def test_space_around_what_is_in_a_file_does_not_count(store: Store) -> None:
    (Path(store.folder) / "10.1.0.2").write_text("\n c \r\n eth0 \n")
    assert store.reservations() == {_ip("10.1.0.2"): Holder("c", "eth0")}


@pytest.mark.parametrize("kind", ["file", "folder", "namespace"])
def test_a_lock_excludes_and_ends_with_its_block(kind: str, tmp_path: Path) -> None:
    path = {"file": str(tmp_path / "lock"), "folder": str(tmp_path), "namespace": "/proc/self/ns/net"}[kind]
    with Locked(path, create=kind == "file"), pytest.raises(CniError) as error, Locked(path, wait_s=0):
        pytest.fail("locked twice")
    assert error.value.code == 11
    with Locked(path, wait_s=0):
        pass
