"""What a ptp attachment wants of the kernel. Pure: ADD applies the difference, CHECK wants it empty.

    host       the veth's host end with <gateway>/32, and a route <ip>/32 to it for each address of the container
    container  the other end with <ip>/<length>; to the gateway directly, to everything else of the subnet through the gateway

So all traffic of the container goes through the host's routing, even to its neighbours of the same subnet. The route to the subnet
that the kernel makes with the address has to go.
"""

from __future__ import annotations

from cni.interface import forwarding
from cni.masquerade import desired_masquerade
from dataplane.errors import ConfigError
from dataplane.inet import Prefix
from dataplane.record import replace
from dataplane.state import PROTO_BOOT, PROTO_KERNEL, SCOPE_HOST, SCOPE_LINK, Address, Route, Veth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cni.attachment import Attachment
    from cni.ptp.conf import PtpConf
    from cni.result import IpConfig, Result
    from dataplane.inet import IP
    from dataplane.state import Object

CONTAINER_INDEX = 1  # in the result's interfaces: host end, container end


def with_interface(conf: PtpConf, result: Result) -> Result:
    """The IPAM's result with the interface index and the configuration's DNS.

    Raises:
        ConfigError: an address without a gateway: the host's end would have no address.
    """
    for ip in result.ips:
        if ip.gateway is None:
            raise ConfigError("ipam", str(ip.address), "ptp needs a gateway for each address; the IPAM gave none")
    return replace(result, ips=tuple(replace(ip, interface=CONTAINER_INDEX) for ip in result.ips), dns=conf.dns or result.dns)


def desired_host(conf: PtpConf, attachment: Attachment, result: Result, actual: Iterable[Object]) -> tuple[Object, ...]:
    """The host end with its addresses and routes, forwarding, masquerading."""
    families = {ip.address.version for ip in result.ips}
    addresses = [ip.address for ip in result.ips]
    masquerade = desired_masquerade(attachment.network, attachment.container_id, addresses, actual) if conf.ip_masq else ()
    return (
        _host_end(conf, attachment),
        *dict.fromkeys(_gateway(attachment.host_end, ip) for ip in result.ips),
        *(_to_container(attachment.host_end, ip) for ip in result.ips),
        *forwarding(families),
        *masquerade,
    )


def _host_end(conf: PtpConf, attachment: Attachment) -> Veth:
    return Veth(
        name=attachment.host_end,
        mtu=conf.mtu or None,
        peer=attachment.ifname,
        peer_netns=attachment.netns,
        peer_mtu=conf.mtu or None,
    )


def _gateway(host_end: str, ip: IpConfig) -> Address:
    gateway = _gateway_of(ip)
    return Address(host_end, _host_prefix(gateway), nodad=True if gateway.version == 6 else None)


def _to_container(host_end: str, ip: IpConfig) -> Route:
    address = ip.address.address
    scope = SCOPE_HOST if address.version == 4 else None
    return Route(_host_prefix(address), host_end, scope=scope, protocol=PROTO_BOOT)


def desired_container_routes(ifname: str, ips: Iterable[IpConfig]) -> tuple[Route, ...]:
    """To the gateway over the link, to the subnet through the gateway."""
    routes = []
    for ip in ips:
        address, gateway = ip.address.address, _gateway_of(ip)
        scope = SCOPE_LINK if address.version == 4 else None
        routes.append(Route(_host_prefix(gateway), ifname, src=address, scope=scope, protocol=PROTO_BOOT))
        if not ip.address.is_host:
            routes.append(Route(ip.address.network, ifname, via=gateway, src=address, protocol=PROTO_BOOT))
    return tuple({route.key: route for route in routes}.values())


def automatic_routes(ifname: str, ips: Iterable[IpConfig], actual: Iterable[Object]) -> tuple[Route, ...]:
    """The kernel's own routes to the subnets, which stand in the way."""
    subnets = {ip.address.network for ip in ips}
    return tuple(
        item
        for item in actual
        if isinstance(item, Route)
        and item.device == ifname
        and item.protocol == PROTO_KERNEL
        and item.dst in subnets
        and item.via is None
    )


def _gateway_of(ip: IpConfig) -> IP:
    if ip.gateway is None:
        raise ConfigError("ips", str(ip.address), "an address of a ptp network has a gateway")
    return ip.gateway


def _host_prefix(address: IP) -> Prefix:
    return Prefix(address, address.bits)
