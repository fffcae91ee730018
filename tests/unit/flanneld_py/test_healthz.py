"""The health endpoint's answers."""

from __future__ import annotations

import asyncio

import pytest

from flanneld_py.healthz import response, serve


@pytest.mark.parametrize(
    ("line", "ready", "status", "text"),
    [
        (b"GET /healthz HTTP/1.1", False, "200 OK", "flanneld is running"),
        (b"GET /readyz HTTP/1.1", True, "200 OK", "flanneld is ready"),
        (b"GET /readyz?verbose HTTP/1.0", False, "503 Service Unavailable", "flanneld is not ready yet"),
        (b"HEAD /readyz HTTP/1.1", True, "200 OK", ""),
        (b"GET / HTTP/1.1", True, "404 Not Found", "there are /healthz and /readyz"),
        (b"POST /healthz HTTP/1.1", True, "405 Method Not Allowed", "only GET and HEAD are answered"),
        (b"\xff\xfe", True, "405 Method Not Allowed", "only GET and HEAD are answered"),
    ],
)
def test_answers_are_flannels(line: bytes, ready: bool, status: str, text: str) -> None:
    head, _, body = response(line + b"\r\nHost: x\r\n\r\n", ready).decode().partition("\r\n\r\n")
    assert head.splitlines()[0] == f"HTTP/1.1 {status}"
    assert body == text


def test_a_client_is_answered_and_one_that_says_too_much_is_not() -> None:
    async def ask(port: int, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer

    async def scenario() -> tuple[bytes, bytes]:
        server = await serve("127.0.0.1", 0, lambda: True)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await ask(port, b"GET /readyz HTTP/1.1\r\n\r\n"), await ask(port, b"x" * 9000 + b"\r\n\r\n")

    good, bad = asyncio.run(scenario())
    assert good.endswith(b"flanneld is ready")
    assert bad == b""
