"""Results in every version: what is printed, what is read back, what is lost and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cni.errors import CniError
from cni.jsontext import Section
from cni.result import Dns, Interface, IpConfig, Result, RouteConfig, parse_result, render_result, require_expressible
from cni.version import SUPPORTED
from dataplane.errors import ConfigError
from dataplane.inet import parse_ip, parse_mac, parse_prefix

FULL = Result(
    interfaces=(
        Interface("cni0", parse_mac("0a:00:00:00:00:01")),
        Interface("eth0", parse_mac("0a:00:00:00:00:02"), "/run/netns/x", 1400, "/sock", "0000:00:1f.6"),
    ),
    ips=(
        IpConfig(parse_prefix("1.2.3.30/24"), 1, parse_ip("1.2.3.1")),
        IpConfig(parse_prefix("abcd:1234:ffff::cdde/64"), 0, parse_ip("abcd:1234:ffff::1")),
    ),
    routes=(
        RouteConfig(parse_prefix("15.5.6.0/24"), parse_ip("15.5.6.8")),
        RouteConfig(parse_prefix("1111:dddd::/80"), parse_ip("1111:dddd::aaaa"), 1300, 1200, 5, 50, 253),
    ),
    dns=Dns(("1.2.3.4", "1::cafe"), "acompany.com", ("somedomain.com",), ("foo",)),
)
DNS = {"nameservers": ["1.2.3.4", "1::cafe"], "domain": "acompany.com", "search": ["somedomain.com"], "options": ["foo"]}
ROUTES = [
    {"dst": "15.5.6.0/24", "gw": "15.5.6.8"},
    {"dst": "1111:dddd::/80", "gw": "1111:dddd::aaaa", "mtu": 1300, "advmss": 1200, "priority": 5, "table": 50, "scope": 253},
]
INTERFACES = [{"name": "cni0", "mac": "0a:00:00:00:00:01"}, {"name": "eth0", "mac": "0a:00:00:00:00:02", "sandbox": "/run/netns/x"}]
IPS = [
    {"interface": 1, "address": "1.2.3.30/24", "gateway": "1.2.3.1"},
    {"interface": 0, "address": "abcd:1234:ffff::cdde/64", "gateway": "abcd:1234:ffff::1"},
]
LEGACY = {
    "ip4": {"ip": "1.2.3.30/24", "gateway": "1.2.3.1", "routes": [{"dst": "15.5.6.0/24", "gw": "15.5.6.8"}]},
    "ip6": {
        "ip": "abcd:1234:ffff::cdde/64",
        "gateway": "abcd:1234:ffff::1",
        "routes": [{"dst": "1111:dddd::/80", "gw": "1111:dddd::aaaa"}],
    },
    "dns": DNS,
}
NUMBERED = [{"version": "4", **IPS[0]}, {"version": "6", **IPS[1]}]
SHOWN: dict[str, dict[str, Any]] = {
    "0.1.0": LEGACY,
    "0.2.0": LEGACY,
    "0.3.0": {"interfaces": INTERFACES, "ips": NUMBERED, "routes": ROUTES, "dns": DNS},
    "0.3.1": {"interfaces": INTERFACES, "ips": NUMBERED, "routes": ROUTES, "dns": DNS},
    "0.4.0": {"interfaces": INTERFACES, "ips": NUMBERED, "routes": ROUTES, "dns": DNS},
    "1.0.0": {"interfaces": INTERFACES, "ips": IPS, "routes": ROUTES, "dns": DNS},
    "1.1.0": {
        "interfaces": [INTERFACES[0], {**INTERFACES[1], "mtu": 1400, "socketPath": "/sock", "pciID": "0000:00:1f.6"}],
        "ips": IPS,
        "routes": ROUTES,
        "dns": DNS,
    },
}


@pytest.mark.parametrize("version", SUPPORTED)
def test_a_full_result_in_every_version(version: str) -> None:
    assert render_result(FULL, version) == {"cniVersion": version, **SHOWN[version]}


@pytest.mark.parametrize("version", SUPPORTED)
def test_what_is_printed_is_read_back(version: str) -> None:
    printed = render_result(FULL, version)
    assert render_result(parse_result(Section(printed), "9.9.9"), version) == printed
    if version == "1.1.0":
        assert parse_result(Section(printed), version) == FULL


@pytest.mark.parametrize("to", SUPPORTED[2:])
@pytest.mark.parametrize("of", SUPPORTED[2:])
def test_any_later_version_is_converted_to_any_other(of: str, to: str) -> None:
    """The reference refuses a prevResult of another major family."""
    converted = render_result(parse_result(Section(render_result(FULL, of)), to), to)
    expected = {"cniVersion": to, **SHOWN[to]}
    if of != "1.1.0" and to == "1.1.0":
        expected = {**expected, "interfaces": INTERFACES}
    assert converted == expected


def test_0_2_0_is_converted_upwards_without_interfaces() -> None:
    printed = render_result(parse_result(Section(render_result(FULL, "0.2.0")), "0.2.0"), "1.0.0")
    assert printed["ips"] == [{"address": ip["address"], "gateway": ip["gateway"]} for ip in IPS]
    assert "interfaces" not in printed


def test_routes_without_gateways_survive_0_2_0() -> None:
    result = Result((), (IpConfig(parse_prefix("10.0.0.2/8")),), (RouteConfig(parse_prefix("0.0.0.0/0")),))
    printed = render_result(result, "0.2.0")
    assert printed == {"cniVersion": "0.2.0", "ip4": {"ip": "10.0.0.2/8", "routes": [{"dst": "0.0.0.0/0"}]}, "dns": {}}
    assert parse_result(Section(printed), "0.2.0") == result


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_a_result_without_addresses_cannot_be_told_before_0_3_0(version: str) -> None:
    for refused in (render_result, require_expressible):
        with pytest.raises(CniError, match="no valid IP addresses"):
            refused(Result((Interface("x"),)), version)


def test_only_the_first_address_of_a_family_is_told_in_0_2_0() -> None:
    ips = tuple(IpConfig(parse_prefix(text)) for text in ("10.0.0.2/8", "10.0.0.3/8"))
    assert render_result(Result((), ips), "0.2.0")["ip4"] == {"ip": "10.0.0.2/8"}


@pytest.mark.parametrize(("version", "dns"), [("0.4.0", {"dns": {}}), ("1.0.0", {}), ("1.1.0", {})])
def test_an_empty_dns_is_printed_before_1_0_0_only(version: str, dns: dict[str, Any]) -> None:
    assert render_result(Result(), version) == {"cniVersion": version, **dns}


def test_a_result_without_a_version_has_the_configuration_s() -> None:
    assert parse_result(Section({"ip4": {"ip": "10.0.0.2/8"}}), "0.2.0").ips == (IpConfig(parse_prefix("10.0.0.2/8")),)
    assert parse_result(Section({"ips": [{"address": "10.0.0.2/8"}]}), "1.0.0").ips == (IpConfig(parse_prefix("10.0.0.2/8")),)


def test_ipv4_mapped_addresses_are_ipv4() -> None:
    result = parse_result(Section({"ips": [{"address": "10.0.0.2/8", "gateway": "::ffff:10.0.0.1"}]}), "1.0.0")
    assert render_result(result, "0.4.0")["ips"] == [{"version": "4", "address": "10.0.0.2/8", "gateway": "10.0.0.1"}]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"ips": [{"address": "10.0.0.2"}]}, r"ips\[0\]\.address"),
        ({"ips": [{}]}, r"ips\[0\]\.address"),
        ({"routes": [{"gw": "10.0.0.1"}]}, r"routes\[0\]\.dst"),
        ({"interfaces": [{"mac": "x"}]}, r"interfaces\[0\]\.mac"),
        ({"interfaces": [{"name": "a"}], "ips": [{"address": "10.0.0.2/8", "interface": 1}]}, "there are 1 interfaces"),
        ({"dns": {"nameservers": "x"}}, r"dns\.nameservers"),
    ],
)
def test_a_result_that_cannot_be_is_refused_by_path(document: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_result(Section(json.loads(json.dumps(document))), "1.0.0")


def test_an_unknown_version_is_code_1() -> None:
    with pytest.raises(CniError) as error:
        parse_result(Section({"cniVersion": "7.0.0"}), "1.0.0")
    assert error.value.code == 1
