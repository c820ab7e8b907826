"""When leases and backoffs end: a heap that forgets lazily but never grows without bound.

1. An entry may be stale: its owner says so when it comes up (`ends_us`). A later end is
   looked up then, so extending a lease costs nothing; only an earlier end is pushed again.
2. When stale entries far outnumber live ones, the heap is rebuilt.
"""

import heapq
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

NEVER = 1 << 62
_SLACK = 1024


class Timetable(Generic[T]):
    """Things with an end; `ends_us(thing)` is its present end, None if it has none any more."""

    __slots__ = ("_count", "_ends_us", "_heap")

    def __init__(self, ends_us: Callable[[T], int | None]) -> None:
        self._ends_us = ends_us
        self._heap: list[tuple[int, int, T]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, end_us: int, thing: T, live: int) -> None:
        """`thing` ends at `end_us` (or later, if it says so then); at most `live` have an end."""
        self._count += 1
        heapq.heappush(self._heap, (end_us, self._count, thing))
        if len(self._heap) > 3 * live + _SLACK:
            self._rebuild()

    def _rebuild(self) -> None:
        ends: dict[int, tuple[int, int, T]] = {}
        for _, count, thing in self._heap:
            end_us = self._ends_us(thing)
            if end_us is not None:
                ends[id(thing)] = (end_us, count, thing)
        self._heap = list(ends.values())
        heapq.heapify(self._heap)

    def clear(self) -> None:
        """Forget everything."""
        self._heap.clear()

    def next_us(self) -> int:
        """No thing ends before this time; NEVER if there is none."""
        return self._heap[0][0] if self._heap else NEVER

    def due(self, now_us: int) -> Iterator[T]:
        """Each thing that has ended by now, once, in the order of their ends."""
        while self._heap and self._heap[0][0] <= now_us:
            _, count, thing = heapq.heappop(self._heap)
            end_us = self._ends_us(thing)
            if end_us is None:
                continue
            if end_us > now_us:
                heapq.heappush(self._heap, (end_us, count, thing))
                continue
            yield thing
