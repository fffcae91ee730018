"""What all benchmarks share: measuring two things in turn, and printing rows as a table or as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median

import click
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Case:
    """Two ways of doing one thing. Each callable does it once and returns its cost in `unit`; `peer` may be absent.

    `must` and `goal` are the highest ratios ours/peer that are tolerable and wished for; without a peer, the
    highest values of ours.
    """

    name: str
    ours: Callable[[], float]
    peer: Callable[[], float] | None
    peer_name: str | None
    unit: str
    must: float | None = None
    goal: float | None = None
    repeats: int = 7


@dataclass(frozen=True, slots=True)
class Row:
    """One measured case: medians, and their ratio."""

    case: str
    ours: float
    peer: float | None
    peer_name: str | None
    unit: str
    ratio: float | None
    must: float | None
    goal: float | None
    ok: bool


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes, by the wall clock."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(case: Case, repeats: int) -> Row:
    """Peer and ours in turn, so that a change of the machine's mood meets both."""
    ours: list[float] = []
    peer: list[float] = []
    for _ in range(repeats):
        if case.peer is not None:
            peer.append(case.peer())
        ours.append(case.ours())
    ratio = median(ours) / median(peer) if peer else None
    ok = case.must is None or (median(ours) if ratio is None else ratio) <= case.must
    peer_median = median(peer) if peer else None
    return Row(case.name, median(ours), peer_median, case.peer_name, case.unit, ratio, case.must, case.goal, ok)


def run(bench: str, cases: Sequence[Case], *, as_json: bool, quick: bool, only: str | None) -> int:
    """Measure the cases and print them; the exit status."""
    chosen = [case for case in cases if only in (None, case.name)]
    if not chosen:
        names = ", ".join(case.name for case in cases)
        raise click.UsageError(f"no case {only!r}; cases are: {names}")
    rows = [measure(case, 3 if quick else case.repeats) for case in chosen]
    if as_json:
        print(json.dumps({"bench": bench, "rows": [asdict(row) for row in rows]}, indent=2))
    else:
        Console().print(_table(bench, rows))
    return 0 if all(row.ok for row in rows) else 1


def _table(bench: str, rows: Sequence[Row]) -> Table:
    table = Table(title=f"bench.{bench}: medians; must and goal are for ours/peer, or ours alone")
    for name in ("case", "ours", "peer", "", "unit", "ratio", "must", "goal", "ok"):
        table.add_column(name, justify="left" if name in ("case", "", "unit") else "right")
    for row in rows:
        table.add_row(
            row.case,
            f"{row.ours:.4g}",
            _number(row.peer, ".4g"),
            row.peer_name or "",
            row.unit,
            _number(row.ratio, ".2f"),
            _number(row.must, "g"),
            _number(row.goal, "g"),
            "yes" if row.ok else "NO",
        )
    return table


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def options(command: Callable[..., object]) -> Callable[..., object]:
    """The options that every benchmark takes."""
    command = click.option("--case", "only", metavar="NAME", help="Run this case alone.")(command)
    command = click.option("--quick", is_flag=True, help="Three repetitions of each case.")(command)
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(command)
