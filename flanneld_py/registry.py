"""Our lease and everybody's leases in the store, in flannel's schema (lease.py) and compatible with Go flannelds beside us.

Better than the reference where it loses nodes: a collision is tried again; renewal is a keepalive of the same lease, which no
other node sees, with jitter; a key without a lease (a reservation) stays one; all leases are one listing and one watch.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dataplane.errors import ConfigError
from datastore.errors import Compacted, KeyExists, LeaseGone, RevisionMismatch
from datastore.store import Item
from flanneld_py import subnet as subnets
from flanneld_py.lease import SUBNETS, BadLease, Lease, decode_lease, encode_value, key_of, parse_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from dataplane.inet import IP, Prefix
    from datastore.store import Event, Store
    from flanneld_py.conf import SubnetPlan

    Wanted = Callable[[Prefix, "Lease | None"], Lease]

log = logging.getLogger(__name__)

TTL_S = 86400


class LeaseLost(Exception):
    """Our subnet is no longer ours: its key was deleted, or another node has written it."""


@dataclass(frozen=True, slots=True)
class Held:
    """Our lease as it stands in the store.

    lease_id is 0 for a reservation, which never ends. A lease ends ttl_s after asked_at. former is the lease before this start.
    """

    lease: Lease
    key: str
    revision: int
    lease_id: int
    ttl_s: int
    asked_at: float
    former: Lease | None = None


class LeaseTable:
    """All leases below a prefix, kept by listing once and applying events. Pure.

    What is no lease is kept out, and its complaint kept in `bad` for as long as it stands there.
    """

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self.items: dict[str, Item] = {}
        self._leases: dict[str, Lease] = {}
        self.bad: dict[str, str] = {}
        for item in items:
            self._put(item)

    def apply(self, events: Iterable[Event]) -> None:
        """Follow changes."""
        for event in events:
            for column in (self.items, self._leases, self.bad):
                column.pop(event.key, None)
            if event.value is not None:
                self._put(Item(event.key, event.value, event.revision, event.lease))

    @property
    def leases(self) -> tuple[Lease, ...]:
        """All leases, the one written last at the end."""
        order = sorted(self._leases, key=lambda key: self.items[key].revision)
        return tuple(self._leases[key] for key in order)

    def _put(self, item: Item) -> None:
        self.items[item.key] = item
        try:
            self._leases[item.key] = decode_lease(item.key, item.value)
        except BadLease as error:
            self.bad[item.key] = str(error)


class Registry:
    """One network's part of a store.

    Args:
        store: where.
        prefix: of all keys, without a slash at the end.
        now: seconds of the clock that also runs while suspended.
        below: `random.randrange`, or a fixed choice in tests.
    """

    def __init__(self, store: Store, prefix: str, now: Callable[[], float], below: Callable[[int], int] = random.randrange) -> None:
        self._store, self._now, self._below = store, now, below
        self.config_key = f"{prefix}/config"
        self._prefix = f"{prefix}/{SUBNETS}"

    async def config(self) -> bytes | None:
        """The network configuration, if there is one. Raises StoreError."""
        item = await self._store.get(self.config_key)
        return item.value if item else None

    async def acquire(self, plan: SubnetPlan, wanted: Wanted, public_ip: IP, previous: Prefix | None) -> Held:
        """A subnet for this node, with its lease written.

        Args:
            plan: how the network is cut.
            wanted: the lease that this node would write for a subnet, given the one that it had.
            public_ip: ours, by which an earlier lease is known.
            previous: the subnet that we had before, or None.

        Raises:
            ConfigError: all subnets are taken.
            StoreError: the store cannot be asked.
        """
        while True:
            items = (await self._store.list(self._prefix)).items
            own = {item: lease for item in items if (lease := _readable(item)) and lease.public_ip == public_ip}
            fitting = [(item, lease) for item, lease in own.items() if not lease.subnet6 and subnets.compatible(plan, lease.subnet)]
            try:
                if fitting:
                    return await self._reuse(*fitting[0], wanted)
                former = next(iter(own.values()), None)
                taken = [subnet for item in items if item not in own for subnet in _subnets(item)]
                chosen = self._choose(plan, taken, former.subnet if former else previous)
                for item in own:  # of another configuration
                    await self._store.delete(item.key, item.revision)
                held = await self._write(wanted(chosen, former), self._prefix + key_of(chosen))
                log.info("lease acquired subnet=%s ttl=%d", chosen, TTL_S)
                return replace(held, former=former)
            except (KeyExists, RevisionMismatch, LeaseGone) as race:
                log.warning("another node was faster, trying again reason=%s", race)

    async def _reuse(self, item: Item, former: Lease, wanted: Wanted) -> Held:
        lease, asked_at = wanted(former.subnet, former), self._now()
        ttl_s = await self._store.keepalive(item.lease) if item.lease else 0
        value, revision = encode_value(lease), item.revision
        if item.value != value:
            revision = await self._store.replace(item.key, value, item.revision, item.lease)
        log.info("lease reused subnet=%s ttl=%d", lease.subnet, ttl_s)
        return Held(lease, item.key, revision, item.lease, ttl_s, asked_at, former)

    def _choose(self, plan: SubnetPlan, taken: Iterable[Prefix], preferred: Prefix | None) -> Prefix:
        chosen = subnets.choose(plan, taken, preferred, self._below)
        if chosen is None:
            rule = f"all {subnets.count(plan)} subnets /{plan.subnet_len} from {plan.subnet_min} to {plan.subnet_max} are taken"
            raise ConfigError(f"{self.config_key}: Network", str(plan.network), f"{rule}; enlarge the network or remove leases")
        return chosen

    async def _write(self, lease: Lease, key: str) -> Held:
        """Raises KeyExists when another node has the key."""
        asked_at = self._now()
        lease_id = await self._store.grant(TTL_S)
        try:
            revision = await self._store.create(key, encode_value(lease), lease_id)
        except KeyExists:
            await self._store.revoke(lease_id)
            raise
        return Held(lease, key, revision, lease_id, TTL_S, asked_at)

    async def read(self, held: Held) -> Item | None:
        """What the store has under our key now. Raises StoreError."""
        return await self._store.get(held.key)

    async def renew(self, held: Held) -> int:
        """Renew our lease; its seconds now. Raises LeaseGone, StoreError."""
        return await self._store.keepalive(held.lease_id)

    async def retake(self, held: Held) -> Held:
        """Our lease after it ended while we could not renew it: written again if the subnet is still free.

        Raises:
            LeaseLost: another node has the subnet by now.
            StoreError: the store cannot be asked.
        """
        try:
            again = await self._write(held.lease, held.key)
        except KeyExists:
            item = await self._store.get(held.key)
            return still_ours(held, item)
        log.warning("lease had ended, acquired again subnet=%s", held.lease.subnet)
        return again

    async def follow(self) -> AsyncIterator[LeaseTable]:
        """The table of all leases, now and after each change. History that is gone is answered by a new listing.

        Raises:
            StoreError: the listing or the watch failed.
        """
        while True:
            listing = await self._store.list(self._prefix)
            table = LeaseTable(listing.items)
            yield table
            try:
                async for events in self._store.watch(self._prefix, listing.revision):
                    table.apply(events)
                    yield table
            except Compacted as error:
                log.warning("watch fell behind, listing again reason=%s", error)


def _readable(item: Item) -> Lease | None:
    try:
        return decode_lease(item.key, item.value)
    except BadLease:
        return None


def _subnets(item: Item) -> tuple[Prefix, ...]:
    """What a key holds, even if its value says nothing."""
    try:
        return tuple(subnet for subnet in parse_key(item.key) if subnet)
    except BadLease:
        return ()


def still_ours(held: Held, item: Item | None) -> Held:
    """Our lease after its key was seen so. Who writes it again with the same words may change its lease, such as to a reservation.

    Raises:
        LeaseLost: the key is gone, or says something else.
    """
    if item is None:
        raise LeaseLost(f"{held.key}: deleted by somebody; this node has no subnet any more")
    try:
        found = decode_lease(held.key, item.value)
    except BadLease as error:
        raise LeaseLost(f"{error}; somebody has overwritten our lease") from None
    if found != held.lease:
        ours, theirs = held.lease, found
        raise LeaseLost(
            f"{held.key}: overwritten by somebody with PublicIP {theirs.public_ip} and backend data {theirs.backend_data or 'none'}"
            f" (ours: {ours.public_ip}, {ours.backend_data or 'none'}); give every node a public IP of its own"
        )
    return replace(held, revision=item.revision, lease_id=item.lease)
