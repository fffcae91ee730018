"""Getting one question answered by an etcd cluster: members, TLS, who we are, and what to do when a member fails.

The stubs are aetcd's generated ones; its client is not used, having neither TLS nor several endpoints. Each member has its
own gRPC channel and all calls go to one of them until it fails; then the next one's turn comes. gRPC's round robin over one
multi-address channel would instead send every third call to a member that hangs, each to wait for its whole deadline.

A call that ended without an answer may have been carried out all the same (etcd's own wording: "request timed out").
`ask` tries again and says so in the answer (`unsure`); whoever asked must know what a second time means.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

# gRPC itself writes to stderr on every failed handshake, several lines a second; we log each outage once. Read when imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
import grpc.aio
from aetcd.rpc import rpc_pb2, rpc_pb2_grpc

from datastore.errors import BadStoreAddress, StoreError

log = logging.getLogger(__name__)

T = TypeVar("T")
Metadata = tuple[tuple[str, str], ...]

ATTEMPT_S = 3.0  # a healthy member answers in milliseconds, a leader election takes one to two seconds
PATIENCE_S = 6.0  # begins no further round of attempts after this; more than an election
PAUSE_S = 0.2  # between two rounds over all members

CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # etcd bounds what is written, not what a range or a watch returns
    ("grpc.use_local_subchannel_pool", 1),  # two stores of one process share no back-off
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.keepalive_time_ms", 7_000),  # finds a member that hangs behind an open watch; etcd refuses pings under 5 s
    ("grpc.keepalive_timeout_ms", 3_000),  # this one alone is not enough: a member that hung was given up after a minute
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.http2.max_pings_without_data", 0),  # a watch may be silent for days
)

# The member failed, not the question: ask another one.
PASSING = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,  # what etcd has no code for, such as "raft: stopped" of a member that goes down
    }
)
# etcd's words (api/v3rpc/rpctypes/error.go) when only a new token helps; "user name is empty": auth was enabled meanwhile.
STALE_TOKEN = ("invalid auth token", "revision of auth store is old", "user name is empty")
NEVER_SENT = "failed to connect to all addresses"  # gRPC's words
# Faults that no second attempt mends: part of gRPC's message, and what it means to an operator.
HOPELESS = {
    "CERTIFICATE_VERIFY_FAILED": "its TLS certificate is not signed by the CA that we were given",
    "Peer name": "its TLS certificate is for another host name",
    "TSI_DATA_CORRUPTED": "it ended the TLS session: it requires a client certificate, signed by a CA that it trusts",
}
# Faults that may pass, but sound like nothing.
OBSCURE = {
    "Handshake read failed": "it broke off the TLS handshake; write http:// if it has no TLS",
    ": Socket closed": "it closed the connection at once; write https:// if it wants TLS",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a member listens for clients."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Tls:
    """Paths of PEM files: the CA that signed the servers' certificates (None: public CAs), our certificate and its key."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What a member answered. `unsure`: an earlier attempt got no answer, and may have been carried out."""

    value: T
    unsure: bool


class Refused(StoreError):
    """A member understood the question and said no.

    Args:
        endpoint: the member's address.
        reason: its words.
    """

    def __init__(self, endpoint: str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"etcd {endpoint}: {reason}")


class Interrupted(Exception):
    """A stream ended without a status. As passing as a lost connection."""


class Member:
    """One member's channel and stubs."""

    def __init__(self, endpoint: Endpoint, credentials: grpc.ChannelCredentials | None) -> None:
        self.address = f"{'http' if credentials is None else 'https'}://{endpoint}"
        target = f"dns:///{endpoint}"
        self.channel = (
            grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)
            if credentials is None
            else grpc.aio.secure_channel(target, credentials, options=CHANNEL_OPTIONS)
        )
        self.kv: Any = rpc_pb2_grpc.KVStub(self.channel)
        self.lease: Any = rpc_pb2_grpc.LeaseStub(self.channel)
        self.watch: Any = rpc_pb2_grpc.WatchStub(self.channel)
        self.auth: Any = rpc_pb2_grpc.AuthStub(self.channel)


class EtcdChannel:
    """The way to a cluster. Made and used within one event loop."""

    def __init__(self, endpoints: tuple[Endpoint, ...], tls: Tls | None, login: tuple[str, str] | None) -> None:
        credentials = None if tls is None else read_credentials(tls)
        self._members = tuple(Member(endpoint, credentials) for endpoint in endpoints)
        self._login = login
        self._token: str | None = None  # None: to be asked for; "": the cluster wants none
        self._turn = 0
        self._serving: Member | None = None
        self.closed = False

    @property
    def member(self) -> Member:
        """The member whose turn it is. Raises StoreError once the store was closed."""
        if self.closed:
            raise StoreError("the store was closed")
        return self._members[self._turn % len(self._members)]

    def pass_over(self, failed: Member) -> None:
        """It is the next member's turn, unless another call has found out already."""
        if self.member is failed and len(self._members) > 1:
            self._turn += 1

    def served_by(self, member: Member) -> None:
        """A member has answered."""
        if self._serving not in (None, member):
            log.info("etcd member changed old=%s new=%s", self._serving and self._serving.address, member.address)
        self._serving = member

    def forget_token(self) -> None:
        """The next call asks for a new token."""
        self._token = None

    async def metadata(self, member: Member) -> Metadata:
        """What says who we are, asked for if need be.

        Raises:
            AioRpcError: the member cannot be reached.
            Refused: the user or the password is wrong. The password is not in it.
        """
        if self._login is None:
            return ()
        if self._token is None:
            self._token = await _authenticate(member, *self._login)
        return (("token", self._token),) if self._token else ()

    async def ask(self, once: Callable[[Member, Metadata], Awaitable[T]]) -> Answer[T]:
        """Put a question until a member answers it.

        Raises:
            Refused: a member said no.
            StoreError: no member answered in time, or none ever will. A write may have been carried out all the same.
        """
        faults: dict[str, str] = {}
        give_up = asyncio.get_running_loop().time() + PATIENCE_S
        unsure = renewed = False
        while True:
            member = self.member
            try:
                with self.told_apart():
                    answer = await once(member, await self.metadata(member))
                self.served_by(member)
                return Answer(answer, unsure)
            except (grpc.aio.AioRpcError, Interrupted) as error:
                if token_is_stale(error) and not renewed:
                    self.forget_token()
                    renewed = True
                    continue
                if not is_passing(error):
                    raise Refused(member.address, words_of(error)) from error
                unsure = unsure or NEVER_SENT not in words_of(error)
                await self._next_attempt(member, error, faults, give_up)

    async def _next_attempt(self, member: Member, error: Exception, faults: dict[str, str], give_up: float) -> None:
        """Turn to the next member, after a pause when all have failed."""
        faults[member.address] = explain(error)
        self.pass_over(member)
        if len(faults) < len(self._members):
            return
        hopeless = set(faults.values()) <= set(HOPELESS.values())
        if hopeless or asyncio.get_running_loop().time() >= give_up:
            listed = "; ".join(f"{address}: {fault}" for address, fault in faults.items())
            raise StoreError(f"etcd cannot be reached: {listed}") from error
        await asyncio.sleep(PAUSE_S)

    @contextmanager
    def told_apart(self) -> Iterator[None]:
        """gRPC ends the calls of a channel that is closed as if their tasks were cancelled: tell those two apart.

        Raises:
            StoreError: the store was closed.
        """
        try:
            yield
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if self.closed and (task is None or not task.cancelling()):
                raise StoreError("the store was closed") from error
            raise

    async def close(self) -> None:
        """Close all connections."""
        members, self.closed = self._members, True
        self._members, self._serving = (), None  # a channel that is still referred to reconnects for ever
        for member in members:
            await member.channel.close(None)


def is_passing(error: Exception) -> bool:
    """Whether another attempt may go better."""
    return isinstance(error, Interrupted) or (isinstance(error, grpc.aio.AioRpcError) and error.code() in PASSING)


def token_is_stale(error: Exception) -> bool:
    """Whether a new token may help."""
    return any(words in words_of(error) for words in STALE_TOKEN)


def words_of(error: Exception) -> str:
    """What the server, or gRPC, said."""
    return (error.details() or error.code().name) if isinstance(error, grpc.aio.AioRpcError) else str(error)


def explain(error: Exception) -> str:
    """An unanswered question in an operator's words."""
    if isinstance(error, grpc.aio.AioRpcError) and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"no answer within {ATTEMPT_S:.0f} seconds"
    words = words_of(error)
    return next((meaning for part, meaning in (HOPELESS | OBSCURE).items() if part in words), words)


def read_credentials(tls: Tls) -> grpc.ChannelCredentials:
    """Read the files, and check that they are what they should be: gRPC itself would only fail each handshake later.

    Raises:
        BadStoreAddress: certificate without key, or the reverse.
        StoreError: a file cannot be read, is no PEM, or certificate and key do not belong together.
    """
    if (tls.cert is None) != (tls.key is None):
        raise BadStoreAddress("TLS: a client certificate and its key go together; one of the two files is missing")
    _check_pem(f"CA file {tls.ca}", lambda: ssl.create_default_context(cafile=tls.ca))
    if tls.cert is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # An encrypted key must fail: without the password argument OpenSSL would ask on the terminal.
        _check_pem(
            f"certificate {tls.cert} with key {tls.key}", lambda: context.load_cert_chain(str(tls.cert), tls.key, password="")
        )
    ca, cert, key = (None if path is None else Path(path).read_bytes() for path in (tls.ca, tls.cert, tls.key))
    return grpc.ssl_channel_credentials(ca, key, cert)


def _check_pem(name: str, load: Callable[[], object]) -> None:
    try:
        load()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise StoreError(f"TLS: {name}: {error}; PEM files that we may read are needed") from error


async def send(call: Any, request: Any) -> None:
    """Write to a stream. Should the call have failed already, the next `read` says how."""
    with suppress(asyncio.InvalidStateError):
        await call.write(request)


async def read(call: Any) -> Any:
    """The next response of a stream.

    Raises:
        AioRpcError: the stream has failed.
        Interrupted: it has ended.
    """
    response = await call.read()
    if response is grpc.aio.EOF:  # type: ignore[attr-defined] # public, but unknown to grpc-stubs
        raise Interrupted("the stream ended")
    return response


async def _authenticate(member: Member, user: str, password: str) -> str:
    """A token for a user; empty when the cluster has authentication switched off, as etcd's own client goes on then."""
    try:
        answer = await member.auth.Authenticate(rpc_pb2.AuthenticateRequest(name=user, password=password), timeout=ATTEMPT_S)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
            return ""
        if is_passing(error):
            raise
        raise Refused(member.address, f"user {user!r}: {words_of(error)}") from None
    return str(answer.token)
