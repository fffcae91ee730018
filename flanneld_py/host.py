"""What the daemon asks its machine at the start: devices, addresses, the default route, and things that a pod network needs."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from typing import TYPE_CHECKING

from dataplane.drivers.host import HostKernel
from dataplane.drivers.netlink import NetlinkDriver
from dataplane.inet import IP, Mac
from dataplane.ownership import Scope
from dataplane.state import UNICAST, Address, Link, Route
from flanneld_py.uplink import Choice, Facts

if TYPE_CHECKING:
    from collections.abc import Iterable

SIOCGIFADDR = 0x8915
BRIDGE_FILTER = "/proc/sys/net/bridge/bridge-nf-call-iptables"
IPV6 = "/proc/sys/net/ipv6"


def read_facts() -> Facts:
    """What an uplink is chosen from.

    Raises:
        KernelError: the kernel does not tell.
    """
    everything = Scope(links=frozenset("*"), devices=frozenset("*"), routes=frozenset({4}))
    with HostKernel() as kernel:
        found = kernel.read(everything)
    addresses = [item for item in found if isinstance(item, Address)]
    primaries = {device: _primary_address(device) for device in {item.device for item in addresses}}
    addresses.sort(key=lambda item: (item.device, item.prefix.address != primaries[item.device], item.prefix.address))
    return Facts(
        mtus={item.name: item.mtu or 0 for item in sorted(_links(found), key=lambda link: link.name)},
        addresses=tuple((item.device, item.prefix) for item in addresses),
        default_device=_default_device(item for item in found if isinstance(item, Route)),
        way_to=_way_to,
    )


def link_of(device: str) -> Link | None:
    """A device, or None if there is none of that name. Raises KernelError."""
    with HostKernel() as kernel:
        return next((link for link in _links(kernel.read(Scope(links=frozenset({device}))))), None)


def fresh_mac() -> Mac:
    """A random MAC: locally administered, not a group's."""
    first, *rest = os.urandom(6)
    return Mac(bytes([first & 0xFE | 0x02, *rest]))


def bridges_are_filtered() -> bool:
    """Whether iptables sees packets between two ports of one bridge (module br_netfilter)."""
    return os.path.exists(BRIDGE_FILTER)


def has_ipv6() -> bool:
    """Whether this kernel speaks IPv6 at all."""
    return os.path.exists(IPV6)


def _links(found: Iterable[object]) -> list[Link]:
    return [item for item in found if isinstance(item, Link)]


def _default_device(routes: Iterable[Route]) -> str | None:
    defaults = [route for route in routes if route.dst.is_default and route.type == UNICAST and route.device]
    return min(defaults, key=lambda route: route.metric).device if defaults else None


def _primary_address(device: str) -> IP | None:
    """The address that the kernel has in the first place; netlink answers reach us without their order."""
    request = struct.pack("16sH14x", device.encode(), socket.AF_INET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        try:
            return IP(fcntl.ioctl(asker, SIOCGIFADDR, request)[20:24])
        except OSError:
            return None


def _way_to(address: IP) -> Choice | None:
    netlink = NetlinkDriver()
    try:
        route = netlink.route_to(address)
    finally:
        netlink.close()
    return (route.device, route.src) if route and route.device else None
