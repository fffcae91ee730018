"""What a bridge attachment wants of the kernel. Pure: ADD applies the difference, CHECK wants it empty.

host       bridge (up, with a MAC of its own), the veth's host end as its port, gateway addresses, forwarding, masquerading
container  the veth's other end, with addresses and routes
"""

from __future__ import annotations

from cni.interface import desired_address, forwarding
from cni.masquerade import desired_masquerade
from cni.result import IpConfig, Result, RouteConfig
from dataplane.errors import ConfigError
from dataplane.inet import IP, Mac, Prefix
from dataplane.plan import SET, Op
from dataplane.record import replace
from dataplane.state import Address, Bridge, Link, Sysctl, Veth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cni.attachment import Attachment
    from cni.bridge.conf import BridgeConf
    from dataplane.state import Object

CONTAINER_INDEX = 2  # in the result's interfaces: bridge, host end, container end
_NO_MAC = bytes(6)


def with_gateways(conf: BridgeConf, result: Result) -> Result:
    """The IPAM's result with what the bridge adds: the interface index, gateways, default routes, DNS of the configuration.

    A default route that the IPAM gives, with a gateway or without, is not given twice.
    """
    ips = tuple(replace(ip, interface=CONTAINER_INDEX, gateway=_gateway(conf, ip)) for ip in result.ips)
    routes = list(result.routes)
    if conf.is_default_gateway:
        have = {route.dst.version for route in routes if route.dst.is_default}
        routes += [RouteConfig(_default(ip.gateway), ip.gateway) for ip in _first_each(ips, have) if ip.gateway is not None]
    return replace(result, ips=ips, routes=tuple(routes), dns=conf.dns or result.dns)


def _gateway(conf: BridgeConf, ip: IpConfig) -> IP | None:
    """The IPAM's, or else the subnet's first address; of the two of a /31 or /127 (RFC 3021, RFC 6164) the one that is left.

    Raises:
        ConfigError: it would be the container's own address, or the subnet has none.
    """
    if ip.gateway is not None or not conf.is_gateway:
        return ip.gateway
    prefix = ip.address
    if prefix.length == prefix.address.bits - 1:
        return prefix.first if prefix.address == prefix.last else prefix.last
    if prefix.is_host or prefix.address == prefix.first + 1:
        raise ConfigError("ipam", str(prefix), "leaves no address to the bridge as the gateway; have the IPAM name one")
    return prefix.first + 1


def _default(gateway: IP) -> Prefix:
    return Prefix(IP(bytes(len(gateway))), 0)


def _first_each(ips: Iterable[IpConfig], have: set[int]) -> list[IpConfig]:
    """The first address of each family that `have` does not contain."""
    found: dict[int, IpConfig] = {}
    for ip in ips:
        if ip.address.version not in have:
            found.setdefault(ip.address.version, ip)
    return list(found.values())


def desired_host(conf: BridgeConf, attachment: Attachment, result: Result, actual: Iterable[Object]) -> tuple[Object, ...]:
    """Everything on the host's side but the bridge itself (see `desired_bridge`).

    Args:
        result: with gateways.
        actual: what was read; of it, the chains that another attachment of this container may share.
    """
    families = {ip.address.version for ip in result.ips}
    masquerade: tuple[Object, ...] = ()
    if conf.ip_masq and result.ips:
        masquerade = desired_masquerade(attachment.network, attachment.container_id, [ip.address for ip in result.ips], actual)
    return (
        _port(conf, attachment),
        *gateway_addresses(conf, result),
        *(forwarding(families) if conf.is_gateway else ()),
        *masquerade,
    )


def _port(conf: BridgeConf, attachment: Attachment) -> Veth:
    return Veth(
        name=attachment.host_end,
        master=conf.bridge,
        hairpin=conf.hairpin,
        isolated=conf.port_isolation,
        mtu=conf.mtu or None,
        peer=attachment.ifname,
        peer_netns=attachment.netns,
        peer_mac=conf.mac,
        peer_mtu=conf.mtu or None,
    )


def desired_bridge(conf: BridgeConf, found: Link | None, new_mac: Mac | None) -> Bridge:
    """The bridge. Its MTU is only set when it is made.

    A bridge that was given no MAC takes the lowest of its ports' and changes it as they come and go, under the feet of all who
    have it as their gateway. One given at birth stays. A bridge of somebody else's that lost all ports has
    none at all: it gets one.

    Raises:
        ConfigError: the name belongs to another kind of device.
    """
    if found is not None and not isinstance(found, Bridge):
        raise ConfigError("bridge", conf.bridge, "already exists but is not a bridge; choose another name or remove the device")
    needs_mac = found is None or found.mac is None or found.mac == _NO_MAC
    return Bridge(
        name=conf.bridge,
        mtu=(conf.mtu or None) if found is None else None,
        promisc=True if conf.promisc else None,
        mac=new_mac if needs_mac else None,
    )


def local_mac(random: bytes) -> Mac:
    """A locally administered unicast address from six random bytes."""
    return Mac(bytes([random[0] & 0xFC | 0x02]) + random[1:6])


def gateway_addresses(conf: BridgeConf, result: Result) -> tuple[Address, ...]:
    """The gateways that the bridge itself is."""
    if not conf.is_gateway:
        return ()
    prefixes = [Prefix(ip.gateway, ip.address.length) for ip in result.ips if ip.gateway is not None]
    return tuple(desired_address(conf.bridge, prefix, nodad=not conf.enable_dad) for prefix in dict.fromkeys(prefixes))


def addresses_in_the_way(conf: BridgeConf, wanted: Iterable[Address], actual: Iterable[Object]) -> tuple[Address, ...]:
    """Addresses to remove from the bridge before the gateways are added: only with forceAddress is that allowed.

    In IPv4 any other address is in the way, in IPv6 those of overlapping subnets.

    Raises:
        ConfigError: there are some, and forceAddress is not set.
    """
    found = [item for item in actual if isinstance(item, Address) and item.device == conf.bridge]
    present = {item.prefix for item in found}
    gateways = {item.prefix for item in wanted}
    gone: dict[Address, None] = {}
    for prefix in gateways - present:
        for item in found:
            if item.prefix not in gateways and _excludes(prefix, item.prefix):
                gone[item] = None
                if not conf.force_address:
                    raise ConfigError(
                        "bridge",
                        conf.bridge,
                        f"already has an IP address different from {prefix}: {item.prefix}; remove it or set forceAddress",
                    )
    return tuple(gone)


def _excludes(wanted: Prefix, other: Prefix) -> bool:
    return wanted.version == other.version and (wanted.version == 4 or wanted.overlaps(other))


def quiet_settings(conf: BridgeConf, attachment: Attachment) -> tuple[Sysctl, ...]:
    """Router advertisements are not for the bridge and its ports."""
    return tuple(Sysctl(f"net/ipv6/conf/{name}/accept_ra", "0") for name in (conf.bridge, attachment.host_end))


def pin_mac(found: Link | None, wanted: Bridge, ops: Iterable[Op]) -> tuple[Op, ...]:
    """A bridge that somebody else made becomes a gateway: give it the MAC that it has, so that it keeps it."""
    gains_address = any(isinstance(op.item, Address) and op.item.device == wanted.name for op in ops)
    if found is None or wanted.mac is not None or not gains_address:
        return ()
    return (Op(SET, Bridge(found.name, mac=found.mac)),)
