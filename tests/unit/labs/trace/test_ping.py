"""The echo request's octets, checked by scapy."""

from __future__ import annotations

from scapy.layers.inet import ICMP, IP

from labs.trace.ping import checksum, echo_request, is_reply

MARKER = b"0123456789abcdef"


def test_the_request_is_an_icmp_echo_with_a_right_checksum() -> None:
    message = ICMP(echo_request(7, 3, MARKER))
    assert (message.type, message.code, message.id, message.seq, bytes(message.payload)) == (8, 0, 7, 3, MARKER)
    assert checksum(echo_request(7, 3, MARKER)) == 0  # RFC 1071: over the message with its checksum
    assert checksum(b"\x01") == 0xFEFF  # an odd octet is padded


def test_only_the_reply_with_the_marker_is_the_answer() -> None:
    reply, request = (bytes(IP(src="10.0.0.1", dst="10.0.0.2") / ICMP(type=kind) / MARKER) for kind in (0, 8))
    assert is_reply(reply, MARKER)
    assert not is_reply(request, MARKER)
    assert not is_reply(reply, b"another marker..")
