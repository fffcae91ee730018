"""The frame of netlink messages, attributes, and the kernel's answers."""

from __future__ import annotations

from struct import pack

import pytest

from dataplane import rtnl
from dataplane.inet import IP
from dataplane.rtnl import Answer, Message, RtnlError

EXT_ACK = rtnl.string(rtnl.NLMSGERR_ATTR_MSG, "Nexthop has invalid gateway")
REQUEST = rtnl.message(rtnl.RTM_NEWROUTE, 1, 7, b"\1\2\3\4\5\6\7\x08")
CAPPED = rtnl.NLM_F_CAPPED | rtnl.NLM_F_ACK_TLVS


def error(flags: int, body: bytes) -> Message:
    return Message(rtnl.NLMSG_ERROR, flags, 7, body)


@pytest.mark.parametrize(
    ("encoded", "want"),
    [
        (rtnl.attribute(1, b""), "04000100"),
        (rtnl.attribute(1, b"a"), "05000100 61000000"),
        (rtnl.attribute(1, b"abcd"), "08000100 61626364"),
        (rtnl.u8(2, 1), "05000200 01000000"),
        (rtnl.u32(2, 0x01020304), "08000200 04030201"),
        (rtnl.string(3, "lo"), "07000300 6c6f0000"),
        (rtnl.nested(4, rtnl.u8(2, 1)), "0c000480 05000200 01000000"),
        (rtnl.message(16, 0x301, 5, b"\xff" * 4), "14000000 1000 0103 05000000 00000000 ffffffff"),
    ],
)
def test_encoded_as_the_kernel_lays_it_out(encoded: bytes, want: str) -> None:
    assert encoded == bytes.fromhex(want)


def test_attributes_are_read_back() -> None:
    data = b"skip" + rtnl.u32(1, 7) + rtnl.string(3, "eth0") + rtnl.nested(4, rtnl.u8(2, 1)) + rtnl.attribute(5, b"\x0a\0\0\1")
    found = rtnl.attributes(data, 4)
    assert rtnl.number(found, 1, 4) == 7
    assert rtnl.text(found, 3) == "eth0"
    assert rtnl.attributes(found[4]) == {2: b"\1"}
    assert rtnl.address(found, 5) == IP(b"\x0a\0\0\1")
    assert (rtnl.number(found, 9, 4), rtnl.text(found, 9), rtnl.address(found, 9)) == (None, "", None)


def test_a_name_that_is_not_utf8_survives() -> None:
    name = b"eth\xff".decode("utf-8", "surrogateescape")
    assert rtnl.text(rtnl.attributes(rtnl.string(3, name)), 3) == name


def test_the_messages_of_a_datagram_are_split() -> None:
    data = rtnl.message(16, 2, 1, b"abcd") + rtnl.message(3, 2, 1, b"\0\0\0\0")
    assert list(rtnl.messages(data)) == [Message(16, 2, 1, b"abcd"), Message(3, 2, 1, b"\0\0\0\0")]
    assert list(rtnl.messages(b"")) == []


@pytest.mark.parametrize(
    ("reply", "want"),
    [
        (error(0, pack("=i", 0) + REQUEST[:16]), Answer(0)),
        (error(rtnl.NLM_F_CAPPED, pack("=i", -17) + REQUEST[:16]), Answer(17)),
        (error(CAPPED, pack("=i", -22) + REQUEST[:16] + EXT_ACK), Answer(22, "Nexthop has invalid gateway")),
        (error(rtnl.NLM_F_ACK_TLVS, pack("=i", -22) + REQUEST + EXT_ACK), Answer(22, "Nexthop has invalid gateway")),
        (error(0, pack("=i", -22) + REQUEST), Answer(22)),
        (error(CAPPED, pack("=i", -22) + REQUEST[:16] + rtnl.u32(2, 40)), Answer(22)),
    ],
)
def test_an_error_reply_gives_number_and_text(reply: Message, want: Answer) -> None:
    assert rtnl.decode_error(reply) == want


@pytest.mark.parametrize(
    ("flags", "body", "want"),
    [
        (2, pack("=i", 0), Answer(0)),
        (2, pack("=i", -19), Answer(19)),
        (2 | rtnl.NLM_F_ACK_TLVS, pack("=i", -22) + EXT_ACK, Answer(22, "Nexthop has invalid gateway")),
    ],
)
def test_the_end_of_a_dump_tells_how_it_went(flags: int, body: bytes, want: Answer) -> None:
    assert rtnl.decode_done(Message(rtnl.NLMSG_DONE, flags, 1, body)) == want


@pytest.mark.parametrize("size", range(1, 20))
def test_a_message_cut_off_is_refused(size: int) -> None:
    with pytest.raises(RtnlError):
        list(rtnl.messages(rtnl.message(16, 2, 1, b"abcd")[:size]))


@pytest.mark.parametrize(
    "broken",
    ["01", "0300 0100", "0900 0100 61626364", "0800 0100 616263", "0400 0100 0400"],
)
def test_a_broken_attribute_is_refused(broken: str) -> None:
    with pytest.raises(RtnlError, match="attribute"):
        rtnl.attributes(bytes.fromhex(broken))


def test_a_message_that_claims_less_than_its_header_is_refused() -> None:
    with pytest.raises(RtnlError):
        list(rtnl.messages(pack("=IHHII", 15, 1, 0, 0, 0)))


@pytest.mark.parametrize("reply", [error(0, bytes(19)), error(CAPPED, bytes(20) + b"\1"), error(rtnl.NLM_F_ACK_TLVS, bytes(23))])
def test_an_error_reply_cut_off_is_refused(reply: Message) -> None:
    with pytest.raises(RtnlError):
        rtnl.decode_error(reply)


def test_an_end_of_dump_cut_off_is_refused() -> None:
    with pytest.raises(RtnlError):
        rtnl.decode_done(Message(rtnl.NLMSG_DONE, 2, 1, b"\0\0\0"))


@pytest.mark.parametrize("value", [b"", b"\1\2\3", b"\1\2\3\4\5"])
def test_a_value_of_the_wrong_size_is_refused(value: bytes) -> None:
    with pytest.raises(RtnlError, match="4"):
        rtnl.number({1: value}, 1, 4)
    with pytest.raises(RtnlError, match="4 or 16"):
        rtnl.address({1: value}, 1)
