"""Ranges of addresses and the choice of the next one, as the reference's allocator chooses it. Pure.

A range set is tried as one circle: from behind the address that was given out last, through all its ranges, back to that address.
Gateways are never given out. One address is taken from each range set.
"""

from __future__ import annotations

from dataplane.errors import ConfigError
from dataplane.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dataplane.inet import IP, Prefix


@record
class Range:
    """Addresses from `start` to `end`, both included, of `subnet`."""

    subnet: Prefix
    start: IP
    end: IP
    gateway: IP

    def __contains__(self, address: IP) -> bool:
        return address in self.subnet and self.start <= address <= self.end

    def __str__(self) -> str:
        return f"{self.start}-{self.end}"


RangeSet = tuple[Range, ...]


def make_range(where: str, subnet: Prefix, start: IP | None, end: IP | None, gateway: IP | None) -> Range:
    """A range with the reference's defaults: the first address is the gateway's, the broadcast address is left out.

    Raises:
        ConfigError: the subnet has host bits or no room, or an end lies outside of it.
    """
    if subnet.length > subnet.address.bits - 2:
        raise ConfigError(
            where, str(subnet), f"Network {subnet} too small to allocate from; its length may be up to {subnet.address.bits - 2}"
        )
    if subnet.address != subnet.first:
        raise ConfigError(
            where,
            str(subnet),
            f"Network has host bits set. For a subnet mask of length {subnet.length} the network address is {subnet.first}",
        )
    for name, bound in (("RangeStart", start), ("RangeEnd", end)):
        if bound is not None and bound not in subnet:
            raise ConfigError(where, str(bound), f"{name} {bound} not in network {subnet}")
    last = subnet.last + (-1 if subnet.version == 4 else 0)
    made = Range(subnet, start or subnet.first + 1, end or last, gateway or subnet.first + 1)
    if made.start > made.end:
        raise ConfigError(where, str(made), f"RangeStart {made.start} lies behind RangeEnd {made.end}")
    return made


def check_range_set(where: str, ranges: RangeSet) -> None:
    """Raises ConfigError for a set that is empty, of both families, or that overlaps itself."""
    if not ranges:
        raise ConfigError(where, None, "empty range set")
    if len({r.subnet.version for r in ranges}) > 1:
        raise ConfigError(where, None, "mixed address families")
    for i, first in enumerate(ranges):
        for second in ranges[i + 1 :]:
            if overlap(first, second):
                raise ConfigError(where, None, f"subnets {first} and {second} overlap")


def overlap(first: Range, second: Range) -> bool:
    return first.subnet.version == second.subnet.version and first.start <= second.end and second.start <= first.end


def range_of(address: IP, ranges: RangeSet) -> Range | None:
    """The range that the address lies in."""
    return next((r for r in ranges if address in r), None)


def shown(ranges: RangeSet) -> str:
    return ",".join(str(r) for r in ranges)


def next_free(ranges: RangeSet, last: IP | None, is_free: Callable[[IP], bool]) -> tuple[IP, Range] | None:
    """The next address after `last` that is free and no gateway; None if the whole circle is taken."""
    for address, of in _circle(ranges, last):
        if address != of.gateway and is_free(address):
            return address, of
    return None


def _circle(ranges: RangeSet, last: IP | None) -> Iterator[tuple[IP, Range]]:
    at = next((i for i, r in enumerate(ranges) if last is not None and last in r), None)
    if at is None or last is None:
        for r in ranges:
            yield from _stretch(r, r.start, r.end)
        return
    here = ranges[at]
    if last < here.end:
        yield from _stretch(here, last + 1, here.end)
    for r in (*ranges[at + 1 :], *ranges[:at]):
        yield from _stretch(r, r.start, r.end)
    yield from _stretch(here, here.start, last)


def _stretch(of: Range, start: IP, end: IP) -> Iterator[tuple[IP, Range]]:
    address = start
    while address < end:
        yield address, of
        address += 1
    yield address, of


def size(ranges: RangeSet) -> int:
    """How many addresses can be given out."""
    return sum(int(r.end) - int(r.start) + 1 - (1 if r.gateway in r else 0) for r in ranges)
