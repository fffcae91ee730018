"""Chains and rules in the kernel, by `iptables-save` and `iptables-restore --noflush`: one process to read, one to write a table.

The two generations of the tool keep their rules in different places of the kernel; `backend` picks one, and without it Debian's
alternative `iptables` decides, as it does for everybody else on the machine.

iptables-restore is atomic for a table but not across tables, so each table has its own transaction: what is reported as failed was
not done, not even in part.
"""

from __future__ import annotations

import os
from errno import EAGAIN

from dataplane.drivers.run import run
from dataplane.errors import KernelError
from dataplane.kernel import Failure
from dataplane.netfilter import Chain, Jump
from dataplane.restore import parse, render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataplane.drivers.run import Ran
    from dataplane.ownership import Scope
    from dataplane.plan import Op
    from dataplane.state import Object

LOCK_WAIT_S = 5  # for /run/xtables.lock, which iptables-legacy programs hold while they work
_RESOURCE_PROBLEM = 4  # exit status; with "lock" in the message somebody else had it all the time
_ALL_TABLES_FROM = 3  # one read of everything costs less than three reads of a table
_PASSED_ON = ("XTABLES_LOCKFILE",)  # must be the one that all others of the machine use
_TOOLS = {4: "iptables", 6: "ip6tables"}


class IptablesDriver:
    """The packet filter of one network namespace.

    Args:
        netns: path of the namespace; None is this one.
        backend: "nft" or "legacy"; "" is the machine's choice.
    """

    def __init__(self, netns: str | None = None, backend: str = "") -> None:
        self._netns = netns
        self._backend = f"-{backend}" if backend else ""
        self._seen: dict[tuple[int, str], tuple[Chain | Jump, ...]] = {}

    def read(self, scope: Scope) -> frozenset[Object]:
        """All chains of users, and all rules in built-in chains, of the tables in `scope.tables`.

        Raises:
            KernelError: the tool is missing, or the kernel has no such table.
        """
        self._seen = {}
        for family in sorted({family for family, _ in scope.tables}):
            tables = sorted(table for each, table in scope.tables if each == family)
            self._seen.update(self._read_tables(family, tables))
        return frozenset(item for items in self._seen.values() for item in items)

    def apply(self, ops: Sequence[Op]) -> tuple[Failure, ...]:
        """Carry out operations on Chains and Jumps, those of one table as one transaction; return those that failed.

        What the last `read` saw is taken as the state of the table, once. If the transaction is refused then, the table is read
        anew and the transaction tried once more, for another program may have changed it in between. A lock that another program
        does not give back is waited for only once; the failures then have EAGAIN.
        """
        batches: dict[tuple[int, str], list[Op]] = {}
        for op in ops:
            batches.setdefault(_place(op), []).append(op)
        return tuple(failure for (family, table), batch in batches.items() for failure in self._apply_table(family, table, batch))

    def close(self) -> None:
        """Nothing is held open."""

    def _apply_table(self, family: int, table: str, batch: list[Op]) -> tuple[Failure, ...]:
        seen = self._seen.pop((family, table), None)
        try:
            error = self._written(family, table, batch, seen) if seen is not None else None
            if seen is None or (error is not None and error.errno != EAGAIN):
                error = self._written(family, table, batch, self._read_tables(family, [table])[family, table])
        except KernelError as refusal:
            error = refusal
        return tuple(Failure(op, error) for op in batch) if error else ()

    def _written(self, family: int, table: str, batch: list[Op], found: tuple[Chain | Jump, ...]) -> KernelError | None:
        """Write one table; what was refused, or None."""
        text = render(table, batch, found)
        if not text:
            return None
        tool = self._tool(family, "restore")
        ran = self._run([tool, "--noflush", "--wait", str(LOCK_WAIT_S)], text)
        if not ran.status:
            return None
        number = EAGAIN if ran.status == _RESOURCE_PROBLEM and b"lock" in ran.stderr else 0
        return KernelError(f"write table {table} with {tool}", _reason(ran, text), number)

    def _read_tables(self, family: int, tables: list[str]) -> dict[tuple[int, str], tuple[Chain | Jump, ...]]:
        whole = len(tables) >= _ALL_TABLES_FROM
        found = [item for text in self._texts(family, None if whole else tables) for item in parse(text, family)]
        return {(family, table): tuple(item for item in found if item.table == table) for table in tables}

    def _texts(self, family: int, tables: list[str] | None) -> list[str]:
        """What iptables-save prints of the tables, each by itself; None is all that have been used so far, at once."""
        return [self._saved(family, ["-t", table]) for table in tables] if tables is not None else [self._saved(family, [])]

    def _saved(self, family: int, choice: list[str]) -> str:
        tool = self._tool(family, "save")
        ran = self._run([tool, *choice])
        text = _decoded(ran.stdout)
        if ran.status or "is incompatible, use 'nft' tool" in text:
            what = f"read {f'table {choice[-1]}' if choice else 'all tables'} with {tool}"
            raise KernelError(what, _reason(ran, "") if ran.status else text.strip())
        return text

    def _tool(self, family: int, task: str) -> str:
        return f"{_TOOLS[family]}{self._backend}-{task}"

    def _run(self, argv: list[str], text: str = "") -> Ran:
        env = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
        env |= {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        return run(argv, text.encode(errors="surrogateescape"), self._netns, env)


def _place(op: Op) -> tuple[int, str]:
    if isinstance(op.item, (Chain, Jump)):
        return op.item.family, op.item.table
    raise TypeError(f"the iptables driver has no use for {op}")


def _decoded(printed: bytes) -> str:
    """Comments may hold any bytes; those that are not UTF-8 survive the way there and back."""
    return printed.decode(errors="surrogateescape")


def _reason(ran: Ran, text: str) -> str:
    """The tool's own words, without its advice to read the manual, and the line that it complains about."""
    said = [line.strip() for line in _decoded(ran.stderr).splitlines() if line.strip() and not line.startswith("Try `")]
    parts = " ".join(said).replace(":", " ").split()
    number = next((int(parts[i + 1]) for i, word in enumerate(parts[:-1]) if word == "line" and parts[i + 1].isdigit()), 0)
    lines = text.splitlines()
    culprit = f" (line {number}: {lines[number - 1]})" if 0 < number < len(lines) else ""
    return ("; ".join(said) or f"exit status {ran.status}, no message") + culprit
