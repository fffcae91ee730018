"""A watch on etcd that outlives its connections: each event once, in order, none lost.

etcd sends the events of one revision in one response, unless the response is too large; then it comes in fragments (api.md,
"Watch streams"). Only a complete response is handed on, and the next stream starts behind the last revision handed on. So
whatever a broken stream had sent in part is sent again, and nothing else is.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc.aio
from aetcd.rpc import kv_pb2, rpc_pb2

from datastore.errors import Compacted
from datastore.etcd_channel import (
    ATTEMPT_S,
    EtcdChannel,
    Interrupted,
    Member,
    Metadata,
    Refused,
    explain,
    is_passing,
    read,
    send,
    token_is_stale,
    words_of,
)
from datastore.keys import decode_key, prefix_range
from datastore.store import Event

log = logging.getLogger(__name__)

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 5.0
# A member that has lost its leader ends the stream, instead of falling silent (rpctypes/metadatafields.go).
REQUIRE_LEADER = (("hasleader", "true"),)
NO_END = b"\0"  # as a range end: up to the last key
# What etcd before 3.4.25 and 3.5.8 may also say of a watch with a stale token; newer ones name the token.
DENIED = "permission denied"


class Cursor:
    """How far a watch has come. Pure: it is fed responses and gives complete batches.

    Args:
        revision: events up to this one have been handed on.
    """

    def __init__(self, revision: int) -> None:
        self.revision = revision
        self._parts: list[Event] = []

    def rewind(self) -> None:
        """A new stream begins behind `revision`: what the old one sent in part comes again."""
        self._parts.clear()

    def feed(self, response: Any) -> tuple[Event, ...]:
        """The batch that a response completes; empty for a fragment or a sign of life.

        Raises:
            Compacted: etcd no longer keeps what comes next.
            Interrupted: etcd has ended the watch.
        """
        if response.compact_revision:
            raise Compacted(response.compact_revision)
        if response.canceled:
            raise Interrupted(response.cancel_reason or "etcd cancelled the watch")
        self._parts += [event for raw in response.events if (event := _event(raw)).revision > self.revision]
        if response.fragment:
            return ()
        batch = tuple(self._parts)
        self._parts.clear()
        # A progress notification says that all up to its revision was sent; it keeps an idle watch ahead of compaction.
        self.revision = batch[-1].revision if batch else max(self.revision, 0 if response.created else response.header.revision)
        return batch


def _event(raw: Any) -> Event:
    deleted = raw.type == kv_pb2.Event.DELETE
    return Event(decode_key(raw.kv.key), None if deleted else raw.kv.value, raw.kv.mod_revision, 0 if deleted else raw.kv.lease)


async def watch(channel: EtcdChannel, prefix: str, revision: int) -> AsyncGenerator[tuple[Event, ...], None]:
    """See Store.watch."""
    cursor = Cursor(revision)
    outage = Outage(prefix)
    while True:
        member = channel.member
        try:
            async with aclosing(_stream(channel, member, prefix, cursor)) as batches:
                async for batch in batches:
                    outage.over(member)
                    if batch:
                        yield batch
        except (grpc.aio.AioRpcError, Interrupted, TimeoutError) as error:
            outage.check_passing(member, error)
            if outage.token_is_suspect(error):
                channel.forget_token()
                continue
            channel.pass_over(member)
            await asyncio.sleep(outage.pause(member, error))


class Outage:
    """The time between two streams: how long to wait, and what to log, once at its begin and once at its end."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._failures = 0
        self._renewed = False

    def over(self, member: Member) -> None:
        """A stream is open."""
        if self._failures:
            log.info("watch resumed prefix=%s member=%s attempts=%d", self._prefix, member.address, self._failures)
        self._failures, self._renewed = 0, False

    def token_is_suspect(self, error: Exception) -> bool:
        """Whether to try again with a new token, at once; once an outage."""
        suspect = not self._renewed and _blames_token(error)
        self._renewed = self._renewed or suspect
        return suspect

    def check_passing(self, member: Member, error: Exception) -> None:
        """Raises Refused when the next attempt would be answered in the same way."""
        denied = _blames_token(error)
        if (denied and self._renewed) or not (denied or is_passing(error) or isinstance(error, TimeoutError)):
            raise Refused(member.address, f"watch of {self._prefix!r}: {words_of(error)}") from error

    def pause(self, member: Member, error: Exception) -> float:
        """Seconds to wait before the next attempt. Spread, since all nodes of a cluster lose their member at once."""
        if not self._failures:
            reason = f"no answer within {ATTEMPT_S:.0f} seconds" if isinstance(error, TimeoutError) else explain(error)
            log.warning("watch interrupted prefix=%s member=%s error=%s", self._prefix, member.address, reason)
        backoff = min(BACKOFF_FIRST_S * 2.0 ** min(self._failures, 10), BACKOFF_MAX_S)
        self._failures += 1
        return backoff * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, keeps no secret


def _blames_token(error: Exception) -> bool:
    return token_is_stale(error) or DENIED in words_of(error)


async def _stream(channel: EtcdChannel, member: Member, prefix: str, cursor: Cursor) -> AsyncGenerator[tuple[Event, ...], None]:
    """The batches of one stream until it breaks; an empty one for each sign of life."""
    with channel.told_apart():
        async with asyncio.timeout(ATTEMPT_S):
            metadata = await channel.metadata(member)
        call = member.watch.Watch(metadata=metadata + REQUIRE_LEADER)
        cursor.rewind()
        try:
            async with asyncio.timeout(ATTEMPT_S):
                await send(call, _request(prefix, cursor.revision + 1))
                created = await read(call)
            yield cursor.feed(created)
            if created.header.revision < cursor.revision:
                await _check_history(member, metadata, cursor.revision)
            while True:
                yield cursor.feed(await read(call))
        finally:
            call.cancel()


def _request(prefix: str, start_revision: int) -> Any:
    start, end = prefix_range(prefix)
    return rpc_pb2.WatchRequest(
        create_request=rpc_pb2.WatchCreateRequest(
            key=start or NO_END, range_end=end or NO_END, start_revision=start_revision, progress_notify=True, fragment=True
        )
    )


async def _check_history(member: Member, metadata: Metadata, revision: int) -> None:
    """A member that is behind catches up; a store that was wiped or restored does not, and its watch would stay silent.

    Raises:
        Compacted: the whole store is older than what we have seen already.
    """
    request = rpc_pb2.RangeRequest(key=NO_END, range_end=NO_END, count_only=True)  # linearizable: a quorum answers
    answer = await member.kv.Range(request, metadata=metadata, timeout=ATTEMPT_S)
    if answer.header.revision < revision:
        raise Compacted(answer.header.revision)
