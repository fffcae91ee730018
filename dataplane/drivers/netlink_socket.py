"""A rtnetlink socket in a namespace: dumps, single questions, and batches of requests. See netlink(7).

The kernel carries out the requests of one send in order, before send returns, and queues an answer for each that failed. Only the
last one asks for an acknowledgement: when that has come, all errors before it have come too. A window bounds the answers of one
send, as the kernel silently drops those that do not fit into the receive buffer. So an answer that is not there at once will
never come: to wait for it would be to wait for ever.
"""

from __future__ import annotations

import os
from _socket import AF_NETLINK, SOCK_RAW, socket
from errno import EAGAIN, ENOBUFS

from dataplane.drivers.netns import entered
from dataplane.errors import KernelError
from dataplane.rtnl import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    Answer,
    decode_done,
    decode_error,
    message,
    messages,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dataplane.rtnl import Message
    from dataplane.rtnl_request import Request

SOCK_CLOEXEC = 0o2000000
NETLINK_ROUTE = 0
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 270, 10, 11, 12
MSG_DONTWAIT = 0x40
WINDOW = 128  # requests, up to 0.5 KiB each; an answer takes up to 1 KiB: both far below the 208 KiB of a socket's buffers
DATAGRAM_BYTES = 65536  # the kernel fills at most 32 KiB
DUMP_TRIES = 10


def refusal(answer: Answer) -> OSError:
    """The kernel's answer as an OSError: its own words follow those of the error number."""
    said = os.strerror(answer.errno)
    return OSError(answer.errno, f"{said}: {answer.text}" if answer.text else said)


class NetlinkSocket:
    """A socket that stays in the namespace at `netns` (None: this thread's).

    Raises:
        KernelError: the namespace cannot be entered, or the kernel gives no socket.
    """

    def __init__(self, netns: str | None = None) -> None:
        self._sequence = 0
        try:
            with entered(netns):
                self._socket = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)
            for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK):
                self._socket.setsockopt(SOL_NETLINK, option, 1)
        except OSError as error:
            raise KernelError("open a netlink socket", error.strerror or str(error), error.errno or 0) from error

    def close(self) -> None:
        self._socket.close()

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """The bodies of all messages that answer a dump request.

        A table that changes while it is read gives an answer that was never true; then it is read again.

        Raises:
            OSError: the kernel refused, or the table never stood still.
            RtnlError: the answer is garbled.
        """
        for _ in range(DUMP_TRIES):
            sequence = self._send([(kind, NLM_F_REQUEST | NLM_F_DUMP, body)])
            bodies, interrupted = self._read_dump(sequence)
            if not interrupted:
                return bodies
        raise OSError(EAGAIN, f"the table changed during each of {DUMP_TRIES} readings")

    def _read_dump(self, sequence: int) -> tuple[list[bytes], int]:
        bodies: list[bytes] = []
        interrupted = 0
        for reply in self._replies(sequence, sequence):
            interrupted |= reply.flags & NLM_F_DUMP_INTR
            if reply.kind not in (NLMSG_DONE, NLMSG_ERROR):
                bodies.append(reply.body)
                continue
            answer = decode_done(reply) if reply.kind == NLMSG_DONE else decode_error(reply)
            if answer.errno:
                raise refusal(answer)
            break
        return bodies, interrupted

    def ask(self, kind: int, body: bytes) -> bytes:
        """The body of the one message that answers a question.

        Raises:
            OSError: the kernel says no.
            RtnlError: the answer is garbled.
        """
        sequence = self._send([(kind, NLM_F_REQUEST, body)])
        reply = next(self._replies(sequence, sequence))
        if reply.kind == NLMSG_ERROR:
            raise refusal(decode_error(reply))
        return reply.body

    def perform(self, batch: Sequence[Request]) -> dict[int, Answer]:
        """Carry out a window of requests; the answers of those that failed, by their position.

        Raises:
            OSError: the socket failed: what became of the requests is not known.
            RtnlError: an answer is garbled; likewise.
        """
        kind, flags, body = batch[-1]
        last = self._send([*batch[:-1], (kind, flags | NLM_F_ACK, body)])
        first = last - len(batch) + 1
        refused = {}
        for reply in self._replies(first, last):
            if reply.kind != NLMSG_ERROR:
                continue
            answer = decode_error(reply)
            if answer.errno:
                refused[reply.sequence - first] = answer
            if reply.sequence == last:
                break
        return refused

    def _send(self, batch: Sequence[Request]) -> int:
        """Send requests in one datagram. Returns the sequence number of the last."""
        if self._sequence > 0x7FFFFFFF:
            self._sequence = 0
        first = self._sequence + 1
        self._sequence += len(batch)
        self._socket.send(b"".join([message(kind, flags, first + at, body) for at, (kind, flags, body) in enumerate(batch)]))
        return self._sequence

    def _replies(self, first: int, last: int) -> Iterator[Message]:
        """Messages as they come in. What is left over from a request that was given up is skipped."""
        while True:
            for reply in messages(self._receive()):
                if first <= reply.sequence <= last:
                    yield reply

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(DATAGRAM_BYTES, MSG_DONTWAIT)
        except BlockingIOError as error:
            raise OSError(ENOBUFS, "the kernel's answer did not fit into the receive buffer") from error
