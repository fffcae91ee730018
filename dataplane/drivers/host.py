"""One network namespace's kernel, whole: netlink, /proc/sys and iptables behind one face (dataplane/kernel.py).

A driver is opened when there is work for it, and only then imported: a plugin that writes no rule pays for no iptables.
"""

from __future__ import annotations

from dataplane.errors import KernelError
from dataplane.kernel import Failure
from dataplane.netfilter import Chain, Jump
from dataplane.state import Sysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Protocol

    from dataplane.kernel import Kernel
    from dataplane.ownership import Scope
    from dataplane.plan import Op
    from dataplane.state import Object

    class Driver(Kernel, Protocol):
        def close(self) -> None: ...


def _netlink(netns: str | None) -> Driver:
    from dataplane.drivers.netlink import NetlinkDriver  # noqa: PLC0415  only when there is work for it

    return NetlinkDriver(netns)


def _sysctl(netns: str | None) -> Driver:
    from dataplane.drivers.sysctl import SysctlDriver  # noqa: PLC0415

    return SysctlDriver(netns)


def _iptables(netns: str | None) -> Driver:
    from dataplane.drivers.iptables import IptablesDriver  # noqa: PLC0415

    return IptablesDriver(netns)


# Who reads which part of a scope, in the order of reading.
_READERS: tuple[tuple[Callable[[str | None], Driver], tuple[str, ...]], ...] = (
    (_netlink, ("links", "devices", "routes")),
    (_sysctl, ("sysctls",)),
    (_iptables, ("tables",)),
)


class HostKernel:
    """The kernel as seen from one network namespace. Usable in a `with` block.

    Args:
        netns: path of the namespace; None is this one.
    """

    def __init__(self, netns: str | None = None) -> None:
        self._netns = netns
        self._drivers: dict[Callable[[str | None], Driver], Driver] = {}

    def read(self, scope: Scope) -> frozenset[Object]:
        """What is there within `scope`. Raises KernelError if a driver cannot tell."""
        asked = [opener for opener, parts in _READERS if any(getattr(scope, part) for part in parts)]
        found: frozenset[Object] = frozenset()
        return found.union(*(self._driver(opener).read(scope) for opener in asked))

    def apply(self, ops: Sequence[Op]) -> tuple[Failure, ...]:
        """Carry out the operations in order, all of them; neighbours of one driver go to it together. Return those that failed."""
        failures: list[Failure] = []
        batch: list[Op] = []
        for i, op in enumerate(ops):
            batch.append(op)
            if i + 1 == len(ops) or _writer(ops[i + 1]) is not _writer(op):
                failures += self._apply_batch(batch)
                batch = []
        return tuple(failures)

    def _apply_batch(self, batch: list[Op]) -> tuple[Failure, ...]:
        try:
            driver = self._driver(_writer(batch[0]))
        except KernelError as error:  # the namespace cannot be entered
            return tuple(Failure(op, error) for op in batch)
        return driver.apply(batch)

    def close(self) -> None:
        """Give back what the drivers hold. The next use opens them again."""
        for driver in self._drivers.values():
            driver.close()
        self._drivers.clear()

    def __enter__(self) -> HostKernel:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _driver(self, opener: Callable[[str | None], Driver]) -> Driver:
        if opener not in self._drivers:
            self._drivers[opener] = opener(self._netns)
        return self._drivers[opener]


def _writer(op: Op) -> Callable[[str | None], Driver]:
    if isinstance(op.item, (Chain, Jump)):
        return _iptables
    return _sysctl if isinstance(op.item, Sysctl) else _netlink
