"""What the udp data path does to packets; scapy is the witness of the bytes."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, UDP, IPerror

from dataplane.inet import IP as Ip
from dataplane.inet import parse_ip, parse_prefix
from flanneld_py.udp_packet import (
    FRAGMENTATION_NEEDED,
    NET_UNREACHABLE,
    TIME_EXCEEDED,
    Lookup,
    Paths,
    Verdict,
    decremented,
    icmp_error,
    inbound,
    may_fragment,
    outbound,
    well_formed,
)

OWN, OTHER, THIRD = (parse_prefix(f"10.5.{n}.0/24") for n in (1, 2, 3))
NODE2, NODE3, STRANGER = (parse_ip(f"192.168.50.{n}") for n in (2, 3, 9))
PATHS = Paths.of(parse_prefix("10.5.0.0/16"), OWN, [(OTHER, NODE2), (THIRD, NODE3)])


def packet(src: str = "10.5.1.7", dst: str = "10.5.2.7", ttl: int = 64, **fields: Any) -> bytes:
    return bytes(IP(src=src, dst=dst, ttl=ttl, **fields) / UDP(sport=1, dport=2) / b"payload")


def test_a_packet_goes_to_the_node_of_its_destination_with_one_less_to_live() -> None:
    verdict = outbound(packet(ttl=64), PATHS)
    assert verdict == Verdict(forward=packet(ttl=63), node=NODE2)


def test_a_datagram_goes_into_the_kernel_with_one_less_to_live() -> None:
    assert inbound(packet("10.5.2.7", "10.5.1.7", ttl=9), NODE2, PATHS) == Verdict(forward=packet("10.5.2.7", "10.5.1.7", ttl=8))


@pytest.mark.parametrize(
    ("src", "dst", "sender", "taken"),
    [
        ("10.5.2.7", "10.5.1.7", NODE2, True),
        ("10.5.2.7", "10.5.1.7", NODE3, False),  # another node's source
        ("10.5.2.7", "10.5.1.7", STRANGER, False),
        ("192.168.50.2", "10.5.1.7", NODE2, True),  # the node itself, by its own address
        ("10.5.9.7", "10.5.1.7", NODE2, False),  # a source that nobody has
        ("10.5.1.9", "10.5.1.7", NODE2, False),  # our own source
        ("10.5.2.7", "10.5.3.7", NODE2, False),  # not for us
        ("10.5.2.7", "192.168.50.1", NODE2, False),
    ],
)
def test_a_node_may_send_only_what_is_its_own_and_for_us(src: str, dst: str, sender: Ip, taken: bool) -> None:
    assert (inbound(packet(src, dst), sender, PATHS).forward is not None) is taken


def test_an_address_that_no_node_has_is_answered() -> None:
    verdict = outbound(packet(dst="10.5.200.1"), PATHS)
    assert verdict.forward is None
    assert verdict.answer is not None
    answer = IP(verdict.answer)
    assert (answer.src, answer.dst, answer[ICMP].type, answer[ICMP].code) == ("10.5.1.0", "10.5.1.7", *NET_UNREACHABLE)
    assert (answer[IPerror].src, answer[IPerror].dst) == ("10.5.1.7", "10.5.200.1")


@pytest.mark.parametrize("ttl", [0, 1])
def test_a_packet_that_lived_too_long_is_answered_either_way(ttl: int) -> None:
    for verdict in (outbound(packet(ttl=ttl), PATHS), inbound(packet("10.5.2.7", "10.5.1.7", ttl), NODE2, PATHS)):
        assert verdict.forward is None
        assert verdict.answer is not None
        assert (IP(verdict.answer)[ICMP].type, IP(verdict.answer)[ICMP].code) == TIME_EXCEEDED


def test_checksums_of_an_answer_are_right_and_the_mtu_is_told() -> None:
    whole = icmp_error(packet(), parse_ip("10.5.1.0"), FRAGMENTATION_NEEDED, 1400)
    assert whole is not None
    assert well_formed(whole)
    again = IP(whole)
    del again.chksum, again[ICMP].chksum
    assert bytes(again) == whole
    assert IP(whole)[ICMP].nexthopmtu == 1400
    assert len(whole) == 20 + 8 + 20 + 8


def test_options_are_quoted_whole() -> None:
    long = bytes(IP(src="10.5.1.7", dst="10.5.200.1", options=[b"\x01" * 40]) / UDP() / b"x")
    answer = icmp_error(long, parse_ip("10.5.1.0"), NET_UNREACHABLE)
    assert answer is not None
    assert answer[28:] == long[: 60 + 8]


@pytest.mark.parametrize(
    "about",
    [
        bytes(IP(src="10.5.1.7", dst="10.5.9.1") / ICMP(type=3) / (b"x" * 28)),
        bytes(IP(src="10.5.1.7", dst="10.5.9.1") / ICMP(type=11) / (b"x" * 28)),
        bytes(IP(src="10.5.1.7", dst="10.5.9.1", proto=1)),
        bytes(IP(src="10.5.1.7", dst="10.5.9.1", frag=8) / b"xxxxxxxx"),
        packet(src="0.0.0.0"),
        packet(src="127.0.0.1"),
        packet(src="224.0.0.1"),
        packet(dst="224.0.0.1"),
        packet(dst="255.255.255.255"),
    ],
)
def test_rfc_1122_wants_no_answer_to_these(about: bytes) -> None:
    assert well_formed(about)
    assert icmp_error(about, parse_ip("10.5.1.0"), NET_UNREACHABLE) is None


def test_a_ping_is_answered() -> None:
    assert icmp_error(bytes(IP(src="10.5.1.7", dst="10.5.9.1") / ICMP()), parse_ip("10.5.1.0"), NET_UNREACHABLE) is not None


GOOD = packet()


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        GOOD[:19],
        GOOD[:-1],
        GOOD + b"\0",
        b"\x65" + GOOD[1:],  # IPv6
        b"\x44" + GOOD[1:],  # header of 16 bytes
        b"\x4f" + GOOD[1:],  # header longer than it is
        GOOD[:10] + b"\0\0" + GOOD[12:],  # checksum
        GOOD[:8] + b"\x3f" + GOOD[9:],
    ],
)
def test_malformed_packets_are_dropped_either_way(bad: bytes) -> None:
    assert not well_formed(bad)
    assert outbound(bad, PATHS) == inbound(bad, NODE2, PATHS) == Verdict()


def test_the_longest_prefix_wins_and_of_two_equal_ones_the_later() -> None:
    lookup = Lookup.of(
        [(parse_prefix("10.5.0.0/16"), NODE2), (OTHER, STRANGER), (OTHER, NODE3), (parse_prefix("10.5.2.7/32"), NODE2)]
    )
    found = [lookup.find(int(parse_ip(text))) for text in ("10.5.9.9", "10.5.2.9", "10.5.2.7", "10.6.0.1")]
    assert found == [NODE2, NODE3, NODE2, None]


def test_the_dont_fragment_flag_is_read() -> None:
    assert may_fragment(packet())
    assert not may_fragment(packet(flags="DF"))
    assert may_fragment(decremented(packet(flags="MF")))
