"""A value built on first use, once.

gunicorn forks its workers after loading `main.py`, and a gRPC channel does not survive a fork:
clients are built by the first request of a worker, never at import.
Source: https://github.com/grpc/grpc/blob/master/doc/fork_support.md
"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """Calls `build` when first asked, and keeps what it returns; a raising `build` is retried."""

    def __init__(self, build: Callable[[], T]) -> None:
        self._build = build
        self._lock = threading.Lock()
        self._built: list[T] = []

    def get(self) -> T:
        """The value; threads that arrive while it is being built wait for it."""
        if not self._built:
            with self._lock:
                if not self._built:
                    self._built.append(self._build())
        return self._built[0]
