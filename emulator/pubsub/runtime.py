"""The broker with what it must not know: a clock, a loop, those who wait, and the pusher.

Every service calls the broker through here and then `settle()`, so that the one timer is right.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from emulator.clock import Clock
from emulator.pubsub.broker import Broker
from emulator.pubsub.feed import Alarm, Feed
from emulator.pubsub.schema_kinds import compile_schema
from emulator.pubsub.schemas import SchemaRegistry
from emulator.pubsub.subscription import Subscription


@dataclass(frozen=True)
class PubSubOptions:
    """How the embedded Pub/Sub behaves where there is a choice.

    `lenient`: store, echo and warn of fields that are not honoured, instead of UNIMPLEMENTED.
    `min_ack_deadline_seconds`: below production's 10 for tests.
    `seed`: makes the jitter of backoffs repeatable.
    """

    lenient: bool = False
    min_ack_deadline_seconds: int = 10
    seed: int | None = None


class Runtime:
    """One broker on one loop."""

    def __init__(self, clock: Clock, options: PubSubOptions) -> None:
        self.clock = clock
        self.options = options
        self.loop = asyncio.get_running_loop()
        self.feeds: dict[Subscription, Feed] = {}
        self.changed: Callable[[Subscription], None] = lambda _subscription: None
        self.schemas = SchemaRegistry(compile_schema)
        self.broker = Broker(
            random=random.Random(options.seed).random,  # noqa: S311  # jitter, no secret
            schemas=self.schemas,
            # Ids that no earlier run on this machine has given, of production's 16 digits.
            first_sequence=clock.now_us(),
            min_ack_deadline_seconds=options.min_ack_deadline_seconds,
            opened=self._opened,
            configured=lambda subscription: self.changed(subscription),
            closed=self._closed,
        )
        self._alarm = Alarm(self.broker, clock, self.loop)

    def now_us(self) -> int:
        """The time to give to the broker."""
        return self.clock.now_us()

    def settle(self) -> None:
        """To be called after whatever may have brought the next wakeup nearer."""
        self._alarm.set()

    def tick(self) -> None:
        """Apply a clock that was moved."""
        self._alarm.ring()

    def close(self) -> None:
        """Ring no more."""
        self._alarm.cancel()

    def reset(self) -> None:
        """Forget everything."""
        self.broker.reset(self.now_us())
        self.settle()

    def _opened(self, subscription: Subscription) -> None:
        self.feeds[subscription] = Feed(subscription, self.clock, self.loop)

    def _closed(self, subscription: Subscription) -> None:
        self.changed(subscription)
        self.feeds.pop(subscription).kick()
