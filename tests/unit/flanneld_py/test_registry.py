"""Leases in a real store, the embedded one: acquired, reused, raced for, kept, lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dataplane.errors import ConfigError
from dataplane.inet import IP, Prefix, parse_ip, parse_prefix
from datastore.errors import StoreError
from datastore.local import LocalStore
from datastore.store import Event, Item
from flanneld_py.conf import SubnetPlan
from flanneld_py.lease import Lease, encode_value
from flanneld_py.membership import Membership
from flanneld_py.registry import TTL_S, Held, LeaseLost, LeaseTable, Registry

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "/coreos.com/network"
SUBNETS = f"{PREFIX}/subnets/"
PLAN = SubnetPlan(parse_prefix("10.5.0.0/16"), 24, parse_ip("10.5.1.0"), parse_ip("10.5.4.0"))
OURS, THEIRS = parse_ip("192.168.50.1"), parse_ip("192.168.50.2")
DEADLINE_S = 20.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def lease(subnet: str, public_ip: IP = OURS, kind: str = "host-gw") -> Lease:
    return Lease(parse_prefix(subnet), public_ip, kind)


def wanted(subnet: Prefix, former: Lease | None) -> Lease:
    return Lease(subnet, OURS, "host-gw")


def lowest(_: int) -> int:
    return 0


def play(tmp_path: Path, scenario: Callable[[LocalStore, Registry, Clock], Awaitable[None]]) -> None:
    """Run a scenario with a store whose clock stands still until it is set."""

    async def run() -> None:
        clock = Clock()
        store = await LocalStore.open(str(tmp_path / "store.db"), now=clock, boot="one")
        try:
            async with asyncio.timeout(DEADLINE_S):
                await scenario(store, Registry(store, PREFIX, clock, lowest), clock)
        finally:
            await store.close()

    asyncio.run(run())


async def acquire(registry: Registry, previous: str | None = None) -> Held:
    return await registry.acquire(PLAN, wanted, OURS, parse_prefix(previous) if previous else None)


def test_a_new_node_gets_a_subnet_under_a_lease_of_a_day(tmp_path: Path) -> None:
    async def scenario(store: LocalStore, registry: Registry, clock: Clock) -> None:
        held = await acquire(registry)
        item = await store.get(SUBNETS + "10.5.1.0-24")
        assert item is not None
        assert (item.value, item.lease) == (b'{"PublicIP":"192.168.50.1","PublicIPv6":null,"BackendType":"host-gw"}', held.lease_id)
        assert await store.time_to_live(held.lease_id) == TTL_S == 86400

    play(tmp_path, scenario)


def test_the_subnet_of_our_public_ip_is_reused_without_a_write(tmp_path: Path) -> None:
    async def scenario(store: LocalStore, registry: Registry, clock: Clock) -> None:
        first = await acquire(registry)
        clock.now += 80000
        again = await acquire(registry, "10.5.3.0/24")
        assert (again.key, again.revision, again.lease_id) == (first.key, first.revision, first.lease_id)
        assert await store.time_to_live(first.lease_id) == TTL_S

    play(tmp_path, scenario)


def test_other_attributes_are_written_under_the_same_lease(tmp_path: Path) -> None:
    async def scenario(store: LocalStore, registry: Registry, clock: Clock) -> None:
        lease_id = await store.grant(TTL_S)
        await store.create(SUBNETS + "10.5.2.0-24", encode_value(lease("10.5.2.0/24", kind="vxlan")), lease_id)
        held = await acquire(registry)
        item = await store.get(SUBNETS + "10.5.2.0-24")
        assert item is not None
        assert (held.lease_id, item.lease, item.value) == (lease_id, lease_id, encode_value(lease("10.5.2.0/24")))
        assert held.former == lease("10.5.2.0/24", kind="vxlan")

    play(tmp_path, scenario)


def test_a_subnet_that_no_longer_fits_is_given_back(tmp_path: Path) -> None:
    async def scenario(store: LocalStore, registry: Registry, clock: Clock) -> None:
        await store.create(SUBNETS + "10.5.9.0-24", encode_value(lease("10.5.9.0/24")))
        await store.create(SUBNETS + "10.5.3.0-24&fd00::-64", encode_value(lease("10.5.3.0/24")))
        held = await acquire(registry)
        assert held.lease.subnet in {parse_prefix("10.5.3.0/24"), parse_prefix("10.5.1.0/24")}
        assert [item.key for item in (await store.list(SUBNETS)).items] == [held.key]

    play(tmp_path, scenario)


def test_the_previous_subnet_is_asked_for_and_a_taken_one_is_not(tmp_path: Path) -> None:
    async def scenario(store: LocalStore, registry: Registry, clock: Clock) -> None:
        await store.create(SUBNETS + "10.5.1.0-24", encode_value(lease("10.5.1.0/24", THEIRS)))
        assert (await acquire(registry, "10.5.3.0/24")).lease.subnet == parse_prefix("10.5.3.0/24")
        await store.delete(SUBNETS + "10.5.3.0-24")
        assert (await acquire(registry, "10.5.1.0/24")).lease.subnet == parse_prefix("10.5.2.0/24")

    play(tmp_path, scenario)


def test_a_key_whose_value_says_nothing_still_holds_its_subnet(tmp_path: Path) -> None:
    async def scenario(store: LocalStore, registry: Registry, clock: Clock) -> None:
        await store.create(SUBNETS + "10.5.1.0-24", b"garbage")
        assert (await acquire(registry)).lease.subnet == parse_prefix("10.5.2.0/24")

    play(tmp_path, scenario)


def test_an_exhausted_network_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    async def scenario(store: LocalStore, registry: Registry, clock: Clock) -> None:
        await store.create(SUBNETS + "10.5.0.0-21", encode_value(lease("10.5.0.0/21", THEIRS)))
        await store.create(SUBNETS + "10.5.9.0-24", encode_value(lease("10.5.9.0/24")))  # ours, but no longer of this network
        before = await store.list(SUBNETS)
        with pytest.raises(ConfigError, match="all 4 subnets /24 from"):
            await acquire(registry)
        assert await store.list(SUBNETS) == before

    play(tmp_path, scenario)


def test_nodes_that_start_together_all_get_a_subnet_of_their_own(tmp_path: Path) -> None:
    async def scenario(store: LocalStore, registry: Registry, clock: Clock) -> None:
        async def node(number: int) -> Held:
            ip = parse_ip(f"192.168.50.{number}")
            return await registry.acquire(PLAN, lambda subnet, former: Lease(subnet, ip), ip, None)

        held = await asyncio.gather(*(node(number) for number in range(1, 5)))  # every one of them wants the lowest
        assert len({each.lease.subnet for each in held}) == 4

    play(tmp_path, scenario)


async def member(registry: Registry, held: Held, clock: Clock) -> Membership:
    return Membership(registry, held, 3600, clock, lambda: None)


async def ended(job: Awaitable[None]) -> str:
    """The words with which a member gives up."""
    with pytest.raises(LeaseLost) as caught:
        await job
    return str(caught.value)


def test_a_deleted_lease_ends_the_member(tmp_path: Path) -> None:
    async def scenario(store: LocalStore, registry: Registry, clock: Clock) -> None:
        held = await acquire(registry)
        following = asyncio.create_task((await member(registry, held, clock)).follow())
        await asyncio.sleep(0)
        await store.delete(held.key)
        assert "deleted by somebody" in await ended(following)

    play(tmp_path, scenario)


def test_an_overwritten_lease_ends_the_member(tmp_path: Path) -> None:
    async def scenario(store: LocalStore, registry: Registry, clock: Clock) -> None:
        held = await acquire(registry)
        await store.replace(held.key, encode_value(lease("10.5.1.0/24", THEIRS)), held.revision)
        assert "overwritten by somebody with PublicIP 192.168.50.2" in await ended((await member(registry, held, clock)).follow())

    play(tmp_path, scenario)


def test_a_lease_that_ended_while_we_slept_is_taken_again(tmp_path: Path) -> None:
    async def scenario(store: LocalStore, registry: Registry, clock: Clock) -> None:
        held = await acquire(registry)
        this = await member(registry, held, clock)
        clock.now += TTL_S + 1
        async with following(this):
            await seen(store, held.key)
        assert (await store.get(held.key)).lease not in (0, held.lease_id)  # type: ignore[union-attr]

    play(tmp_path, scenario)


def test_a_lease_that_ended_and_is_anothers_now_is_lost(tmp_path: Path) -> None:
    async def scenario(store: LocalStore, registry: Registry, clock: Clock) -> None:
        held = await acquire(registry)
        this = await member(registry, held, clock)
        clock.now += TTL_S + 1
        await store.create(held.key, encode_value(lease("10.5.1.0/24", THEIRS)))
        assert "overwritten by somebody" in await ended(this.follow())

    play(tmp_path, scenario)


def test_a_lease_is_renewed_when_due_and_its_key_is_not_written(tmp_path: Path) -> None:
    async def scenario(store: LocalStore, registry: Registry, clock: Clock) -> None:
        held = await acquire(registry)
        this = await member(registry, held, clock)
        clock.now += TTL_S - 600
        task = asyncio.create_task(this.renew())
        while await store.time_to_live(held.lease_id) < TTL_S:
            await asyncio.sleep(0.01)
        task.cancel()
        assert (await store.get(held.key)).revision == held.revision  # type: ignore[union-attr]

    play(tmp_path, scenario)


def test_a_revoked_lease_ends_the_member(tmp_path: Path) -> None:
    async def scenario(store: LocalStore, registry: Registry, clock: Clock) -> None:
        held = await acquire(registry)
        this = await member(registry, held, clock)
        clock.now += TTL_S - 600  # due, and not ended
        await store.revoke(held.lease_id)
        assert "this node has no subnet any more" in await ended(this.renew())

    play(tmp_path, scenario)


def test_a_store_that_fails_while_an_ended_lease_is_taken_again_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flanneld_py.membership.RETRY_S", 0.01)

    async def scenario(store: LocalStore, registry: Registry, clock: Clock) -> None:
        held = await acquire(registry)
        this = await member(registry, held, clock)
        failures, grant = iter([StoreError("no space")]), store.grant

        async def grant_later(ttl: int) -> int:
            for failure in failures:
                raise failure
            return await grant(ttl)

        monkeypatch.setattr(store, "grant", grant_later)
        clock.now += TTL_S + 1
        task = asyncio.create_task(this.renew())
        assert (await seen(store, held.key)).lease not in (0, held.lease_id)
        assert not task.done()
        task.cancel()

    play(tmp_path, scenario)


def test_a_lease_lasts_from_the_moment_it_was_asked_for(tmp_path: Path) -> None:
    """So that it has ended for us when it has ended for the store, and is taken again and not given up."""

    async def scenario(store: LocalStore, registry: Registry, clock: Clock) -> None:
        held = await acquire(registry)
        clock.now += 7  # the machine was slow in between
        this = await member(registry, held, clock)
        clock.now += TTL_S - 7
        async with following(this):
            assert (await seen(store, held.key)).lease not in (0, held.lease_id)

    play(tmp_path, scenario)


def test_an_older_looking_table_is_not_believed_before_the_store_was_asked(tmp_path: Path) -> None:
    """After a wipe revisions begin anew: another's lease may look older than ours. And events may arrive after we wrote again."""

    async def scenario(store: LocalStore, registry: Registry, clock: Clock) -> None:
        held = await acquire(registry)
        async with following(await member(registry, replace(held, revision=1000), clock)) as this:
            await this.known.wait()
        await store.replace(held.key, encode_value(lease("10.5.1.0/24", THEIRS)), held.revision)
        late = await member(registry, replace(held, revision=1000), clock)
        assert "overwritten by somebody" in await ended(late.follow())

    play(tmp_path, scenario)


def test_whoever_makes_our_lease_a_reservation_is_obeyed(tmp_path: Path) -> None:
    async def scenario(store: LocalStore, registry: Registry, clock: Clock) -> None:
        held = await acquire(registry)
        this = await member(registry, held, clock)
        await store.replace(held.key, encode_value(held.lease), held.revision, 0)
        async with following(this):
            await this.known.wait()
            clock.now += 10 * TTL_S
            await asyncio.sleep(0.1)
        assert await seen(store, held.key)

    play(tmp_path, scenario)


@contextlib.asynccontextmanager
async def following(this: Membership):  # type: ignore[no-untyped-def]
    """Follow during the block; that it did not end is part of the test."""
    task = asyncio.create_task(this.follow())
    try:
        yield this
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def seen(store: LocalStore, key: str) -> Item:
    """The item, as soon as it is there."""
    while (item := await store.get(key)) is None:
        await asyncio.sleep(0.01)
    return item


def test_the_table_follows_puts_and_deletes_and_keeps_what_is_no_lease_apart() -> None:
    key, other = SUBNETS + "10.5.1.0-24", SUBNETS + "nonsense"
    table = LeaseTable([Item(key, encode_value(lease("10.5.1.0/24")), 5), Item(other, b"x", 6)])
    assert list(table.leases) == [lease("10.5.1.0/24")]
    assert list(table.bad) == [other]
    later = SUBNETS + "10.5.2.0-24"
    table.apply([Event(later, encode_value(lease("10.5.2.0/24", THEIRS)), 7), Event(other, None, 8)])
    assert list(table.leases) == [lease("10.5.1.0/24"), lease("10.5.2.0/24", THEIRS)]
    assert table.bad == {}
    table.apply([Event(key, encode_value(lease("10.5.1.0/24", THEIRS)), 9), Event(later, b"garbage", 10)])
    assert list(table.leases) == [lease("10.5.1.0/24", THEIRS)]
    assert list(table.bad) == [later]
