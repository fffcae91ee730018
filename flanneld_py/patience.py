"""Waiting for a store that cannot be reached: say so once, back off, say when it is over. A daemon outlives its store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from datastore.errors import StoreError

T = TypeVar("T")

log = logging.getLogger(__name__)

FIRST_RETRY_S, LAST_RETRY_S = 0.2, 5.0
SLOW_S = 1.0  # a store tries for some seconds before it gives up; who started the daemon looks at the log before that


class Patience:
    """How long to wait after each failure of one thing, and whether to speak of it."""

    def __init__(self, what: str) -> None:
        self._what, self._said, self._wait_s = what, "", FIRST_RETRY_S

    @contextmanager
    def told_when_slow(self) -> Iterator[None]:
        """Say so when an attempt takes long, before it is known how it ends."""
        timer = asyncio.get_running_loop().call_later(SLOW_S, self._slow)
        try:
            yield
        finally:
            timer.cancel()

    def _slow(self) -> None:
        if not self._said:
            self._said = "no answer yet"
            log.warning("store does not answer yet doing=%r after_s=%g", self._what, SLOW_S)

    async def after(self, error: StoreError) -> None:
        """It failed: wait until it is time to try again."""
        if str(error) != self._said:
            log.warning("store trouble, will retry doing=%r reason=%s", self._what, error)
        self._said = str(error)
        await asyncio.sleep(self._wait_s)
        self._wait_s = min(self._wait_s * 2, LAST_RETRY_S)

    def over(self) -> None:
        """It worked."""
        if self._said:
            log.info("store is back doing=%r", self._what)
        self._said, self._wait_s = "", FIRST_RETRY_S


async def patiently(what: str, attempt: Callable[[], Awaitable[T]]) -> T:
    """The result of `attempt`, tried until the store answers."""
    patience = Patience(what)
    while True:
        try:
            with patience.told_when_slow():
                result = await attempt()
        except StoreError as error:
            await patience.after(error)
        else:
            patience.over()
            return result
