"""What all backends share: the node's uplink, the shape of a backend, and which leases a node may follow.

A lease comes from the network: it is checked here before anything is programmed from it. One whose subnet lies outside the
network, or covers a part of our own, would pull away traffic that is none of its business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dataplane.inet import IP, Mac, Prefix
    from dataplane.state import Object
    from flanneld_py.lease import Lease

NO_HOST = frozenset(
    {0, 127, *range(224, 256)}
)  # first bytes of addresses: "this network", loopback, multicast, reserved, broadcast


@dataclass(frozen=True, slots=True)
class Uplink:
    """The device that leads to the other nodes.

    address is the device's own, public_ip the one that others reach us by; they differ behind NAT.
    on_link holds the prefixes that the device reaches without a gateway.
    """

    name: str
    mtu: int
    address: IP
    public_ip: IP
    on_link: tuple[Prefix, ...] = ()

    def reaches(self, address: IP) -> bool:
        """Whether `address` is a neighbour on this device."""
        return any(address in prefix for prefix in self.on_link)


class Backend(Protocol):
    """A way to carry packets to other nodes; its fields are what the network configuration says of it. Pure."""

    @property
    def lease_type(self) -> str:
        """BackendType in leases."""
        ...

    @property
    def device(self) -> str | None:
        """The device that it makes."""
        ...

    @property
    def tun_port(self) -> int | None:
        """UDP port of a data path in this process, behind `device` as a TUN device; None where the kernel carries packets."""
        ...

    def check(self, uplink: Uplink) -> None:
        """Raises ConfigError when it cannot work over this uplink."""
        ...

    def network_mtu(self, uplink: Uplink) -> int:
        """The largest packet of a pod, in bytes."""
        ...

    def lease_data(self, found: Mac | None, previous: str, fresh: Mac) -> str:
        """BackendData of our own lease.

        Args:
            found: MAC of the device if it exists.
            previous: BackendData of the lease that we had, or "".
            fresh: a MAC that nobody has.
        """
        ...

    def refuses(self, lease: Lease, own: Lease) -> str | None:
        """Why a peer's lease cannot be used beside our own, or None."""
        ...

    def desired(self, peers: Iterable[Lease], own: Lease, uplink: Uplink, network: Prefix) -> frozenset[Object]:
        """Everything that this backend wants in the kernel. Of peers that claim the same thing the later one wins."""
        ...


def refusal(backend: Backend, lease: Lease, own: Lease, network: Prefix) -> str | None:
    """Why another node's lease is not followed, in words for the log; None if it is."""
    if lease.backend_type != backend.lease_type:
        return f"backend {lease.backend_type or 'udp'} is not ours"
    if lease.subnet.length == 0 or lease.subnet not in network:
        return f"the subnet is outside the network {network}"
    if lease.subnet.overlaps(own.subnet):
        return f"the subnet overlaps our own, {own.subnet}"
    if lease.public_ip[0] in NO_HOST:
        return f"public IP {lease.public_ip} cannot be another node"
    if lease.public_ip == own.public_ip:
        return f"public IP {lease.public_ip} is our own"
    return backend.refuses(lease, own)


def unique(items: Iterable[Object]) -> frozenset[Object]:
    """One object a key, the last one."""
    return frozenset({item.key: item for item in items}.values())
