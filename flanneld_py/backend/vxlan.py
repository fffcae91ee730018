"""vxlan: the kernel carries Ethernet frames between VTEPs in UDP (RFC 7348); who is where is pushed, never learned.

Per peer (flannel's pkg/backend/vxlan), each answering the question that the one before it raises:

    route      10.5.9.0/24 via 10.5.9.0 dev flannel.1 onlink     which VTEP has this pod?
    neighbour  10.5.9.0 lladdr VtepMAC permanent                 what is that VTEP's MAC?
    FDB        VtepMAC dst PublicIP self permanent               which node has that MAC?

The VTEP's address is the network address of the node's subnet. Its MAC outlives the device: it is taken from the device if there
is one, else from our own lease, so that peers need not be told anything new.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataplane.errors import ConfigError
from dataplane.inet import Mac, Prefix, parse_mac
from dataplane.state import PROTO_FLANNELD, SCOPE_UNIVERSE, Address, FdbEntry, Neighbor, Route, Sysctl, Vxlan
from flanneld_py.backend.common import unique
from flanneld_py.backend.host_gw import gateway_route

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dataplane.state import Object
    from flanneld_py.backend.common import Uplink
    from flanneld_py.conf import Options
    from flanneld_py.lease import Lease

OVERHEAD = 50  # outer 20 IPv4 + 8 UDP + 8 VXLAN, and the 14 of the inner Ethernet header
KERNEL_PORT = 8472  # Linux's default, older than IANA's 4789; flannel leaves it at that
LOWEST_MTU = 68  # RFC 791
LARGEST_VNI = (1 << 24) - 1


@dataclass(frozen=True, slots=True)
class VxlanBackend:
    """The settings of the configuration; mtu 0 is the uplink's."""

    vni: int = 1
    port: int = KERNEL_PORT
    gbp: bool = False
    learning: bool = False
    direct_routing: bool = False
    mtu: int = 0
    lease_type: str = "vxlan"
    tun_port: int | None = None

    @property
    def device(self) -> str | None:
        """See Backend."""
        return f"flannel.{self.vni}"

    def check(self, uplink: Uplink) -> None:
        """The outer packet must leave room for an inner one."""
        if self.network_mtu(uplink) < LOWEST_MTU:
            raise ConfigError("Backend: MTU", self.mtu or uplink.mtu, f"must be at least {LOWEST_MTU + OVERHEAD}")

    def network_mtu(self, uplink: Uplink) -> int:
        """See Backend."""
        return (self.mtu or uplink.mtu) - OVERHEAD

    def lease_data(self, found: Mac | None, previous: str, fresh: Mac) -> str:
        """VNI and VTEP MAC: of the device, else of the lease that we had, else a new one."""
        kept = vtep_mac(previous)
        mac = found or (kept if kept and _is_a_devices(kept) else fresh)
        return f'{{"VNI":{self.vni},"VtepMAC":"{mac}"}}'

    def refuses(self, lease: Lease, own: Lease) -> str | None:
        """See Backend."""
        mac = vtep_mac(lease.backend_data)
        if mac is None:
            return "its BackendData has no VtepMAC"
        if not _is_a_devices(mac):
            return f"its VtepMAC {mac} is not a device's"
        return f"its VtepMAC {mac} is our own; give every node its own" if mac == vtep_mac(own.backend_data) else None

    def desired(self, peers: Iterable[Lease], own: Lease, uplink: Uplink, network: Prefix) -> frozenset[Object]:
        """The device with its address, and what each peer needs."""
        device = f"flannel.{self.vni}"
        vtep = Vxlan(
            device,
            up=True,
            mtu=self.network_mtu(uplink),
            mac=vtep_mac(own.backend_data),
            vni=self.vni,
            port=self.port,
            local=uplink.public_ip,
            underlay=uplink.name,
            learning=self.learning,
            gbp=self.gbp or None,
        )
        address = Address(device, Prefix(own.subnet.first, 32))
        quiet = Sysctl(f"net/ipv6/conf/{device}/accept_ra", "0")  # a router of one pod network is not one for the node
        per_peer = (item for peer in peers for item in self._peer(peer, device, uplink))
        return unique((vtep, address, quiet, *per_peer))

    def _peer(self, peer: Lease, device: str, uplink: Uplink) -> Iterator[Object]:
        if self.direct_routing and uplink.reaches(peer.public_ip):
            yield gateway_route(peer, uplink)
            return
        gateway, mac = peer.subnet.first, vtep_mac(peer.backend_data)
        if mac is not None:
            yield Neighbor(device, gateway, mac)
            yield FdbEntry(device, mac, peer.public_ip)
            yield Route(peer.subnet, device, via=gateway, scope=SCOPE_UNIVERSE, protocol=PROTO_FLANNELD, onlink=True)


def vtep_mac(backend_data: str) -> Mac | None:
    """The MAC in a lease's BackendData, or None if there is no good one."""
    try:
        return parse_mac(_members(backend_data)["vtepmac"])
    except (ValueError, KeyError, AttributeError):
        return None


def vni_of(backend_data: str) -> int:
    """The VNI in a lease's BackendData; 1 where it says none that can be."""
    found = _members(backend_data).get("vni")
    return found if type(found) is int and 0 <= found <= LARGEST_VNI else 1


def _is_a_devices(mac: Mac) -> bool:
    """Not a group's, and not all zeros: that is the kernel's FDB entry for every MAC it does not know."""
    return not mac[0] & 1 and any(mac)


def _members(backend_data: str) -> dict[str, Any]:
    found = json.loads(backend_data) if backend_data else None
    return {name.lower(): value for name, value in found.items()} if isinstance(found, dict) else {}


def parse(options: Options) -> VxlanBackend:
    """The backend that a configuration describes.

    Raises:
        ConfigError: a key has a wrong type or value.
    """
    return VxlanBackend(
        vni=options.take_uint("VNI", 1, top=LARGEST_VNI),
        port=options.take_uint("Port", 0, top=65535) or KERNEL_PORT,
        gbp=options.take("GBP", bool, False),
        learning=options.take("Learning", bool, False),
        direct_routing=options.take("DirectRouting", bool, False),
        mtu=options.take_uint("MTU", 0, top=65535),
    )
