"""bridge: joins the container to a Linux bridge (reference: plugins/main/bridge).

Order of an ADD: refuse what cannot be, reserve the addresses, then under the namespace's lock read, decide and write the host's
side and the container's; then wait until it can be used. A failure at any point undoes all that was done before it, but for a
bridge that others may have joined since the lock was given back.
"""

from __future__ import annotations

import os

from cni.attachment import Attachment
from cni.bridge.conf import BridgeConf, parse_bridge_conf
from cni.bridge.desired import (
    addresses_in_the_way,
    desired_bridge,
    desired_host,
    gateway_addresses,
    local_mac,
    pin_mac,
    quiet_settings,
    with_gateways,
)
from cni.change import towards
from cni.conf import required_prev_result
from cni.container import find_link, has_ipv6, interface, require_free, require_netns, wait_for_dad
from cni.errors import INTERNAL, CniError
from cni.filelock import HOST_NETNS, Locked
from cni.interface import addresses_of, desired_addresses, desired_routes, first_wins, forwarding, settings
from cni.ipam import ipam_add, ipam_delete, ipam_forward
from cni.masquerade import tables
from cni.pair import free_name, host_ends, host_names
from cni.result import Result
from cni.skel import Args, Plugin
from cni.teardown import delete_attachment, gc_attachments
from cni.transaction import Transaction
from cni.verify import deviations, refuse_deviations
from dataplane.drivers.host import HostKernel
from dataplane.drivers.running import wait_until_running
from dataplane.ownership import Scope
from dataplane.plan import REMOVE, Op
from dataplane.record import replace
from dataplane.state import Bridge, Link, Sysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataplane.kernel import Kernel

PORT_WAIT_S = 5.0


def add(args: Args) -> Result:
    conf = parse_bridge_conf(args.conf, args.cni_args)
    require_netns(args.netns)
    with HostKernel() as host, HostKernel(args.netns) as container:
        require_free(container, args.ifname, args.netns)
        with Transaction() as reservation:
            result = with_gateways(conf, _reserve(args, reservation) if conf.ipam_type else Result())
            with Locked(HOST_NETNS), Transaction() as work:
                host_end = _attach_host(host, conf, args, result, work)
                _attach_container(container, conf, args, result, work)
            reservation.on_undo(lambda: delete_attachment(args))  # not the bridge: without the lock others may use it by now
            _wait_until_usable(conf, args, host_end)
            made = (interface(host, conf.bridge), interface(host, host_end), interface(container, args.ifname, args.netns))
            return replace(result, interfaces=made)


def delete(args: Args) -> None:
    delete_attachment(args)


def check(args: Args) -> None:
    """The difference between the wish and the kernel is empty."""
    conf = parse_bridge_conf(args.conf, args.cni_args)
    if conf.ipam_type:
        ipam_forward(args)
    result = required_prev_result(args.conf)
    require_netns(args.netns)
    ips = addresses_of(result, args.ifname, args.netns)
    if conf.ipam_type and not ips:
        raise CniError(INTERNAL, f"prevResult has no address for {args.ifname} in {args.netns}", "is this the result of the ADD?")
    own = replace(result, ips=ips)
    with HostKernel() as host, HostKernel(args.netns) as container:
        found = _host_deviations(host, conf, args, own) + _container_deviations(container, conf, args, own)
    refuse_deviations(args.container_id, found)


def gc(args: Args) -> None:
    gc_attachments(args)


def status(args: Args) -> None:
    """An ADD could work if the configuration is right and the IPAM is ready."""
    parse_bridge_conf(args.conf, "")
    if args.conf.ipam_type:
        ipam_forward(args)


def _reserve(args: Args, reservation: Transaction) -> Result:
    result = ipam_add(args)
    reservation.on_undo(lambda: ipam_delete(args))
    return result


def _attach_host(host: Kernel, conf: BridgeConf, args: Args, result: Result, work: Transaction) -> str:
    """Bridge, host end, gateways, forwarding, rules. Returns the host end's name."""
    names = host_names(args.conf.name, args.container_id, args.ifname)
    actual = host.read(_host_scope(conf, names, result))
    links = {item.name: item for item in actual if isinstance(item, Link)}
    attachment = _attachment(args, free_name(names, links))
    found = links.get(conf.bridge)
    bridge = desired_bridge(conf, found, local_mac(os.urandom(6)))
    quiet = quiet_settings(conf, attachment) if has_ipv6() else ()
    gone = addresses_in_the_way(conf, gateway_addresses(conf, result), actual)
    ops = towards((bridge, *desired_host(conf, attachment, result, actual), *quiet), actual)
    work.apply(host, (*(Op(REMOVE, item) for item in gone), *ops, *pin_mac(found, bridge, ops)), may_fail=quiet)
    return attachment.host_end


def _attach_container(container: Kernel, conf: BridgeConf, args: Args, result: Result, work: Transaction) -> None:
    """Addresses, link up, routes, in one go."""
    if not conf.container_interface:
        return
    wants_ipv6 = any(ip.address.version == 6 for ip in result.ips)
    quiet = settings(args.ifname, has_ipv6(), wants_ipv6, conf.enable_dad) if conf.ipam_type else ()
    actual = container.read(_container_scope(args.ifname, result, quiet))
    routes = first_wins(desired_routes(args.ifname, result.ips, result.routes), actual)
    wanted = (*desired_addresses(args.ifname, result.ips, nodad=not conf.enable_dad), *quiet, *routes)
    work.apply(container, towards(wanted, actual), may_fail=quiet)


def _wait_until_usable(conf: BridgeConf, args: Args, host_end: str) -> None:
    """The bridge forwards only once the kernel has noticed the port's carrier, and tentative addresses answer nobody."""
    if conf.container_interface and not wait_until_running((host_end, conf.bridge), PORT_WAIT_S):
        raise CniError(
            INTERNAL, f"bridge port in error state: {host_end} or {conf.bridge} is not running", "is the container's link up?"
        )
    if conf.enable_dad and conf.ipam_type:
        wait_for_dad(args.netns, args.ifname)


def _host_deviations(host: Kernel, conf: BridgeConf, args: Args, result: Result) -> list[str]:
    names = dict.fromkeys([*host_ends(result, conf.bridge), *host_names(args.conf.name, args.container_id, args.ifname)])
    actual = host.read(_host_scope(conf, tuple(names), result))
    links = {item.name: item for item in actual if isinstance(item, Link)}
    attachment = _attachment(args, next((name for name in names if name in links), next(iter(names))))
    wanted = (
        desired_bridge(conf, links.get(conf.bridge, Bridge(conf.bridge)), None),
        *desired_host(conf, attachment, result, actual),
    )
    return deviations("host", wanted, actual)


def _container_deviations(container: Kernel, conf: BridgeConf, args: Args, result: Result) -> list[str]:
    if not conf.container_interface:
        return [] if find_link(container, args.ifname) else [f"container: missing {args.ifname}"]
    actual = container.read(_container_scope(args.ifname, result, ()))
    mac = next((item.mac for item in result.interfaces if item.name == args.ifname and item.sandbox), None)
    routes = first_wins(desired_routes(args.ifname, result.ips, result.routes), actual)
    return deviations("container", (*desired_addresses(args.ifname, result.ips, nodad=False, mac=mac), *routes), actual)


def _attachment(args: Args, host_end: str) -> Attachment:
    return Attachment(args.conf.name, args.container_id, args.ifname, args.netns, host_end)


def _host_scope(conf: BridgeConf, names: tuple[str, ...], result: Result) -> Scope:
    families = {ip.address.version for ip in result.ips}
    return Scope(
        links=frozenset({conf.bridge, *names}),
        devices=frozenset({conf.bridge} if conf.is_gateway else ()),
        tables=tables(families if conf.ip_masq else ()),
        sysctls=frozenset(item.name for item in forwarding(families)),
    )


def _container_scope(ifname: str, result: Result, quiet: tuple[Sysctl, ...]) -> Scope:
    return Scope(
        links=frozenset({ifname}),
        devices=frozenset({ifname}),
        routes=frozenset(route.dst.version for route in result.routes),
        sysctls=frozenset(item.name for item in quiet),
    )


PLUGIN = Plugin("bridge", add, delete, check, gc, status)
