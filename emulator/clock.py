"""Time as a value: integer microseconds since the Unix epoch, UTC.

The emulator's core never asks what time it is; it is told. `SystemClock` is read at the
edge (a servicer), `ManualClock` is moved by a test.
"""

import time
from typing import Protocol

SECOND_US = 1_000_000


class Clock(Protocol):
    """Something that tells the time."""

    def now_us(self) -> int:
        """Microseconds since the Unix epoch."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        """Microseconds since the Unix epoch."""
        return time.time_ns() // 1000


class ManualClock:
    """A clock that moves only when told to."""

    def __init__(self, now_us: int = 1_700_000_000 * SECOND_US) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        """Microseconds since the Unix epoch."""
        return self._now_us

    def advance(self, seconds: float) -> int:
        """Move forward by `seconds`; the new time in microseconds."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self._now_us += round(seconds * SECOND_US)
        return self._now_us
