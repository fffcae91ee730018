"""host-gw: a plain route to each node's subnet by way of that node. No encapsulation; the nodes must share a link.

flannel's pkg/backend/hostgw and route_network.go. The kernel refuses a route whose gateway is not a neighbour; such a peer is
reported and tried again while all others work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataplane.errors import ConfigError
from dataplane.state import PROTO_FLANNELD, SCOPE_UNIVERSE, Route
from flanneld_py.backend.common import unique

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dataplane.inet import Mac, Prefix
    from dataplane.state import Object
    from flanneld_py.backend.common import Uplink
    from flanneld_py.conf import Options
    from flanneld_py.lease import Lease


@dataclass(frozen=True, slots=True)
class HostGw:
    """It has no settings."""

    lease_type: str = "host-gw"
    device: str | None = None
    tun_port: int | None = None

    def check(self, uplink: Uplink) -> None:
        """A route needs the gateway's address on the link, so the public address must be it."""
        if uplink.public_ip != uplink.address:
            rule = f"must be the address of {uplink.name}, {uplink.address}: host-gw does not work behind NAT; use vxlan"
            raise ConfigError("-public-ip", str(uplink.public_ip), rule)

    def network_mtu(self, uplink: Uplink) -> int:
        """See Backend."""
        return uplink.mtu

    def lease_data(self, found: Mac | None, previous: str, fresh: Mac) -> str:
        """None: the public IP says it all."""
        return ""

    def refuses(self, lease: Lease, own: Lease) -> str | None:
        """See Backend."""
        return None

    def desired(self, peers: Iterable[Lease], own: Lease, uplink: Uplink, network: Prefix) -> frozenset[Object]:
        """One route per peer, straight to the node that holds the subnet."""
        return unique(gateway_route(peer, uplink) for peer in peers)


def gateway_route(peer: Lease, uplink: Uplink) -> Route:
    """The way to a peer's subnet by the peer itself."""
    return Route(peer.subnet, uplink.name, via=peer.public_ip, scope=SCOPE_UNIVERSE, protocol=PROTO_FLANNELD)


def parse(options: Options) -> HostGw:
    """The backend that a configuration describes."""
    return HostGw()
