"""Kernel objects as frozen values: links, addresses, routes, neighbours, forwarding entries, sysctls.

One class serves both sides. In a wish, `None` means "whatever it is"; in what was read from the kernel it means "not told".
Every value has a `key`: two values with one key describe the same object, and only one of them can be true.

    KIND_RANK      order across kinds when writing (see plan.py)
    CREATE_ONLY    fields that matter when the object is made and cannot be read back
    FIXED          fields that the kernel does not change on a living object: another value means delete and make anew
"""

from __future__ import annotations

from dataplane.inet import IP, Mac, Prefix
from dataplane.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable
    from typing import ClassVar

# rt_scope and rt_protos, from <linux/rtnetlink.h>
SCOPE_UNIVERSE, SCOPE_LINK, SCOPE_HOST = 0, 253, 254
PROTO_KERNEL, PROTO_BOOT, PROTO_STATIC = 2, 3, 4
PROTO_BGP_AGENT, PROTO_FLANNELD = 80, 84  # 80 is Calico's (BIRD there); 84 is free in /etc/iproute2/rt_protos
TABLE_MAIN = 254
UNICAST, LOCAL, BLACKHOLE = 1, 2, 6  # rtm_type
IP6_RT_PRIO_USER = 1024  # what the kernel makes of an IPv6 route's metric 0

# IPv6 has no scopes of routes, and works out that of an address. A route's metric is compared with its key.
_UNTOLD_IPV6_ADDRESS = frozenset({"nodad", "scope"})
_UNTOLD_IPV6_ROUTE = frozenset({"scope", "metric"})


class Object:
    """What all kernel objects share: a key, and the tables that say how fields behave."""

    CREATE_ONLY: ClassVar[frozenset[str]] = frozenset()
    FIXED: ClassVar[frozenset[str]] = frozenset()
    FIELDS: ClassVar[tuple[str, ...]] = ()

    @property
    def key(self) -> Hashable:
        raise TypeError(f"{type(self).__name__} has no key")  # every kind below has one

    @property
    def dev(self) -> str | None:
        """The device that the object hangs on and goes away with."""
        return None

    @property
    def untold(self) -> frozenset[str]:
        """Fields of this wish that the kernel does not tell back as they were wished for; they are not compared."""
        return self.CREATE_ONLY


@record
class Link(Object):
    """A network device. As itself: one that somebody else makes (`lo`, the uplink) and that only needs settings."""

    name: str
    up: bool | None = True
    mtu: int | None = None
    mac: Mac | None = None
    master: str | None = None  # "" means: no master
    promisc: bool | None = None
    hairpin: bool | None = None  # bridge port flags; only with a master
    isolated: bool | None = None

    @property
    def key(self) -> Hashable:
        return ("link", self.name)


@record
class Bridge(Link):
    """A Linux bridge."""


@record
class Veth(Link):
    """One end of a veth pair. Its peer is made with it, and goes with it.

    peer_netns is the path of the namespace that the peer is born in; None is this one.
    """

    peer: str | None = None
    peer_netns: str | None = None
    peer_mac: Mac | None = None
    peer_mtu: int | None = None

    CREATE_ONLY = frozenset({"peer", "peer_netns", "peer_mac", "peer_mtu"})


@record
class Vxlan(Link):
    """A VXLAN device (RFC 7348) whose peers are programmed, not learned, unless `learning` says otherwise."""

    vni: int = 1
    port: int | None = None  # UDP destination port; None is the kernel's default, 8472
    local: IP | None = None  # outer source address
    underlay: str | None = None  # device that outer packets leave by
    learning: bool | None = False
    gbp: bool | None = None

    FIXED = frozenset({"vni", "port", "local", "underlay", "gbp", "learning"})


@record
class Ipip(Link):
    """An IPv4-in-IPv4 tunnel (RFC 2003); with no remote, the route says where to."""

    local: IP | None = None
    remote: IP | None = None
    ttl: int | None = None

    FIXED = frozenset({"local", "remote", "ttl"})


@record
class Address(Object):
    """An address on a device."""

    device: str
    prefix: Prefix
    broadcast: IP | None = None
    scope: int | None = None
    nodad: bool | None = None  # IPv6: usable at once, without duplicate address detection

    CREATE_ONLY = frozenset({"nodad"})

    @property
    def key(self) -> Hashable:
        return ("address", self.device, self.prefix)

    @property
    def dev(self) -> str | None:
        return self.device

    @property
    def untold(self) -> frozenset[str]:
        return self.CREATE_ONLY if self.prefix.version == 4 else _UNTOLD_IPV6_ADDRESS


@record
class Route(Object):
    """A route. `onlink` says that `via` is reachable on the device although no address of it covers `via`."""

    dst: Prefix
    device: str | None = None
    via: IP | None = None
    src: IP | None = None
    scope: int | None = None
    protocol: int | None = None
    onlink: bool | None = None
    metric: int = 0  # IPv6: 0 and 1024 are one; the kernel stores 1024
    table: int = TABLE_MAIN
    type: int = UNICAST
    mtu: int | None = None
    advmss: int | None = None

    @property
    def key(self) -> Hashable:
        metric = self.metric if self.metric or len(self.dst.address) == 4 else IP6_RT_PRIO_USER
        return ("route", self.table, self.dst, metric)

    @property
    def dev(self) -> str | None:
        return self.device

    @property
    def untold(self) -> frozenset[str]:
        return self.CREATE_ONLY if self.dst.version == 4 else _UNTOLD_IPV6_ROUTE


@record
class Neighbor(Object):
    """A permanent neighbour entry (ARP in IPv4, NDP in IPv6): address to MAC."""

    device: str
    ip: IP
    mac: Mac

    @property
    def key(self) -> Hashable:
        return ("neighbor", self.device, self.ip)

    @property
    def dev(self) -> str | None:
        return self.device


@record
class FdbEntry(Object):
    """A permanent forwarding entry of a VXLAN device: inner destination MAC to outer destination address."""

    device: str
    mac: Mac
    dst: IP

    @property
    def key(self) -> Hashable:
        return ("fdb", self.device, self.mac)

    @property
    def dev(self) -> str | None:
        return self.device


@record
class Sysctl(Object):
    """A kernel setting, named by its path below /proc/sys: `net/ipv4/ip_forward`."""

    name: str
    value: str

    @property
    def key(self) -> Hashable:
        return ("sysctl", self.name)

    @property
    def dev(self) -> str | None:
        parts = self.name.split("/")
        if len(parts) > 4 and parts[0] == "net" and parts[2] in ("conf", "neigh") and parts[3] not in ("all", "default"):
            return parts[3]
        return None


def agrees(wanted: Object, found: Object) -> bool:
    """Whether what was found satisfies the wish: same kind, and every field that the wish names has its value."""
    return not differing(wanted, found)


def differing(wanted: Object, found: Object) -> tuple[str, ...]:
    """Names of the fields in which `found` falls short of the wish; `("kind",)` if it is another kind of thing.

    A plain Link is a wish about any kind of device.
    """
    if type(wanted) is not type(found) and not (type(wanted) is Link and isinstance(found, Link)):
        return ("kind",)
    have, untold = found.__dict__, wanted.untold
    return tuple(
        name for name, value in wanted.__dict__.items() if value is not None and name not in untold and have[name] != value
    )
