"""The order of writing, across all kinds of object: a contract, since the kernel drops or refuses what comes too early.

    links (down) -> sysctls -> addresses -> links up -> neighbours, FDB -> routes -> chains -> rules that jump to them

Removals follow the additions, in reverse order, so that a packet always finds either the old way or the new one. A device that
must be made anew is the exception: it goes first, and all that is wished for on it is added again, as the kernel drops it too.
"""

from __future__ import annotations

from dataplane.netfilter import Chain, Jump
from dataplane.record import record
from dataplane.state import Address, Bridge, FdbEntry, Link, Neighbor, Route, Sysctl, Vxlan, differing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

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
        desired: the same wish; what hangs on a device made anew is taken from it.
    """
    rebuilt = [(wanted, found) for wanted, found in change.change if _needs_rebuild(wanted, found)]
    rebuilt_names = {found.key for _, found in rebuilt}
    new_names = {item.name for item in change.add if isinstance(item, Link)} | {
        item.name for item, _ in rebuilt if isinstance(item, Link)
    }
    kept = [pair for pair in change.change if pair[1].key not in rebuilt_names]
    again = [item for item in desired if item.dev in new_names and item.dev is not None]
    adds = {item.key: item for item in (*change.add, *(wanted for wanted, _ in rebuilt), *again)}
    ops = [(_rank(item), Op(ADD, item)) for item in adds.values()]
    ops += [(_RANK_LINK_UP, Op(SET, item)) for item in adds.values() if isinstance(item, Link) and item.up]
    ops += [
        (_RANK_LINK_UP if isinstance(wanted, Link) else _rank(wanted), Op(SET, wanted, found))
        for wanted, found in kept
        if wanted.key not in adds
    ]
    gone = [Op(REMOVE, found) for _, found in rebuilt]
    removals = [item for item in change.remove if item.dev is None or item.dev not in new_names]
    return (
        *gone,
        *(op for _, op in sorted(ops, key=lambda ranked: ranked[0])),
        *(Op(REMOVE, item) for item in sorted(removals, key=_rank, reverse=True)),
    )


def _rank(item: Object) -> int:
    if isinstance(item, Route) and item.via is not None:
        return _RANK_GATEWAY_ROUTE
    for kind, rank in _RANKS:
        if isinstance(item, kind):
            return rank
    raise TypeError(f"{type(item).__name__} has no place in the order of writing")


def _needs_rebuild(wanted: Object, found: Object) -> bool:
    names = differing(wanted, found)
    return isinstance(found, Link) and ("kind" in names or not wanted.FIXED.isdisjoint(names))
