"""Netlink messages as bytes (RFC 3549): the frame, the attributes, and what the kernel answers. Pure.

The objects are in rtnl_link.py, rtnl_device.py (what hangs on a device) and rtnl_route.py; rtnl_request.py turns an operation into
requests. Everything is in the machine's byte order but addresses and ports, which are in network order.

    message    length 4, type 2, flags 2, sequence 4, port 4, then a body: a fixed header and attributes
    attribute  length 2, type 2, value, padding to 4; the length counts the four bytes before the value, not the padding

A reply that is cut off or garbled raises RtnlError and nothing else.
"""

from __future__ import annotations

from struct import Struct
from sys import byteorder

from dataplane.inet import IP
from dataplane.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = Struct("=IHHII")
_ATTRIBUTE = Struct("=HH")
_INT = Struct("=i")

# nlmsg_type and nlmsg_flags, from <linux/netlink.h>
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_MULTI, NLM_F_ACK, NLM_F_DUMP_INTR = 0x1, 0x2, 0x4, 0x10
NLM_F_DUMP = 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200  # in an NLMSG_ERROR; the same bits mean other things in requests
NLMSGERR_ATTR_MSG = 1
NLA_F_NESTED, NLA_TYPE_MASK = 0x8000, 0x3FFF

# <linux/rtnetlink.h>
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
AF_BRIDGE = 7

_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")  # by length modulo 4


class RtnlError(ValueError):
    """A netlink reply that cannot be what the kernel sent: cut off, or garbled."""


@record
class Message:
    """One message as it came. `body` is what follows its header."""

    kind: int
    flags: int
    sequence: int
    body: bytes


@record
class Answer:
    """An acknowledgement: `errno` 0 is success. `text` is the kernel's extended acknowledgement, or ""."""

    errno: int
    text: str = ""


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """A message in its frame, for the kernel (port 0)."""
    return HEADER.pack(16 + len(body), kind, flags, sequence, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    size = len(value)
    return _ATTRIBUTE.pack(size + 4, kind) + value + _PADDING[size & 3]


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute whose value is attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def u8(kind: int, value: int) -> bytes:
    return attribute(kind, value.to_bytes(1, byteorder))


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, value.to_bytes(4, byteorder))


def string(kind: int, value: str) -> bytes:
    """A text with the closing zero byte that the kernel wants."""
    return attribute(kind, value.encode("utf-8", "surrogateescape") + b"\0")


def messages(data: bytes) -> Iterator[Message]:
    """The messages of one datagram.

    Raises:
        RtnlError: a message is cut off.
    """
    offset, end = 0, len(data)
    while offset < end:
        if offset + 16 > end:
            raise RtnlError(f"message header cut off after {end - offset} of 16 bytes")
        size, kind, flags, sequence, _port = HEADER.unpack_from(data, offset)
        if size < 16 or offset + size > end:
            raise RtnlError(f"message says it has {size} bytes, {end - offset} are there")
        yield Message(kind, flags, sequence, data[offset + 16 : offset + size])
        offset += (size + 3) & ~3


def fixed(header: Struct, body: bytes) -> tuple[int, ...]:
    """The fixed header that a body begins with.

    Raises:
        RtnlError: the body is shorter.
    """
    if len(body) < header.size:
        raise RtnlError(f"body of {len(body)} bytes, its fixed header has {header.size}")
    return header.unpack_from(body)


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """Attributes by type, from `offset` to the end; of several with one type the last.

    Raises:
        RtnlError: an attribute is cut off.
    """
    found = {}
    end = len(data)
    unpack = _ATTRIBUTE.unpack_from
    while offset < end:
        if offset + 4 > end:
            raise RtnlError(f"attribute cut off after {end - offset} of 4 header bytes")
        size, kind = unpack(data, offset)
        if size < 4 or offset + size > end:
            raise RtnlError(f"attribute {kind} says it has {size} bytes, {end - offset} are there")
        found[kind & NLA_TYPE_MASK] = data[offset + 4 : offset + size]
        offset += (size + 3) & ~3
    return found


def number(found: dict[int, bytes], kind: int, size: int) -> int | None:
    """The integer of `size` bytes in attribute `kind`, or None if it is absent.

    Raises:
        RtnlError: it has another size.
    """
    value = found.get(kind)
    if value is None:
        return None
    if len(value) != size:
        raise RtnlError(f"attribute {kind} has {len(value)} bytes where {size} belong")
    return int.from_bytes(value, byteorder)


def address(found: dict[int, bytes], kind: int) -> IP | None:
    """The IPv4 or IPv6 address in attribute `kind`, or None if it is absent.

    Raises:
        RtnlError: it has neither 4 nor 16 bytes.
    """
    value = found.get(kind)
    if value is None:
        return None
    if len(value) not in (4, 16):
        raise RtnlError(f"attribute {kind} has {len(value)} bytes, an address has 4 or 16")
    return IP(value)


def text(found: dict[int, bytes], kind: int) -> str:
    """The text in attribute `kind` up to its zero byte, or "" if it is absent."""
    return found.get(kind, b"").partition(b"\0")[0].decode("utf-8", "surrogateescape")


def decode_error(reply: Message) -> Answer:
    """What an NLMSG_ERROR (also the acknowledgement of success) says.

    After the error number comes the header of the request, then the rest of the request unless the reply is capped, then
    the attributes of the extended acknowledgement.

    Raises:
        RtnlError: it is cut off.
    """
    if len(reply.body) < 20:
        raise RtnlError(f"error reply of {len(reply.body)} bytes, it has at least 20")
    (error,) = _INT.unpack_from(reply.body)
    if not reply.flags & NLM_F_ACK_TLVS:
        return Answer(abs(error))
    (request_size, *_rest) = HEADER.unpack_from(reply.body, 4)
    offset = 20 if reply.flags & NLM_F_CAPPED else 4 + ((request_size + 3) & ~3)
    return Answer(abs(error), text(attributes(reply.body, offset), NLMSGERR_ATTR_MSG))


def decode_done(reply: Message) -> Answer:
    """How a dump ended: NLMSG_DONE carries an error number, and an extended acknowledgement if it failed.

    Raises:
        RtnlError: it is cut off.
    """
    if len(reply.body) < 4:
        raise RtnlError(f"end of dump has {len(reply.body)} bytes, it has at least 4")
    (error,) = _INT.unpack_from(reply.body)
    if not reply.flags & NLM_F_ACK_TLVS:
        return Answer(abs(error))
    return Answer(abs(error), text(attributes(reply.body, 4), NLMSGERR_ATTR_MSG))
