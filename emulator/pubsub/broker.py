"""Pub/Sub as one object: topics, subscriptions and snapshots by name, and what joins them.

1. Every call is atomic: it does all or raises a ServiceError and has done nothing.
2. Time comes in as `now_us`, randomness as a function; message ids are a counter. So the same
   calls always give the same state.
3. `next_wakeup()` says when something changes by itself next; `advance(now_us)` applies it.
4. A topic's name may be used again after it is deleted: its old subscriptions keep
   `_deleted-topic_` and their backlog, and hear nothing of the new topic.

Not here: a subscription's queue (subscription.py), seeking (seek.py), waiting and gRPC.
Source: https://cloud.google.com/pubsub/docs/reference/rpc/google.pubsub.v1
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from emulator.errors import AlreadyExists, FailedPrecondition, NotFound
from emulator.pubsub import names
from emulator.pubsub.dead_letter import dead_letter_attributes
from emulator.pubsub.leases import NEVER
from emulator.pubsub.message import NO_ATTRIBUTES, Delivery, Message
from emulator.pubsub.schemas import DELETED_SCHEMA, SchemaRegistry
from emulator.pubsub.seek import Snapshot, snapshot_expiry_us, sought_by_snapshot, sought_by_time
from emulator.pubsub.settings import PushSettings, SubscriptionSettings, TopicSettings
from emulator.pubsub.subscription import Subscription

Draft = tuple[bytes, Mapping[str, str], str]  # data, attributes, ordering_key
T = TypeVar("T")


class Topic:
    """A topic: who listens, and what it retains for all of them."""

    def __init__(self, settings: TopicSettings) -> None:
        self.settings = settings
        self.subscriptions: list[Subscription] = []
        self.snapshots: list[Snapshot] = []
        self.log: deque[Message] = deque()  # message_retention_duration

    def trim(self, now_us: int) -> None:
        """Drop from the log what the topic need not retain any more."""
        oldest_us = now_us - (self.settings.message_retention_us or 0)
        while self.log and self.log[0].publish_time_us <= oldest_us:
            self.log.popleft()


def _found(table: Mapping[str, T], name: str, kind: str) -> T:
    names.check_name(name, kind)
    try:
        return table[name]
    except KeyError:
        raise NotFound(f"Resource not found (resource={names.short_name(name)}).") from None


def _check_free(table: Mapping[str, object], name: str) -> None:
    if name in table:
        raise AlreadyExists(
            f"Resource already exists in the project (resource={names.short_name(name)})."
        )


class Broker:
    """All of one emulator's Pub/Sub."""

    def __init__(
        self,
        *,
        random: Callable[[], float],
        schemas: SchemaRegistry,
        first_sequence: int = 1,
        min_ack_deadline_seconds: int = names.MIN_ACK_DEADLINE_SECONDS,
        opened: Callable[[Subscription], None] = lambda _subscription: None,
        configured: Callable[[Subscription], None] = lambda _subscription: None,
        closed: Callable[[Subscription], None] = lambda _subscription: None,
    ) -> None:
        """`random` gives [0, 1); the rest hear of each subscription's life."""
        self.schemas = schemas
        self.topics: dict[str, Topic] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.policies: dict[str, bytes] = {}  # IAM policies by resource, opaque here
        self._random = random
        self._sequence = first_sequence
        self._serial = 0
        self._min_ack_deadline_seconds = min_ack_deadline_seconds
        self._opened = opened
        self._configured = configured
        self._closed = closed
        self._wakeups: list[tuple[int, int, Subscription]] = []
        self._wakeups_made = 0

    # -- topics -----------------------------------------------------------------------------

    def create_topic(self, settings: TopicSettings) -> Topic:
        """A new topic."""
        settings = settings.checked()
        _check_free(self.topics, settings.name)
        if settings.schema_settings is not None:
            self.schemas.check_settings(settings.schema_settings)
        topic = self.topics[settings.name] = Topic(settings)
        return topic

    def topic(self, name: str) -> Topic:
        """The topic of that name."""
        return _found(self.topics, name, "topics")

    def update_topic(self, settings: TopicSettings, now_us: int) -> Topic:
        """Give the topic of that name these settings."""
        topic = self.topic(settings.name)
        settings = settings.checked()
        if settings.schema_settings not in (None, topic.settings.schema_settings):
            assert settings.schema_settings is not None  # noqa: S101  # tells mypy
            self.schemas.check_settings(settings.schema_settings)
        topic.settings = settings
        topic.trim(now_us)
        for subscription in topic.subscriptions:
            subscription.topic_retention_us = settings.message_retention_us or 0
        return topic

    def delete_topic(self, name: str) -> None:
        """Delete it; its subscriptions stay, with `_deleted-topic_`."""
        topic = self.topic(name)
        del self.topics[name]
        self.policies.pop(name, None)
        for subscription in topic.subscriptions:
            subscription.topic_retention_us = 0
            subscription.configure(replace(subscription.settings, topic=names.DELETED_TOPIC))
        for snapshot in topic.snapshots:
            snapshot.topic = names.DELETED_TOPIC

    def schema_deleted(self, name: str) -> None:
        """The topics that used the schema show `_deleted-schema_` and take no more messages."""
        for topic in self.topics.values():
            used = topic.settings.schema_settings
            if used is not None and used.schema == name:
                gone = replace(used, schema=DELETED_SCHEMA)
                topic.settings = replace(topic.settings, schema_settings=gone)

    def publish(self, name: str, drafts: Sequence[Draft], now_us: int) -> list[Message]:
        """Store the messages and hand them to every subscription of the topic."""
        topic = self.topics.get(name) or self.topic(name)
        names.check_publish(drafts)
        schema_settings = topic.settings.schema_settings
        if schema_settings is not None:
            check = self.schemas.check_message
            drafts = [
                (data, {**attributes, **check(schema_settings, data)}, key)
                for data, attributes, key in drafts
            ]
        return self._store(topic, drafts, now_us)

    def _store(self, topic: Topic, drafts: Iterable[Draft], now_us: int) -> list[Message]:
        sequence = self._sequence
        messages = []
        for data, attributes, ordering_key in drafts:
            messages.append(
                Message(sequence, now_us, data, attributes or NO_ATTRIBUTES, ordering_key)
            )
            sequence += 1
        self._sequence = sequence
        for subscription in topic.subscriptions:
            subscription.enqueue(messages, now_us)
        for snapshot in list(topic.snapshots):
            if snapshot.expire_us <= now_us:
                self._drop_snapshot(snapshot)
            else:
                snapshot.messages.extend(messages)
        if topic.settings.message_retention_us is not None:
            topic.log.extend(messages)
            topic.trim(now_us)
        return messages

    # -- subscriptions ----------------------------------------------------------------------

    def create_subscription(self, settings: SubscriptionSettings, now_us: int) -> Subscription:
        """A new subscription; it gets what is published from now on."""
        settings = settings.checked(self._min_ack_deadline_seconds)
        _check_free(self.subscriptions, settings.name)
        topic = self.topic(settings.topic)
        self._check_dead_letter_topic(settings)
        self._serial += 1
        subscription = Subscription(
            self._serial,
            settings,
            now_us,
            random=self._random,
            dead_letter=self._dead_letter,
            schedule=self._schedule,
        )
        subscription.topic_retention_us = topic.settings.message_retention_us or 0
        self.subscriptions[settings.name] = subscription
        topic.subscriptions.append(subscription)
        self._opened(subscription)
        self._configured(subscription)
        return subscription

    def subscription(self, name: str) -> Subscription:
        """The subscription of that name."""
        return _found(self.subscriptions, name, "subscriptions")

    def update_subscription(self, settings: SubscriptionSettings, now_us: int) -> Subscription:
        """Give the subscription of that name these settings."""
        subscription = self.subscription(settings.name)
        settings = settings.checked(self._min_ack_deadline_seconds)
        if settings.dead_letter_policy != subscription.settings.dead_letter_policy:
            self._check_dead_letter_topic(settings)
        subscription.active_us = now_us
        subscription.configure(settings)
        self._configured(subscription)
        return subscription

    def modify_push_config(self, name: str, push: PushSettings, now_us: int) -> None:
        """Switch between push and pull, or change the endpoint."""
        settings = self.subscription(name).settings
        self.update_subscription(replace(settings, push=push), now_us)

    def detach_subscription(self, name: str, now_us: int) -> None:
        """Cut it from its topic for good; its backlog is dropped."""
        subscription = self.subscription(name)
        topic = self.topic_of(subscription)
        if topic is not None:
            topic.subscriptions.remove(subscription)
        subscription.active_us = now_us
        subscription.drop_backlog(now_us)
        subscription.configure(replace(subscription.settings, detached=True))
        self._configured(subscription)

    def delete_subscription(self, name: str, now_us: int) -> None:
        """Delete it with its backlog."""
        subscription = self.subscription(name)
        topic = self.topic_of(subscription)
        if topic is not None:
            topic.subscriptions.remove(subscription)
        del self.subscriptions[name]
        self.policies.pop(name, None)
        subscription.deleted = True
        subscription.drop_backlog(now_us)
        self._closed(subscription)

    def topic_of(self, subscription: Subscription) -> Topic | None:
        """The topic it listens to; None if that was deleted or it is detached."""
        if subscription.settings.detached:
            return None
        return self.topics.get(subscription.settings.topic)

    def _check_dead_letter_topic(self, settings: SubscriptionSettings) -> None:
        policy = settings.dead_letter_policy
        if policy is not None and policy.dead_letter_topic not in self.topics:
            raise NotFound(
                "Dead letter topic not found "
                f"(resource={names.short_name(policy.dead_letter_topic)})."
            )

    def _dead_letter(self, subscription: Subscription, delivery: Delivery, now_us: int) -> bool:
        """Forward to the dead letter topic; False where it is missing: the message stays."""
        policy = subscription.settings.dead_letter_policy
        topic = self.topics.get(policy.dead_letter_topic) if policy is not None else None
        if topic is None:
            return False
        message = delivery.message
        attributes = dead_letter_attributes(subscription.settings.name, delivery)
        self._store(topic, [(message.data, attributes, message.ordering_key)], now_us)
        return True

    # -- seek and snapshots -----------------------------------------------------------------

    def create_snapshot(
        self, name: str, subscription_name: str, labels: Mapping[str, str], now_us: int
    ) -> Snapshot:
        """Keep what the subscription has not acked, and all that is published from now on."""
        names.check_name(name, "snapshots")
        names.check_labels(labels)
        subscription = self.subscription(subscription_name)
        _check_free(self.snapshots, name)
        topic = self.topic_of(subscription)
        if topic is None:
            raise FailedPrecondition(
                f"Subscription has no topic (resource={names.short_name(subscription_name)})."
            )
        unacked = subscription.unacked()
        expire_us = snapshot_expiry_us(unacked, now_us)
        snapshot = Snapshot(name, topic.settings.name, labels, expire_us, unacked)
        self.snapshots[name] = snapshot
        topic.snapshots.append(snapshot)
        return snapshot

    def snapshot(self, name: str, now_us: int) -> Snapshot:
        """The snapshot of that name."""
        self._expire_snapshots(now_us)
        return _found(self.snapshots, name, "snapshots")

    def update_snapshot(self, name: str, labels: Mapping[str, str], now_us: int) -> Snapshot:
        """Change its labels."""
        snapshot = self.snapshot(name, now_us)
        names.check_labels(labels)
        snapshot.labels = dict(labels)
        return snapshot

    def delete_snapshot(self, name: str, now_us: int) -> None:
        """Delete it and what only it retained."""
        self._drop_snapshot(self.snapshot(name, now_us))

    def _drop_snapshot(self, snapshot: Snapshot) -> None:
        del self.snapshots[snapshot.name]
        self.policies.pop(snapshot.name, None)
        topic = self.topics.get(snapshot.topic)
        if topic is not None:
            topic.snapshots.remove(snapshot)

    def _expire_snapshots(self, now_us: int) -> None:
        for snapshot in [s for s in self.snapshots.values() if s.expire_us <= now_us]:
            self._drop_snapshot(snapshot)

    def seek_to_time(self, name: str, time_us: int, now_us: int) -> None:
        """Mark what was published before the time as acked, the rest that is kept as unacked."""
        subscription = self.subscription(name)
        subscription.active_us = now_us
        topic = self.topic_of(subscription)
        if topic is not None:
            topic.trim(now_us)
        sought_by_time(subscription, topic.log if topic is not None else (), time_us, now_us)

    def seek_to_snapshot(self, name: str, snapshot_name: str, now_us: int) -> None:
        """Make the unacked messages those of the snapshot.

        Raises:
            FailedPrecondition: the snapshot is of another topic.
        """
        subscription = self.subscription(name)
        snapshot = self.snapshot(snapshot_name, now_us)
        if subscription.settings.detached or snapshot.topic != subscription.settings.topic:
            raise FailedPrecondition(
                "The snapshot's topic must be the subscription's "
                f"(resource={names.short_name(snapshot_name)})."
            )
        subscription.active_us = now_us
        sought_by_snapshot(subscription, snapshot, now_us)

    def reset(self, now_us: int) -> None:
        """Forget everything; who waits for a subscription is told that it is gone."""
        for name in list(self.subscriptions):
            self.delete_subscription(name, now_us)
        self.topics.clear()
        self.snapshots.clear()
        self.policies.clear()
        self.schemas.clear()

    # -- lists ------------------------------------------------------------------------------

    def topics_in(self, project: str) -> list[str]:
        """Names of the topics of `projects/P`."""
        return self._names_in(self.topics, project)

    def subscriptions_in(self, project: str) -> list[str]:
        """Names of the subscriptions of `projects/P`."""
        return self._names_in(self.subscriptions, project)

    def snapshots_in(self, project: str, now_us: int) -> list[str]:
        """Names of the snapshots of `projects/P`."""
        self._expire_snapshots(now_us)
        return self._names_in(self.snapshots, project)

    def _names_in(self, table: Iterable[str], project: str) -> list[str]:
        prefix = names.check_project(project)
        return sorted(name for name in table if name.startswith(prefix))

    # -- time -------------------------------------------------------------------------------

    def next_wakeup(self) -> int:
        """When something changes by itself next, at the earliest; NEVER if nothing will."""
        heap = self._wakeups
        while heap and heap[0][0] != heap[0][2].wakeup_us:
            heapq.heappop(heap)
        return heap[0][0] if heap else NEVER

    def advance(self, now_us: int) -> None:
        """Apply what time alone changes up to now: deadlines, backoffs, retention, expiration."""
        while self.next_wakeup() <= now_us:
            subscription = heapq.heappop(self._wakeups)[2]
            if subscription.deleted:
                continue
            if subscription.expired(now_us):
                self.delete_subscription(subscription.settings.name, now_us)
            else:
                subscription.advance(now_us)

    def _schedule(self, subscription: Subscription) -> None:
        heap = self._wakeups
        self._wakeups_made += 1
        heapq.heappush(heap, (subscription.wakeup_us, self._wakeups_made, subscription))
        if len(heap) > 2 * len(self.subscriptions) + 64:
            planned = {s: (us, n, s) for us, n, s in heap if us == s.wakeup_us and not s.deleted}
            self._wakeups = list(planned.values())
            heapq.heapify(self._wakeups)
