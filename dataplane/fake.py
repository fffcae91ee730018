"""A kernel in memory, for tests of whoever drives one: it keeps the real one's habits and can be told to fail at an operation.

Habits kept: what hangs on a device goes with it; a route needs its device up and its gateway reachable; a link set down
loses its routes and neighbours; a rule cannot jump to a chain that is not there; a chain that is jumped to cannot be removed.
"""

from __future__ import annotations

import errno
import os

from dataplane.errors import KernelError
from dataplane.kernel import Failure
from dataplane.netfilter import Chain, Jump
from dataplane.plan import ADD, REMOVE, Op
from dataplane.record import replace
from dataplane.state import Address, FdbEntry, Link, Neighbor, Object, Route, Sysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from dataplane.ownership import Scope


class FakeKernel:
    """Objects by key. `applied` logs every operation that succeeded.

    Args:
        objects: what is there at first.
        fail_at: the number (from 0, over the kernel's whole life) of the operation that fails with EIO; None for never.
    """

    def __init__(self, objects: Iterable[Object] = (), fail_at: int | None = None) -> None:
        self.objects: dict[Hashable, Object] = {item.key: item for item in objects}
        self.fail_at = fail_at
        self.applied: list[Op] = []
        self._count = 0

    def read(self, scope: Scope) -> frozenset[Object]:
        return frozenset(item for item in self.objects.values() if _in_scope(item, scope))

    def apply(self, ops: Sequence[Op]) -> tuple[Failure, ...]:
        failures = []
        for op in ops:
            try:
                self._perform(op)
            except KernelError as error:
                failures.append(Failure(op, error))
            else:
                self.applied.append(op)
        return tuple(failures)

    def _perform(self, op: Op) -> None:
        number, self._count = self._count, self._count + 1
        if number == self.fail_at:
            raise _refusal(op, errno.EIO)
        if op.verb == REMOVE:
            self._remove(op)
        else:
            self._put(op)

    def _put(self, op: Op) -> None:
        item, old = op.item, self.objects.get(op.item.key)
        if item.dev is not None and not self._has_link(item.dev):
            raise _refusal(op, errno.ENODEV)
        if op.verb == ADD and isinstance(item, Link):
            if old is not None and type(old) is not type(item):
                raise _refusal(op, errno.EEXIST)
            item = replace(item, up=False)
        if isinstance(item, Route):
            self._check_route(op, item)
        if isinstance(item, Jump) and item.target.isupper() and "-" in item.target:
            self._check_target(op, item)
        self.objects[item.key] = _merged(item, old)
        if isinstance(item, Link) and isinstance(old, Link) and old.up and item.up is False:
            self._drop(lambda o: isinstance(o, (Route, Neighbor)) and o.dev == item.name)

    def _remove(self, op: Op) -> None:
        if isinstance(op.item, Chain) and any(
            isinstance(o, Jump) and o.target == op.item.name and (o.family, o.table) == (op.item.family, op.item.table)
            for o in self.objects.values()
        ):
            raise _refusal(op, errno.EBUSY)
        self.objects.pop(op.item.key, None)
        if isinstance(op.item, Link):
            name = op.item.name
            self._drop(lambda o: o.dev == name)

    def _drop(self, goes: Callable[[Object], bool]) -> None:
        self.objects = {key: item for key, item in self.objects.items() if not goes(item)}

    def _has_link(self, name: str) -> bool:
        return ("link", name) in self.objects

    def _check_route(self, op: Op, route: Route) -> None:
        link = self.objects.get(("link", route.device))
        if isinstance(link, Link) and not link.up:
            raise _refusal(op, errno.ENETDOWN)
        via = route.via
        if via is None or route.onlink:
            return
        reachable = any(
            (isinstance(o, Address) and via in o.prefix)
            or (isinstance(o, Route) and o.via is None and o.key != route.key and via in o.dst)
            for o in self.objects.values()
        )
        if not reachable:
            raise _refusal(op, errno.ENETUNREACH)

    def _check_target(self, op: Op, jump: Jump) -> None:
        if ("chain", jump.family, jump.table, jump.target) not in self.objects:
            raise _refusal(op, errno.ENOENT)


def _refusal(op: Op, number: int) -> KernelError:
    return KernelError(str(op), os.strerror(number), number)


def _merged(item: Object, old: Object | None) -> Object:
    """The new value, with what it leaves open kept from the old one."""
    if old is None or type(old) is not type(item):
        return item
    kept = {name: value for name, value in old.__dict__.items() if item.__dict__[name] is None}
    return replace(item, **kept)


def _in_scope(item: Object, scope: Scope) -> bool:
    if isinstance(item, Link):
        return item.name in scope.links or "*" in scope.links
    if isinstance(item, (Address, Neighbor, FdbEntry)):
        return item.device in scope.devices or "*" in scope.devices
    if isinstance(item, Route):
        return item.dst.version in scope.routes
    if isinstance(item, Sysctl):
        return item.name in scope.sysctls
    return isinstance(item, (Chain, Jump)) and (item.family, item.table) in scope.tables
