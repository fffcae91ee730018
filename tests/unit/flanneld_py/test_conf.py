"""The network configuration: flannel's rules, one row each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dataplane.errors import ConfigError
from dataplane.inet import parse_ip, parse_prefix
from flanneld_py.conf import SubnetPlan, parse_config, supported_plan

WHERE = "/coreos.com/network/config"


def plan(network: str, length: int, low: str, high: str) -> SubnetPlan:
    return SubnetPlan(parse_prefix(network), length, parse_ip(low), parse_ip(high))


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({"Network": "10.3.0.0/16"}, plan("10.3.0.0/16", 24, "10.3.1.0", "10.3.255.0")),
        ({"Network": "10.3.7.9/16"}, plan("10.3.0.0/16", 24, "10.3.1.0", "10.3.255.0")),
        ({"network": "10.3.0.0/16", "SUBNETLEN": 28}, plan("10.3.0.0/16", 28, "10.3.0.16", "10.3.255.240")),
        ({"Network": "10.3.0.0/16", "SubnetLen": None}, plan("10.3.0.0/16", 24, "10.3.1.0", "10.3.255.0")),
        ({"Network": "10.3.0.0/22"}, plan("10.3.0.0/22", 24, "10.3.1.0", "10.3.3.0")),
        ({"Network": "10.3.0.0/23"}, plan("10.3.0.0/23", 25, "10.3.0.128", "10.3.1.128")),
        ({"Network": "10.3.0.0/28"}, plan("10.3.0.0/28", 30, "10.3.0.4", "10.3.0.12")),
        (
            {"Network": "10.3.0.0/16", "SubnetMin": "10.3.5.0", "SubnetMax": "10.3.8.0"},
            plan("10.3.0.0/16", 24, "10.3.5.0", "10.3.8.0"),
        ),
        ({"Network": "10.3.0.0/16", "Surprise": {"x": [1]}}, plan("10.3.0.0/16", 24, "10.3.1.0", "10.3.255.0")),
    ],
)
def test_a_network_is_cut_as_flannel_cuts_it(config: dict[str, Any], wanted: SubnetPlan) -> None:
    assert parse_config(json.dumps(config), WHERE).ipv4 == wanted


def test_both_families_are_read() -> None:
    config = {"Network": "10.3.0.0/16", "EnableIPv6": True, "IPv6Network": "fc00::/48", "IPv6SubnetLen": 80}
    parsed = parse_config(json.dumps(config), WHERE)
    assert parsed.ipv6 == plan("fc00::/48", 80, "fc00::1:0:0:0", "fc00::ffff:ffff:0:0:0")
    with pytest.raises(ConfigError, match="IPv6 is not supported yet"):
        supported_plan(parsed, WHERE)


@pytest.mark.parametrize(
    ("network", "wanted"),
    [
        ("fc00::/48", plan("fc00::/48", 64, "fc00:0:0:1::", "fc00:0:0:ffff::")),
        ("fc00::/62", plan("fc00::/62", 64, "fc00:0:0:1::", "fc00:0:0:3::")),
        ("fc00::/63", plan("fc00::/63", 65, "fc00::8000:0:0:0", "fc00:0:0:1:8000::")),
    ],
)
def test_an_ipv6_network_is_cut_as_flannel_cuts_it(network: str, wanted: SubnetPlan) -> None:
    config = {"EnableIPv4": False, "EnableIPv6": True, "IPv6Network": network}
    assert parse_config(json.dumps(config), WHERE).ipv6 == wanted


@pytest.mark.parametrize(
    ("config", "where", "said"),
    [
        ("[]", "", "must be a JSON object"),
        ("{", "", "is not JSON"),
        ("[" * 100_000, "", "is not JSON"),
        ({}, ": Network", "is missing"),
        ({"Network": 7}, ": Network", "must be a string"),
        ({"Network": "ten"}, ": Network", "not an address with a prefix length"),
        ({"Network": "fd00::/48"}, ": Network", "must be an IPv4 prefix"),
        ({"Network": "10.3.0.0/29"}, ": Network", "is too small; the prefix length may be at most 28"),
        ({"Network": "10.3.0.0/16", "SubnetLen": 31}, ": SubnetLen", "must be from 18 (Network's length 16 + 2) to 30"),
        ({"Network": "10.3.0.0/16", "SubnetLen": 17}, ": SubnetLen", "must be from 18"),
        ({"Network": "10.3.0.0/16", "SubnetLen": -1}, ": SubnetLen", "must be from 0 to 128"),
        ({"Network": "10.3.0.0/16", "SubnetLen": 24.5}, ": SubnetLen", "must be a whole number"),
        ({"Network": "10.3.0.0/16", "SubnetLen": True}, ": SubnetLen", "must be a whole number"),
        ({"Network": "10.3.0.0/16", "SubnetMin": "10.4.0.0"}, ": SubnetMin", "must lie inside the network 10.3.0.0/16"),
        ({"Network": "10.3.0.0/16", "SubnetMax": "10.4.0.0"}, ": SubnetMax", "must lie inside"),
        ({"Network": "10.3.0.0/16", "SubnetMin": "10.3.1.7"}, ": SubnetMin", "must be the first address of a /24"),
        ({"Network": "10.3.0.0/16", "SubnetMax": "10.3.1.7"}, ": SubnetMax", "must be the first address of a /24"),
        ({"Network": "10.3.0.0/16", "SubnetMin": "x"}, ": SubnetMin", "is not an IP address"),
        ({"Network": "10.3.0.0/16", "SubnetMin": "10.3.9.0", "SubnetMax": "10.3.8.0"}, ": SubnetMin", "greater than SubnetMax"),
        ({"Network": "10.3.0.0/16", "EnableIPv4": "yes"}, ": EnableIPv4", "must be true or false"),
        ({"EnableIPv4": False}, ": EnableIPv4", "at least one of"),
        ({"Network": "10.3.0.0/16", "Backend": "vxlan"}, ": Backend", "must be an object"),
        ({"Network": "10.3.0.0/16", "Backend": {"Type": 1}}, ": Backend: Type", "must be a string"),
        ({"Network": "10.3.0.0/16", "EnableIPv6": True}, ": IPv6Network", "is missing"),
        ({"Network": "10.3.0.0/16", "EnableIPv6": True, "IPv6Network": "fc00::/125"}, ": IPv6Network", "at most 124"),
        (
            {"Network": "10.3.0.0/16", "EnableIPv6": True, "IPv6Network": "fc00::/64", "IPv6SubnetLen": 127},
            ": IPv6SubnetLen",
            "from 66 (IPv6Network's length 64 + 2) to 126",
        ),
    ],
)
def test_each_rule_is_told_by_key_value_and_rule(config: dict[str, Any] | str, where: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(config if isinstance(config, str) else json.dumps(config), WHERE)
    assert caught.value.where == WHERE + where
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({}, "udp"),
        ({"Backend": {}}, ""),
        ({"Backend": {"Type": "VXLAN"}}, "vxlan"),
        ({"backend": {"type": "host-gw"}}, "host-gw"),
    ],
)
def test_the_backend_type_is_lower_case_and_udp_where_none_is_said(config: dict[str, Any], wanted: str) -> None:
    assert parse_config(json.dumps({"Network": "10.3.0.0/16", **config}), WHERE).backend_type == wanted


def test_nftables_are_refused_so_far() -> None:
    parsed = parse_config('{"Network": "10.3.0.0/16", "EnableNFTables": true}', WHERE)
    with pytest.raises(ConfigError, match="EnableNFTables"):
        supported_plan(parsed, WHERE)
