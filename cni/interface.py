"""The container's side of an attachment, as ipam.ConfigureIface of the reference sets it up. Pure."""

from __future__ import annotations

from dataplane.errors import ConfigError
from dataplane.state import PROTO_BOOT, TABLE_MAIN, Address, Route, Sysctl, Veth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cni.result import IpConfig, Result, RouteConfig
    from dataplane.inet import IP, Mac, Prefix
    from dataplane.state import Object

_NO_BROADCAST_FROM = 31  # a /31 or /32 has no broadcast address (RFC 3021)
_IPV6_DEFAULT_METRIC = 1024  # is what "no priority" means in IPv6, and reads as 0 here


def addresses_of(result: Result, ifname: str, sandbox: str) -> tuple[IpConfig, ...]:
    """The addresses of a result that belong to the container's interface; those that name no interface do, too."""
    ours = {i for i, item in enumerate(result.interfaces) if item.name == ifname and item.sandbox in (sandbox, "") and item.sandbox}
    return tuple(ip for ip in result.ips if ip.interface is None or ip.interface in ours)


def desired_addresses(ifname: str, ips: Iterable[IpConfig], nodad: bool, mac: Mac | None = None) -> tuple[Object, ...]:
    """The interface, up, with its addresses."""
    return (Veth(ifname, mac=mac), *(desired_address(ifname, ip.address, nodad) for ip in ips))


def desired_address(device: str, prefix: Prefix, nodad: bool) -> Address:
    """An address as the reference sets it: in IPv4 with the broadcast address of its subnet."""
    if prefix.version == 6:
        return Address(device, prefix, nodad=nodad or None)
    return Address(device, prefix, broadcast=prefix.last if prefix.length < _NO_BROADCAST_FROM else None)


def desired_routes(ifname: str, ips: Iterable[IpConfig], routes: Iterable[RouteConfig]) -> tuple[Route, ...]:
    """The routes of the IPAM; one without a gateway goes through the first address's of its family.

    Raises:
        ConfigError: two different routes to one destination with one priority: only one of them could be.
    """
    gateways: dict[int, IP] = {}
    for ip in ips:
        if ip.gateway is not None:
            gateways.setdefault(ip.address.version, ip.gateway)
    made: dict[object, Route] = {}
    for config in routes:
        route = _route(ifname, config, config.gw or gateways.get(config.dst.version))
        if made.setdefault(route.key, route) != route:
            raise ConfigError(
                "routes", f"{config.dst} via {route.via}", "another route has this destination and priority; set `priority`"
            )
    return tuple(made.values())


def first_wins(routes: Iterable[Route], actual: Iterable[Object]) -> tuple[Route, ...]:
    """The routes without those whose place is held by another device of the container: with two attachments that both bring a
    default route the earlier one's stays, as with the reference up to 1.1."""
    held = {item.key: item.device for item in actual if isinstance(item, Route)}
    return tuple(route for route in routes if held.get(route.key) in (None, route.device))


def _route(ifname: str, config: RouteConfig, via: IP | None) -> Route:
    version = config.dst.version
    return Route(
        dst=config.dst.network,
        device=ifname,
        via=via,
        scope=config.scope if version == 4 else None,
        protocol=PROTO_BOOT,
        metric=0 if version == 6 and config.priority == _IPV6_DEFAULT_METRIC else config.priority,
        table=TABLE_MAIN if config.table is None else config.table,
        mtu=config.mtu or None,
        advmss=config.advmss or None,
    )


def settings(ifname: str, has_ipv6: bool, wants_ipv6: bool, enable_dad: bool | None) -> tuple[Sysctl, ...]:
    """Kernel settings of the interface.

    arp_notify sends the gratuitous ARP when the link comes up. `enable_dad` None leaves duplicate address detection alone.

    Args:
        has_ipv6: whether this kernel has IPv6 at all.
        wants_ipv6: whether an IPv6 address is to be added.
    """
    ipv6 = f"net/ipv6/conf/{ifname}"
    made = [] if enable_dad is None else [Sysctl(f"net/ipv4/conf/{ifname}/arp_notify", "1")]
    if has_ipv6 and enable_dad is not None:
        made += [Sysctl(f"{ipv6}/enhanced_dad", "1")] if enable_dad else []
        made += [Sysctl(f"{ipv6}/accept_dad", "1" if enable_dad else "0")]
    if wants_ipv6:
        made += [
            Sysctl("net/ipv6/conf/lo/disable_ipv6", "0"),
            Sysctl(f"{ipv6}/disable_ipv6", "0"),
            Sysctl(f"{ipv6}/keep_addr_on_down", "1"),
        ]
    return tuple(made)


def forwarding(families: Iterable[int]) -> tuple[Sysctl, ...]:
    """The switches that make the host a router for the families."""
    names = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}
    return tuple(Sysctl(names[family], "1") for family in sorted(set(families)))
