"""Which device leads to the other nodes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dataplane.errors import ConfigError
from dataplane.inet import IP, parse_ip, parse_prefix
from flanneld_py.flags import Flags
from flanneld_py.uplink import Choice, Facts, choose
from tests.unit.flanneld_py.test_flags import flags


def way_to(address: IP) -> Choice | None:
    return ("eth1", parse_ip("10.1.0.5")) if address in parse_prefix("10.0.0.0/8") else None


FACTS = Facts(
    mtus={"lo": 65536, "eth0": 1500, "eth1": 9000, "bare": 1500, "dead": 0},
    addresses=(
        ("lo", parse_prefix("127.0.0.1/8")),
        ("eth0", parse_prefix("169.254.3.4/16")),
        ("eth0", parse_prefix("192.168.1.5/24")),
        ("eth0", parse_prefix("192.168.1.6/24")),
        ("eth0", parse_prefix("fd00::5/64")),
        ("eth1", parse_prefix("10.1.0.5/16")),
        ("eth1", parse_prefix("10.2.0.5/16")),
        ("bare", parse_prefix("fd00::7/64")),
        ("dead", parse_prefix("10.9.0.1/24")),
    ),
    default_device="eth0",
    way_to=way_to,
)


def wanted(**changes: Any) -> Flags:
    return replace(flags(), **changes)


@pytest.mark.parametrize(
    ("changes", "device", "address"),
    [
        ({}, "eth0", "192.168.1.5"),  # the default route's; link-local comes last
        ({"iface": ("eth1",)}, "eth1", "10.1.0.5"),
        ({"iface": ("none", "eth1")}, "eth1", "10.1.0.5"),
        ({"iface": ("192.168.1.6",)}, "eth0", "192.168.1.6"),
        ({"iface_regex": ("^eth1$",)}, "eth1", "10.1.0.5"),
        ({"iface_regex": (r"^10\.2\.",)}, "eth1", "10.2.0.5"),
        ({"iface_regex": ("1",)}, "lo", "127.0.0.1"),  # addresses of all devices come before names
        ({"iface": ("none",), "iface_regex": ("^eth1$",)}, "eth1", "10.1.0.5"),
        ({"iface_can_reach": "10.77.0.1"}, "eth1", "10.1.0.5"),
        ({"iface": ("none",), "iface_can_reach": "10.77.0.1"}, "eth1", "10.1.0.5"),
        ({"public_ip": parse_ip("10.2.0.5")}, "eth1", "10.2.0.5"),  # the device that has it
    ],
)
def test_the_device_is_chosen_as_flannel_chooses_it(changes: dict[str, Any], device: str, address: str) -> None:
    found = choose(wanted(**changes), FACTS)
    assert (found.name, str(found.address), found.mtu) == (device, address, FACTS.mtus[device])
    assert found.public_ip == (changes.get("public_ip") or found.address)


def test_with_an_iface_the_public_ip_may_be_anybodys() -> None:
    found = choose(wanted(iface=("eth1",), public_ip=parse_ip("203.0.113.9")), FACTS)
    assert (str(found.address), str(found.public_ip)) == ("10.1.0.5", "203.0.113.9")
    assert found.reaches(parse_ip("10.2.3.4"))
    assert not found.reaches(parse_ip("192.168.1.1"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"iface": ("eth9",)}, "no device matches; there are bare, dead, eth0, eth1, lo"),
        ({"iface": ("10.1.0.99",)}, "no device matches"),
        ({"iface_regex": ("zzz",)}, "no device matches"),
        ({"iface_regex": ("(",)}, "is not a regular expression"),
        ({"iface_can_reach": "8.8.8.8"}, "no device matches"),
        ({"iface_can_reach": "x"}, "is not an IP address"),
        ({"iface": ("bare",)}, "this device has no IPv4 address"),
        ({"iface": ("dead",)}, "the MTU of this device is unknown"),
        ({"public_ip": parse_ip("203.0.113.9")}, "no device has this address"),
    ],
)
def test_what_does_not_fit_is_told(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        choose(wanted(**changes), FACTS)


def test_without_a_default_route_a_device_must_be_named() -> None:
    with pytest.raises(ConfigError, match="there is no default route"):
        choose(wanted(), replace(FACTS, default_device=None))
