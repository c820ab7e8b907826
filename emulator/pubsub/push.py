"""Push: takes messages as any consumer does, and acks or nacks by what the endpoint answers.

1. One pusher per push subscription; a changed push_config takes effect with the next message.
2. 102, 200, 201, 202 and 204 ack; every other answer, none within the ack deadline, or no
   connection nacks. Redirects are not followed.
3. With ordering at most one message per key is under way.
4. How many are under way, and the pause after a failure, are `PushPace`'s (backoff.py).

Source: https://cloud.google.com/pubsub/docs/push
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from emulator.clock import SECOND_US
from emulator.errors import ServiceError
from emulator.pubsub.backoff import PushPace
from emulator.pubsub.consumer import Consumer
from emulator.pubsub.feed import Waiter
from emulator.pubsub.message import Delivery
from emulator.pubsub.oidc import Identity
from emulator.pubsub.push_request import push_request
from emulator.pubsub.runtime import Runtime
from emulator.pubsub.subscription import Subscription

if TYPE_CHECKING:
    from emulator.pubsub.push_http import HttpClient

log = logging.getLogger(__name__)

Send = Callable[[Subscription, Delivery], Awaitable[bool]]


class Pusher:
    """Delivers one subscription with `send`, which says whether the endpoint acked."""

    def __init__(self, runtime: Runtime, subscription: Subscription, send: Send) -> None:
        self._runtime = runtime
        self._subscription = subscription
        self._send = send
        self._pace = PushPace()
        self._consumer = Consumer(max_messages=self._pace.window, key_window=1)
        self._feed = runtime.feeds[subscription]
        self._waiter = Waiter(
            self._consumer, self._pace.window, self._deliver, self._refused, push=True
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._resume: asyncio.TimerHandle | None = None
        subscription.attached += 1
        self._feed.wait(self._waiter)

    def _refused(self, error: ServiceError) -> None:
        log.debug("push of %s ends: %s", self._subscription.settings.name, error)

    def _deliver(self, batch: list[Delivery]) -> None:
        for delivery in batch:
            task = self._runtime.loop.create_task(self._push(delivery))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._runtime.settle()
        self._feed.wait(self._waiter)

    async def _push(self, delivery: Delivery) -> None:
        ack_id = delivery.ack_id
        started_us = self._runtime.now_us()
        acked = await self._send(self._subscription, delivery)
        now_us = self._runtime.now_us()
        if acked:
            self._pace.success()
            self._consumer.max_messages = self._pace.window
            self._subscription.acknowledge([ack_id], now_us)
            self._feed.kick()
        else:
            no_policy = self._subscription.settings.retry_policy is None
            until_us = self._pace.failure(started_us, now_us, pause=no_policy)
            self._consumer.max_messages = self._pace.window
            self._pause(until_us - now_us)
            self._subscription.modify_ack_deadline([ack_id], 0, now_us)
        self._runtime.settle()

    def _pause(self, us: int) -> None:
        if us <= 0:
            return
        self._feed.leave(self._waiter)
        if self._resume is not None:
            self._resume.cancel()
        self._resume = self._runtime.loop.call_later(us / SECOND_US, self._go_on)

    def _go_on(self) -> None:
        self._resume = None
        self._feed.leave(self._waiter)
        self._feed.wait(self._waiter)

    def stop(self) -> set[asyncio.Task[None]]:
        """Push no more; what is under way goes back. Returns the tasks that are ending."""
        self._feed.leave(self._waiter)
        if self._resume is not None:
            self._resume.cancel()
        self._subscription.attached -= 1
        self._subscription.release(self._consumer)
        for task in self._tasks:
            task.cancel()
        return self._tasks


class Pushers:
    """A pusher for each subscription that has an endpoint, sharing one HTTP client."""

    def __init__(self, runtime: Runtime, identity: Identity) -> None:
        self._runtime = runtime
        self._identity = identity
        self._pushers: dict[Subscription, Pusher] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._client: HttpClient | None = None

    def changed(self, subscription: Subscription) -> None:
        """Start or stop as its settings say now."""
        settings = subscription.settings
        wanted = bool(settings.push.endpoint) and not settings.detached and not subscription.deleted
        if wanted and self._client is None:
            from emulator.pubsub.push_http import HttpClient

            self._client = HttpClient()
        if wanted and settings.push.has_oidc:
            self._identity.prepare()
        if wanted and subscription not in self._pushers:
            self._pushers[subscription] = Pusher(self._runtime, subscription, self._send)
        elif not wanted and subscription in self._pushers:
            for task in self._pushers.pop(subscription).stop():
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)

    async def _send(self, subscription: Subscription, delivery: Delivery) -> bool:
        settings = subscription.settings
        push = settings.push
        headers, body = push_request(settings, delivery)
        if push.has_oidc:
            audience = push.oidc_audience or push.endpoint
            token = await self._identity.token(push.oidc_email, audience)
            headers["Authorization"] = f"Bearer {token}"
        assert self._client is not None  # noqa: S101  # made with the first pusher
        return await self._client.post(push.endpoint, headers, body, settings.ack_deadline_seconds)

    async def close(self) -> None:
        """Stop them all; returns when nothing is left."""
        for pusher in self._pushers.values():
            self._ending |= pusher.stop()
        self._pushers.clear()
        await asyncio.gather(*self._ending, return_exceptions=True)
        if self._client is not None:
            await self._client.close()
        await self._identity.close()
