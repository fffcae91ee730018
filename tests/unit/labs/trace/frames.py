"""A ping from 10.244.1.2 on node1 to 10.244.2.2 on node2, as it looks on the devices of the three backends."""

from __future__ import annotations

from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

MARKER = b"0123456789abcdef"
NODE1_MAC, NODE2_MAC = "0a:58:c0:a8:32:0b", "0a:58:c0:a8:32:0c"
VTEP1_MAC, VTEP2_MAC = "ee:00:00:00:00:01", "ee:00:00:00:00:02"


def ping(ttl: int = 64, kind: int = 8, src: str = "10.244.1.2", dst: str = "10.244.2.2") -> Packet:
    return IP(src=src, dst=dst, ttl=ttl, proto=1) / ICMP(type=kind, id=7, seq=1) / Raw(MARKER)


def in_pod() -> bytes:
    return bytes(Ether(src="0a:00:00:00:00:01", dst="0a:00:00:00:00:02") / ping())


def bare() -> bytes:
    return bytes(ping(ttl=63))


def vtep() -> Packet:
    return Ether(src=VTEP1_MAC, dst=VTEP2_MAC) / ping(ttl=63)


def _between_nodes(port: int) -> Packet:
    outer = IP(src="192.168.50.11", dst="192.168.50.12", ttl=64)
    return Ether(src=NODE1_MAC, dst=NODE2_MAC) / outer / UDP(sport=40000, dport=port)


def in_vxlan() -> bytes:
    return bytes(_between_nodes(8472) / VXLAN(vni=1, flags=8) / vtep())


def in_udp() -> bytes:
    return bytes(_between_nodes(8285) / ping(ttl=63))


def host_gw() -> bytes:
    return bytes(Ether(src=NODE1_MAC, dst=NODE2_MAC) / ping(ttl=63))
