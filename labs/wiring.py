"""The kernel objects that each machine's namespace starts with: the switch and its cables, addresses, default routes. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from dataplane.inet import IP, Prefix
from dataplane.ownership import Owner
from dataplane.state import Address, Bridge, Link, Object, Route, Sysctl, Veth
from labs.layout import SWITCH_DEVICE, Layout

_ANYWHERE = Prefix(IP(bytes(4)), 0)


def desired_wiring(layout: Layout) -> Mapping[str, frozenset[Object]]:
    """Objects by machine and pod; the switch first, since its cables bring the other machines their devices.

    A pod gets its loopback device up, as container runtimes do it; all else in it is the plugins'.
    """
    topology = layout.topology
    wiring = {topology.switch.name: _switch(layout), topology.outside.name: _outside(layout)}
    pods = {pod.name: frozenset({Link("lo")}) for pod in layout.pods}
    return {**wiring, **{node.name: _node(layout, node.name) for node in topology.nodes}, **pods}


def wiring_owner(items: frozenset[Object]) -> Owner:
    """In a namespace of a lab all devices are the lab's, but none is ever removed singly: they go with the namespace."""
    return Owner(name="podwire lab", settings=frozenset(item.name for item in items if isinstance(item, Link)))


def _switch(layout: Layout) -> frozenset[Object]:
    cables = [
        Veth(
            link.port,
            master=SWITCH_DEVICE,
            peer=link.device,
            peer_netns=layout.netns(link.machine),
            peer_mac=layout.mac_of(link.machine),
        )
        for link in layout.topology.links
    ]
    return frozenset({Bridge(SWITCH_DEVICE), *cables})


def _outside(layout: Layout) -> frozenset[Object]:
    outside = layout.topology.outside
    return frozenset({*_uplink(layout, outside.name), Address("lo", Prefix(outside.address, 32))})


def _node(layout: Layout, node: str) -> frozenset[Object]:
    device = layout.topology.link_of(node).device
    return frozenset(
        {
            *_uplink(layout, node),
            Route(_ANYWHERE, device, via=layout.gateway),
            Sysctl("net/ipv4/ip_forward", "1"),
        }
    )


def _uplink(layout: Layout, machine: str) -> tuple[Object, ...]:
    device = layout.topology.link_of(machine).device
    return Link("lo"), Link(device), Address(device, layout.address_of(machine))
