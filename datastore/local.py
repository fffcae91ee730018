"""The embedded store: one SQLite file that several processes of one machine share, without a server.

Every call runs on the store's own thread, since SQLite waits for another process's write lock by sleeping, and the daemon's
loop must not sleep with it. The one exception is a watch's poll of `PRAGMA data_version`: microseconds, on a connection that
never waits, 50 times a second; it tells whether any process has committed. Everything else follows only then.
The write-ahead log lets readers go on beside a writer, and a writer that is killed leaves nothing half done.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from datastore import local_tables as tables
from datastore.errors import BadStoreAddress, StoreError
from datastore.store import Event, Item, Listing

log = logging.getLogger(__name__)

POLL_S = 0.02
LOCK_WAIT_S = 10.0  # a write takes under 10 ms: this is a queue of a thousand writers
RETRY_S = 1.0  # a watch that could not read looks again this much later
BOOT_ID = "/proc/sys/kernel/random/boot_id"

P = ParamSpec("P")
T = TypeVar("T")


def boot_seconds() -> float:
    """Seconds since boot, suspended time included: the one clock that all processes share and nobody can set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LocalStore:
    """A store in a file; made by `LocalStore.open`."""

    def __init__(self, path: str, db: sqlite3.Connection, pool: ThreadPoolExecutor, now: Callable[[], float]) -> None:
        self._path, self._db, self._pool, self._now = path, db, pool, now
        self._closed = False

    @classmethod
    async def open(cls, path: str, now: Callable[[], float] = boot_seconds, boot: str | None = None) -> LocalStore:
        """Open the file, making it (mode 0600) and its directory (mode 0700) if there are none.

        Raises:
            BadStoreAddress: the file is no SQLite database, or one of another schema.
            StoreError: the file cannot be made or opened.
        """
        identity = Path(BOOT_ID).read_text(encoding="ascii").strip() if boot is None else boot
        pool = ThreadPoolExecutor(1, thread_name_prefix="datastore")
        try:
            db = await asyncio.get_running_loop().run_in_executor(pool, _open, path, identity, now())
        except BaseException:
            pool.shutdown(wait=False)
            raise
        return cls(path, db, pool, now)

    async def get(self, key: str) -> Item | None:
        """See Store.get."""
        return await self._run(tables.get, key)

    async def list(self, prefix: str) -> Listing:
        """See Store.list."""
        return await self._run(tables.list_items, prefix)

    async def create(self, key: str, value: bytes, lease: int = 0) -> int:
        """See Store.create."""
        return await self._run(tables.create, key, value, lease)

    async def replace(self, key: str, value: bytes, revision: int, lease: int = 0) -> int:
        """See Store.replace."""
        return await self._run(tables.replace, key, value, revision=revision, lease=lease)

    async def delete(self, key: str, revision: int | None = None) -> bool:
        """See Store.delete."""
        return await self._run(tables.delete, key, revision)

    async def grant(self, ttl: int) -> int:
        """See Store.grant."""
        if ttl < 1:
            raise StoreError(f"lease of {ttl} seconds: a lease needs at least 1 second")
        return await self._run(tables.grant, ttl)

    async def keepalive(self, lease: int) -> int:
        """See Store.keepalive."""
        return await self._run(tables.keepalive, lease)

    async def time_to_live(self, lease: int) -> int:
        """See Store.time_to_live."""
        return await self._run(tables.time_to_live, lease)

    async def revoke(self, lease: int) -> None:
        """See Store.revoke."""
        await self._run(tables.revoke, lease)

    async def watch(self, prefix: str, revision: int) -> AsyncGenerator[tuple[Event, ...], None]:
        """See Store.watch. The end of a lease is seen within about 50 ms, also when no other process is alive."""
        poll = _connect(self._path, wait_s=0)
        seen, next_end = -1, 0.0
        try:
            while True:
                version = _data_version(poll)
                if version == seen and self._now() < next_end and not self._closed:
                    await asyncio.sleep(POLL_S)
                    continue
                # The version was taken before this read: a commit in between makes one more turn, and is not lost.
                found = await self._changes(prefix, revision)
                seen, revision = version, found.revision
                next_end = float("inf") if found.next_end is None else found.next_end
                if found.events:
                    yield found.events
        finally:
            poll.close()

    async def close(self) -> None:
        """See Store.close. Watches end with StoreError."""
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._pool, self._db.close)
            self._pool.shutdown(wait=False)

    async def _changes(self, prefix: str, revision: int) -> tables.Changes:
        """Read what a watch has not seen; for ever, since a file that is locked for long is like a lost connection."""
        failures = 0
        while True:
            try:
                found = await self._run(tables.changes, prefix, revision)
            except Unreadable as error:
                if not failures:
                    log.warning("watch interrupted prefix=%s error=%s", prefix, error)
                failures += 1
                await asyncio.sleep(RETRY_S)
                continue
            if failures:
                log.info("watch resumed prefix=%s attempts=%d", prefix, failures)
            return found

    async def _run(self, work: Callable[Concatenate[sqlite3.Connection, float, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._closed:
            raise StoreError(f"sqlite:{self._path}: the store was closed")
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: self._guarded(work, *args, **kwargs))

    def _guarded(self, work: Callable[Concatenate[sqlite3.Connection, float, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return work(self._db, self._now(), *args, **kwargs)
        except sqlite3.Error as error:
            raise Unreadable(_explain(self._path, error)) from error


class Unreadable(StoreError):
    """SQLite could not do it now: the file is locked, the disk is full or broken."""


def _open(path: str, boot: str, now: float) -> sqlite3.Connection:
    try:
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite gives its log the same mode
        db = _connect(path, LOCK_WAIT_S)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"sqlite:{path}: cannot be opened: {error}") from error
    try:
        tables.check_schema(db, path)
        db.execute("PRAGMA journal_mode = WAL")
        tables.prepare(db, path, boot, now)
    except BaseException as error:
        db.close()
        if isinstance(error, sqlite3.Error):
            raise _refusal(path, error) from error
        raise
    return db


def _connect(path: str, wait_s: float) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=wait_s, isolation_level=None, check_same_thread=False)


def _refusal(path: str, error: sqlite3.Error) -> Exception:
    if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
        return BadStoreAddress(f"sqlite:{path}: the file is no SQLite database; name another file, or move this one away")
    return StoreError(_explain(path, error))


def _explain(path: str, error: sqlite3.Error) -> str:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
        return f"sqlite:{path}: locked by another process for more than {LOCK_WAIT_S:.0f} seconds; see `fuser -v {path}`"
    return f"sqlite:{path}: {error}"


def _data_version(poll: sqlite3.Connection) -> int:
    """A number that differs from the last one when somebody else has committed; -1 when it cannot be read just now."""
    try:
        return int(poll.execute("PRAGMA data_version").fetchone()[0])
    except sqlite3.Error:
        return -1
