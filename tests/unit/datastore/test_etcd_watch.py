"""The pure part of a watch on etcd: responses in, batches out. The rest is tested on real servers."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import grpc
import grpc.aio
import pytest
from aetcd.rpc import kv_pb2, rpc_pb2

from datastore.errors import Compacted
from datastore.etcd_channel import Endpoint, Interrupted, Member, Refused
from datastore.etcd_watch import BACKOFF_FIRST_S, BACKOFF_MAX_S, Cursor, Outage
from datastore.store import Event


def response(*events: Any, revision: int = 0, **fields: Any) -> Any:
    return rpc_pb2.WatchResponse(header=rpc_pb2.ResponseHeader(revision=revision), events=events, **fields)


def put(key: bytes, revision: int, value: bytes = b"v", lease: int = 0) -> Any:
    return kv_pb2.Event(type=kv_pb2.Event.PUT, kv=kv_pb2.KeyValue(key=key, value=value, mod_revision=revision, lease=lease))


def deleted(key: bytes, revision: int) -> Any:
    return kv_pb2.Event(type=kv_pb2.Event.DELETE, kv=kv_pb2.KeyValue(key=key, mod_revision=revision))


def test_a_response_becomes_a_batch_and_moves_the_cursor() -> None:
    cursor = Cursor(4)
    batch = cursor.feed(response(put(b"a", 5, b"", lease=7), deleted(b"b", 6), revision=9))
    assert batch == (Event("a", b"", 5, 7), Event("b", None, 6))
    assert cursor.revision == 6


def test_fragments_are_handed_on_whole_and_the_cursor_waits_for_the_last() -> None:
    cursor = Cursor(4)
    assert cursor.feed(response(put(b"a", 5), fragment=True)) == ()
    assert cursor.feed(response(put(b"b", 5), fragment=True)) == ()
    assert cursor.revision == 4
    assert [event.key for event in cursor.feed(response(put(b"c", 5), put(b"d", 6)))] == ["a", "b", "c", "d"]
    assert cursor.revision == 6


def test_what_a_broken_stream_sent_in_part_is_dropped_and_comes_again_once() -> None:
    cursor = Cursor(4)
    cursor.feed(response(put(b"a", 5), fragment=True))
    cursor.rewind()
    assert cursor.revision == 4
    assert [event.key for event in cursor.feed(response(put(b"a", 5), put(b"b", 5)))] == ["a", "b"]


def test_events_that_were_handed_on_before_are_left_out() -> None:
    cursor = Cursor(5)
    assert cursor.feed(response(put(b"a", 5))) == ()
    assert [event.revision for event in cursor.feed(response(put(b"a", 5), put(b"b", 6)))] == [6]


@pytest.mark.parametrize(
    ("fields", "moved"),
    [({}, 50), ({"created": True}, 4)],
    ids=["a progress notification vouches for all up to its revision", "the answer to the request does not"],
)
def test_an_empty_response_moves_the_cursor_only_if_it_vouches_for_what_came_before(fields: dict[str, Any], moved: int) -> None:
    cursor = Cursor(4)
    assert cursor.feed(response(revision=50, **fields)) == ()
    assert cursor.revision == moved


def test_a_progress_notification_never_moves_the_cursor_back() -> None:
    cursor = Cursor(60)
    cursor.feed(response(revision=50))
    assert cursor.revision == 60


def test_compaction_names_the_oldest_revision_kept() -> None:
    with pytest.raises(Compacted) as caught:
        Cursor(4).feed(response(canceled=True, compact_revision=30))
    assert caught.value.revision == 30


def test_a_watch_that_etcd_cancels_is_interrupted_with_its_reason() -> None:
    with pytest.raises(Interrupted, match="no leader"):
        Cursor(4).feed(response(canceled=True, cancel_reason="etcdserver: no leader"))
    with pytest.raises(Interrupted, match="cancelled the watch"):
        Cursor(4).feed(response(canceled=True))


def failure(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details, None)


STALE = Interrupted("rpc error: code = Unauthenticated desc = etcdserver: invalid auth token")
DENIED = Interrupted("rpc error: code = PermissionDenied desc = etcdserver: permission denied")
LOST = failure(grpc.StatusCode.UNAVAILABLE, "Socket closed")


def on_a_member(check: Any) -> None:
    async def body() -> None:  # a channel needs a loop, though it connects to nothing here
        check(Member(Endpoint("192.0.2.1", 2379), None))

    asyncio.run(body())


@pytest.mark.parametrize("error", [STALE, DENIED])
def test_a_stale_token_is_renewed_once_an_outage_and_then_believed(error: Exception) -> None:
    def check(member: Member) -> None:
        outage = Outage("/a/")
        outage.check_passing(member, error)
        assert outage.token_is_suspect(error)
        with pytest.raises(Refused, match=r"http://192.0.2.1:2379: watch of '/a/': .*etcdserver"):
            outage.check_passing(member, error)
        outage.over(member)
        outage.check_passing(member, error)
        assert outage.token_is_suspect(error)

    on_a_member(check)


@pytest.mark.parametrize(
    "error", [LOST, TimeoutError(), Interrupted("the stream ended"), failure(grpc.StatusCode.UNKNOWN, "raft: stopped")]
)
def test_a_passing_fault_is_waited_out_longer_and_longer_and_told_once(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def check(member: Member) -> None:
        outage = Outage("/a/")
        pauses = []
        for _ in range(12):
            outage.check_passing(member, error)
            assert not outage.token_is_suspect(error)
            pauses.append(outage.pause(member, error))
        for number, pause in enumerate(pauses):
            whole = min(BACKOFF_FIRST_S * 2**number, BACKOFF_MAX_S)
            assert whole / 2 <= pause <= whole
        outage.over(member)
        assert [message.partition(" prefix")[0] for message in caplog.messages] == ["watch interrupted", "watch resumed"]
        assert outage.pause(member, error) <= BACKOFF_FIRST_S

    on_a_member(check)


def test_a_refusal_that_no_token_mends_ends_the_watch() -> None:
    def check(member: Member) -> None:
        with pytest.raises(Refused, match="too many"):
            Outage("/a/").check_passing(member, failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "etcdserver: too many requests"))

    on_a_member(check)
