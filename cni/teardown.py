"""DEL and GC of an attachment with a veth pair: desire nothing, and leave nothing, whatever is still there to work with.

Every step is taken even if one before it failed; the first failure is then reported, so that the runtime tries again. Nothing here
needs the namespace, a prevResult or the state of a living ADD: the host end has a name that can be computed, the rules hang on a
chain that can be computed, and the IPAM goes by the container's ID.
"""

from __future__ import annotations

from cni.attachments import valid_attachments
from cni.conf import prev_result_if_readable
from cni.interface import addresses_of
from cni.ipam import ipam_delete, ipam_forward
from cni.masquerade import dead_masquerade, stale_masquerade, tables
from cni.pair import host_names
from dataplane.drivers.host import HostKernel
from dataplane.drivers.netns import is_netns
from dataplane.errors import KernelError
from dataplane.ownership import Scope
from dataplane.plan import REMOVE, Op
from dataplane.state import Address, Link, Veth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cni.skel import Args
    from dataplane.inet import IP
    from dataplane.kernel import Kernel
    from dataplane.state import Object

FAMILIES = (4, 6)


def delete_attachment(args: Args, ip_masq: bool) -> None:
    """Remove the pair, give back the addresses, remove the masquerading.

    Raises:
        CniError, KernelError, OSError: of the first step that failed, once all have been tried.
    """
    known = _known_addresses(args)
    steps: list[Callable[[], None]] = [lambda: known.update(_delete_pair(args))]
    if args.conf.ipam_type:
        steps.append(lambda: ipam_delete(args))
    if ip_masq and args.conf.ipam_type:
        steps.append(lambda: _delete_masquerade(args, known))
    attempt_all(steps)


def gc_attachments(args: Args, ip_masq: bool) -> None:
    """Pass GC on to the IPAM, and remove the masquerading of attachments that do not live."""
    living = {container_id for container_id, _ in valid_attachments(args.conf)}
    steps: list[Callable[[], None]] = []
    if args.conf.ipam_type:
        steps.append(lambda: ipam_forward(args))
    if ip_masq:
        network = args.conf.name
        steps += [lambda f=f: _delete_found(f, lambda actual: dead_masquerade(network, living, actual)) for f in FAMILIES]  # type: ignore[misc]
    attempt_all(steps)


def attempt_all(steps: Iterable[Callable[[], None]]) -> None:
    """Take every step; then raise the first exception, if there was one."""
    first: Exception | None = None
    for step in steps:
        try:
            step()
        except Exception as error:  # noqa: BLE001  a failure must not keep the rest from being removed
            first = first or error
    if first is not None:
        raise first


def _known_addresses(args: Args) -> set[IP]:
    result = prev_result_if_readable(args.conf)
    if result is None:
        return set()
    return {ip.address.address for ip in addresses_of(result, args.ifname, args.netns)} or {ip.address.address for ip in result.ips}


def _delete_pair(args: Args) -> set[IP]:
    """Remove the container's end if the namespace is there, and the host's end in any case. Returns the addresses it had."""
    addresses: set[IP] = set()
    if args.netns and is_netns(args.netns):
        with HostKernel(args.netns) as container:
            scope = Scope(links=frozenset({args.ifname}), devices=frozenset({args.ifname}))
            actual = container.read(scope)
            addresses = {
                item.prefix.address for item in actual if isinstance(item, Address) and not item.prefix.address.is_link_local
            }
            _remove(container, [item for item in actual if isinstance(item, Veth) and item.name == args.ifname])
    names = host_names(args.conf.name, args.container_id, args.ifname)
    with HostKernel() as host:
        _remove(host, [item for item in host.read(Scope(links=frozenset(names))) if isinstance(item, Veth)])
    return addresses


def _delete_masquerade(args: Args, addresses: set[IP]) -> None:
    """The families of the known addresses must be cleaned. With none known both are tried, and one that this machine does not
    have is no reason to fail."""
    certain = {address.version for address in addresses}
    for family in sorted(certain or FAMILIES):
        try:
            _delete_found(family, lambda actual: stale_masquerade(args.conf.name, args.container_id, addresses, actual))
        except KernelError:
            if family in certain:
                raise


def _delete_found(family: int, choose: Callable[[frozenset[Object]], tuple[Object, ...]]) -> None:
    """Read the nat table of a family and remove what `choose` picks."""
    with HostKernel() as host:
        gone = choose(host.read(Scope(tables=tables([family]))))
        _remove(host, gone)


def _remove(kernel: Kernel, items: Iterable[Object]) -> None:
    ops = tuple(Op(REMOVE, item) for item in sorted(items, key=lambda item: not isinstance(item, Link)))
    failures = kernel.apply(ops) if ops else ()
    if failures:
        raise failures[0].error
