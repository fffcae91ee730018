"""loopback: brings `lo` up in the container, whatever CNI_IFNAME says (reference: plugins/main/loopback).

DEL takes it down again, as the reference does; a namespace that has gone needs nothing.
"""

from __future__ import annotations

from cni.change import towards
from cni.conf import prev_result
from cni.container import require_netns
from cni.errors import INTERNAL, CniError
from cni.result import Interface, IpConfig, Result
from cni.skel import Args, Plugin
from cni.transaction import Transaction
from cni.verify import deviations, refuse_deviations
from dataplane.drivers.host import HostKernel
from dataplane.drivers.netns import is_netns
from dataplane.inet import Mac
from dataplane.ownership import Scope
from dataplane.state import Address, Link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataplane.state import Object

_LO = Link("lo")
_LINK = Scope(links=frozenset({"lo"}))
_WITH_ADDRESSES = Scope(links=frozenset({"lo"}), devices=frozenset({"lo"}))


def add(args: Args) -> Result:
    previous = prev_result(args.conf)
    require_netns(args.netns)
    with HostKernel(args.netns) as container, Transaction() as work:
        work.apply(container, towards([_LO], container.read(_LINK)))
        return previous or loopback_result(args.netns, container.read(_WITH_ADDRESSES))


def loopback_result(netns: str, actual: frozenset[Object]) -> Result:
    """`lo` with its first address of each family. Raises CniError if it has one that is no loopback address."""
    found = sorted(
        (item.prefix for item in actual if isinstance(item, Address)),
        key=lambda p: (p.version, not p.address.is_loopback, p.address),
    )
    foreign = [prefix for prefix in found if not prefix.address.is_loopback]
    if foreign:
        raise CniError(INTERNAL, f'loopback interface found with non-loopback address "{foreign[0].address}"', "remove it from lo")
    first = {prefix.version: prefix for prefix in reversed(found)}
    ips = tuple(IpConfig(first[family], 0) for family in sorted(first))
    return Result((Interface("lo", Mac(bytes(6)), netns),), ips)


def delete(args: Args) -> None:
    if not args.netns or not is_netns(args.netns):
        return
    with HostKernel(args.netns) as container, Transaction() as work:
        work.apply(container, towards([Link("lo", up=False)], container.read(_LINK)))


def check(args: Args) -> None:
    require_netns(args.netns)
    with HostKernel(args.netns) as container:
        refuse_deviations(args.container_id, deviations("container", [_LO], container.read(_LINK)))


def nothing(_: Args) -> None:
    """GC and STATUS: lo goes with its namespace, and is always there."""


PLUGIN = Plugin("loopback", add, delete, check, nothing, nothing)
