"""Wait until a lab works: daemons have their subnets, and everybody reaches everybody. Say which part it is that does not."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from labs.check import check
from labs.errors import LabError
from labs.layout import Layout
from labs.processes import pid_of
from labs.programs import Daemon
from labs.verdict import Pair

SUBNET_PATIENCE_S, PAIRS_PATIENCE_S = 60.0, 45.0
_POLL_S = 0.05
_SURVEY_S = 1.0
_TAIL_LINES = 15
_PAIRS_SHOWN = 5


def await_subnets(layout: Layout, daemons: Sequence[Daemon]) -> None:
    """Until each daemon has written its node's subnet file.

    Raises:
        LabError: a daemon has ended, or time is up.
    """
    deadline = time.monotonic() + SUBNET_PATIENCE_S
    for daemon in daemons:
        while not os.path.isfile(layout.subnet_file(daemon.machine)):
            if pid_of(layout, daemon) is None:
                raise LabError(f"{daemon} has ended before it had a subnet\n{log_tail(daemon)}")
            if time.monotonic() > deadline:
                raise LabError(f"{daemon} has no subnet after {SUBNET_PATIENCE_S:.0f} s\n{log_tail(daemon)}")
            time.sleep(_POLL_S)


def await_pairs(layout: Layout, daemons: Sequence[Daemon]) -> None:
    """Until `check` finds every pair in order: then all peers are programmed.

    Raises:
        LabError: time is up.
    """
    deadline = time.monotonic() + PAIRS_PATIENCE_S
    while not (verdict := check(layout, _SURVEY_S)).ok:
        ended = [daemon for daemon in daemons if pid_of(layout, daemon) is None]
        if ended or time.monotonic() > deadline:
            wrong = [pair for pair in verdict.pairs if not pair.ok]
            raise LabError("\n".join((_summary(wrong, ended), *(log_tail(daemon) for daemon in ended or daemons))))


def log_tail(daemon: Daemon) -> str:
    """The last lines that a daemon printed, each indented, under its log's name."""
    try:
        lines = Path(daemon.log).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    return "\n".join((f"{daemon.log}:", *(f"    {line}" for line in lines[-_TAIL_LINES:] or ["(empty)"])))


def _summary(wrong: Sequence[Pair], ended: Sequence[Daemon]) -> str:
    names = ", ".join(f"{pair.probe.source} -> {pair.probe.target}" for pair in wrong[:_PAIRS_SHOWN])
    more = f" and {len(wrong) - _PAIRS_SHOWN} more" if len(wrong) > _PAIRS_SHOWN else ""
    why = f"{', '.join(str(daemon) for daemon in ended)} ended" if ended else f"after {PAIRS_PATIENCE_S:.0f} s"
    return f"pairs that do not reach each other as they should ({why}): {names}{more}"
