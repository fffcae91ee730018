"""/healthz and /readyz, in flannel's words: 200 while the process lives, and 200 or 503 as the node's network stands."""

from __future__ import annotations

import asyncio
import contextlib
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S = 5.0  # for a client to send its request
LARGEST_REQUEST = 8192


def answer(path: str, ready: bool) -> tuple[HTTPStatus, str]:
    """What a GET of `path` is told."""
    if path == "/healthz":
        return HTTPStatus.OK, "flanneld is running"
    if path == "/readyz":
        return (HTTPStatus.OK, "flanneld is ready") if ready else (HTTPStatus.SERVICE_UNAVAILABLE, "flanneld is not ready yet")
    return HTTPStatus.NOT_FOUND, "there are /healthz and /readyz"


def response(request: bytes, ready: bool) -> bytes:
    """The whole HTTP answer to a request's head."""
    method, _, rest = request.partition(b"\r\n")[0].decode("ascii", "replace").partition(" ")
    if method not in ("GET", "HEAD"):
        status, text = HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are answered"
    else:
        status, text = answer(rest.partition(" ")[0].partition("?")[0], ready)
    fields = ("Content-Type: text/plain", f"Content-Length: {len(text)}", "Connection: close")
    head = "\r\n".join((f"HTTP/1.1 {status.value} {status.phrase}", *fields, "", ""))
    return (head + ("" if method == "HEAD" else text)).encode()


async def serve(ip: str, port: int, ready: Callable[[], bool]) -> asyncio.Server:
    """Answer until the server is closed. Raises OSError when the port cannot be had."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(PATIENCE_S):
                request = await reader.readuntil(b"\r\n\r\n")
            writer.write(response(request, ready()))
            await writer.drain()
        writer.close()

    return await asyncio.start_server(handle, ip, port, limit=LARGEST_REQUEST)
