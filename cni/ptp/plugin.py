"""ptp: joins the container to the host by a routed veth pair (reference: plugins/main/ptp). Order and undoing as in bridge."""

from __future__ import annotations

from cni.attachment import Attachment
from cni.change import towards
from cni.conf import required_prev_result
from cni.container import has_ipv6, interface, require_free, require_netns
from cni.errors import INTERNAL, CniError
from cni.interface import addresses_of, desired_addresses, desired_routes, first_wins, forwarding, settings
from cni.ipam import ipam_add, ipam_delete, ipam_forward
from cni.masquerade import tables
from cni.pair import free_name, host_ends, host_names
from cni.ptp.conf import PtpConf, parse_ptp_conf
from cni.ptp.desired import automatic_routes, desired_container_routes, desired_host, with_interface
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
from dataplane.state import Link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataplane.kernel import Kernel

LINK_WAIT_S = 5.0


def add(args: Args) -> Result:
    conf = parse_ptp_conf(args.conf)
    require_netns(args.netns)
    with HostKernel() as host, HostKernel(args.netns) as container:
        require_free(container, args.ifname, args.netns)
        with Transaction() as work:
            result = ipam_add(args)
            work.on_undo(lambda: ipam_delete(args))
            result = with_interface(conf, result)
            host_end = _make_pair(host, conf, args, work)
            _attach_container(container, args, result, work)
            _attach_host(host, conf, _attachment(args, host_end), result, work)
            if not wait_until_running((host_end,), LINK_WAIT_S):
                raise CniError(INTERNAL, f"{host_end} is not running", "is the container's link up?")
            made = (interface(host, host_end), interface(container, args.ifname, args.netns))
            return replace(result, interfaces=made)


def delete(args: Args) -> None:
    delete_attachment(args)


def check(args: Args) -> None:
    """The difference between the wish and the kernel is empty."""
    conf = parse_ptp_conf(args.conf)
    ipam_forward(args)
    result = required_prev_result(args.conf)
    require_netns(args.netns)
    ips = addresses_of(result, args.ifname, args.netns)
    if not ips:
        raise CniError(INTERNAL, f"prevResult has no address for {args.ifname} in {args.netns}", "is this the result of the ADD?")
    own = replace(result, ips=ips)
    with HostKernel() as host, HostKernel(args.netns) as container:
        found = _host_deviations(host, conf, args, own) + _container_deviations(container, args, own)
    refuse_deviations(args.container_id, found)


def gc(args: Args) -> None:
    gc_attachments(args)


def status(args: Args) -> None:
    """An ADD could work if the configuration is right and the IPAM is ready."""
    parse_ptp_conf(args.conf)
    ipam_forward(args)


def _make_pair(host: Kernel, conf: PtpConf, args: Args, work: Transaction) -> str:
    """The veth pair alone, both ends still down: the container's side is next, for it brings the host's end its carrier."""
    names = host_names(args.conf.name, args.container_id, args.ifname)
    actual = host.read(Scope(links=frozenset(names)))
    attachment = _attachment(args, free_name(names, {item.name for item in actual if isinstance(item, Link)}))
    pair = desired_host(replace(conf, ip_masq=False), attachment, Result(), actual)[:1]
    work.apply(host, towards(pair, actual))
    return attachment.host_end


def _attach_host(host: Kernel, conf: PtpConf, attachment: Attachment, result: Result, work: Transaction) -> None:
    actual = host.read(_host_scope(conf, (attachment.host_end,), result))
    work.apply(host, towards(desired_host(conf, attachment, result, actual), actual))


def _attach_container(container: Kernel, args: Args, result: Result, work: Transaction) -> None:
    """Addresses and link first; with them come the kernel's own routes, which make room for ours."""
    wants_ipv6 = any(ip.address.version == 6 for ip in result.ips)
    quiet = settings(args.ifname, has_ipv6(), wants_ipv6, None)
    before = container.read(Scope(links=frozenset({args.ifname}), sysctls=frozenset(item.name for item in quiet)))
    work.apply(container, towards((*desired_addresses(args.ifname, result.ips, nodad=True), *quiet), before), may_fail=quiet)
    actual = container.read(_container_scope(args.ifname, result))
    gone = automatic_routes(args.ifname, result.ips, actual)
    work.apply(container, [Op(REMOVE, item) for item in gone])
    rest = actual.difference(gone)
    routes = (*desired_container_routes(args.ifname, result.ips), *desired_routes(args.ifname, result.ips, result.routes))
    work.apply(container, towards(first_wins(routes, rest), rest))


def _host_deviations(host: Kernel, conf: PtpConf, args: Args, result: Result) -> list[str]:
    names = tuple(dict.fromkeys([*host_ends(result), *host_names(args.conf.name, args.container_id, args.ifname)]))
    actual = host.read(_host_scope(conf, names, result))
    links = {item.name for item in actual if isinstance(item, Link)}
    attachment = _attachment(args, next((name for name in names if name in links), names[0]))
    return deviations("host", desired_host(conf, attachment, result, actual), actual)


def _container_deviations(container: Kernel, args: Args, result: Result) -> list[str]:
    actual = container.read(_container_scope(args.ifname, result))
    mac = next((item.mac for item in result.interfaces if item.name == args.ifname and item.sandbox), None)
    routes = (*desired_container_routes(args.ifname, result.ips), *desired_routes(args.ifname, result.ips, result.routes))
    wanted = (*desired_addresses(args.ifname, result.ips, nodad=False, mac=mac), *first_wins(routes, actual))
    return deviations("container", wanted, actual)


def _attachment(args: Args, host_end: str) -> Attachment:
    return Attachment(args.conf.name, args.container_id, args.ifname, args.netns, host_end)


def _host_scope(conf: PtpConf, names: tuple[str, ...], result: Result) -> Scope:
    families = {ip.address.version for ip in result.ips}
    return Scope(
        links=frozenset(names),
        devices=frozenset(names),
        routes=frozenset(families),
        tables=tables(families if conf.ip_masq else ()),
        sysctls=frozenset(item.name for item in forwarding(families)),
    )


def _container_scope(ifname: str, result: Result) -> Scope:
    families = {ip.address.version for ip in result.ips} | {route.dst.version for route in result.routes}
    return Scope(links=frozenset({ifname}), devices=frozenset({ifname}), routes=frozenset(families))


PLUGIN = Plugin("ptp", add, delete, check, gc, status)
