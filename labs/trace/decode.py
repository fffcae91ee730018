"""A frame's octets to its layers, by scapy. Pure.

Encapsulations are told by UDP destination port, as their receivers do it: 8472 is VXLAN (RFC 7348 with Linux's port), 8285 is
flannel's `udp` backend, whose datagram is one IPv4 packet and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet

from labs.trace.hop import Layer

VXLAN_PORT, FLANNEL_UDP_PORT = 8472, 8285
_ENCAPSULATIONS: dict[int, type[Packet]] = {VXLAN_PORT: VXLAN, FLANNEL_UDP_PORT: IP}
_ICMP_TYPES = {0: "echo-reply", 3: "unreachable", 8: "echo-request", 11: "time-exceeded"}
_PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP"}


def _ethernet(packet: Any) -> tuple[tuple[str, str], ...]:
    return ("src", packet.src), ("dst", packet.dst)


def _ipv4(packet: Any) -> tuple[tuple[str, str], ...]:
    return (
        ("src", packet.src),
        ("dst", packet.dst),
        ("ttl", str(packet.ttl)),
        ("protocol", _PROTOCOLS.get(packet.proto, str(packet.proto))),
    )


def _udp(packet: Any) -> tuple[tuple[str, str], ...]:
    return ("sport", str(packet.sport)), ("dport", str(packet.dport))


def _vxlan(packet: Any) -> tuple[tuple[str, str], ...]:
    return (("vni", str(packet.vni)),)


def _icmp(packet: Any) -> tuple[tuple[str, str], ...]:
    kind = _ICMP_TYPES.get(packet.type, str(packet.type))
    return ("type", kind), ("id", str(packet.id)), ("seq", str(packet.seq))


_LAYERS: dict[type[Packet], tuple[str, Callable[[Any], tuple[tuple[str, str], ...]]]] = {
    Ether: ("Ethernet", _ethernet),
    IP: ("IPv4", _ipv4),
    UDP: ("UDP", _udp),
    VXLAN: ("VXLAN", _vxlan),
    ICMP: ("ICMP", _icmp),
}


def decode(octets: bytes, ethernet: bool) -> tuple[Layer, ...]:
    """The layers from the outside in, as far as they are known.

    Args:
        octets: the whole frame, or the whole packet.
        ethernet: whether it begins with an Ethernet header, and not with IPv4.
    """
    layers: list[Layer] = []
    packet: Any = (Ether if ethernet else IP)(octets)
    while type(packet) in _LAYERS:
        name, fields = _LAYERS[type(packet)]
        layers.append(Layer(name, fields(packet)))
        packet = _inside(packet)
    return tuple(layers)


def _inside(packet: Any) -> Any:
    if isinstance(packet, UDP) and packet.dport in _ENCAPSULATIONS:
        return _ENCAPSULATIONS[packet.dport](bytes(packet.payload))
    return packet.payload
