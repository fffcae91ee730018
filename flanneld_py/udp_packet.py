"""What the udp data path does to packets: check, decrement the TTL, answer with ICMP, look up the way. Pure.

The wire format is flannel's: a datagram's payload is one IPv4 packet and nothing else. Like flannel's proxy each end takes one
from the TTL (a ping that leaves a pod with 64 arrives with 60: one for each proxy and each host). Unlike it we look up the
longest prefix, drop what is malformed, answer when a TTL runs out, and refuse what a node may not send.

RFC 791 (IPv4), RFC 792 and RFC 1122 3.2.2 (ICMP), RFC 1624 (incremental checksum).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataplane.inet import IP

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dataplane.inet import Prefix

HEADER = 20
ICMP = 1
NET_UNREACHABLE, TIME_EXCEEDED, FRAGMENTATION_NEEDED = (3, 0), (11, 0), (3, 4)  # (type, code)
_ICMP_ERRORS = frozenset({3, 4, 5, 11, 12})
_FRAGMENT_OFFSET = 0x1FFF
_DONT_FRAGMENT = 0x40
_ICMP_TTL = 64


@dataclass(frozen=True, slots=True)
class Lookup:
    """Longest prefix match over subnets: one dictionary a prefix length, the longest first."""

    levels: tuple[tuple[int, dict[int, IP]], ...] = ()  # (host bits, network number -> node)

    @classmethod
    def of(cls, ways: Iterable[tuple[Prefix, IP]]) -> Lookup:
        """A table of (subnet, public IP of its node); of two with one subnet the later wins."""
        levels: dict[int, dict[int, IP]] = {}
        for subnet, node in ways:
            host_bits = 32 - subnet.length
            levels.setdefault(host_bits, {})[int(subnet.address) >> host_bits] = node
        return cls(tuple(sorted(levels.items())))

    def find(self, address: int) -> IP | None:
        """The node that has an address."""
        for host_bits, nodes in self.levels:
            node = nodes.get(address >> host_bits)
            if node is not None:
                return node
        return None


@dataclass(frozen=True, slots=True)
class Paths:
    """What a data path knows: replaced as a whole when leases change.

    own is our subnet, network the whole overlay; nodes leads from pod address to node.
    """

    network: Prefix
    own: Prefix
    nodes: Lookup = field(default_factory=Lookup)
    senders: frozenset[IP] = frozenset()

    @classmethod
    def of(cls, network: Prefix, own: Prefix, ways: Iterable[tuple[Prefix, IP]]) -> Paths:
        """The paths for (subnet, public IP) of each peer."""
        known = tuple(ways)
        return cls(network, own, Lookup.of(known), frozenset(node for _, node in known))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a packet: forwarded to `node` (None: into the kernel), answered to its sender, or dropped (neither)."""

    forward: bytes | None = None
    node: IP | None = None
    answer: bytes | None = None


DROP = Verdict()


def outbound(packet: bytes, paths: Paths) -> Verdict:
    """A packet from the TUN device on its way to another node."""
    if not well_formed(packet):
        return DROP
    node = paths.nodes.find(int.from_bytes(packet[16:20], "big"))
    if node is None:
        return Verdict(answer=icmp_error(packet, paths.own.first, NET_UNREACHABLE))
    if packet[8] <= 1:
        return Verdict(answer=icmp_error(packet, paths.own.first, TIME_EXCEEDED))
    return Verdict(forward=decremented(packet), node=node)


def inbound(datagram: bytes, sender: IP, paths: Paths) -> Verdict:
    """A datagram from the wire, by its outer source address.

    It must come from a node that we know and be for our subnet; a source inside the network must be that node's to use. Nodes may
    also send from addresses of their own, outside the network.
    """
    if sender not in paths.senders or not well_formed(datagram):
        return DROP
    source, destination = IP(datagram[12:16]), IP(datagram[16:20])
    spoofed = source in paths.network and paths.nodes.find(int(source)) != sender
    if spoofed or destination not in paths.own:
        return DROP
    if datagram[8] <= 1:
        # Sent back by the way that it came: the kernel routes it into the TUN device, and that to the sender.
        return Verdict(answer=icmp_error(datagram, paths.own.first, TIME_EXCEEDED))
    return Verdict(forward=decremented(datagram))


def well_formed(packet: bytes) -> bool:
    """Whether this is one whole IPv4 packet with a valid header."""
    if len(packet) < HEADER or packet[0] >> 4 != 4:
        return False
    header_len = (packet[0] & 15) * 4
    if header_len < HEADER or header_len > len(packet) or int.from_bytes(packet[2:4], "big") != len(packet):
        return False
    # 65536 is 1 modulo 65535: the number that the header spells has the same remainder as the sum of its 16-bit words
    return int.from_bytes(packet[:header_len], "big") % 0xFFFF == 0


def decremented(packet: bytes) -> bytes:
    """The packet with one less in the TTL, which must be above 0, and its checksum to match (RFC 1624, equation 3)."""
    checksum = int.from_bytes(packet[10:12], "big")
    # HC' = ~(~HC + ~m + m'); the word of TTL and protocol falls by 0x0100, and ~m + m' is ~0x0100
    total = (~checksum & 0xFFFF) + (~0x0100 & 0xFFFF)
    total = (total & 0xFFFF) + (total >> 16)
    return b"%b%c%c%b%b" % (packet[:8], packet[8] - 1, packet[9], (~total & 0xFFFF).to_bytes(2, "big"), packet[12:])


def checksum(words: bytes) -> int:
    """The Internet checksum (RFC 1071) of bytes whose own checksum field is zero."""
    padded = words + b"\0" * (len(words) % 2)
    total = int.from_bytes(padded, "big")
    rest = total % 0xFFFF
    return ~(rest or (0xFFFF if total else 0)) & 0xFFFF


def icmp_error(packet: bytes, source: IP, kind: tuple[int, int], mtu: int = 0) -> bytes | None:
    """An ICMP error about a well-formed packet, or None where RFC 1122 wants none.

    Args:
        packet: what it is about; its header and 8 bytes more are quoted.
        source: our address.
        kind: type and code.
        mtu: the next hop's, with FRAGMENTATION_NEEDED only.
    """
    if not _may_be_answered(packet):
        return None
    header_len = (packet[0] & 15) * 4
    body = bytes([*kind, 0, 0, 0, 0]) + mtu.to_bytes(2, "big") + packet[: header_len + 8]
    body = body[:2] + checksum(body).to_bytes(2, "big") + body[4:]
    head = bytes([0x45, 0xC0]) + (HEADER + len(body)).to_bytes(2, "big") + bytes([0, 0, 0, 0, _ICMP_TTL, ICMP, 0, 0])
    head += bytes(source) + packet[12:16]
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + body


def may_fragment(packet: bytes) -> bool:
    """Whether the sender lets routers cut the packet."""
    return not packet[6] & _DONT_FRAGMENT


def _may_be_answered(packet: bytes) -> bool:
    """Never about an ICMP error, a later fragment, or a packet that is from or to no single host."""
    if int.from_bytes(packet[6:8], "big") & _FRAGMENT_OFFSET:
        return False
    header_len = (packet[0] & 15) * 4
    if packet[9] == ICMP and (len(packet) <= header_len or packet[header_len] in _ICMP_ERRORS):
        return False
    single_source = packet[12] not in (0, 127) and packet[12] < 224
    return single_source and packet[16] < 224
