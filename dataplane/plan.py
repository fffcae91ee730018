"""The order of writing, across all kinds of object: a contract, since the kernel drops or refuses what comes too early.

    links (down) -> sysctls -> addresses -> links up -> neighbours, FDB -> routes -> chains -> rules that jump to them

Removals follow the additions, in reverse order, so that a packet always finds either the old way or the new one. Two exceptions go
first, and what the kernel drops with them is added again: a device that must be made anew (with it go its addresses and routes, its
bridge ports' membership, the other end of a veth pair, tunnels over it), and an IPv4 address in one subnet with a wished one (the
kernel deletes the secondary addresses of a subnet with the primary one).
"""

from __future__ import annotations

from dataplane.delta import by_key
from dataplane.netfilter import Chain, Jump
from dataplane.record import record
from dataplane.state import Address, Bridge, FdbEntry, Link, Neighbor, Route, Sysctl, Veth, Vxlan, differing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Mapping

    from dataplane.delta import Delta
    from dataplane.state import Object

ADD, SET, REMOVE = "add", "set", "remove"


@record
class Op:
    """One write. `add` makes `item`, `set` turns `found` into `item`, `remove` deletes `item`.

    A link is added down. A `set` without `found` follows once its addresses are there, with all its settings and `up`.
    """

    verb: str
    item: Object
    found: Object | None = None

    def __str__(self) -> str:
        return f"{self.verb} {self.item!r}"


# What must exist before what. Links come in three steps: bridges before their ports, tunnels after the devices they run over.
_RANKS: tuple[tuple[type[Object], int], ...] = (
    (Bridge, 0),
    (Vxlan, 2),
    (Link, 1),
    (Sysctl, 3),
    (Address, 4),
    (Neighbor, 6),
    (FdbEntry, 6),
    (Route, 7),
    (Chain, 9),
    (Jump, 10),
)
_RANK_LINK_UP = 5
_RANK_GATEWAY_ROUTE = 8  # after the link-scope routes that make the gateway reachable


def plan(change: Delta, desired: Iterable[Object]) -> tuple[Op, ...]:
    """The operations that carry out `change`, in an order in which each can succeed.

    Args:
        change: what `delta` found.
        desired: the same wish; what the kernel drops on the way, with a device or an address, is taken from it and added again.
    """
    items = by_key(desired).values()
    loss = _loss(change, items)
    sets = _sets(change, items, loss)
    adds = _adds(change, items, loss, sets)
    writes = [Op(ADD, item) for item in adds.values()] + [op for key, op in sets.items() if key not in adds]
    writes += [Op(SET, item) for item in adds.values() if isinstance(item, Link) and item.up]
    later = [item for item in change.remove if item not in loss.first and item.dev not in loss.fresh]
    return (*(Op(REMOVE, item) for item in loss.first), *_in_order(writes), *(Op(REMOVE, item) for item in _last_first(later)))


@record
class _Loss:
    """What has to go before anything is written, and what the kernel drops with it."""

    first: tuple[Object, ...]
    links: frozenset[str]  # devices that go: those made anew, and all that cannot live without them
    fresh: frozenset[str]  # these, and devices that are new: nothing hangs on them yet
    shaken: frozenset[str]  # these, and devices that lose an address: what hangs on them may be gone


def _loss(change: Delta, items: Collection[Object]) -> _Loss:
    rebuilt = [found for wanted, found in change.change if needs_rebuild(wanted, found)]
    links = _lost_links({link.name for link in rebuilt if isinstance(link, Link)}, items)
    fresh = links | {item.name for item in change.add if isinstance(item, Link)}
    early = [
        item for item in change.remove if isinstance(item, Address) and item.device not in fresh and _takes_others(item, items)
    ]
    shaken = fresh | {item.device for item in early}
    return _Loss((*rebuilt, *early), frozenset(links), frozenset(fresh), frozenset(shaken))


def _sets(change: Delta, items: Collection[Object], loss: _Loss) -> dict[Hashable, Op]:
    """What stays and changes; and the ports of a bridge that is made anew, which have to be put into it again."""
    sets = {wanted.key: Op(SET, wanted, found) for wanted, found in change.change if not _goes_with(found, loss.links)}
    freed = [item for item in items if isinstance(item, Link) and item.master in loss.links and item.name not in loss.links]
    return sets | {item.key: Op(SET, item) for item in sorted(freed, key=lambda item: item.name)}


def _adds(change: Delta, items: Collection[Object], loss: _Loss, sets: Mapping[Hashable, Op]) -> dict[Hashable, Object]:
    """What is new, and what the kernel drops although it is wished for."""
    stays = sets.keys() | {wanted.key for wanted, _ in change.conflicts}
    again = [item for item in items if item.key not in stays and _comes_back(item, loss)]
    moved = [wanted for wanted, found in change.change if _goes_with(found, loss.links)]
    return {item.key: item for item in (*change.add, *moved, *sorted(again, key=lambda item: repr(item.key)))}


def _in_order(writes: list[Op]) -> list[Op]:
    depths = _depths(op.item for op in writes)
    return sorted(writes, key=lambda op: (_rank(op.item, op.verb), depths.get(op.item.key, 0)))


def _last_first(items: list[Object]) -> list[Object]:
    depths = _depths(items)
    return sorted(items, key=lambda item: (_rank(item), depths.get(item.key, 0)), reverse=True)


def needs_rebuild(wanted: Object, found: Object) -> bool:
    """Whether a device has to be deleted and made anew to become what is wished for."""
    names = differing(wanted, found)
    return isinstance(found, Link) and ("kind" in names or not wanted.FIXED.isdisjoint(names))


def _lost_links(names: set[str], items: Collection[Object]) -> set[str]:
    """Devices that go when those in `names` go: they themselves, the other ends of veth pairs, tunnels that run over them."""
    lost, links = set(names), [item for item in items if isinstance(item, Link)]
    while True:
        more = {link.name for link in links if not lost.isdisjoint(_stands_on(link))} - lost
        if not more:
            return lost
        lost |= more


def _stands_on(link: Link) -> tuple[str | None, ...]:
    if isinstance(link, Veth):
        return (None if link.peer_netns else link.peer,)
    return (link.underlay,) if isinstance(link, Vxlan) else ()


def _takes_others(gone: Address, items: Collection[Object]) -> bool:
    """Whether the kernel may take wished addresses away with this one, as it does with the secondaries of an IPv4 subnet."""
    network = gone.prefix.network
    return network.version == 4 and any(
        isinstance(item, Address) and item.device == gone.device and item.prefix.network == network for item in items
    )


def _goes_with(found: Object, lost: frozenset[str]) -> bool:
    return (found.name if isinstance(found, Link) else found.dev) in lost


def _comes_back(item: Object, loss: _Loss) -> bool:
    """Whether a wished object has to be added although it may have been there when the kernel was read."""
    if isinstance(item, Link):
        return item.name in loss.links
    if isinstance(item, Route) and item.device is None and item.via is not None:
        return bool(loss.shaken)  # the kernel chose the device, and may have chosen one of these
    return item.dev in loss.shaken


def _depths(items: Iterable[Object]) -> dict[Hashable, int]:
    """How many chains are below each chain: those that are jumped to are written first and removed last."""
    chains = {item.key: item for item in items if isinstance(item, Chain)}
    targets = {key: {("chain", c.family, c.table, name) for name in c.targets} & chains.keys() for key, c in chains.items()}
    depths: dict[Hashable, int] = dict.fromkeys(chains, 0)
    for _ in chains:  # no path through them is longer; a circle, which the kernel refuses, ends here too
        deeper: dict[Hashable, int] = {key: max((depths[target] + 1 for target in targets[key]), default=0) for key in chains}
        if deeper == depths:
            break
        depths = deeper
    return depths


def _rank(item: Object, verb: str = REMOVE) -> int:
    if isinstance(item, Link) and verb == SET:
        return _RANK_LINK_UP
    if isinstance(item, Route) and item.via is not None:
        return _RANK_GATEWAY_ROUTE
    for kind, rank in _RANKS:
        if isinstance(item, kind):
            return rank
    raise TypeError(f"{type(item).__name__} has no place in the order of writing")
