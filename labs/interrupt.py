"""Signals that end us: before an undo they start it, during one they wait.

Whoever presses Ctrl-C twice, or closes the terminal, wants less to be there and not more: what has begun to be undone is undone
whole.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_in_order() -> None:
    """Let each of these signals unwind what was begun, and end with the shell's exit status for it."""

    def leave(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    for number in ENDING:
        signal.signal(number, leave)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold these signals back until the block is through; then the first one takes effect."""
    if threading.current_thread() is not threading.main_thread():  # signals go to the main thread alone
        yield
        return
    held: list[int] = []
    before = {number: signal.signal(number, lambda number, _: held.append(number)) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])
