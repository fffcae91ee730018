"""The embedded store with several processes on one file, and with files that are not what they should be."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from datastore import local
from datastore.errors import BadStoreAddress, Compacted, LeaseGone, StoreError
from datastore.local import LocalStore
from datastore.open import open_store

ROOT = Path(__file__).parents[2]
WRITER = """
import asyncio, sys
from datastore.errors import KeyExists, RevisionMismatch
from datastore.local import LocalStore

async def main(path, name, rounds):
    store = await LocalStore.open(path)
    print("open", flush=True)
    try:
        await store.create("/counter", b"0")
    except KeyExists:
        pass
    done = 0
    while done < rounds:
        item = await store.get("/counter")
        try:
            await store.replace("/counter", b"%d" % (int(item.value) + 1), item.revision)
            done += 1
        except RevisionMismatch:
            pass
        await store.grant(60)
    await store.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def writer(path: Path, name: str, rounds: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), name, str(rounds)], cwd=ROOT, stdout=subprocess.PIPE)


def run(scenario: Callable[[], Coroutine[object, object, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(bounded())


def test_processes_that_open_and_write_at_once_lose_no_write(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    writers = [writer(path, str(number), 50) for number in range(4)]
    assert [process.wait(90) for process in writers] == [0, 0, 0, 0]

    async def scenario() -> None:
        store = await LocalStore.open(str(path))
        item = await store.get("/counter")
        assert item is not None
        assert item.value == b"200"
        batch = await anext(store.watch("/counter", 1))
        assert [event.value for event in batch] == [b"%d" % number for number in range(201)]
        await store.close()

    run(scenario)


def test_all_who_open_a_new_file_at_once_find_it_theirs(tmp_path: Path) -> None:
    async def scenario() -> None:
        for number in range(15):
            stores = await asyncio.gather(*(LocalStore.open(str(tmp_path / f"{number}.db")) for _ in range(12)))
            revisions = await asyncio.gather(*(store.create(f"/{which}", b"") for which, store in enumerate(stores)))
            assert sorted(revisions) == list(range(2, 14))
            for store in stores:
                await store.close()

    run(scenario)


def test_a_writer_that_is_killed_leaves_a_store_that_works_and_a_history_without_gap(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    for delay in (0.0, 0.05, 0.13):
        process = writer(path, "victim", 10**9)
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        time.sleep(delay)  # not waited for anything: another moment to die at
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()

    async def scenario() -> None:
        store = await LocalStore.open(str(path))
        await store.create("/after", b"")
        item = await store.get("/counter")
        assert item is not None
        batch = await anext(store.watch("/", 1))
        assert [event.value for event in batch] == [*(b"%d" % number for number in range(int(item.value) + 1)), b""]
        await store.close()

    run(scenario)
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_watch_sees_the_write_of_another_process(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = await LocalStore.open(str(tmp_path / "store.db"))
        watch = store.watch("/counter", 1)
        process = writer(tmp_path / "store.db", "other", 3)
        seen: list[bytes | None] = []
        while len(seen) < 4:
            seen += [event.value for event in await anext(watch)]
        assert seen == [b"0", b"1", b"2", b"3"]
        assert process.wait(30) == 0
        await store.close()

    run(scenario)


def test_a_file_locked_by_another_process_does_not_freeze_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "LOCK_WAIT_S", 0.5)

    async def scenario() -> None:
        path = tmp_path / "store.db"
        store = await LocalStore.open(str(path))
        lock = sqlite3.connect(path, isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        watch = asyncio.ensure_future(anext(store.watch("/", 1)))
        write = asyncio.create_task(store.create("/a", b""))
        turns = 0
        while not write.done():
            turns += 1
            await asyncio.sleep(0.001)
        with pytest.raises(StoreError, match=r"locked by another process .*fuser"):
            await write
        assert turns > 20  # 0.5 s in steps of 1 ms, on a slow machine
        lock.execute("COMMIT")
        lock.close()
        await store.create("/a", b"1")
        assert [event.value for event in await watch] == [b"1"]
        await store.close()

    run(scenario)


def test_the_file_and_its_log_are_for_their_owner_only(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = await open_store(f"sqlite:{tmp_path}/new/deep/store.db")
        await store.create("/a", b"secret")
        folder = tmp_path / "new" / "deep"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
        assert files.pop("store.db") == 0o600
        assert set(files.values()) <= {0o600}
        await store.close()

    old = os.umask(0)
    try:
        run(scenario)
    finally:
        os.umask(old)


def test_the_deletion_is_seen_when_the_lease_ends_though_nobody_else_is_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = await LocalStore.open(str(tmp_path / "store.db"))
        lease = await store.grant(1)
        granted = time.monotonic()
        revision = await store.create("/a", b"", lease)
        [event] = await anext(store.watch("/", revision))
        late = time.monotonic() - granted - 1
        assert event.value is None
        assert -0.05 < late < 5  # 20 to 50 ms on an idle machine
        await store.close()

    run(scenario)


def test_a_reboot_ends_all_leases_and_keeps_the_other_keys(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = str(tmp_path / "store.db")
        before = await LocalStore.open(path, now=lambda: 5_000.0, boot="first")
        lease = await before.grant(3_600)
        await before.create("/leased", b"", lease)
        await before.create("/kept", b"")
        revision = (await before.list("/")).revision
        await before.close()
        same = await LocalStore.open(path, now=lambda: 5_100.0, boot="first")
        assert await same.time_to_live(lease) == 3_500
        await same.close()
        after = await LocalStore.open(path, now=lambda: 7.0, boot="second")
        assert [item.key for item in (await after.list("/")).items] == ["/kept"]
        assert [(event.key, event.value) for event in await anext(after.watch("/", revision))] == [("/leased", None)]
        with pytest.raises(LeaseGone):
            await after.keepalive(lease)
        await after.close()

    run(scenario)


def foreign_text(path: Path) -> None:
    path.write_text("this is no database, but it is long enough to have a header\n" * 20)


def foreign_tables(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE precious (x)")
    db.close()


def later_schema(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()


@pytest.mark.parametrize(
    ("make", "words"),
    [(foreign_text, "no SQLite database"), (foreign_tables, "schema version 0"), (later_schema, "schema version 99")],
)
def test_a_file_of_somebody_else_is_refused_and_left_as_it_was(tmp_path: Path, make: Callable[[Path], None], words: str) -> None:
    path = tmp_path / "foreign"
    make(path)
    before = path.read_bytes()

    async def scenario() -> None:
        with pytest.raises(BadStoreAddress, match=words) as caught:
            await open_store(f"sqlite:{path}")
        assert str(path) in str(caught.value)

    run(scenario)
    assert path.read_bytes() == before


def test_a_path_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def scenario() -> None:
        for path in (tmp_path / "file" / "store.db", tmp_path):
            with pytest.raises(StoreError, match=f"sqlite:{path}: cannot be opened"):
                await LocalStore.open(str(path))

    run(scenario)


def test_a_watch_of_a_file_that_was_replaced_by_a_younger_one_is_told_to_list_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = await LocalStore.open(str(tmp_path / "store.db"))
        with pytest.raises(StoreError, match="list again"):
            await anext(store.watch("/", 1_000))
        await store.close()

    run(scenario)


def test_a_file_that_was_deleted_is_a_store_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "RETRY_S", 0.02)
    path = tmp_path / "store.db"

    async def scenario() -> None:
        store = await LocalStore.open(str(path))
        revision = await store.create("/a", b"")
        watch = asyncio.ensure_future(anext(store.watch("/", revision)))
        await asyncio.sleep(0)
        path.rename(tmp_path / "aside")
        with pytest.raises(StoreError, match="deleted or moved away"):
            await store.create("/b", b"")  # nobody else would ever see it
        assert not path.exists()
        (tmp_path / "aside").rename(path)
        await store.create("/c", b"1")
        assert [event.key for event in await watch] == ["/c"]
        await store.close()

    run(scenario)


def test_a_file_that_took_the_place_of_ours_is_opened_and_watches_list_again(tmp_path: Path) -> None:
    path = tmp_path / "store.db"

    async def scenario() -> None:
        store = await LocalStore.open(str(path))
        other = await LocalStore.open(str(tmp_path / "other.db"))
        await store.create("/ours", b"")
        for number in range(5):
            await other.create(f"/theirs/{number}", b"")
        await other.close()
        watch = asyncio.ensure_future(anext(store.watch("/", 2)))
        await asyncio.sleep(0)
        (tmp_path / "other.db").replace(path)
        for log in ("store.db-wal", "store.db-shm"):
            (tmp_path / log).unlink()
        with pytest.raises(Compacted):  # though the new store has revision 3
            await watch
        assert len((await store.list("/")).items) == 5
        await store.close()

    run(scenario)


def test_garbage_in_the_place_of_our_file_is_trouble_that_may_pass(tmp_path: Path) -> None:
    path = tmp_path / "store.db"

    async def scenario() -> None:
        store = await LocalStore.open(str(path))
        foreign_text(tmp_path / "garbage")
        for log in ("store.db-wal", "store.db-shm"):  # all is in the log still: SQLite would mend the garbage with it
            (tmp_path / log).unlink()
        (tmp_path / "garbage").replace(path)
        with pytest.raises(StoreError, match="no SQLite database"):
            await store.get("/a")
        await store.close()

    run(scenario)


def test_a_folder_that_is_gone_is_a_store_error_for_a_new_watch_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = await LocalStore.open(str(tmp_path / "folder" / "store.db"))
        shutil.rmtree(tmp_path / "folder")
        with pytest.raises(StoreError, match="sqlite:"):
            await anext(store.watch("/", 1))
        await store.close()

    run(scenario)


def test_closing_does_not_wait_for_another_process_to_unlock_the_file(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "store.db"
        store = await LocalStore.open(str(path))
        lock = sqlite3.connect(path, isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        write = asyncio.create_task(store.create("/a", b""))
        opening = asyncio.create_task(LocalStore.open(str(path)))
        await asyncio.sleep(0.01)
        started = time.monotonic()
        opening.cancel()
        await store.close()
        with pytest.raises(StoreError):
            await write
        assert time.monotonic() - started < local.LOCK_WAIT_S / 2
        lock.close()

    run(scenario)
