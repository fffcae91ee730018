"""Octets to layers, for each way that a packet travels."""

from __future__ import annotations

import pytest

from labs.trace.decode import decode
from labs.trace.hop import Layer
from tests.unit.labs.trace import frames

PING = ["IPv4 10.244.1.2 10.244.2.2 63 ICMP", "ICMP echo-request 7 1"]
NODES = f"Ethernet {frames.NODE1_MAC} {frames.NODE2_MAC}"
OUTER = "IPv4 192.168.50.11 192.168.50.12 64 UDP"


def words(layer: Layer) -> str:
    return " ".join((layer.name, *(value for _, value in layer.fields)))


@pytest.mark.parametrize(
    ("octets", "ethernet", "layers"),
    [
        (frames.host_gw(), True, [NODES, *PING]),
        (frames.bare(), False, PING),
        (frames.in_udp(), True, [NODES, OUTER, "UDP 40000 8285", *PING]),
        (
            frames.in_vxlan(),
            True,
            [NODES, OUTER, "UDP 40000 8472", "VXLAN 1", f"Ethernet {frames.VTEP1_MAC} {frames.VTEP2_MAC}", *PING],
        ),
        (frames.host_gw()[:14], True, [NODES]),
    ],
)
def test_layers_are_found_from_the_outside_in(octets: bytes, ethernet: bool, layers: list[str]) -> None:
    assert [words(layer) for layer in decode(octets, ethernet)] == layers
