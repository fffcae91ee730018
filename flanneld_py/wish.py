"""What this node should look like: the whole of it, from the configuration, the uplink and the leases. Pure.

Two parts, since they are read at different prices: the network costs one netlink dump and is compared at every event, the packet
filter costs a process and is compared every `-iptables-resync` seconds. flannel makes no use of `net.ipv4.ip_forward` and leaves
a node that does not forward in silence; we switch it on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataplane.ownership import Owner
from dataplane.record import record
from dataplane.state import BLACKHOLE, PROTO_BOOT, PROTO_FLANNELD, Address, Route, Sysctl
from flanneld_py import masq
from flanneld_py.backend.common import refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dataplane.inet import Prefix
    from dataplane.state import Object
    from flanneld_py.backend.common import Backend, Uplink
    from flanneld_py.lease import Lease

BLACKHOLE_METRIC = 4278198272  # behind every other route to our subnet, such as the bridge's own (metric 0)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the command line says about rules and routes."""

    ip_masq: bool = False
    random_fully: bool = True
    forward_rules: bool = True
    blackhole_route: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """All that is settled once the daemon has its lease.

    old_devices are those that an earlier configuration of this node made, and that go.
    """

    network: Prefix
    own: Lease
    backend: Backend
    uplink: Uplink
    rules: Rules
    old_devices: frozenset[str] = frozenset()


@record
class NetworkOwner(Owner):
    """What is ours by device name, or by route protocol inside our network; several daemons can share a machine so.

    A route that a Go flanneld left for a subnet we want to route carries no mark of ours (its protocol is boot, like a
    hand-made one's); it may be taken over, but is never removed for being there.
    """

    network: Prefix | None = None

    def owns(self, item: Object) -> bool:
        if isinstance(item, Route) and self.network and not (item.device and self._named(item.device)):
            return item.protocol == self.route_protocol and item.dst in self.network
        if isinstance(item, Address) and item.prefix.version == 6:
            return False  # the kernel's own link-local address
        return Owner.owns(self, item)

    def may_change(self, item: Object) -> bool:
        taken_over = (
            isinstance(item, Route) and item.protocol == PROTO_BOOT and self.network is not None and item.dst in self.network
        )
        return taken_over or Owner.may_change(self, item)


FILTER_OWNER = Owner(
    "flanneld",
    chains=frozenset({masq.MASQ_CHAIN, masq.FORWARD_CHAIN}),
    comments=frozenset({masq.MASQ_COMMENT, masq.FORWARD_COMMENT}),
    tables=masq.TABLES,
)


def network_owner(node: Node) -> NetworkOwner:
    """The marks of this node's network part."""
    devices = node.old_devices | ({node.backend.device} if node.backend.device else set())
    return NetworkOwner("flanneld", links=frozenset(devices), route_protocol=PROTO_FLANNELD, network=node.network)


def peers_of(node: Node, leases: Iterable[Lease]) -> tuple[Lease, ...]:
    """The leases that are followed, in the given order."""
    return tuple(lease for lease in leases if lease != node.own and refusal(node.backend, lease, node.own, node.network) is None)


def refused(node: Node, leases: Iterable[Lease]) -> dict[Lease, str]:
    """The leases of others that are not followed, each with the reason."""
    others = (lease for lease in leases if lease.subnet != node.own.subnet)
    reasons = {lease: refusal(node.backend, lease, node.own, node.network) for lease in others}
    return {lease: reason for lease, reason in reasons.items() if reason}


def desired_network(node: Node, leases: Iterable[Lease]) -> frozenset[Object]:
    """Devices, addresses, routes, neighbours, forwarding entries and settings."""
    wanted = node.backend.desired(peers_of(node, leases), node.own, node.uplink, node.network)
    blackhole = Route(node.own.subnet, protocol=PROTO_FLANNELD, metric=BLACKHOLE_METRIC, type=BLACKHOLE)
    forwarding = Sysctl("net/ipv4/ip_forward", "1")
    return wanted | {forwarding} | ({blackhole} if node.rules.blackhole_route else set())


def desired_filter(node: Node) -> frozenset[Object]:
    """Chains and rules."""
    nat = masq.masquerade(node.network, node.own.subnet, node.rules.random_fully) if node.rules.ip_masq else frozenset()
    return nat | (masq.forward(node.network) if node.rules.forward_rules else frozenset())
