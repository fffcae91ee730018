"""What datastore/store.py promises, on both stores: the embedded one, and a real etcd."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from datastore import local_tables
from datastore.errors import Compacted, KeyExists, LeaseGone, RevisionMismatch, StoreError
from datastore.open import open_store
from datastore.store import Event, Item, Store
from tests.etcd_server import etcd_server

SCENARIO_S = 60.0
SHORT_TTL_S = 2  # the shortest of an etcd with its default election timeout


@pytest.fixture(scope="module")
def etcd_address() -> Iterator[str]:
    with etcd_server() as server:
        yield server.url


@pytest.fixture(params=["local", "etcd"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:{tmp_path}/new/store.db" if request.param == "local" else request.getfixturevalue("etcd_address")


@dataclass(frozen=True)
class Bench:
    """What a scenario works with: a store, a prefix of its own, and more stores on the same data."""

    store: Store
    prefix: str
    another: Callable[[], Awaitable[Store]]
    address: str


def on_both(scenario: Callable[[Bench], Awaitable[None]]) -> Callable[[str], None]:
    """A test of an asynchronous scenario, run once for each kind of store."""

    def test(address: str) -> None:
        asyncio.run(_play(address, scenario))

    test.__doc__ = scenario.__doc__
    return test


async def _play(address: str, scenario: Callable[[Bench], Awaitable[None]]) -> None:
    async with AsyncExitStack() as undo:

        async def another() -> Store:
            store = await open_store(address)
            undo.push_async_callback(store.close)
            return store

        async with asyncio.timeout(SCENARIO_S):
            await scenario(Bench(await another(), f"/{uuid.uuid4().hex}/", another, address))


async def take(events: AsyncIterator[tuple[Event, ...]], count: int) -> list[Event]:
    """The next `count` events of a watch, or more if the last batch has more."""
    taken: list[Event] = []
    while len(taken) < count:
        taken += await anext(events)
    return taken


async def until_gone(store: Store, lease: int) -> None:
    while True:
        try:
            await store.time_to_live(lease)
        except LeaseGone:
            return
        await asyncio.sleep(0.05)


@on_both
async def test_a_created_key_is_read_back_with_its_revision(on: Bench) -> None:
    revision = await on.store.create(on.prefix + "a", b"\x00\xff value")
    assert await on.store.get(on.prefix + "a") == Item(on.prefix + "a", b"\x00\xff value", revision)
    assert await on.store.get(on.prefix + "b") is None


@on_both
async def test_revisions_rise_with_every_change_of_the_whole_store(on: Bench) -> None:
    first = await on.store.create(on.prefix + "a", b"1")
    second = await on.store.create(on.prefix + "b", b"1")
    third = await on.store.replace(on.prefix + "a", b"2", first)
    assert await on.store.delete(on.prefix + "b")
    assert first < second < third < (await on.store.list(on.prefix)).revision
    assert (await on.store.list(on.prefix)).items == (Item(on.prefix + "a", b"2", third),)


@on_both
async def test_create_refuses_a_key_that_exists_and_leaves_it_alone(on: Bench) -> None:
    revision = await on.store.create(on.prefix + "a", b"1")
    with pytest.raises(KeyExists) as caught:
        await on.store.create(on.prefix + "a", b"1")
    assert caught.value.key == on.prefix + "a"
    assert await on.store.get(on.prefix + "a") == Item(on.prefix + "a", b"1", revision)


@on_both
async def test_replace_takes_only_the_expected_revision(on: Bench) -> None:
    first = await on.store.create(on.prefix + "a", b"1")
    second = await on.store.replace(on.prefix + "a", b"2", first)
    for wrong in (first, second + 1, 0, -1):
        with pytest.raises(RevisionMismatch) as caught:
            await on.store.replace(on.prefix + "a", b"3", wrong)
        assert caught.value.expected == wrong
    with pytest.raises(RevisionMismatch):
        await on.store.replace(on.prefix + "absent", b"3", 0)
    assert await on.store.get(on.prefix + "absent") is None
    assert await on.store.get(on.prefix + "a") == Item(on.prefix + "a", b"2", second)


@on_both
async def test_of_many_creators_of_one_key_exactly_one_wins(on: Bench) -> None:
    stores = [await on.another() for _ in range(8)]
    outcomes = await asyncio.gather(
        *(store.create(on.prefix + "a", f"{number}".encode()) for number, store in enumerate(stores)), return_exceptions=True
    )
    winners = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, int)]
    assert len(winners) == 1
    assert [type(outcome) for outcome in outcomes].count(KeyExists) == 7
    found = await on.store.get(on.prefix + "a")
    assert found is not None
    assert found.value == f"{winners[0]}".encode()


@on_both
async def test_delete_says_whether_there_was_a_key_and_minds_the_revision(on: Bench) -> None:
    assert not await on.store.delete(on.prefix + "a")
    revision = await on.store.create(on.prefix + "a", b"1")
    for wrong in (revision - 1, 0):
        with pytest.raises(RevisionMismatch):
            await on.store.delete(on.prefix + "a", wrong)
    assert await on.store.delete(on.prefix + "a", revision)
    with pytest.raises(RevisionMismatch):
        await on.store.delete(on.prefix + "a", revision)
    await on.store.create(on.prefix + "a", b"again")
    assert await on.store.delete(on.prefix + "a")
    assert await on.store.get(on.prefix + "a") is None


@on_both
async def test_an_empty_value_and_any_text_as_key_survive(on: Bench) -> None:
    keys = [on.prefix + name for name in ("ä", "日本", "a b", "\U0001f600", "\uffff", "%_", "'\"", "\udcff")]
    for key in keys:
        await on.store.create(key, b"")
        assert (await on.store.get(key) or Item("", b"?", 0)).value == b""
    listed = [item.key for item in (await on.store.list(on.prefix)).items]
    assert listed == sorted(keys, key=lambda key: key.encode("utf-8", "surrogateescape"))


@on_both
async def test_an_empty_key_is_refused(on: Bench) -> None:
    for refused in (on.store.create("", b""), on.store.get(""), on.store.delete("")):
        with pytest.raises(StoreError, match="at least one character"):
            await refused


@on_both
async def test_a_prefix_ends_where_its_last_character_ends(on: Bench) -> None:
    names = ["a", "a/", "a/b", "a/\U0010ffff", "a0", "A/b", "a.", "b"]
    for name in names:
        await on.store.create(on.prefix + name, b"")
    below = [item.key for item in (await on.store.list(on.prefix + "a/")).items]
    assert below == [on.prefix + name for name in ("a/", "a/b", "a/\U0010ffff")]
    everything = [item.key for item in (await on.store.list("")).items]
    assert {on.prefix + name for name in names} <= set(everything)


@on_both
async def test_a_watch_has_the_same_prefix_boundaries_as_a_list(on: Bench) -> None:
    start = (await on.store.list(on.prefix)).revision
    names = ["a", "a/", "a0", "a/b", "a."]
    for name in names:
        await on.store.create(on.prefix + name, b"")
    await on.store.create(on.prefix + "a/end", b"")
    seen = await take(on.store.watch(on.prefix + "a/", start), 3)
    assert [event.key for event in seen] == [on.prefix + name for name in ("a/", "a/b", "a/end")]


@on_both
async def test_a_long_list_is_whole_and_of_one_moment(on: Bench) -> None:
    keys = [f"{on.prefix}{number:05}" for number in range(2_500)]
    for chunk in (keys[start : start + 100] for start in range(0, len(keys), 100)):
        await asyncio.gather(*(on.store.create(key, b"x") for key in chunk))
    listing = await on.store.list(on.prefix)
    assert [item.key for item in listing.items] == keys
    assert listing.revision == max(item.revision for item in listing.items)

    async def count() -> None:
        """The same number into the first key, then into the last."""
        store, revisions = await on.another(), {item.key: item.revision for item in listing.items}
        for number in itertools.count(1):
            for key in (keys[0], keys[-1]):
                revisions[key] = await store.replace(key, b"%d" % number, revisions[key])

    counting = asyncio.create_task(count())
    moments: list[int] = []
    while len(moments) < 20:
        first, *_, last = (await on.store.list(on.prefix)).items
        if first.value != b"x" and last.value != b"x":
            moments.append(int(first.value) - int(last.value))
    counting.cancel()
    assert set(moments) <= {0, 1}


@on_both
async def test_the_end_of_a_lease_deletes_its_keys_and_the_watch_sees_it(on: Bench) -> None:
    start = (await on.store.list(on.prefix)).revision
    watch = on.store.watch(on.prefix, start)
    lease = await on.store.grant(SHORT_TTL_S)
    kept = await on.store.create(on.prefix + "kept", b"k")
    written = [await on.store.create(on.prefix + name, b"v", lease) for name in ("a", "b")]
    seen = await take(watch, 5)
    assert seen[:3] == [
        Event(on.prefix + "kept", b"k", kept),
        Event(on.prefix + "a", b"v", written[0], lease),
        Event(on.prefix + "b", b"v", written[1], lease),
    ]
    assert [(event.key, event.value, event.lease) for event in seen[3:]] == [(on.prefix + "a", None, 0), (on.prefix + "b", None, 0)]
    assert seen[3].revision == seen[4].revision > written[1]  # one lease, one revision
    assert [item.key for item in (await on.store.list(on.prefix)).items] == [on.prefix + "kept"]
    for gone in (on.store.keepalive(lease), on.store.time_to_live(lease), on.store.create(on.prefix + "c", b"", lease)):
        with pytest.raises(LeaseGone) as caught:
            await gone
        assert caught.value.lease == lease
    with pytest.raises(LeaseGone):
        await on.store.replace(on.prefix + "kept", b"", kept, lease)
    await on.store.revoke(lease)  # gone already: fine
    assert await on.store.get(on.prefix + "kept") == Item(on.prefix + "kept", b"k", kept)


@on_both
async def test_a_keepalive_begins_the_time_anew(on: Bench) -> None:
    lease = await on.store.grant(60)
    assert 0 < await on.store.time_to_live(lease) <= 60
    while (left := await on.store.time_to_live(lease)) > 58:
        await asyncio.sleep(0.05)
    while True:  # a stalled machine may lose the gain at once; one that never shows it runs into the scenario's deadline
        assert await on.store.keepalive(lease) == 60
        if await on.store.time_to_live(lease) > left:
            return


@on_both
async def test_a_key_moves_to_the_lease_of_its_last_write(on: Bench) -> None:
    short, long = await on.store.grant(SHORT_TTL_S), await on.store.grant(600)
    moved = await on.store.create(on.prefix + "moved", b"1", short)
    freed = await on.store.create(on.prefix + "freed", b"1", short)
    moved = await on.store.replace(on.prefix + "moved", b"2", moved, long)
    freed = await on.store.replace(on.prefix + "freed", b"2", freed)
    await until_gone(on.store, short)
    assert (await on.store.list(on.prefix)).items == (
        Item(on.prefix + "freed", b"2", freed),
        Item(on.prefix + "moved", b"2", moved, long),
    )


@on_both
async def test_revoke_deletes_the_keys_at_once(on: Bench) -> None:
    lease = await on.store.grant(600)
    revision = await on.store.create(on.prefix + "a", b"1", lease)
    await on.store.revoke(lease)
    assert await on.store.get(on.prefix + "a") is None
    [event] = await take(on.store.watch(on.prefix, revision), 1)
    assert (event.key, event.value) == (on.prefix + "a", None)
    await on.store.revoke(lease)
    with pytest.raises(LeaseGone):
        await on.store.keepalive(lease)


@on_both
async def test_a_lease_outlives_the_store_that_granted_it(on: Bench) -> None:
    other = await on.another()
    lease = await other.grant(600)
    await other.create(on.prefix + "a", b"1", lease)
    await other.close()
    assert await on.store.time_to_live(lease) > 0
    assert await on.store.get(on.prefix + "a") is not None


@on_both
async def test_a_lease_of_no_time_is_refused(on: Bench) -> None:
    for ttl in (0, -1):
        with pytest.raises(StoreError, match="at least 1 second"):
            await on.store.grant(ttl)


@on_both
async def test_a_watch_misses_nothing_while_four_write_five_hundred_keys(on: Bench) -> None:
    start = (await on.store.list(on.prefix)).revision
    watch = on.store.watch(on.prefix, start)

    async def write(store: Store, writer: int) -> list[tuple[str, bytes | None, int]]:
        done: list[tuple[str, bytes | None, int]] = []
        for number in range(125):
            key = f"{on.prefix}{writer}/{number}"
            done.append((key, b"%d" % number, await store.create(key, b"%d" % number)))
        return done

    reading = asyncio.create_task(take(watch, 500))
    written = await asyncio.gather(*[write(await on.another(), writer) for writer in range(4)])
    seen = await reading
    assert [(event.key, event.value, event.revision) for event in seen] == sorted(
        itertools.chain(*written), key=lambda done: done[2]
    )
    # The same again for one who comes late, from the middle: everything behind that revision and nothing before.
    late = await take(on.store.watch(on.prefix, seen[249].revision), 250)
    assert late == seen[250:]


@on_both
async def test_two_watches_see_the_same_and_one_that_ends_does_not_disturb_the_other(on: Bench) -> None:
    start = (await on.store.list(on.prefix)).revision
    first, second = on.store.watch(on.prefix, start), on.store.watch(on.prefix, start)
    await on.store.create(on.prefix + "a", b"1")
    assert await take(first, 1) == await take(second, 1)
    waiting = asyncio.create_task(take(first, 1))
    await asyncio.sleep(0.1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await on.store.create(on.prefix + "b", b"1")
    assert [event.key for event in await take(second, 1)] == [on.prefix + "b"]


@on_both
async def test_a_watch_is_cancelled_while_it_waits_and_the_store_goes_on(on: Bench) -> None:
    for _ in range(20):
        waiting = asyncio.create_task(take(on.store.watch(on.prefix, (await on.store.list(on.prefix)).revision), 1))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert await on.store.create(on.prefix + "a", b"1")


@on_both
async def test_a_closed_store_says_so_and_ends_its_watches(on: Bench) -> None:
    store = await on.another()
    waiting = asyncio.create_task(take(store.watch(on.prefix, (await store.list(on.prefix)).revision), 1))
    await asyncio.sleep(0.2)
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await waiting
    with pytest.raises(StoreError, match="closed"):
        await store.get(on.prefix)
    await store.close()


def test_history_that_is_not_kept_is_reported_as_compacted(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_tables, "EVENTS_KEPT", 10)
    monkeypatch.setattr(local_tables, "EVENTS_SLACK", 5)

    async def scenario(on: Bench) -> None:
        start = (await on.store.list(on.prefix)).revision
        written = [await on.store.create(f"{on.prefix}{number}", b"") for number in range(40)]
        if address.startswith("http"):
            command = ["etcdctl", f"--endpoints={address}", "compact", str(written[-5])]
            subprocess.run(command, check=True, capture_output=True, env={"ETCDCTL_API": "3"})
        with pytest.raises(Compacted) as caught:
            await take(on.store.watch(on.prefix, start), 1)
        oldest = caught.value.revision
        assert start < oldest <= written[-1]
        # From the revision that the error names on, all is there.
        assert [event.revision for event in await take(on.store.watch(on.prefix, oldest), 1)] == list(
            range(oldest + 1, written[-1] + 1)
        )
        assert len((await on.store.list(on.prefix)).items) == 40

    asyncio.run(_play(address, scenario))
