"""The embedded store: one SQLite file that several processes of one machine share, without a server.

Every call runs on the store's own thread, since SQLite waits for another process's write lock by sleeping, and the daemon's
loop must not sleep with it. The one exception is a watch's poll of `PRAGMA data_version`: microseconds, on a connection that
never waits, 50 times a second while there is news and 12 times while there is none; it tells whether any process has committed.
Everything else follows only then.
The write-ahead log lets readers go on beside a writer, and a writer that is killed leaves nothing half done.

A file that is deleted lives on for those who have it open, while everybody else makes a new one. So each call and each poll looks
whether the path still leads to the open file. Where it leads nowhere the store is away; where it leads to another file the store
was wiped or restored: that one is opened, and a watch is told to list again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from datastore import local_tables as tables
from datastore.errors import BadStoreAddress, Compacted, StoreError
from datastore.store import Event, Item, Listing

log = logging.getLogger(__name__)

FIRST_POLL_S, LAST_POLL_S = 0.02, 0.08  # after news, and after a while without; the latter costs 0.1 % of a core
LOCK_WAIT_S = 10.0  # a write takes under 10 ms: this is a queue of a thousand writers
LOCK_GLANCE_S = 0.2  # SQLite's own waiting cannot be interrupted: it waits so long at a time, and a store that is closed gives up
POLL_GROWTH = 1.05  # a second and a half from the one to the other
RETRY_S = 1.0  # a watch that could not read looks again this much later
BOOT_ID = "/proc/sys/kernel/random/boot_id"

P = ParamSpec("P")
T = TypeVar("T")


def boot_seconds() -> float:
    """Seconds since boot, suspended time included: the one clock that all processes share and nobody can set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LocalStore:
    """A store in a file; made by `LocalStore.open`."""

    def __init__(self, file: _File, pool: ThreadPoolExecutor, now: Callable[[], float]) -> None:
        self._file, self._pool, self._now = file, pool, now

    @classmethod
    async def open(cls, path: str, now: Callable[[], float] = boot_seconds, boot: str | None = None) -> LocalStore:
        """Open the file, making it (mode 0600) and its directory (mode 0700) if there are none.

        Raises:
            BadStoreAddress: the file is no SQLite database, or one of another schema.
            StoreError: the file cannot be made or opened.
        """
        identity = Path(BOOT_ID).read_text(encoding="ascii").strip() if boot is None else boot
        file = _File(path, identity)
        pool = ThreadPoolExecutor(1, thread_name_prefix="datastore")
        try:
            await asyncio.get_running_loop().run_in_executor(pool, file.open, now())
        except BaseException:
            file.closing.set()
            pool.shutdown(wait=False)
            raise
        return cls(file, pool, now)

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
        """See Store.watch. News is seen within about 100 ms; the end of a lease too, also when no other process is alive."""
        opened = self._file.opened
        poll = self._file.connect_poll()
        seen, next_end, pause_s = -1, 0.0, FIRST_POLL_S
        try:
            while True:
                version, rest_s = self._file.version(poll), next_end - self._now()
                if version == seen and rest_s > 0 and not self._file.closing.is_set():
                    await asyncio.sleep(min(pause_s, rest_s))
                    pause_s = min(pause_s * POLL_GROWTH, LAST_POLL_S)
                    continue
                # The version was taken before this read: a commit in between makes one more turn, and is not lost.
                found = await self._changes(prefix, revision)
                if self._file.opened != opened:
                    raise Compacted(found.revision)
                seen, revision, pause_s = version, found.revision, FIRST_POLL_S
                next_end = float("inf") if found.next_end is None else found.next_end
                if found.events:
                    yield found.events
        finally:
            poll.close()

    async def close(self) -> None:
        """See Store.close. Watches end with StoreError."""
        if not self._file.closing.is_set():
            self._file.closing.set()
            await asyncio.get_running_loop().run_in_executor(self._pool, self._file.close)
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
        if self._file.closing.is_set():
            raise StoreError(f"sqlite:{self._file.path}: the store was closed")
        call = partial(self._file.do, self._now, lambda db, now: work(db, now, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)


class Unreadable(StoreError):
    """SQLite could not do it now: the file is locked or gone, the disk is full or broken."""


class _File:
    """The file at a path, whichever that is by now. All but `version` and `connect_poll` is for the store's thread.

    Args:
        path: where it is.
        boot: the id of this boot of the machine.
    """

    def __init__(self, path: str, boot: str) -> None:
        self.path, self._boot = path, boot
        self.closing = threading.Event()
        self.opened = 0  # how often: a second time when the path has led to another file
        self._db: sqlite3.Connection
        self._inode: tuple[int, int] | None = None

    def open(self, now: float) -> None:
        """Open it, or make it. Raises BadStoreAddress, StoreError."""
        try:
            Path(self.path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite gives its log the same mode
            inode = _inode(self.path)  # before it is opened: should another one take its place meanwhile, that is noticed later
            db = _connect(self.path, LOCK_GLANCE_S)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"sqlite:{self.path}: cannot be opened: {error}") from error
        try:
            self._unlocked(lambda: self._prepare(db, now))
        except BaseException as error:
            db.close()
            if isinstance(error, sqlite3.Error):
                raise _refusal(self.path, error) from error
            raise
        self._db, self._inode, self.opened = db, inode, self.opened + 1

    def do(self, now: Callable[[], float], work: Callable[[sqlite3.Connection, float], T]) -> T:
        """Do something with its tables.

        Raises:
            Unreadable: not now.
        """
        try:
            self._follow_path(now())
            return self._unlocked(lambda: work(self._db, now()))
        except sqlite3.Error as error:
            raise Unreadable(_explain(self.path, error)) from error

    def close(self) -> None:
        self._db.close()

    def connect_poll(self) -> sqlite3.Connection:
        """A connection for `version`. Raises Unreadable."""
        try:
            return _connect(self.path, wait_s=0)
        except sqlite3.Error as error:
            raise Unreadable(_explain(self.path, error)) from error

    def version(self, poll: sqlite3.Connection) -> int:
        """A number that differs from the last one when somebody else has committed; -1 when it has to be looked into."""
        if _inode(self.path) != self._inode:
            return -1
        try:
            return int(poll.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error:
            return -1

    def _prepare(self, db: sqlite3.Connection, now: float) -> None:
        tables.check_schema(db, self.path)
        db.execute("PRAGMA journal_mode = WAL")
        tables.prepare(db, self.path, self._boot, now)

    def _follow_path(self, now: float) -> None:
        inode = _inode(self.path)
        if inode == self._inode:
            return
        if inode is None:
            raise Unreadable(f"sqlite:{self.path}: the file was deleted or moved away; put it back, or make a new store there")
        old = self._db
        try:
            self.open(now)
        except BadStoreAddress as error:  # not what the operator said at the start: it may be put right
            raise Unreadable(str(error)) from error
        old.close()
        log.warning("store replaced by another file, opened that one path=%s", self.path)

    def _unlocked(self, work: Callable[[], T]) -> T:
        """Do it as soon as no other process holds the write lock; it begins with taking that lock, so it can be done again."""
        give_up = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                return work()
            except sqlite3.Error as error:
                if not _is_locked(error) or self.closing.is_set() or time.monotonic() >= give_up:
                    raise


def _inode(path: str) -> tuple[int, int] | None:
    """Which file a path leads to; None if to none. A number is not given again while somebody has the file open."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _connect(path: str, wait_s: float) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=wait_s, isolation_level=None, check_same_thread=False)


def _refusal(path: str, error: sqlite3.Error) -> Exception:
    if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
        return BadStoreAddress(f"sqlite:{path}: the file is no SQLite database; name another file, or move this one away")
    return StoreError(_explain(path, error))


def _is_locked(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY  # the upper bits say more precisely why


def _explain(path: str, error: sqlite3.Error) -> str:
    if _is_locked(error):
        return f"sqlite:{path}: locked by another process for more than {LOCK_WAIT_S:.0f} seconds; see `fuser -v {path}`"
    return f"sqlite:{path}: {error}"
