"""The HTTP side: a handful of fixed paths, one answer per connection.

Written on asyncio alone: a web framework costs this server a tenth of a second at start and a
quarter of its memory, for four paths. HTTP/1.1 with `Connection: close`; a request's body is
read and dropped; what is not understood is answered 400 and closed.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

Answer = Callable[[], Awaitable[str | dict[str, object]]]

_MAX_HEAD_BYTES = 64 * 1024
_MAX_BODY_BYTES = 1024 * 1024
_TIMEOUT_SECONDS = 10.0


class HttpSide:
    """Serves `routes`, (method, path) -> answer: a text, or an object sent as JSON."""

    def __init__(self, routes: Mapping[tuple[str, str], Answer]) -> None:
        self._routes = routes
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.address = ""

    async def start(self, host: str, port: int) -> None:
        """Serve on host:port, 0 being a free one.

        Raises:
            OSError: the port is taken.
        """
        self._server = await asyncio.start_server(
            self._connected, host, port, limit=_MAX_HEAD_BYTES
        )
        name = self._server.sockets[0].getsockname()
        self.address = f"{name[0]}:{name[1]}"

    async def close(self) -> None:
        """Close every connection; returns when nothing is left."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # tells mypy
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                status, kind, body = await self._answer(reader)
                writer.write(_response(status, kind, body))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return  # the caller went away or never finished its request
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[HTTPStatus, str, bytes]:
        text = "text/plain; charset=utf-8"
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, target, _version = head.split("\r\n", 1)[0].split(" ")
            length = _content_length(head)
        except (ValueError, asyncio.LimitOverrunError):
            return HTTPStatus.BAD_REQUEST, text, b"Bad request\n"
        await reader.readexactly(length)
        path = target.partition("?")[0]
        answer = self._routes.get((method, path))
        if answer is None:
            known = any(path == known_path for _, known_path in self._routes)
            status = HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_FOUND
            return status, text, f"{status.phrase}\n".encode()
        content = await answer()
        if isinstance(content, str):
            return HTTPStatus.OK, text, content.encode()
        return HTTPStatus.OK, "application/json", json.dumps(content).encode()


def _content_length(head: str) -> int:
    for line in head.split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-length":
            length = int(value)
            if not 0 <= length <= _MAX_BODY_BYTES:
                raise ValueError(f"Content-Length {length}")
            return length
    return 0


def _response(status: HTTPStatus, kind: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
