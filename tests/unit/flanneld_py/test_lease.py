"""Leases in the store: flannel's bytes, both ways."""

from __future__ import annotations

import pytest

from dataplane.inet import parse_ip, parse_prefix
from flanneld_py.lease import BadLease, Lease, decode_lease, encode_value, key_of, parse_key

SUBNET = parse_prefix("10.5.72.0/24")
KEY = "/coreos.com/network/subnets/10.5.72.0-24"
MAC_DATA = '{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}'

GOLDEN: list[tuple[str, Lease, bytes]] = [
    (
        "10.5.72.0-24",
        Lease(SUBNET, parse_ip("192.168.64.3"), "vxlan", MAC_DATA),
        b'{"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}',
    ),
    (
        "10.5.72.0-24",
        Lease(SUBNET, parse_ip("1.2.3.4"), "host-gw"),
        b'{"PublicIP":"1.2.3.4","PublicIPv6":null,"BackendType":"host-gw"}',
    ),
    ("10.5.72.0-24", Lease(SUBNET, parse_ip("1.2.3.4")), b'{"PublicIP":"1.2.3.4","PublicIPv6":null}'),
    (
        "10.5.72.0-24&fd00:12:13::-56",
        Lease(SUBNET, parse_ip("1.2.3.4"), "vxlan", MAC_DATA, parse_prefix("fd00:12:13::/56"), parse_ip("fd50::1"), MAC_DATA),
        b'{"PublicIP":"1.2.3.4","PublicIPv6":"fd50::1","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"},'
        b'"BackendV6Data":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}',
    ),
]


@pytest.mark.parametrize(("key", "lease", "value"), GOLDEN)
def test_keys_and_values_are_flannels_bytes(key: str, lease: Lease, value: bytes) -> None:
    assert key_of(lease.subnet, lease.subnet6) == key
    assert encode_value(lease) == value
    assert decode_lease(f"/coreos.com/network/subnets/{key}", value) == lease


@pytest.mark.parametrize(
    "value",
    [
        b' { "publicip" : "1.2.3.4" , "BackendTYPE":"host-gw", "Other": [1] }',
        b'{"PublicIP":"1.2.3.4","PublicIPv6":null,"BackendType":"host-gw","BackendData":null,"BackendV6Data":null}',
    ],
)
def test_what_go_would_read_is_read(value: bytes) -> None:
    assert decode_lease(KEY, value) == Lease(SUBNET, parse_ip("1.2.3.4"), "host-gw")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "10.5.72.0",
        "10.5.72.0-",
        "10.5.72.0-32",
        "10.5.72.0-99999999999999999999",
        "10.5.72-24",
        "10.5.72.256-24",
        "10.5.72.0-24-",
        "10.5.72.0-24\n",
        "x10.5.72.0/24",
        "10.5.72.0-24&-64",
        "10.5.72.0-24&fd00::-128",
        "10.5.72.0-24&fffff::-64",
    ],
)
def test_foreign_keys_are_no_leases(key: str) -> None:
    with pytest.raises(BadLease):
        parse_key(f"/coreos.com/network/subnets/{key}")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "PublicIP is missing"),
        (b'{"PublicIP":null}', "PublicIP is missing"),
        (b'{"PublicIP":17}', "PublicIP 17 is not an IPv4 address"),
        (b'{"PublicIP":"fd00::1"}', "is not an IPv4 address"),
        (b'{"PublicIP":"1.2.3.4","PublicIPv6":"1.2.3.4"}', "is not an IPv6 address"),
        (b'{"PublicIP":"1.2.3.4","BackendType":3}', "BackendType 3 is not a string"),
    ],
)
def test_values_that_cannot_be_are_told(value: bytes, said: str) -> None:
    with pytest.raises(BadLease, match=said):
        decode_lease(KEY, value)


def test_host_bits_in_a_key_are_dropped() -> None:
    assert parse_key("10.5.72.9-24") == (SUBNET, None)


def test_letters_that_html_minds_are_escaped_as_go_does() -> None:
    assert b'"BackendType":"a\\u003cb\\u0026c"' in encode_value(Lease(SUBNET, parse_ip("1.2.3.4"), "a<b&c"))
