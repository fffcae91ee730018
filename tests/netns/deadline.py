"""Waiting for what a kernel or a process does in its own time: polled, with a deadline no machine needs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE_S = 30.0


def until(condition: Callable[[], bool]) -> None:
    """Return once `condition()` is true; fail the test if it does not become so."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"still not so after {DEADLINE_S:.0f} s"
        time.sleep(0.01)
