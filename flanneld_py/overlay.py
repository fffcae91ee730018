"""The node's wish at any moment, with what has to be done before it can hold: the data path of backend udp."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dataplane.state import Sysctl
from flanneld_py import host
from flanneld_py.udp_packet import Paths
from flanneld_py.udp_proxy import UdpProxy
from flanneld_py.wish import desired_network, peers_of, refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataplane.state import Object
    from flanneld_py.lease import Lease
    from flanneld_py.wish import Node

log = logging.getLogger(__name__)


class Overlay:
    """Asked by the network's keeper, in its thread.

    Args:
        node: what is settled.
        leases: everybody's, at this moment.
    """

    def __init__(self, node: Node, leases: Callable[[], tuple[Lease, ...]]) -> None:
        self._node, self._leases = node, leases
        self._refused: dict[Lease, str] = {}
        self._wished: tuple[tuple[Lease, ...], frozenset[Object]] | None = None
        self._path: UdpProxy | None = None
        if node.backend.tun_port and node.backend.device:
            own_paths = Paths.of(node.network, node.own.subnet, ())
            self._path = UdpProxy(node.backend.device, node.uplink.address, node.backend.tun_port, own_paths)

    def wish(self) -> frozenset[Object]:
        """Everything wanted now.

        Raises:
            KernelError: the data path cannot be opened.
        """
        leases = self._leases()
        if self._wished is None or self._wished[0] is not leases:  # most turns come from the kernel's side
            self._wished = leases, self._follow(leases)
        if self._path:
            self._path.ensure()
        return self._wished[1]

    def close(self) -> None:
        """Stop the data path."""
        if self._path:
            self._path.stop()

    def _follow(self, leases: tuple[Lease, ...]) -> frozenset[Object]:
        self._tell_refused(leases)
        if self._path:
            ways = ((peer.subnet, peer.public_ip) for peer in peers_of(self._node, leases))
            self._path.use(Paths.of(self._node.network, self._node.own.subnet, ways))
        wanted = desired_network(self._node, leases)
        return wanted if host.has_ipv6() else frozenset(item for item in wanted if not _about_ipv6(item))

    def _tell_refused(self, leases: tuple[Lease, ...]) -> None:
        found = refused(self._node, leases)
        for lease, reason in found.items():
            if self._refused.get(lease) != reason:
                log.warning(
                    "lease not followed subnet=%s public_ip=%s not_followed=%d reason=%s",
                    lease.subnet,
                    lease.public_ip,
                    len(found),
                    reason,
                )
        self._refused = found


def _about_ipv6(item: Object) -> bool:
    return isinstance(item, Sysctl) and item.name.startswith("net/ipv6/")
