"""Snapshots, and moving a subscription in time.

1. A snapshot holds what was unacked when it was made, and all that its topic got since.
2. Seeking to a time acks what was published before it and brings back what was acked after
   it, as far as it is retained: by the subscription (retain_acked_messages) or by its topic.
3. A subscription's filter applies to what comes back.
4. A snapshot lives 7 days less the age of its oldest unacked message; under an hour it is
   refused.

Source: https://cloud.google.com/pubsub/docs/replay-overview and google.pubsub.v1.Snapshot.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from emulator.errors import FailedPrecondition
from emulator.pubsub.message import Message
from emulator.pubsub.names import DAY_US, MINUTE_US
from emulator.pubsub.subscription import Subscription

SNAPSHOT_LIFE_US = 7 * DAY_US
MIN_SNAPSHOT_LIFE_US = 60 * MINUTE_US


class Snapshot:
    """google.pubsub.v1.Snapshot with its messages, in the order published."""

    def __init__(
        self,
        name: str,
        topic: str,
        labels: Mapping[str, str],
        expire_us: int,
        messages: Iterable[Message],
    ) -> None:
        self.name = name
        self.topic = topic
        self.labels = dict(labels)
        self.expire_us = expire_us
        self.messages = deque(messages)


def snapshot_expiry_us(unacked: Sequence[Message], now_us: int) -> int:
    """When a snapshot of these, oldest first, made now, expires.

    Raises:
        FailedPrecondition: in less than an hour.
    """
    age_us = now_us - unacked[0].publish_time_us if unacked else 0
    life_us = SNAPSHOT_LIFE_US - age_us
    if life_us < MIN_SNAPSHOT_LIFE_US:
        raise FailedPrecondition(
            "The snapshot would expire in less than 1 hour: the oldest unacked message of the "
            "subscription is too old."
        )
    return now_us + life_us


def sought_by_time(
    subscription: Subscription, log: Iterable[Message], time_us: int, now_us: int
) -> None:
    """Make unacked exactly what is retained and was published at `time_us` or later."""
    retained = _retained(subscription, log, now_us)
    _apply(subscription, [m for m in retained if m.publish_time_us >= time_us], retained, now_us)


def sought_by_snapshot(subscription: Subscription, snapshot: Snapshot, now_us: int) -> None:
    """Make unacked exactly what the snapshot holds and the filter lets through."""
    _apply(
        subscription,
        [m for m in snapshot.messages if subscription.wants(m)],
        subscription.unacked(),
        now_us,
    )


def _retained(subscription: Subscription, log: Iterable[Message], now_us: int) -> list[Message]:
    oldest_us = now_us - subscription.settings.message_retention_us
    found = {m.sequence: m for m in log if subscription.wants(m)}
    found.update((s, m) for s, m in subscription.acked.items() if m.publish_time_us > oldest_us)
    found.update((m.sequence, m) for m in subscription.unacked())
    return list(found.values())


def _apply(
    subscription: Subscription,
    unacked: Sequence[Message],
    known: Iterable[Message],
    now_us: int,
) -> None:
    wanted = {m.sequence for m in unacked}
    if subscription.settings.retain_acked_messages:
        subscription.acked.update((m.sequence, m) for m in known if m.sequence not in wanted)
    for sequence in wanted:
        subscription.acked.pop(sequence, None)
    subscription.replace_backlog(unacked, now_us)
