"""Which addresses an attachment gets, given what is reserved already. Pure: the store is read before and written after."""

from __future__ import annotations

from cni.errors import INTERNAL, INVALID_CONFIG, TRY_AGAIN_LATER, CniError
from cni.host_local_ipam.ranges import next_free, range_of, shown
from cni.result import IpConfig
from dataplane.inet import Prefix
from dataplane.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cni.host_local_ipam.conf import IpamConf
    from cni.host_local_ipam.ranges import Range, RangeSet
    from cni.host_local_ipam.store import Holder
    from dataplane.inet import IP


@record
class Lease:
    """An address to reserve, from the range set with this index."""

    ip: IpConfig
    range_index: int


def desired_leases(
    conf: IpamConf, container_id: str, ifname: str, taken: Mapping[IP, Holder], last: Mapping[int, IP | None]
) -> tuple[Lease, ...]:
    """One address from each range set, the requested ones first.

    Args:
        taken: all reservations.
        last: the address given out last, by index of the range set.

    Raises:
        CniError: an address cannot be had; nothing is reserved then.
    """
    requested = list(conf.requested)
    leases = []
    for index, ranges in enumerate(conf.range_sets):
        wish = next((ip for ip in requested if range_of(ip, ranges)), None)
        if wish is not None:
            requested.remove(wish)
        if wish is not None:
            address, of = _requested(index, ranges, wish, taken)
        else:
            _refuse_second(index, ranges, container_id, ifname, taken)
            address, of = _next(index, ranges, last.get(index), taken)
        leases.append(Lease(IpConfig(Prefix(address, of.subnet.length), None, of.gateway), index))
    if requested:
        words = " ".join(str(ip) for ip in requested)
        raise CniError(INVALID_CONFIG, f"failed to allocate all requested IPs: {words}", "each must lie in a range set of its own")
    return tuple(leases)


def _refuse_second(index: int, ranges: RangeSet, container_id: str, ifname: str, taken: Mapping[IP, Holder]) -> None:
    held = next((ip for ip, holder in taken.items() if range_of(ip, ranges) and holder.is_for(container_id, ifname)), None)
    if held is not None:
        raise _refusal(INTERNAL, index, f"{held} has been allocated to {container_id}, duplicate allocation is not allowed")


def _next(index: int, ranges: RangeSet, last: IP | None, taken: Mapping[IP, Holder]) -> tuple[IP, Range]:
    found = next_free(ranges, last, lambda ip: ip not in taken)
    if found is None:
        raise _refusal(TRY_AGAIN_LATER, index, f"no IP addresses available in range set: {shown(ranges)}")
    return found


def _requested(index: int, ranges: RangeSet, wish: IP, taken: Mapping[IP, Holder]) -> tuple[IP, Range]:
    of = range_of(wish, ranges)
    if of is None or wish == of.gateway:
        raise _refusal(INVALID_CONFIG, index, f"requested ip {wish} is subnet's gateway")
    if wish in taken:
        raise _refusal(TRY_AGAIN_LATER, index, f"requested IP address {wish} is not available in range set {shown(ranges)}")
    return wish, of


def _refusal(code: int, index: int, reason: str) -> CniError:
    return CniError(code, f"failed to allocate for range {index}: {reason}")


def held_by(taken: Mapping[IP, Holder], container_id: str, ifname: str) -> tuple[IP, ...]:
    """What DEL gives back: the reservations of the attachment; those of the container alone only if none names the interface."""
    exact = tuple(ip for ip, holder in taken.items() if (holder.container_id, holder.ifname) == (container_id, ifname))
    return exact or tuple(ip for ip, holder in taken.items() if (holder.container_id, holder.ifname) == (container_id, ""))


def stale(taken: Mapping[IP, Holder], living: Iterable[tuple[str, str]]) -> tuple[IP, ...]:
    """What GC gives back: reservations of no living (container ID, ifname); those without ifname live with their container."""
    attachments = frozenset(living)
    containers = {container_id for container_id, _ in attachments}
    return tuple(
        ip
        for ip, holder in taken.items()
        if not ((holder.container_id, holder.ifname) in attachments or (not holder.ifname and holder.container_id in containers))
    )


def wrongly_held(
    conf: IpamConf, container_id: str, ifname: str, taken: Mapping[IP, Holder], addresses: Iterable[IP]
) -> tuple[IP, ...]:
    """What CHECK complains of: addresses of the result that lie in our ranges and are not reserved for the attachment."""
    ours = [ip for ip in addresses if any(range_of(ip, ranges) for ranges in conf.range_sets)]
    return tuple(ip for ip in ours if ip not in taken or not taken[ip].is_for(container_id, ifname))
