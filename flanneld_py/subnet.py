"""Which subnet this node takes. Pure: the random source is passed in.

The rules are flannel's (pkg/subnet/etcd/local_manager.go): the subnet that our public IP holds already, else the one that we had
before if nobody holds it, else a free one at random. flannel picks among the first hundred free subnets, so that twenty nodes
starting together collide with 87 %; we pick among all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataplane.inet import Prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flanneld_py.conf import SubnetPlan


def compatible(plan: SubnetPlan, subnet: Prefix) -> bool:
    """Whether the configuration lets a node hold `subnet`."""
    return (
        subnet.length == plan.subnet_len
        and subnet.version == plan.network.version
        and subnet.first == subnet.address
        and plan.subnet_min <= subnet.address <= plan.subnet_max
    )


def count(plan: SubnetPlan) -> int:
    """How many subnets the configuration has to give."""
    return _index(plan, int(plan.subnet_max)) + 1


def choose(plan: SubnetPlan, taken: Iterable[Prefix], preferred: Prefix | None, below: Callable[[int], int]) -> Prefix | None:
    """A subnet that overlaps none of the taken ones: the preferred one if it may be had, else any, all equally likely.

    Args:
        plan: how the network is cut.
        taken: subnets that are held, of any length, inside the network or not.
        preferred: the subnet that this node had before.
        below: a random whole number from 0 to one less than its argument (`random.randrange`).

    Returns:
        None when all are taken.
    """
    held = tuple(taken)
    if preferred and compatible(plan, preferred) and not any(preferred.overlaps(other) for other in held):
        return preferred
    blocked = _blocked(plan, held)
    free = count(plan) - sum(end - start for start, end in blocked)
    if free <= 0:
        return None
    index = below(free)
    for start, end in blocked:
        if index < start:
            break
        index += end - start
    return Prefix(plan.subnet_min + (index << _host_bits(plan)), plan.subnet_len)


def _host_bits(plan: SubnetPlan) -> int:
    return plan.network.address.bits - plan.subnet_len


def _index(plan: SubnetPlan, address: int) -> int:
    return (address - int(plan.subnet_min)) >> _host_bits(plan)


def _blocked(plan: SubnetPlan, taken: tuple[Prefix, ...]) -> list[tuple[int, int]]:
    """The index ranges [start, end) that `taken` covers: inside the plan, in order, not overlapping."""
    total = count(plan)
    merged: list[tuple[int, int]] = []
    ranges = (
        (max(_index(plan, int(held.first)), 0), min(_index(plan, int(held.last)) + 1, total))
        for held in taken
        if held.version == plan.network.version
    )
    for start, end in sorted(span for span in ranges if span[0] < span[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged
