"""What the embedded store does to its tables. Plain functions on an open SQLite connection; the time is an argument.

The model is etcd's: one revision counts the changes of the whole store, every change leaves an event, the end of a lease
deletes its keys under one revision. Times are seconds since boot, so that setting the clock neither ends nor prolongs a lease.
Nobody has to be alive when a lease ends: whoever comes next, reader or writer, carries the deletion out first.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from datastore.errors import BadStoreAddress, Compacted, KeyExists, LeaseGone, RevisionMismatch
from datastore.keys import decode_key, encode_key, prefix_range
from datastore.store import Event, Item, Listing

SCHEMA_VERSION = 1
EVENTS_KEPT = 10_000
EVENTS_SLACK = 1_000  # trimmed this many at a time, so that most writes delete nothing

SCHEMA = (
    """CREATE TABLE meta (one INTEGER PRIMARY KEY CHECK (one = 1),
        revision INTEGER NOT NULL, oldest INTEGER NOT NULL, boot TEXT NOT NULL)""",
    """CREATE TABLE items (key BLOB PRIMARY KEY,
        value BLOB NOT NULL, revision INTEGER NOT NULL, lease INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX items_by_lease ON items (lease) WHERE lease != 0",
    "CREATE TABLE leases (id INTEGER PRIMARY KEY, ttl INTEGER NOT NULL, ends REAL NOT NULL)",
    "CREATE INDEX leases_by_end ON leases (ends)",
    # value NULL: the key was deleted
    """CREATE TABLE events (number INTEGER PRIMARY KEY,
        revision INTEGER NOT NULL, key BLOB NOT NULL, value BLOB, lease INTEGER NOT NULL)""",
    "CREATE INDEX events_by_revision ON events (revision)",
    "INSERT INTO meta VALUES (1, 1, 1, '')",  # an empty etcd is at revision 1 too
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a watch found: the events, the revision that they lead up to, and when the next lease ends (None: no lease)."""

    events: tuple[Event, ...]
    revision: int
    next_end: float | None


def check_schema(db: sqlite3.Connection, path: str) -> None:
    """Look before anything is written: a file of somebody else stays as it is.

    Raises:
        BadStoreAddress: the database is somebody else's, or of another version of this store.
    """
    with _snapshot(db):  # of one moment: another process may be making the tables
        _is_new(db, path)


def _is_new(db: sqlite3.Connection, path: str) -> bool:
    """Whether a database has no tables yet."""
    version = int(_one(db, "PRAGMA user_version"))
    new = version == 0 and _one(db, "SELECT count(*) FROM sqlite_master") == 0
    if not new and version != SCHEMA_VERSION:
        raise BadStoreAddress(
            f"sqlite:{path}: schema version {version}, this program reads and writes version {SCHEMA_VERSION} only; "
            "name another file, or move this one away"
        )
    return new


def prepare(db: sqlite3.Connection, path: str, boot: str, now: float) -> None:
    """Make the tables if there are none, and end all leases of an earlier boot (their times mean nothing any more).

    Raises:
        BadStoreAddress: as `check_schema`.
    """
    with writing(db):
        for statement in SCHEMA if _is_new(db, path) else ():
            db.execute(statement)
        if _one(db, "SELECT boot FROM meta") != boot:
            db.execute("UPDATE leases SET ends = -1")
            db.execute("UPDATE meta SET boot = ?", (boot,))
        expire(db, now)


@contextmanager
def writing(db: sqlite3.Connection) -> Iterator[None]:
    """A transaction that takes the write lock at once: taken later it could fail half-way behind another writer."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


@contextmanager
def _reading(db: sqlite3.Connection, now: float) -> Iterator[None]:
    """A transaction that sees one moment, in which no lease is overdue."""
    if db.execute("SELECT 1 FROM leases WHERE ends <= ? LIMIT 1", (now,)).fetchone():
        with writing(db):
            expire(db, now)
    with _snapshot(db):
        yield


@contextmanager
def _snapshot(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("ROLLBACK")


def get(db: sqlite3.Connection, now: float, key: str) -> Item | None:
    """The item of a key, or None."""
    with _reading(db, now):
        return _find(db, encode_key(key))


def list_items(db: sqlite3.Connection, now: float, prefix: str) -> Listing:
    """All items below a prefix, and the revision of that moment."""
    where, arguments = _below(prefix)
    with _reading(db, now):
        rows = db.execute(f"SELECT key, value, revision, lease FROM items WHERE {where} ORDER BY key", arguments)  # noqa: S608 - constant text
        return Listing(tuple(_item(row) for row in rows), _one(db, "SELECT revision FROM meta"))


def create(db: sqlite3.Connection, now: float, key: str, value: bytes, lease: int) -> int:
    """Write a key that must not exist."""
    with writing(db):
        expire(db, now)
        if _find(db, encode_key(key)) is not None:
            raise KeyExists(key)
        return _put(db, key, value, lease)


def replace(db: sqlite3.Connection, now: float, key: str, value: bytes, *, revision: int, lease: int) -> int:
    """Write a key that must be at a revision."""
    with writing(db):
        expire(db, now)
        found = _find(db, encode_key(key))
        if found is None or found.revision != revision:
            raise RevisionMismatch(key, revision)
        return _put(db, key, value, lease)


def delete(db: sqlite3.Connection, now: float, key: str, revision: int | None) -> bool:
    """Delete a key, if asked so only at a revision."""
    raw = encode_key(key)
    with writing(db):
        expire(db, now)
        found = _find(db, raw)
        if revision is not None and (found is None or found.revision != revision):
            raise RevisionMismatch(key, revision)
        if found is not None:
            _delete(db, [raw])
        return found is not None


def grant(db: sqlite3.Connection, now: float, ttl: int) -> int:
    """A new lease."""
    lease = secrets.randbelow(2**63 - 1) + 1
    with writing(db):
        expire(db, now)
        db.execute("INSERT INTO leases VALUES (?, ?, ?)", (lease, ttl, now + ttl))
    return lease


def keepalive(db: sqlite3.Connection, now: float, lease: int) -> int:
    """Begin a lease's time anew; its length in seconds."""
    with writing(db):
        expire(db, now)
        row = db.execute("UPDATE leases SET ends = ? + ttl WHERE id = ? RETURNING ttl", (now, lease)).fetchone()
        if row is None:
            raise LeaseGone(lease)
        return int(row[0])


def time_to_live(db: sqlite3.Connection, now: float, lease: int) -> int:
    """Whole seconds that a lease has left."""
    with _reading(db, now):
        row = db.execute("SELECT ends FROM leases WHERE id = ?", (lease,)).fetchone()
    if row is None:
        raise LeaseGone(lease)
    return int(row[0] - now)


def revoke(db: sqlite3.Connection, now: float, lease: int) -> None:
    """End a lease now."""
    with writing(db):
        expire(db, now)
        _end_lease(db, lease)


def changes(db: sqlite3.Connection, now: float, prefix: str, after: int) -> Changes:
    """All events below a prefix behind a revision.

    Raises:
        Compacted: some of them are no longer kept, or the store is younger than that revision (its file was replaced).
    """
    where, arguments = _below(prefix)
    with _reading(db, now):
        revision, oldest = db.execute("SELECT revision, oldest FROM meta").fetchone()
        if after + 1 < oldest or after > revision:
            raise Compacted(min(oldest, revision))
        rows = db.execute(
            f"SELECT key, value, revision, lease FROM events WHERE revision > ? AND {where} ORDER BY number",  # noqa: S608 - constant text
            (after, *arguments),
        )
        events = tuple(Event(decode_key(key), value, at, lease) for key, value, at, lease in rows)
        return Changes(events, revision, _one(db, "SELECT min(ends) FROM leases"))


def expire(db: sqlite3.Connection, now: float) -> None:
    """End the leases whose time is over, the oldest first."""
    for (lease,) in db.execute("SELECT id FROM leases WHERE ends <= ? ORDER BY ends, id", (now,)).fetchall():
        _end_lease(db, lease)


def _end_lease(db: sqlite3.Connection, lease: int) -> None:
    keys = [key for (key,) in db.execute("SELECT key FROM items WHERE lease = ? AND lease != 0 ORDER BY key", (lease,))]
    if keys:
        _delete(db, keys)
    db.execute("DELETE FROM leases WHERE id = ?", (lease,))


def _put(db: sqlite3.Connection, key: str, value: bytes, lease: int) -> int:
    if lease and not db.execute("SELECT 1 FROM leases WHERE id = ?", (lease,)).fetchone():
        raise LeaseGone(lease)
    raw, revision = encode_key(key), _next_revision(db)
    db.execute("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?)", (raw, value, revision, lease))
    db.execute("INSERT INTO events (revision, key, value, lease) VALUES (?, ?, ?, ?)", (revision, raw, value, lease))
    _trim(db)
    return revision


def _delete(db: sqlite3.Connection, keys: list[bytes]) -> None:
    revision = _next_revision(db)
    db.executemany("DELETE FROM items WHERE key = ?", [(key,) for key in keys])
    db.executemany("INSERT INTO events (revision, key, value, lease) VALUES (?, ?, NULL, 0)", [(revision, key) for key in keys])
    _trim(db)


def _trim(db: sqlite3.Connection) -> None:
    first, last = db.execute("SELECT min(number), max(number) FROM events").fetchone()
    if last - first < EVENTS_KEPT + EVENTS_SLACK:
        return
    # A revision goes or stays whole, or a watch would see half of it.
    oldest = _one(db, "SELECT revision FROM events WHERE number > ? ORDER BY number LIMIT 1", last - EVENTS_KEPT)
    db.execute("DELETE FROM events WHERE revision < ?", (oldest,))
    db.execute("UPDATE meta SET oldest = ?", (oldest,))


def _next_revision(db: sqlite3.Connection) -> int:
    return int(_one(db, "UPDATE meta SET revision = revision + 1 RETURNING revision"))


def _find(db: sqlite3.Connection, raw: bytes) -> Item | None:
    row = db.execute("SELECT key, value, revision, lease FROM items WHERE key = ?", (raw,)).fetchone()
    return None if row is None else _item(row)


def _item(row: tuple[bytes, bytes, int, int]) -> Item:
    return Item(decode_key(row[0]), row[1], row[2], row[3])


def _below(prefix: str) -> tuple[str, tuple[bytes, ...]]:
    start, end = prefix_range(prefix)
    return ("key >= ?", (start,)) if end is None else ("key >= ? AND key < ?", (start, end))


def _one(db: sqlite3.Connection, query: str, *arguments: int) -> Any:
    """The first column of the first row. Fetched whole: a statement left unfinished would hold its read lock."""
    return db.execute(query, arguments).fetchall()[0][0]
