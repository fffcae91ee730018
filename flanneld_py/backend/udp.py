"""udp: the whole network is routed into a TUN device, and a process carries each packet to its node in a UDP datagram.

flannel's pkg/backend/udp. The kernel knows one route; which node has which subnet is known to the data path (udp_proxy.py).
Leases carry no BackendType.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataplane.errors import ConfigError
from dataplane.inet import Prefix
from dataplane.state import PROTO_FLANNELD, SCOPE_UNIVERSE, Address, Link, Route, Sysctl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dataplane.inet import Mac
    from dataplane.state import Object
    from flanneld_py.backend.common import Uplink
    from flanneld_py.conf import Options
    from flanneld_py.lease import Lease

DEVICE = "flannel0"
OVERHEAD = 28  # 20 IPv4 + 8 UDP
DEFAULT_PORT = 8285
LOWEST_MTU = 68  # RFC 791


@dataclass(frozen=True, slots=True)
class Udp:
    """The port is the same on every node; leases do not tell it."""

    tun_port: int | None = DEFAULT_PORT
    lease_type: str = ""
    device: str | None = DEVICE

    def check(self, uplink: Uplink) -> None:
        """The outer packet must leave room for an inner one."""
        if self.network_mtu(uplink) < LOWEST_MTU:
            raise ConfigError(f"MTU of {uplink.name}", uplink.mtu, f"must be at least {LOWEST_MTU + OVERHEAD}")

    def network_mtu(self, uplink: Uplink) -> int:
        """See Backend."""
        return uplink.mtu - OVERHEAD

    def lease_data(self, found: Mac | None, previous: str, fresh: Mac) -> str:
        """None: the public IP says it all."""
        return ""

    def refuses(self, lease: Lease, own: Lease) -> str | None:
        """See Backend."""
        return None

    def desired(self, peers: Iterable[Lease], own: Lease, uplink: Uplink, network: Prefix) -> frozenset[Object]:
        """The device's settings and the route of the whole network. The data path has made the device."""
        return frozenset(
            {
                Link(DEVICE, up=True, mtu=self.network_mtu(uplink)),
                Address(DEVICE, Prefix(own.subnet.first, 32)),
                # The data path's ICMP errors come out of the device from the device's own address, which the kernel calls martian.
                Sysctl(f"net/ipv4/conf/{DEVICE}/accept_local", "1"),
                Route(network, DEVICE, scope=SCOPE_UNIVERSE, protocol=PROTO_FLANNELD),
            }
        )


def parse(options: Options) -> Udp:
    """The backend that a configuration describes.

    Raises:
        ConfigError: a key has a wrong type or value.
    """
    return Udp(tun_port=options.take_uint("Port", DEFAULT_PORT, top=65535) or DEFAULT_PORT)
