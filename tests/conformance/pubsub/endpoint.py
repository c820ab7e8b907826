"""A web server that a push subscription can push to: it keeps what came and answers as told."""

import base64
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Push:
    """One request received: its body, headers (as sent, read without regard to case) and time."""

    body: bytes
    headers: Mapping[str, str]
    path: str
    at: float = field(default_factory=time.monotonic)

    @property
    def json(self) -> dict[str, Any]:
        """The body of a wrapped push, `{"message": {...}, "subscription": "..."}`."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def data(self) -> bytes:
        """The message's data of a wrapped push."""
        return base64.b64decode(self.json["message"].get("data", ""))


class Endpoint:
    """Answers each push with `answer(push)`, a status code; 204 unless told otherwise."""

    def __init__(self, port: int = 0) -> None:
        self.answer: Callable[[Push], int] = lambda push: 204
        self.pushes: list[Push] = []
        self._changed = threading.Condition()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status = endpoint._received(Push(body, self.headers, self.path))
                self.send_response_only(status)
                if status >= 200 and status != 204:
                    self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"http://127.0.0.1:{self._server.server_port}/push"

    def _received(self, push: Push) -> int:
        with self._changed:
            self.pushes.append(push)
            self._changed.notify_all()
        return self.answer(push)

    def take(self, count: int = 1, within: float = 5.0) -> list[Push]:
        """All pushes so far, once there are `count`."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self.pushes) >= count, within)
            assert arrived, f"{len(self.pushes)} of {count} pushes within {within} s"
            return list(self.pushes)

    def take_until(self, wanted: Callable[[Push], bool], within: float = 5.0) -> list[Push]:
        """All pushes so far, once one of them is `wanted`."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: any(map(wanted, self.pushes)), within)
            assert arrived, f"not among {len(self.pushes)} pushes within {within} s"
            return list(self.pushes)

    def __enter__(self) -> "Endpoint":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
