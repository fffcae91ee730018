"""Addresses as values: IP, Prefix and Mac, parsed once at the edge and never strings inside.

`ipaddress` takes 3 ms to import and builds an object of several layers for each address; here an address is its own
network-order bytes, so it goes into a netlink message as it is, hashes and compares in C, and sorts in address order.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from dataplane.record import record

_FAMILY = {4: AF_INET, 16: AF_INET6}


class IP(bytes):
    """An IPv4 or IPv6 address: its 4 or 16 bytes in network order. `str()` gives the canonical text."""

    __slots__ = ()

    @property
    def version(self) -> int:
        return 4 if len(self) == 4 else 6

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6."""
        return int(_FAMILY[len(self)])

    @property
    def bits(self) -> int:
        """Width of the address: 32 or 128."""
        return len(self) * 8

    def __int__(self) -> int:
        return int.from_bytes(self, "big")

    def __add__(self, offset: int) -> IP:  # type: ignore[override]
        """The address `offset` further on. Raises OverflowError past the end of the address space."""
        return IP((int(self) + offset).to_bytes(len(self), "big"))

    def __str__(self) -> str:
        return inet_ntop(_FAMILY[len(self)], self)

    def __repr__(self) -> str:
        return f"IP({str(self)!r})"

    @property
    def is_link_local(self) -> bool:
        return self[:2] == b"\xa9\xfe" if len(self) == 4 else self[0] == 0xFE and self[1] & 0xC0 == 0x80

    @property
    def is_loopback(self) -> bool:
        return self[0] == 127 if len(self) == 4 else bytes(self) == bytes(15) + b"\x01"

    @property
    def is_unspecified(self) -> bool:
        return not any(self)


class Mac(bytes):
    """A 48-bit Ethernet address. `str()` gives six lower-case hex pairs joined by colons."""

    __slots__ = ()

    def __str__(self) -> str:
        return self.hex(":")

    def __repr__(self) -> str:
        return f"Mac({self.hex(':')!r})"


@record
class Prefix:
    """An address with a prefix length. Host bits are kept (`10.1.0.5/16` is an interface's address); `.network` drops them."""

    address: IP
    length: int

    def __str__(self) -> str:
        return f"{self.address}/{self.length}"

    def __repr__(self) -> str:
        return f"Prefix({str(self)!r})"

    @property
    def version(self) -> int:
        return self.address.version

    @property
    def family(self) -> int:
        return self.address.family

    @property
    def network(self) -> Prefix:
        """The same prefix with all host bits zero."""
        return Prefix(self.first, self.length)

    @property
    def first(self) -> IP:
        """The network address."""
        host_bits = self.address.bits - self.length
        return IP((int(self.address) >> host_bits << host_bits).to_bytes(len(self.address), "big"))

    @property
    def last(self) -> IP:
        """The highest address (the broadcast address in IPv4)."""
        host_mask = (1 << (self.address.bits - self.length)) - 1
        return IP((int(self.address) | host_mask).to_bytes(len(self.address), "big"))

    @property
    def is_host(self) -> bool:
        """True for a /32 or /128."""
        return self.length == self.address.bits

    @property
    def is_default(self) -> bool:
        return self.length == 0

    def __contains__(self, other: IP | Prefix) -> bool:
        """Whether an address, or the whole of another prefix, lies inside."""
        address = other.address if isinstance(other, Prefix) else other
        length = other.length if isinstance(other, Prefix) else address.bits
        if len(address) != len(self.address) or length < self.length:
            return False
        shift = self.address.bits - self.length
        return int(address) >> shift == int(self.address) >> shift

    def overlaps(self, other: Prefix) -> bool:
        return self.network in other or other.network in self


def parse_ip(text: str) -> IP:
    """`"10.0.0.1"` or `"fd00::1"` to an IP. IPv4-mapped IPv6 addresses become IPv4, as everywhere in the Go plugins.

    Raises:
        ValueError: the text is not an address.
    """
    for family in (AF_INET, AF_INET6):
        try:
            packed = inet_pton(family, text)
        except (OSError, ValueError):
            continue
        mapped = len(packed) == 16 and packed[:12] == bytes(10) + b"\xff\xff"
        return IP(packed[12:] if mapped else packed)
    raise ValueError(f"{text!r} is not an IP address (examples: 10.0.0.1, fd00::1)")


def parse_prefix(text: str) -> Prefix:
    """`"10.1.0.5/16"` to a Prefix, host bits kept.

    Raises:
        ValueError: not an address, a slash and a length within the address's width.
    """
    address_text, slash, length_text = text.partition("/")
    try:
        address = parse_ip(address_text)
    except ValueError:
        raise ValueError(f"{text!r} is not an address with a prefix length (examples: 10.1.0.0/16, fd00::/64)") from None
    if not slash or not (length_text.isascii() and length_text.isdigit()) or int(length_text) > address.bits:
        raise ValueError(f"{text!r} needs a prefix length from 0 to {address.bits} after a slash")
    return Prefix(address, int(length_text))


def parse_mac(text: str) -> Mac:
    """`"aa:bb:cc:dd:ee:ff"` (or with dashes) to a Mac.

    Raises:
        ValueError: not six hexadecimal pairs.
    """
    pairs = text.replace("-", ":").split(":")
    try:
        if len(pairs) != 6 or any(len(pair) != 2 for pair in pairs):
            raise ValueError
        return Mac(bytes.fromhex("".join(pairs)))
    except ValueError:
        raise ValueError(f"{text!r} is not a MAC address (example: 0a:58:0a:f4:00:02)") from None
