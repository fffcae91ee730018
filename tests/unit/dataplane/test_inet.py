"""Addresses, prefixes and MACs: text, arithmetic, containment."""

from __future__ import annotations

from _socket import AF_INET, AF_INET6

import pytest

from dataplane.inet import IP, Mac, Prefix, parse_ip, parse_mac, parse_prefix


@pytest.mark.parametrize(
    ("text", "canonical", "version"),
    [
        ("10.0.0.1", "10.0.0.1", 4),
        ("fd00::1", "fd00::1", 6),
        ("FD00:0:0:0:0:0:0:1", "fd00::1", 6),
        ("::ffff:10.0.0.1", "10.0.0.1", 4),
        ("::", "::", 6),
    ],
)
def test_an_address_is_parsed_to_its_canonical_form(text: str, canonical: str, version: int) -> None:
    ip = parse_ip(text)
    assert (str(ip), ip.version, ip.bits) == (canonical, version, 32 if version == 4 else 128)
    assert ip.family == (AF_INET if version == 4 else AF_INET6)
    assert repr(ip) == f"IP('{canonical}')"


@pytest.mark.parametrize("text", ["", "10.0.0", "10.0.0.256", "010.0.0.1", "fd00::1%eth0", "fd00:::1", "10.0.0.1/8", "10.0.0.1\0"])
def test_what_is_no_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="is not an IP address"):
        parse_ip(text)


@pytest.mark.parametrize(
    "text", ["10.1.0.0", "10.1.0.0/", "10.1.0.0/33", "fd00::/129", "10.1.0.0/-1", "10.1.0.0/8 ", "x/8", "10.1.0.0/²"]
)
def test_what_is_no_prefix_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="prefix length"):
        parse_prefix(text)


def test_addresses_add_sort_and_end() -> None:
    assert parse_ip("10.0.0.255") + 1 == parse_ip("10.0.1.0")
    assert sorted(map(parse_ip, ("10.0.0.10", "10.0.0.9"))) == [parse_ip("10.0.0.9"), parse_ip("10.0.0.10")]
    assert int(parse_ip("0.0.1.0")) == 256
    with pytest.raises(OverflowError):
        parse_ip("255.255.255.255") + 1


@pytest.mark.parametrize(
    ("text", "link_local", "loopback", "unspecified"),
    [
        ("169.254.1.1", True, False, False),
        ("fe80::1", True, False, False),
        ("febf::1", True, False, False),
        ("fec0::1", False, False, False),
        ("127.9.0.1", False, True, False),
        ("::1", False, True, False),
        ("0.0.0.0", False, False, True),
        ("::", False, False, True),
        ("10.0.0.1", False, False, False),
    ],
)
def test_special_addresses_are_known(text: str, link_local: bool, loopback: bool, unspecified: bool) -> None:
    ip = parse_ip(text)
    assert (ip.is_link_local, ip.is_loopback, ip.is_unspecified) == (link_local, loopback, unspecified)


@pytest.mark.parametrize(
    ("text", "network", "last"),
    [
        ("10.1.2.3/16", "10.1.0.0/16", "10.1.255.255"),
        ("10.1.2.3/32", "10.1.2.3/32", "10.1.2.3"),
        ("10.1.2.3/0", "0.0.0.0/0", "255.255.255.255"),
        ("10.1.2.3/31", "10.1.2.2/31", "10.1.2.3"),
        ("fd00:1::5/64", "fd00:1::/64", "fd00:1::ffff:ffff:ffff:ffff"),
    ],
)
def test_a_prefix_keeps_its_host_bits_and_knows_its_network(text: str, network: str, last: str) -> None:
    prefix = parse_prefix(text)
    assert str(prefix) == text
    assert str(prefix.network) == network
    assert str(prefix.last) == last
    assert (prefix.is_host, prefix.is_default) == (text.endswith("/32"), text.endswith("/0"))
    assert repr(prefix) == f"Prefix('{text}')"


@pytest.mark.parametrize(
    ("outer", "inner", "inside"),
    [
        ("10.1.0.0/16", "10.1.2.0/24", True),
        ("10.1.0.0/16", "10.1.0.0/16", True),
        ("10.1.0.0/16", "10.0.0.0/8", False),
        ("10.1.0.0/16", "10.2.0.0/24", False),
        ("0.0.0.0/0", "10.2.0.0/24", True),
        ("0.0.0.0/0", "fd00::/64", False),
    ],
)
def test_containment_and_overlap(outer: str, inner: str, inside: bool) -> None:
    assert (parse_prefix(inner) in parse_prefix(outer)) is inside
    assert (parse_prefix(inner).first in parse_prefix(outer)) is inside
    overlap = inside or parse_prefix(outer) in parse_prefix(inner)
    assert parse_prefix(outer).overlaps(parse_prefix(inner)) is parse_prefix(inner).overlaps(parse_prefix(outer)) is overlap


@pytest.mark.parametrize("text", ["0a:58:0a:f4:00:02", "0A-58-0A-F4-00-02"])
def test_a_mac_is_parsed(text: str) -> None:
    mac = parse_mac(text)
    assert mac == Mac(b"\x0a\x58\x0a\xf4\x00\x02")
    assert str(mac) == "0a:58:0a:f4:00:02"
    assert repr(mac) == "Mac('0a:58:0a:f4:00:02')"


@pytest.mark.parametrize("text", ["", "0a:58", "0a:58:0a:f4:00:0g", "0a580af40002", "a:58:0a:f4:00:002", "0a:58:0a:f4:00:02:03"])
def test_what_is_no_mac_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="is not a MAC address"):
        parse_mac(text)


def test_values_of_one_text_are_one_key() -> None:
    assert len({Prefix(IP(b"\x0a\x00\x00\x01"), 8), parse_prefix("10.0.0.1/8")}) == 1
