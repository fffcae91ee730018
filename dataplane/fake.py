"""A kernel in memory, for tests of whoever drives one: it keeps the real one's habits and can be told to fail at an operation.

Habits kept: what hangs on a device goes with it, as do tunnels over it and the other end of a veth pair, and its bridge ports are
set free; secondary IPv4 addresses go with the primary one; a route needs its device up and its gateway reachable; a link set down
loses its routes and neighbours; a rule cannot jump to a chain that is not there; a chain that is jumped to cannot be removed; no
plain Link is made.
"""

from __future__ import annotations

import errno
import os

from dataplane.errors import KernelError
from dataplane.kernel import Failure
from dataplane.netfilter import Chain, Jump
from dataplane.plan import ADD, REMOVE, SET, Op
from dataplane.record import replace
from dataplane.state import Address, FdbEntry, Link, Neighbor, Object, Route, Sysctl, Veth, Vxlan, agrees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from dataplane.ownership import Scope

# Where a rule may send packets without a chain of that name: verdicts, and extensions of iptables-extensions(8). "" only counts.
_VERDICTS = {"", "ACCEPT", "DROP", "RETURN", "REJECT"}
_EXTENSIONS = {
    "MASQUERADE",
    "SNAT",
    "DNAT",
    "REDIRECT",
    "NETMAP",
    "MARK",
    "CONNMARK",
    "SET",
    "LOG",
    "NFLOG",
    "NFQUEUE",
    "CT",
    "TCPMSS",
}


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
        if op.verb == ADD and old is not None and agrees(item, old):
            return
        self._check(op, old)
        if op.verb == ADD and isinstance(item, Link):
            item = replace(item, up=False)
        self.objects[item.key] = _merged(item, old)
        if isinstance(item, Link) and isinstance(old, Link) and old.up and item.up is False:
            self._drop(lambda o: isinstance(o, (Route, Neighbor)) and o.dev == item.name)

    def _check(self, op: Op, old: Object | None) -> None:
        """Raise what the kernel would."""
        item = op.item
        if item.dev is not None and ("link", item.dev) not in self.objects:
            raise _refusal(op, errno.ENODEV)
        if isinstance(item, Link):
            self._check_link(op, item, old)
        elif isinstance(item, Route):
            self._check_route(op, item)
        elif isinstance(item, (Chain, Jump)):
            self._check_targets(op, item)
        if op.verb == ADD and old is not None and not isinstance(item, Chain):  # a chain is written as a whole, whatever was in it
            raise _refusal(op, errno.EEXIST)

    def _check_link(self, op: Op, link: Link, old: Object | None) -> None:
        needed = [name for name in (link.master, link.underlay if isinstance(link, Vxlan) else None) if name]
        nobodys = old is None and (op.verb == SET or type(link) is Link)
        if nobodys or any(("link", name) not in self.objects for name in needed):
            raise _refusal(op, errno.ENODEV)

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

    def _check_targets(self, op: Op, item: Chain | Jump) -> None:
        targets = item.targets if isinstance(item, Chain) else {item.target}
        if any(("chain", item.family, item.table, target) not in self.objects for target in targets - _VERDICTS - _EXTENSIONS):
            raise _refusal(op, errno.ENOENT)

    def _remove(self, op: Op) -> None:
        item = op.item
        if isinstance(item, Chain) and any(_sends_to(o, item) for o in self.objects.values()):
            raise _refusal(op, errno.EBUSY)
        if isinstance(item, Address) and item.key in self.objects:
            self._remove_secondaries(item)
        if self.objects.pop(item.key, None) is not None and isinstance(item, Link):
            self._remove_dependents(item.name)

    def _remove_dependents(self, name: str) -> None:
        """A device is gone: so is what hangs on it, tunnels over it, the other end of its veth pair; its ports are free."""
        self._drop(lambda o: o.dev == name)
        for link in [o for o in self.objects.values() if isinstance(o, Link)]:
            peer = link.peer if isinstance(link, Veth) and link.peer_netns is None else None
            if name in (peer, link.underlay if isinstance(link, Vxlan) else None):
                if self.objects.pop(link.key, None) is not None:
                    self._remove_dependents(link.name)
            elif link.master == name:
                self.objects[link.key] = replace(link, master="")

    def _remove_secondaries(self, gone: Address) -> None:
        """The IPv4 address that a subnet was first given on a device is its primary one: the others go with it."""
        subnet = [
            o.key
            for o in self.objects.values()
            if isinstance(o, Address) and o.device == gone.device and o.prefix.network == gone.prefix.network
        ]
        if gone.prefix.version == 4 and subnet[0] == gone.key:
            self._drop(lambda o: o.key in subnet)

    def _drop(self, goes: Callable[[Object], bool]) -> None:
        self.objects = {key: item for key, item in self.objects.items() if not goes(item)}


def _sends_to(item: Object, chain: Chain) -> bool:
    """Whether a rule of `item` jumps to the chain; rules within the chain itself do not hold it."""
    if not isinstance(item, (Chain, Jump)) or item.key == chain.key:
        return False
    targets = item.targets if isinstance(item, Chain) else {item.target}
    return chain.name in targets and (item.family, item.table) == (chain.family, chain.table)


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
