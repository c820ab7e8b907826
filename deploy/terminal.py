"""What a person sees and is asked.

1. A question waits in the event loop, so that a Ctrl-C ends it like everything else.
2. What was typed before a question was asked is not its answer.
3. A terminal shows what is waited for; a file or a pipe gets whole lines alone.
"""

import asyncio
import os
import shutil
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

_TICK_SECONDS = 0.2


def has_person() -> bool:
    """Whether someone sees what we print and can answer."""
    return sys.stdin.isatty() and sys.stdout.isatty()


@contextmanager
def _echo(terminal: int, *, on: bool) -> Iterator[None]:
    before = termios.tcgetattr(terminal)
    after = termios.tcgetattr(terminal)
    if not on:
        after[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSAFLUSH, after)  # drops what was typed until now
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
        if not on:
            print(flush=True)  # noqa: T201 - the newline that was typed did not show


async def ask(question: str, *, hidden: bool = False) -> str:
    """The line typed as an answer, without its end; empty for Ctrl-D. `hidden`: not echoed."""
    loop, typed = asyncio.get_running_loop(), asyncio.Event()
    terminal = sys.stdin.fileno()
    with _echo(terminal, on=not hidden):
        print(question, end=" ", flush=True)  # noqa: T201
        loop.add_reader(terminal, typed.set)
        try:
            await typed.wait()
        finally:
            loop.remove_reader(terminal)
        return os.read(terminal, 65_536).decode("utf-8", "replace").rstrip("\r\n")


class Progress:
    """The last row of a terminal, on standard error: what is waited for, and how long already."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._waiting: dict[str, float] = {}
        self._ticker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._live:
            self._ticker = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            self.clear()

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        """Show `what` as waited for, meanwhile."""
        self._waiting[what] = time.monotonic()
        try:
            yield
        finally:
            del self._waiting[what]

    def clear(self) -> None:
        """Make the row empty, before a line is printed."""
        if self._live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)  # noqa: T201

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            if self._waiting:
                seconds = time.monotonic() - min(self._waiting.values())
                row = f"  {seconds:.0f} s  waiting for {', '.join(self._waiting)}"
                width = shutil.get_terminal_size().columns - 1
                print(f"\r\x1b[K{row[:width]}", end="", file=sys.stderr, flush=True)  # noqa: T201
