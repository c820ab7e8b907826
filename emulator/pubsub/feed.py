"""Waiting without polling: who waits for a subscription's messages, and when time passes by.

1. A publish, nack, ack or deadline calls `Subscription.notify`; the feed then hands out on the
   next turn of the loop, so that a burst is handed out as one.
2. Those who wait are served in turn, each with its share of what is there; one that is full
   (flow control) keeps its place for later and holds up nobody.
3. One timer per broker sleeps until `Broker.next_wakeup()`, and is set again when that moves.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from emulator.clock import SECOND_US, Clock
from emulator.errors import ServiceError
from emulator.pubsub.broker import Broker
from emulator.pubsub.consumer import Consumer
from emulator.pubsub.message import Delivery
from emulator.pubsub.subscription import Subscription

MAX_BATCH_MESSAGES = 1000
MAX_BATCH_BYTES = 3_500_000  # below the 4 MiB at which gRPC clients refuse a reply by default
_MAX_TIMER_SECONDS = 3600.0  # a loop's timer is not made for 31 days


class Waiter:
    """One consumer waiting once: `deliver` is called with a batch, or `refuse` with the end."""

    __slots__ = ("consumer", "deliver", "limit", "push", "refuse")

    def __init__(
        self,
        consumer: Consumer,
        limit: int,
        deliver: Callable[[list[Delivery]], None],
        refuse: Callable[[ServiceError], None],
        *,
        push: bool = False,
    ) -> None:
        self.consumer = consumer
        self.limit = limit
        self.deliver = deliver
        self.refuse = refuse
        self.push = push


class Feed:
    """Those who wait for one subscription."""

    def __init__(
        self,
        subscription: Subscription,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.subscription = subscription
        self._clock = clock
        self._loop = loop
        self._waiting: deque[Waiter] = deque()
        self._kicked = False
        subscription.notify = self.kick

    def wait(self, waiter: Waiter) -> None:
        """Serve the waiter once, now or later."""
        self._waiting.append(waiter)
        self.kick()

    def leave(self, waiter: Waiter) -> None:
        """Wait no longer."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)

    def kick(self) -> None:
        """Something may be there to hand out."""
        if not self._kicked and self._waiting:
            self._kicked = True
            self._loop.call_soon(self._hand_out)

    def _hand_out(self) -> None:
        self._kicked = False
        subscription = self.subscription
        now_us = self._clock.now_us()
        unserved: list[Waiter] = []
        while self._waiting:
            waiter = self._waiting.popleft()
            try:
                subscription.check_takeable(push=waiter.push)
            except ServiceError as error:
                waiter.refuse(error)
                continue
            if not subscription.has_ready() and not waiter.consumer.keys:
                unserved.append(waiter)
                continue
            others = len(self._waiting)
            limit = min(waiter.limit, MAX_BATCH_MESSAGES)
            if others and not subscription.settings.enable_message_ordering:
                limit = min(limit, -(-subscription.ready_count() // (others + 1)))
            batch = subscription.take(waiter.consumer, limit, MAX_BATCH_BYTES, now_us)
            if batch:
                waiter.deliver(batch)
            else:
                unserved.append(waiter)
        self._waiting.extend(unserved)


class Alarm:
    """Calls `Broker.advance` when the time has come."""

    def __init__(self, broker: Broker, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self._broker = broker
        self._clock = clock
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._set_for_us = 0

    def set(self) -> None:
        """Look at `next_wakeup()` again; cheap where it has not come nearer."""
        next_us = self._broker.next_wakeup()
        if self._timer is not None:
            if next_us >= self._set_for_us:
                return
            self._timer.cancel()
        seconds = (next_us - self._clock.now_us()) / SECOND_US
        self._set_for_us = next_us
        self._timer = self._loop.call_later(min(max(seconds, 0.0), _MAX_TIMER_SECONDS), self.ring)

    def ring(self) -> None:
        """Apply what time has changed; also right after a test has moved its clock."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._broker.advance(self._clock.now_us())
        self.set()

    def cancel(self) -> None:
        """Ring no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
