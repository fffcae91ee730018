"""From a wish to operations, for one attachment. Pure.

An attachment shares the bridge, its addresses and the packet filter with others. So an ADD only adds and changes what it wishes
for, by key; what else is there is never taken away.
"""

from __future__ import annotations

from dataplane.delta import Delta, delta
from dataplane.plan import plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from dataplane.plan import Op
    from dataplane.state import Object


def towards(wanted: Iterable[Object], actual: Iterable[Object]) -> tuple[Op, ...]:
    """The operations that make the wish true, in order. Whether a device in the way may be changed was asked before."""
    items = tuple(wanted)
    found = delta(items, actual, lambda _: True)
    return plan(Delta(found.add, found.change), items)
