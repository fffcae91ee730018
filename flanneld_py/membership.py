"""This node as a member of the network: it follows everybody's leases and keeps its own.

A lease that ended because we could not renew it in time is taken again, if the subnet is still free. One that somebody deleted or
overwrote is lost: then we stop (LeaseLost), for two nodes with one subnet is worse than one node less.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from datastore.errors import LeaseGone, StoreError
from flanneld_py.patience import Patience
from flanneld_py.registry import LeaseLost, still_ours
from flanneld_py.renewal import RETRY_PART, RETRY_S, Renewal

if TYPE_CHECKING:
    from collections.abc import Callable

    from flanneld_py.lease import Lease
    from flanneld_py.registry import Held, LeaseTable, Registry

log = logging.getLogger(__name__)

CLOCK_GLANCE_S = 60.0  # sleeping does not count while the machine is suspended; the clock does


class Membership:
    """Follows and renews.

    Args:
        registry: of the network.
        held: our lease as acquired.
        margin_s: renew so long before the end.
        now: seconds of the clock that also runs while suspended; the registry's own.
        changed: called after each change of `leases`.
    """

    def __init__(
        self, registry: Registry, held: Held, margin_s: int, now: Callable[[], float], changed: Callable[[], None]
    ) -> None:
        self._registry, self._held, self._margin_s, self._now, self._changed = registry, held, margin_s, now, changed
        self._renewal = Renewal(held.asked_at, held.ttl_s)
        self._retaking = asyncio.Lock()
        self._bad: dict[str, str] = {}
        self.leases: tuple[Lease, ...] = ()
        self.known = asyncio.Event()  # the first listing is in

    async def follow(self) -> None:
        """Keep `leases` true, for ever. Without the store, the last good state stays.

        Raises:
            LeaseLost: our subnet is no longer ours.
        """
        patience = Patience("follow leases")
        while True:
            try:
                async for table in self._registry.follow():
                    patience.over()
                    await self._check_own(table)
                    self._take(table)
            except StoreError as error:
                await patience.after(error)

    async def renew(self) -> None:
        """Renew our lease whenever it is due, for ever.

        Raises:
            LeaseLost: it was revoked, or has ended and another node has the subnet.
        """
        while True:
            await self._sleep_until(self._renewal.due(self._margin_s, random.random()))  # noqa: S311  jitter, not a secret
            if not self._held.lease_id:
                await asyncio.sleep(CLOCK_GLANCE_S)  # a reservation never ends; but it may become a lease
                continue
            await self._renew_once()

    async def _renew_once(self) -> None:
        held = self._held
        try:
            await self._renew_or_retake(held)
        except StoreError as error:
            retry_s = min(RETRY_S, held.ttl_s * RETRY_PART)
            log.warning("lease not renewed, will retry subnet=%s retry_s=%g reason=%s", held.lease.subnet, retry_s, error)
            await asyncio.sleep(retry_s)

    async def _renew_or_retake(self, held: Held) -> None:
        asked_at = self._now()
        try:
            ttl_s = await self._registry.renew(held)
        except LeaseGone as error:
            if held is self._held:
                await self._retake(held, str(error))
        else:
            self._renewal = Renewal(asked_at, ttl_s)
            log.info("lease renewed subnet=%s ttl=%d", held.lease.subnet, ttl_s)

    async def _sleep_until(self, when: float) -> None:
        while (rest_s := when - self._now()) > 0:
            await asyncio.sleep(min(rest_s, CLOCK_GLANCE_S))

    async def _check_own(self, table: LeaseTable) -> None:
        held = self._held
        item = table.items.get(held.key)
        if item is None or item.revision < held.revision:
            # Either the table is behind what we wrote, or the store was wiped and its revisions began anew: only it can tell.
            item = await self._registry.read(held)
        if self._held is not held:
            return  # renewing has found it out, and taken the lease again
        if item is None:
            await self._retake(held, f"{held.key}: deleted by somebody")
        else:
            self._held = still_ours(held, item)

    async def _retake(self, held: Held, reason: str) -> None:
        async with self._retaking:
            if self._held is not held:
                return
            if held.lease_id and not self._renewal.ended(self._now()):
                raise LeaseLost(f"{reason}; this node has no subnet any more")
            if not held.lease_id:
                raise LeaseLost(f"{reason}; it was a reservation, and this node has no subnet any more")
            self._held = await self._registry.retake(held)
            self._renewal = Renewal(self._held.asked_at, self._held.ttl_s)

    def _take(self, table: LeaseTable) -> None:
        for key, reason in table.bad.items():
            if self._bad.get(key) != reason:
                log.warning("not a lease, ignored ignored=%d reason=%s", len(table.bad), reason)
        self._bad = dict(table.bad)
        self.leases = table.leases
        self.known.set()
        self._changed()
