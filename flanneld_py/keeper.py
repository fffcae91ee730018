"""Keeps one part of the wish true: a turn of `reconcile` when something changed, when time is up, and again after a failure.

Nothing here knows what changed: every turn takes the whole wish. So a lost event costs at most one interval, and a failure leaves
the keeper dirty until a turn has found nothing wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from dataplane.errors import KernelError
from dataplane.reconcile import Turn, reconcile
from dataplane.state import Address, Link
from dataplane.words import words

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataplane.kernel import Kernel
    from dataplane.ownership import Owner
    from dataplane.state import Object

log = logging.getLogger(__name__)

QUIET_GAP_S = 0.05  # between turns: a burst of events makes one turn
FIRST_RETRY_S, LAST_RETRY_S = 0.2, 5.0


class Keeper:
    """One owner's part of one kernel.

    Args:
        part: its name, for the log.
        kernel: used by one turn at a time, in a thread.
        owner: whose marks count.
        wish: the whole wish at this moment; may raise KernelError when what it needs cannot be made.
        resync_s: seconds until a turn although nothing is known to have changed; None for never.
    """

    def __init__(
        self, part: str, kernel: Kernel, owner: Owner, wish: Callable[[], frozenset[Object]], resync_s: float | None = None
    ) -> None:
        self._part, self._kernel, self._owner, self._wish, self._resync_s = part, kernel, owner, wish, resync_s
        self._complaints: frozenset[str] = frozenset()
        self._dirty = asyncio.Event()
        self.ready = asyncio.Event()  # our own devices and addresses stand, whatever may be amiss with a single peer

    def touch(self) -> None:
        """Something may have changed: take a turn soon."""
        self._dirty.set()

    async def run(self) -> None:
        """Take turns for ever."""
        retry_s = FIRST_RETRY_S
        while True:
            self._dirty.clear()
            turn = await asyncio.to_thread(self._turn)
            if turn and stands(turn):
                self.ready.set()
            if turn and turn.converged:
                retry_s, pause_s = FIRST_RETRY_S, self._resync_s
            else:
                retry_s, pause_s = min(retry_s * 2, LAST_RETRY_S), retry_s
            await asyncio.sleep(QUIET_GAP_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._dirty.wait()

    def _turn(self) -> Turn | None:
        """One turn, or None when the kernel could not even be read."""
        try:
            turn = reconcile(self._kernel, self._wish(), self._owner)
        except KernelError as error:
            self._complain(frozenset({str(error)}))
            return None
        if turn.done:
            verbs = [op.verb for op in turn.done]
            log.info("%s changed %s", self._part, " ".join(f"{verb}={verbs.count(verb)}" for verb in ("add", "set", "remove")))
        for op in turn.done:
            log.debug("%s did %s %s", self._part, op.verb, words(op.item))
        self._complain(complaints(turn))
        return turn

    def _complain(self, complaints: frozenset[str]) -> None:
        """Each complaint once, and once more when it is over."""
        for text in sorted(complaints - self._complaints):
            log.warning("%s not as wished, will retry reason=%s", self._part, text)
        for text in sorted(self._complaints - complaints):
            log.info("%s settled: %s", self._part, text)
        self._complaints = complaints


def complaints(turn: Turn) -> frozenset[str]:
    """What a turn could not do, in words."""
    refused = {str(failure.error) for failure in turn.failures}
    taken = {
        f"{words(wanted)} is wished for, but somebody else's {words(found)} stands there; remove it"
        for wanted, found in turn.conflicts
    }
    return frozenset(refused | taken)


def stands(turn: Turn) -> bool:
    """Whether nothing failed that everything else hangs on."""
    failed = [failure.op.item for failure in turn.failures] + [wanted for wanted, _ in turn.conflicts]
    return not any(isinstance(item, (Link, Address)) for item in failed)
