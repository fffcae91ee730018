"""EtcdStore against real servers that restart, die, hang, lose their answers, want certificates or passwords."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from datastore import etcd_channel, etcd_watch
from datastore.errors import BadStoreAddress, Compacted, KeyExists, RevisionMismatch, StoreError
from datastore.etcd_channel import Tls
from datastore.open import open_store
from datastore.store import Event, Store
from tests.etcd_server import EtcdServer, etcd_cluster, etcd_server

SCENARIO_S = 90.0
PASSWORD = "correct-horse"
TOKEN_GONE_S = 2.5  # they last 1 s after their last use; etcd looks once a second


@pytest.fixture(scope="module")
def shared() -> Iterator[EtcdServer]:
    """A server for tests that leave it running."""
    with etcd_server() as server:
        yield server


@asynccontextmanager
async def opened(address: str, **options: Any) -> AsyncIterator[Store]:
    store = await open_store(address, **options)
    try:
        yield store
    finally:
        await store.close()


def run(scenario: Awaitable[None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(SCENARIO_S):
            await scenario

    asyncio.run(bounded())


def etcdctl(server: EtcdServer, *arguments: str, user: str | None = None) -> Any:
    command = ["etcdctl", f"--endpoints={server.url}", *([f"--user={user}"] if user else []), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, env={"ETCDCTL_API": "3"}, timeout=60)
    return json.loads(done.stdout) if "--write-out=json" in arguments else done.stdout


class Load:
    """One writer that never stops and one watch, on one store. What was acknowledged must be what was seen."""

    def __init__(self, store: Store, prefix: str) -> None:
        self.store, self.prefix = store, prefix
        self.written: list[tuple[str, int]] = []
        self.seen: list[Event] = []
        self._stop = asyncio.Event()

    async def write(self) -> None:
        while not self._stop.is_set():
            key = f"{self.prefix}{len(self.written):06}"
            self.written.append((key, await self.store.create(key, b"v")))
            await asyncio.sleep(0.002)

    async def watch(self, revision: int) -> None:
        async for batch in self.store.watch(self.prefix, revision):
            self.seen += batch

    async def more(self, count: int = 50) -> None:
        """Return when so many more writes were acknowledged and seen."""
        goal = len(self.written) + count
        while len(self.written) < goal or len(self.seen) < goal:
            await asyncio.sleep(0.01)

    async def end(self) -> None:
        self._stop.set()


async def under_load(store: Store, prefix: str, disturb: Callable[[Load], Awaitable[None]]) -> None:
    load = Load(store, prefix)
    watching = asyncio.create_task(load.watch((await store.list(prefix)).revision))
    writing = asyncio.create_task(load.write())
    disturbing = asyncio.ensure_future(disturb(load))
    await asyncio.wait({watching, writing, disturbing}, return_when=asyncio.FIRST_COMPLETED)
    for task in (watching, writing):
        if task.done():
            await task  # it never ends by itself: show why it did
    await disturbing
    await load.end()
    await writing
    while len(load.seen) < len(load.written):
        await asyncio.sleep(0.01)
    watching.cancel()
    await asyncio.wait({watching})
    assert watching.cancelled()
    assert [(event.key, event.revision) for event in load.seen] == load.written


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_of_the_server_loses_no_event_and_repeats_none(signum: signal.Signals, caplog: pytest.LogCaptureFixture) -> None:
    async def disturb(load: Load) -> None:
        for _ in range(2):
            await load.more()
            await asyncio.to_thread(server.stop, signum)
            await asyncio.sleep(0.5)  # long enough for several attempts
            await asyncio.to_thread(server.start)
        await load.more()

    async def scenario() -> None:
        async with opened(server.url) as store:
            await under_load(store, "/restart/", disturb)

    caplog.set_level(logging.INFO, "datastore")
    with etcd_server() as server:
        run(scenario())
    told = [record.getMessage().split(" prefix")[0] for record in caplog.records if "watch" in record.getMessage()]
    assert told == ["watch interrupted", "watch resumed"] * 2  # once a change, not once an attempt


def leader_first(members: list[EtcdServer]) -> list[EtcdServer]:
    """The members, the leader at the head."""

    def leads(server: EtcdServer) -> bool:
        [status] = etcdctl(server, "endpoint", "status", "--write-out=json")
        return bool(status["Status"]["leader"] == status["Status"]["header"]["member_id"])

    return sorted(members, key=leads, reverse=True)


def test_a_cluster_that_loses_members_loses_no_write_no_event_and_no_lease() -> None:
    """The store speaks to the member that is killed, and later to one that hangs."""

    async def disturb(load: Load) -> None:
        leader, follower, _ = members
        lease = await load.store.grant(60)
        await load.more()
        await asyncio.to_thread(leader.stop, signal.SIGKILL)
        assert await load.store.keepalive(lease) == 60
        await load.more()
        await asyncio.to_thread(leader.start)
        await load.more()
        await asyncio.to_thread(follower.freeze)  # the store's member now; perhaps the new leader too
        await load.more()
        follower.thaw()
        await load.more()
        assert await load.store.keepalive(lease) == 60

    async def scenario() -> None:
        async with opened(",".join(member.url for member in members)) as store:
            await under_load(store, "/failover/", disturb)

    with etcd_cluster(3) as started:
        members = leader_first(started)
        run(scenario())


def test_http_to_a_server_with_tls_is_explained(secure: tuple[EtcdServer, Tls, Tls], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_channel, "PATIENCE_S", 0.5)

    async def scenario() -> None:
        async with opened(secure[0].url.replace("https:", "http:")) as store:
            with pytest.raises(StoreError, match="write https://"):
                await store.get("/a")

    run(scenario())


def test_calls_that_are_under_way_when_the_store_is_closed_say_so(shared: EtcdServer) -> None:
    async def scenario() -> None:
        async with lossy(shared) as (store, _, proxy):
            proxy.deaf = True
            calls = [asyncio.ensure_future(call) for call in (store.get("/a"), store.create("/closed", b""), store.keepalive(1))]
            await asyncio.sleep(0.2)
            await store.close()
            assert [str(outcome) for outcome in await asyncio.gather(*calls, return_exceptions=True)] == [
                "the store was closed"
            ] * 3

    run(scenario())


def test_a_store_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_channel, "PATIENCE_S", 0.5)

    async def scenario() -> None:
        async with opened("http://127.0.0.1:1,http://127.0.0.1:2") as store:
            with pytest.raises(StoreError) as caught:
                await store.get("/a")
            for words in ("http://127.0.0.1:1: ", "http://127.0.0.1:2: ", "refused"):
                assert words in str(caught.value)

    run(scenario())


def test_a_watch_that_begins_before_its_server_waits_for_it(shared: EtcdServer) -> None:
    async def scenario() -> None:
        async with opened(server.url) as store:
            watching = asyncio.ensure_future(anext(store.watch("/early/", 1)))
            await asyncio.sleep(0.3)
            await asyncio.to_thread(server.start)
            await store.create("/early/a", b"")
            assert [event.key for event in await watching] == ["/early/a"]

    with etcd_server() as server:
        server.stop()
        run(scenario())


def test_a_server_whose_data_was_wiped_ends_the_watch_instead_of_leaving_it_silent() -> None:
    async def scenario() -> None:
        async with opened(server.url) as store:
            for number in range(20):
                await store.create(f"/a/{number}", b"")
            watching = asyncio.ensure_future(anext(store.watch("/a/", (await store.list("/a/")).revision)))
            await asyncio.sleep(0.2)
            await asyncio.to_thread(server.stop)
            server.wipe()
            await asyncio.to_thread(server.start)
            with pytest.raises(Compacted):
                await watching
            assert (await store.list("/a/")).items == ()

    with etcd_server() as server:
        run(scenario())


def test_a_batch_larger_than_one_message_comes_whole_and_once(shared: EtcdServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """600 changes of 10 kB: etcd sends them as fragments of 2 MB."""
    fragments = []

    class Counting(etcd_watch.Cursor):
        def feed(self, response: Any) -> tuple[Event, ...]:
            fragments.append(response.fragment)
            return super().feed(response)

    monkeypatch.setattr(etcd_watch, "Cursor", Counting)

    async def scenario() -> None:
        async with opened(shared.url) as store:
            start = (await store.list("/large/")).revision
            for chunk in range(0, 600, 50):
                await asyncio.gather(*(store.create(f"/large/{number:04}", bytes(10_000)) for number in range(chunk, chunk + 50)))
            batch = await anext(store.watch("/large/", start))
            assert sorted(event.key for event in batch) == [f"/large/{number:04}" for number in range(600)]
            assert [event.revision for event in batch] == sorted(event.revision for event in batch)
            assert any(fragments)

    run(scenario())


class DeafProxy:
    """Forwards to a server. Once `deaf`, requests still go through, but no answer comes back."""

    def __init__(self, server: EtcdServer) -> None:
        self._port = urlsplit(server.url).port
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.deaf = False

    async def start(self) -> str:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, far_writer]
        for source, sink, back in ((reader, far_writer, False), (far_reader, writer, True)):
            task = asyncio.create_task(self._pump(source, sink, back))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, back: bool) -> None:
        while piece := await source.read(65536):
            if not (back and self.deaf):
                sink.write(piece)
                await sink.drain()

    async def cut(self) -> None:
        """End all connections, and take no new ones."""
        self._listener.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def lossy(shared: EtcdServer) -> AsyncIterator[tuple[Store, Store, DeafProxy]]:
    """A store that reaches its server through a proxy first and directly afterwards; a direct one; the proxy."""
    proxy = DeafProxy(shared)
    url = await proxy.start()
    async with opened(f"{url},{shared.url}") as store, opened(shared.url) as direct:
        await store.get("/any")  # the connection stands
        yield store, direct, proxy
        await proxy.cut()


async def unanswered(proxy: DeafProxy, write: Awaitable[Any], done: Callable[[], Awaitable[bool]]) -> Any:
    """Let a write be carried out without its answer coming back; what the store makes of it."""
    proxy.deaf = True
    writing = asyncio.ensure_future(write)
    while not await done():
        await asyncio.sleep(0.01)
    assert not writing.done()
    await proxy.cut()
    return await writing


def test_a_write_whose_answer_was_lost_is_recognised_as_done_and_done_once(shared: EtcdServer) -> None:
    async def scenario() -> None:
        async def exists() -> bool:
            return await direct.get("/lost/a") is not None

        async with lossy(shared) as (store, direct, proxy):
            lease = await direct.grant(60)
            revision = await unanswered(proxy, store.create("/lost/a", b"1", lease), exists)
            found = await direct.get("/lost/a")
            assert found is not None
            assert (found.revision, found.value, found.lease) == (revision, b"1", lease)

        async def changed() -> bool:
            item = await direct.get("/lost/a")
            return item is not None and item.value == b"2"

        async with lossy(shared) as (store, direct, proxy):
            second = await unanswered(proxy, store.replace("/lost/a", b"2", revision), changed)
            found = await direct.get("/lost/a")
            assert found is not None
            assert found.revision == second

        async def gone() -> bool:
            return await direct.get("/lost/a") is None

        async with lossy(shared) as (store, direct, proxy):
            assert await unanswered(proxy, store.delete("/lost/a", second), gone) is True
            [*_, last] = await anext(direct.watch("/lost/", revision - 1))
            assert last.value is None
            assert last.revision > second

    run(scenario())


def test_a_write_whose_answer_was_lost_does_not_claim_what_another_wrote_since(shared: EtcdServer) -> None:
    async def scenario() -> None:
        async def overtaken() -> bool:
            item = await direct.get("/claim/a")
            if item is not None and item.value == b"ours":
                await direct.replace("/claim/a", b"theirs", item.revision)
            return item is not None and item.value == b"theirs"

        async with lossy(shared) as (store, direct, proxy):
            with pytest.raises(KeyExists):
                await unanswered(proxy, store.create("/claim/a", b"ours"), overtaken)
        found = None
        async with lossy(shared) as (store, direct, proxy):
            found = await direct.get("/claim/a")
            assert found is not None
            with pytest.raises(RevisionMismatch):
                await unanswered(proxy, store.replace("/claim/a", b"ours", found.revision), overtaken_twice(direct, found.revision))

    def overtaken_twice(direct: Store, revision: int) -> Callable[[], Awaitable[bool]]:
        async def check() -> bool:
            item = await direct.get("/claim/a")
            assert item is not None
            if item.value == b"ours":
                await direct.replace("/claim/a", b"theirs", item.revision)
            return item.value == b"theirs" and item.revision > revision

        return check

    run(scenario())


def test_a_member_that_hangs_costs_one_deadline_and_is_then_left_out(shared: EtcdServer) -> None:
    async def scenario() -> None:
        async with lossy(shared) as (store, _, proxy):
            proxy.deaf = True
            for number in range(5):
                await store.create(f"/hang/{number}", b"")
            loop = asyncio.get_running_loop()
            begun = loop.time()
            for number in range(5):
                await store.create(f"/hang/later/{number}", b"")
            assert loop.time() - begun < 15  # five deadlines of 3 s

    run(scenario())


def make_ca(folder: Path, name: str) -> Path:
    """A CA, and a certificate for 127.0.0.1 that it signed: NAME.pem, NAME-cert.pem, NAME-key.pem."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder, timeout=60)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *curve, "-keyout", f"{name}-ca-key.pem", "-out", f"{name}.pem", "-subj", f"/CN={name} CA", "-days", "2")
    openssl("req", *curve, "-keyout", f"{name}-key.pem", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    (folder / "ext").write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
    signing = ("-CA", f"{name}.pem", "-CAkey", f"{name}-ca-key.pem", "-CAcreateserial", "-days", "2", "-extfile", "ext")
    openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}-cert.pem", *signing)
    return folder / name


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EtcdServer, Tls, Tls]]:
    """A server that wants client certificates, the right files, and those of another CA."""
    folder = tmp_path_factory.mktemp("tls")
    right, wrong = (
        Tls(ca=f"{base}.pem", cert=f"{base}-cert.pem", key=f"{base}-key.pem")
        for base in (make_ca(folder, "right"), make_ca(folder, "wrong"))
    )
    flags = (f"--trusted-ca-file={right.ca}", f"--cert-file={right.cert}", f"--key-file={right.key}", "--client-cert-auth")
    with etcd_server(flags, scheme="https") as server:
        yield server, right, wrong


def test_tls_with_a_client_certificate_reads_writes_and_watches(secure: tuple[EtcdServer, Tls, Tls]) -> None:
    async def scenario() -> None:
        server, right, _ = secure
        async with opened(server.url, tls=right) as store:
            revision = await store.create("/tls/a", b"1")
            assert [event.revision for event in await anext(store.watch("/tls/", revision - 1))] == [revision]

    run(scenario())


@pytest.mark.parametrize(
    ("choose", "words"),
    [
        (lambda right, wrong: Tls(ca=wrong.ca, cert=right.cert, key=right.key), "is not signed by the CA that we were given"),
        (lambda right, wrong: Tls(ca=right.ca), "requires a client certificate"),
        (lambda right, wrong: Tls(ca=right.ca, cert=wrong.cert, key=wrong.key), "a CA that it trusts"),
        (lambda right, wrong: Tls(), "is not signed by the CA"),
    ],
    ids=["another CA", "no client certificate", "a client certificate of another CA", "public CAs"],
)
def test_tls_that_does_not_fit_is_explained(
    secure: tuple[EtcdServer, Tls, Tls], choose: Callable[[Tls, Tls], Tls], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        server, right, wrong = secure
        async with opened(server.url, tls=choose(right, wrong)) as store:
            with pytest.raises(StoreError) as caught:
                await store.get("/a")
            assert server.url in str(caught.value)
            assert words in str(caught.value)

    run(scenario())


def test_https_to_a_server_without_tls_is_explained(shared: EtcdServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_channel, "PATIENCE_S", 0.5)

    async def scenario() -> None:
        async with opened(shared.url.replace("http:", "https:")) as store:
            with pytest.raises(StoreError, match="write http:// if it has no TLS"):
                await store.get("/a")

    run(scenario())


def test_tls_files_that_are_missing_or_do_not_belong_together_are_named(
    secure: tuple[EtcdServer, Tls, Tls], tmp_path: Path
) -> None:
    server, right, wrong = secure
    (tmp_path / "text").write_text("no PEM")
    cases = [
        (Tls(ca="/does/not/exist"), StoreError, "/does/not/exist"),
        (Tls(ca=f"{tmp_path}/text"), StoreError, f"{tmp_path}/text"),
        (Tls(ca=right.ca, cert=right.cert, key=wrong.key), StoreError, str(wrong.key)),
        (Tls(ca=right.ca, cert=right.cert), BadStoreAddress, "go together"),
    ]

    async def scenario() -> None:
        for tls, error, words in cases:
            with pytest.raises(error) as caught:
                await open_store(server.url, tls=tls)
            assert words in str(caught.value)

    run(scenario())


@pytest.fixture(scope="module", params=["simple", "jwt"])
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """A server with users; its tokens, of etcd's default kind or signed, last a second."""
    with etcd_server(token_flags(request.param, tmp_path_factory.mktemp("jwt"))) as server:
        etcdctl(server, "user", "add", f"root:{PASSWORD}")
        etcdctl(server, "user", "grant-role", "root", "root")
        etcdctl(server, "user", "add", f"reader:{PASSWORD}")
        etcdctl(server, "auth", "enable")
        yield server


def token_flags(kind: str, folder: Path) -> list[str]:
    if kind == "simple":
        return ["--auth-token-ttl=1"]
    for command in (("genrsa", "-out", "key", "2048"), ("rsa", "-in", "key", "-pubout", "-out", "pub")):
        subprocess.run(["openssl", *command], check=True, capture_output=True, cwd=folder, timeout=60)
    return [f"--auth-token=jwt,pub-key={folder}/pub,priv-key={folder}/key,sign-method=RS256,ttl=1s"]


def test_a_user_reads_writes_and_watches_and_goes_on_when_tokens_become_invalid(guarded: EtcdServer) -> None:
    async def scenario() -> None:
        async with opened(guarded.url, user="root", password=PASSWORD) as store:
            revision = await store.create("/auth/a", b"1")
            watch = store.watch("/auth/", revision - 1)
            assert [event.key for event in await anext(watch)] == ["/auth/a"]
            lease = await store.grant(60)
            await asyncio.sleep(TOKEN_GONE_S)
            await store.create("/auth/b", b"1")
            assert [event.key for event in await anext(watch)] == ["/auth/b"]
            assert await store.keepalive(lease) == 60
            for key in ("/auth/a", "/auth/b"):
                assert await store.delete(key)

    run(scenario())


def test_a_watch_alone_renews_its_token(guarded: EtcdServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_watch, "BACKOFF_MAX_S", 0.2)

    async def scenario() -> None:
        async with (
            opened(guarded.url, user="root", password=PASSWORD) as store,
            opened(guarded.url, user="root", password=PASSWORD) as other,
        ):
            revision = (await store.list("/alone/")).revision
            watching = asyncio.ensure_future(anext(store.watch("/alone/", revision)))
            await asyncio.sleep(0.2)
            await asyncio.to_thread(guarded.stop)
            await asyncio.sleep(TOKEN_GONE_S)
            await asyncio.to_thread(guarded.start)
            await other.create("/alone/a", b"")
            assert [event.key for event in await watching] == ["/alone/a"]
            await other.delete("/alone/a")

    run(scenario())


def test_a_wrong_password_is_refused_without_repeating_it(guarded: EtcdServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def scenario() -> None:
        async with opened(guarded.url, user="root", password="battery-staple") as store:
            for refused in (store.get("/a"), anext(store.watch("/a", 1))):
                with pytest.raises(StoreError, match=r"user 'root': .*authentication failed") as caught:
                    await refused
                told = f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r} {caplog.text}"
                assert "battery-staple" not in told

    run(scenario())


def test_what_a_user_may_not_do_is_a_store_error(guarded: EtcdServer) -> None:
    async def scenario() -> None:
        async with opened(guarded.url, user="reader", password=PASSWORD) as store:
            for refused in (store.get("/a"), store.create("/a", b""), anext(store.watch("/a", 1))):
                with pytest.raises(StoreError, match="permission denied") as caught:
                    await refused
                assert guarded.url in str(caught.value)
        async with opened(guarded.url) as store:
            for refused in (store.get("/a"), anext(store.watch("/a", 1))):
                with pytest.raises(StoreError, match=r"user name is empty|permission denied"):
                    await refused

    run(scenario())


def test_a_password_is_not_asked_for_by_a_server_without_users(shared: EtcdServer) -> None:
    async def scenario() -> None:
        async with opened(shared.url, user="root", password=PASSWORD) as store:
            await store.create("/needless/a", b"")
            assert await store.delete("/needless/a")

    run(scenario())
