"""The store in etcd v3.

Every write is a transaction that compares first, so that asking twice does no harm. When an attempt stays without an answer,
the next one either succeeds, or finds the key changed; then the key itself tells whether that change was ours: same value,
same lease, newer than what we replaced. (Without a lease, two writers that write the same bytes at the same moment cannot be
told apart; both are then told that they have written.) When no member answers at all StoreError is raised, and the write may
or may not have taken effect: read before going on.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

from aetcd.rpc import rpc_pb2

from datastore.errors import KeyExists, LeaseGone, RevisionMismatch, StoreError
from datastore.etcd_channel import ATTEMPT_S, Answer, Endpoint, EtcdChannel, Member, Metadata, Refused, Tls, read, send
from datastore.etcd_watch import NO_END, watch
from datastore.keys import decode_key, encode_key, prefix_range
from datastore.store import Event, Item, Listing

PAGE_KEYS = 1_000  # a range is read in pieces, so that none holds up the member's other clients
LEASE_NOT_FOUND = "requested lease not found"
COMPACTED = "required revision has been compacted"
NO_LEASE_TTL = -1  # what LeaseTimeToLive says of a lease that is gone


class EtcdStore:
    """A cluster as a Store. Connections are made by the first call.

    Args:
        endpoints: the members, in the order in which they are tried.
        tls: the files for https; None for http.
        login: user and password.
    """

    def __init__(self, endpoints: tuple[Endpoint, ...], tls: Tls | None = None, login: tuple[str, str] | None = None) -> None:
        self._channel = EtcdChannel(endpoints, tls, login)

    async def get(self, key: str) -> Item | None:
        """See Store.get."""
        answer = await self._ask("kv", "Range", rpc_pb2.RangeRequest(key=encode_key(key)))
        return _item(answer.value.kvs[0]) if answer.value.kvs else None

    async def list(self, prefix: str) -> Listing:
        """See Store.list. All pages are of one revision."""
        while True:
            with suppress(_PagesGone):
                return await self._pages(prefix)

    async def create(self, key: str, value: bytes, lease: int = 0) -> int:
        """See Store.create."""
        answer = await self._write(key, 0, rpc_pb2.RequestOp(request_put=_put(key, value, lease)), lease)
        if answer.value.succeeded:
            return int(answer.value.header.revision)
        for found in answer.value.responses[0].response_range.kvs:
            if answer.unsure and found.version == 1 and _is_ours(found, value, lease):
                return int(found.mod_revision)
        raise KeyExists(key)

    async def replace(self, key: str, value: bytes, revision: int, lease: int = 0) -> int:
        """See Store.replace."""
        if revision < 1:
            raise RevisionMismatch(key, revision)  # etcd takes 0 for "does not exist"
        answer = await self._write(key, revision, rpc_pb2.RequestOp(request_put=_put(key, value, lease)), lease)
        if answer.value.succeeded:
            return int(answer.value.header.revision)
        for found in answer.value.responses[0].response_range.kvs:
            if answer.unsure and found.mod_revision > revision and _is_ours(found, value, lease):
                return int(found.mod_revision)
        raise RevisionMismatch(key, revision)

    async def delete(self, key: str, revision: int | None = None) -> bool:
        """See Store.delete. After an attempt without answer, a key that is gone counts as deleted by us."""
        request = rpc_pb2.DeleteRangeRequest(key=encode_key(key))
        if revision is None:
            plain = await self._ask("kv", "DeleteRange", request)
            return bool(plain.value.deleted) or plain.unsure
        if revision < 1:
            raise RevisionMismatch(key, revision)
        answer = await self._write(key, revision, rpc_pb2.RequestOp(request_delete_range=request))
        if not answer.value.succeeded:
            left = answer.value.responses[0].response_range.kvs
            if not answer.unsure or (left and left[0].create_revision <= revision):
                raise RevisionMismatch(key, revision)
        return True

    async def grant(self, ttl: int) -> int:
        """See Store.grant. etcd lengthens very short ones to 1.5 times its election timeout. A lease granted twice ends unused."""
        if ttl < 1:
            raise StoreError(f"lease of {ttl} seconds: a lease needs at least 1 second")
        answer = await self._ask("lease", "LeaseGrant", rpc_pb2.LeaseGrantRequest(TTL=ttl))
        return int(answer.value.ID)

    async def keepalive(self, lease: int) -> int:
        """See Store.keepalive."""
        answer = await self._channel.ask(lambda member, metadata: _keepalive_once(member, metadata, lease))
        if answer.value <= 0:
            raise LeaseGone(lease)
        return answer.value

    async def time_to_live(self, lease: int) -> int:
        """See Store.time_to_live."""
        answer = await self._ask("lease", "LeaseTimeToLive", rpc_pb2.LeaseTimeToLiveRequest(ID=lease), lease)
        if answer.value.TTL == NO_LEASE_TTL:
            raise LeaseGone(lease)
        return int(answer.value.TTL)

    async def revoke(self, lease: int) -> None:
        """See Store.revoke."""
        with suppress(LeaseGone):
            await self._ask("lease", "LeaseRevoke", rpc_pb2.LeaseRevokeRequest(ID=lease), lease)

    def watch(self, prefix: str, revision: int) -> AsyncGenerator[tuple[Event, ...], None]:
        """See Store.watch."""
        return watch(self._channel, prefix, revision)

    async def close(self) -> None:
        """See Store.close. Watches end with StoreError."""
        await self._channel.close()

    async def _pages(self, prefix: str) -> Listing:
        start, end = prefix_range(prefix)
        request = rpc_pb2.RangeRequest(key=start or NO_END, range_end=end or NO_END, limit=PAGE_KEYS)
        items: list[Item] = []
        while True:
            try:
                page = (await self._ask("kv", "Range", request)).value
            except Refused as error:
                if COMPACTED in error.reason:
                    raise _PagesGone from error
                raise
            items += map(_item, page.kvs)
            request.revision = request.revision or page.header.revision
            if not page.more:
                return Listing(tuple(items), int(request.revision))
            request.key = page.kvs[-1].key + b"\0"

    async def _write(self, key: str, revision: int, change: Any, lease: int = 0) -> Answer[Any]:
        """Make a change if the key is at a revision (0: does not exist), else read the key."""
        raw = encode_key(key)
        unchanged = rpc_pb2.Compare(key=raw, target=rpc_pb2.Compare.MOD, result=rpc_pb2.Compare.EQUAL, mod_revision=revision)
        look = rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=raw))
        return await self._ask("kv", "Txn", rpc_pb2.TxnRequest(compare=[unchanged], success=[change], failure=[look]), lease)

    async def _ask(self, service: str, method: str, request: Any, lease: int = 0) -> Answer[Any]:
        async def once(member: Member, metadata: Metadata) -> Any:
            return await getattr(getattr(member, service), method)(request, metadata=metadata, timeout=ATTEMPT_S)

        try:
            return await self._channel.ask(once)
        except Refused as error:
            if LEASE_NOT_FOUND in error.reason:
                raise LeaseGone(lease) from error
            raise


class _PagesGone(Exception):
    """The revision of a listing was compacted between two of its pages: begin anew."""


async def _keepalive_once(member: Member, metadata: Metadata, lease: int) -> int:
    """The seconds that a lease has after being renewed, 0 when it is gone. A stream for each: they are minutes apart."""
    call = member.lease.LeaseKeepAlive(metadata=metadata, timeout=ATTEMPT_S)
    try:
        await send(call, rpc_pb2.LeaseKeepAliveRequest(ID=lease))
        return int((await read(call)).TTL)
    finally:
        call.cancel()


def _put(key: str, value: bytes, lease: int) -> Any:
    return rpc_pb2.PutRequest(key=encode_key(key), value=value, lease=lease)


def _is_ours(found: Any, value: bytes, lease: int) -> bool:
    return bool(found.value == value and found.lease == lease)


def _item(found: Any) -> Item:
    return Item(decode_key(found.key), found.value, found.mod_revision, found.lease)
