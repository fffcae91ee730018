"""The embedded store's tables, in memory, with the time as an argument."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

import pytest

from datastore import local_tables as tables
from datastore.errors import Compacted, LeaseGone
from datastore.store import Event

NOW = 100.0


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    tables.prepare(connection, ":memory:", "boot", NOW)
    yield connection
    connection.close()


def test_a_new_store_is_at_revision_1_and_can_be_watched_from_there(db: sqlite3.Connection) -> None:
    assert tables.list_items(db, NOW, "").revision == 1
    assert tables.changes(db, NOW, "", 1) == tables.Changes((), 1, None)
    assert tables.create(db, NOW, "a", b"", 0) == 2


@pytest.mark.parametrize(("now", "alive"), [(NOW + 9.9, True), (NOW + 10.0, False), (NOW + 1_000, False)])
def test_a_lease_ends_after_its_seconds_whoever_comes_first(db: sqlite3.Connection, now: float, alive: bool) -> None:
    lease = tables.grant(db, NOW, 10)
    tables.create(db, NOW, "a", b"", lease)
    assert (tables.get(db, now, "a") is not None) is alive


def test_every_way_in_carries_out_what_is_overdue(db: sqlite3.Connection) -> None:
    visits: list[Callable[[float], object]] = [
        lambda now: tables.get(db, now, "other"),
        lambda now: tables.list_items(db, now, "other"),
        lambda now: tables.create(db, now, f"other{now}", b"", 0),
        lambda now: tables.delete(db, now, "other", None),
        lambda now: tables.grant(db, now, 10_000),
        lambda now: tables.revoke(db, now, 1),
        lambda now: tables.changes(db, now, "other", tables.list_items(db, now - 0.5, "other").revision),
    ]
    for number, visit in enumerate(visits):
        now = NOW + 10 * number
        tables.create(db, now, f"a{number}", b"", tables.grant(db, now, 1))
        visit(now + 1)
        assert db.execute("SELECT count(*) FROM items WHERE key LIKE 'a%'").fetchall() == [(0,)], number


def test_leases_end_in_the_order_of_their_times_each_under_its_own_revision(db: sqlite3.Connection) -> None:
    for key, ttl in (("late", 3), ("early", 1), ("middle", 2)):
        tables.create(db, NOW, key, b"", tables.grant(db, NOW, ttl))
    assert tables.changes(db, NOW + 60, "", 4).events == (Event("early", None, 5), Event("middle", None, 6), Event("late", None, 7))


def test_a_lease_without_keys_ends_without_a_revision(db: sqlite3.Connection) -> None:
    tables.grant(db, NOW, 1)
    assert tables.changes(db, NOW, "", 1).next_end == NOW + 1
    assert tables.changes(db, NOW + 1, "", 1) == tables.Changes((), 1, None)


def test_a_keepalive_counts_from_now_and_comes_too_late_at_the_end(db: sqlite3.Connection) -> None:
    lease = tables.grant(db, NOW, 10)
    assert tables.keepalive(db, NOW + 9, lease) == 10
    assert tables.time_to_live(db, NOW + 9.5, lease) == 9
    with pytest.raises(LeaseGone):
        tables.keepalive(db, NOW + 19, lease)


def test_a_refused_write_leaves_nothing_behind(db: sqlite3.Connection) -> None:
    with pytest.raises(LeaseGone):
        tables.create(db, NOW, "a", b"", 5)
    assert not db.in_transaction
    assert tables.list_items(db, NOW, "").revision == 1


def test_history_is_bounded_and_cut_between_revisions(db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "EVENTS_KEPT", 10)
    monkeypatch.setattr(tables, "EVENTS_SLACK", 4)
    for round_ in range(20):
        lease = tables.grant(db, NOW, 600)
        for number in range(3):
            tables.create(db, NOW, f"{round_}/{number}", b"", lease)
        tables.revoke(db, NOW, lease)  # three events under one revision
    kept = db.execute("SELECT revision, count(*) FROM events GROUP BY revision ORDER BY revision").fetchall()
    assert sum(count for _, count in kept) <= 15
    assert {count for _, count in kept} == {1, 3}
    oldest, newest = kept[0][0], kept[-1][0]
    assert tables.changes(db, NOW, "", oldest - 1).events[0].revision == oldest
    with pytest.raises(Compacted) as caught:
        tables.changes(db, NOW, "", oldest - 2)
    assert caught.value.revision == oldest
    with pytest.raises(Compacted):
        tables.changes(db, NOW, "", newest + 1)
