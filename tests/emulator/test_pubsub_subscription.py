"""A subscription's rules one by one, with a clock moved by hand."""

from collections.abc import Sequence
from typing import Any

import pytest

from emulator.clock import SECOND_US, ManualClock
from emulator.errors import FailedPrecondition, InvalidArgument, NotFound
from emulator.pubsub import names
from emulator.pubsub.broker import Broker
from emulator.pubsub.consumer import Consumer
from emulator.pubsub.leases import NEVER
from emulator.pubsub.message import Delivery
from emulator.pubsub.schema_kinds import compile_schema
from emulator.pubsub.schemas import SchemaRegistry
from emulator.pubsub.settings import (
    DeadLetterPolicy,
    PushSettings,
    RetryPolicy,
    SubscriptionSettings,
    TopicSettings,
)
from emulator.pubsub.subscription import Subscription

TOPIC = "projects/p/topics/t-1"
NAME = "projects/p/subscriptions/s-1"
EVERYTHING = 1 << 40


class World:
    """A broker with a topic, and a clock."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.broker = Broker(random=lambda: 0.5, schemas=SchemaRegistry(compile_schema))
        self.broker.create_topic(TopicSettings(TOPIC))

    @property
    def now(self) -> int:
        return self.clock.now_us()

    def subscribe(self, name: str = NAME, **settings: Any) -> Subscription:
        return self.broker.create_subscription(
            SubscriptionSettings(name, settings.pop("topic", TOPIC), **settings), self.now
        )

    def publish(self, *data: bytes, key: str = "", topic: str = TOPIC, **attributes: str) -> None:
        self.broker.publish(topic, [(one, attributes, key) for one in data], self.now)

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.broker.advance(self.now)

    def take(
        self, subscription: Subscription, limit: int = 100, consumer: Consumer | None = None
    ) -> list[Delivery]:
        return subscription.take(consumer or Consumer(), limit, EVERYTHING, self.now)


@pytest.fixture
def world() -> World:
    return World()


def data(batch: Sequence[Delivery]) -> list[bytes]:
    return [delivery.message.data for delivery in batch]


def ids(batch: Sequence[Delivery]) -> list[str]:
    return [delivery.ack_id for delivery in batch]


def test_messages_come_in_the_order_published(world: World):
    """Without keys too, a backlog is first in, first out."""
    subscription = world.subscribe()
    world.publish(b"a", b"b")
    world.publish(b"c")
    assert data(world.take(subscription)) == [b"a", b"b", b"c"]


def test_expired_lease_is_delivered_again_with_a_new_ack_id(world: World):
    """At the deadline, not before, and by the broker's own plan."""
    subscription = world.subscribe()
    world.publish(b"a")
    (first,) = ids(world.take(subscription))
    assert world.broker.next_wakeup() == world.now + 10 * SECOND_US
    world.pass_time(9.999)
    assert world.take(subscription) == []
    world.pass_time(0.001)
    (again,) = world.take(subscription)
    assert again.ack_id != first
    assert again.attempt == 2


def test_late_ack_counts_until_the_message_is_handed_out_again(world: World):
    """After the deadline the message still waits: the work was done, so it is done."""
    subscription = world.subscribe()
    world.publish(b"a", b"b")
    stale = ids(world.take(subscription))
    world.pass_time(10)
    assert subscription.acknowledge(stale[:1], world.now) == []
    (fresh,) = world.take(subscription)
    assert fresh.message.data == b"b"
    assert subscription.acknowledge(stale[1:], world.now) == stale[1:]
    assert data([fresh]) == [m.data for m in subscription.unacked()]


def test_ack_after_a_nack_does_not_count(world: World):
    """Who nacked gave the message back."""
    subscription = world.subscribe(retry_policy=RetryPolicy(SECOND_US, SECOND_US))
    world.publish(b"a")
    ack_ids = ids(world.take(subscription))
    assert subscription.modify_ack_deadline(ack_ids, 0, world.now) == []
    assert subscription.acknowledge(ack_ids, world.now) == ack_ids
    assert len(subscription.unacked()) == 1


def test_exactly_once_refuses_a_late_ack(world: World):
    """With exactly-once delivery a lease ends at its deadline, to the microsecond."""
    subscription = world.subscribe(enable_exactly_once_delivery=True)
    world.publish(b"a")
    stale = ids(world.take(subscription))
    world.clock.advance(10)
    assert subscription.acknowledge(stale, world.now) == stale
    assert subscription.acknowledge(["made up"], world.now) == ["made up"]


def test_ack_id_of_another_subscription_acks_nothing(world: World):
    """Even where both have the same message waiting."""
    one, other = world.subscribe(), world.subscribe("projects/p/subscriptions/other")
    world.publish(b"a")
    ack_ids = ids(world.take(one))
    world.take(other)
    world.pass_time(10)
    assert other.acknowledge(ack_ids, world.now) == ack_ids
    assert len(other.unacked()) == 1


def test_malformed_ack_id_is_refused_and_changes_nothing(world: World):
    """The whole request is refused before any of it is applied."""
    subscription = world.subscribe()
    world.publish(b"a")
    ack_ids = ids(world.take(subscription))
    with pytest.raises(InvalidArgument, match="made up"):
        subscription.acknowledge([*ack_ids, "made up"], world.now)
    assert len(subscription.unacked()) == 1


@pytest.mark.parametrize("seconds", [-1, 601])
def test_deadline_out_of_range_is_refused(world: World, seconds: int):
    """0 to 600 seconds."""
    subscription = world.subscribe()
    with pytest.raises(InvalidArgument, match="ack_deadline_seconds"):
        subscription.modify_ack_deadline(["1-1-1"], seconds, world.now)


def test_retry_policy_delays_from_the_first_nack(world: World):
    """minimum_backoff, doubled each time, with its jitter; others are not held up."""
    subscription = world.subscribe(retry_policy=RetryPolicy(2 * SECOND_US, 600 * SECOND_US))
    world.publish(b"poison")
    for seconds in (2.2, 4.4, 8.8):
        (poison,) = world.take(subscription)
        subscription.modify_ack_deadline([poison.ack_id], 0, world.now)
        world.publish(b"other")
        others = world.take(subscription)
        assert data(others) == [b"other"]
        subscription.acknowledge(ids(others), world.now)
        world.pass_time(seconds - 0.001)
        assert world.take(subscription) == []
        world.pass_time(0.001)


def test_cancelled_consumer_gives_back_in_order_without_a_failure(world: World):
    """What it held comes first for the next one, and delivery_attempt stays."""
    subscription = world.subscribe(dead_letter_policy=DeadLetterPolicy(TOPIC))
    world.publish(b"a", b"b")
    consumer = Consumer()
    world.take(subscription, consumer=consumer)
    world.publish(b"c")
    subscription.release(consumer)
    batch = world.take(subscription)
    assert sorted(data(batch)) == [b"a", b"b", b"c"]
    assert data(batch)[0] == b"a"
    assert {delivery.attempt for delivery in batch} == {1}
    assert world.take(subscription, consumer=consumer) == []


def test_exactly_once_keeps_the_lease_of_a_lost_consumer(world: World):
    """What it may have seen is not resent before the deadline; what it has not, at once."""
    subscription = world.subscribe(enable_exactly_once_delivery=True)
    world.publish(b"a", b"b")
    lost, cancelled = Consumer(), Consumer()
    (seen,) = world.take(subscription, 1, lost)
    world.take(subscription, 1, cancelled)
    subscription.release(lost)
    subscription.release(cancelled, seen=False)
    assert data(world.take(subscription)) == [b"b"]
    assert subscription.acknowledge([seen.ack_id], world.now) == []


def test_new_and_returned_messages_take_turns(world: World):
    """A message that is nacked for ever does not starve the others."""
    subscription = world.subscribe()
    world.publish(b"poison")
    world.publish(*[b"%d" % i for i in range(4)])
    (poison,) = world.take(subscription, 1)
    seen: list[bytes] = []
    for _ in range(8):
        if poison.ack_id:
            subscription.modify_ack_deadline([poison.ack_id], 0, world.now)
        (delivery,) = world.take(subscription, 1)
        seen.append(delivery.message.data)
    assert set(seen) == {b"poison", b"0", b"1", b"2", b"3"}


def test_flow_control_bounds_what_is_outstanding(world: World):
    """By messages and by bytes; one message larger than the limit still goes."""
    subscription = world.subscribe()
    world.publish(*[b"x" * 100] * 10)
    few = Consumer(max_messages=3)
    batch = world.take(subscription, consumer=few)
    assert len(batch) == 3
    assert world.take(subscription, consumer=few) == []
    subscription.acknowledge(ids(batch[:1]), world.now)
    assert len(world.take(subscription, consumer=few)) == 1
    assert len(world.take(subscription, consumer=Consumer(max_bytes=250))) == 3
    assert len(world.take(subscription, consumer=Consumer(max_bytes=1))) == 1


def test_key_goes_to_one_consumer_at_a_time(world: World):
    """Another consumer gets the key's next message when all that is out is settled."""
    subscription = world.subscribe(enable_message_ordering=True)
    world.publish(b"1", b"2", b"3", key="k")
    one, other = Consumer(), Consumer()
    first = world.take(subscription, 2, one)
    assert data(first) == [b"1", b"2"]
    assert world.take(subscription, consumer=other) == []
    assert data(world.take(subscription, 1, one)) == [b"3"]
    world.publish(b"4", key="k")
    subscription.release(one)
    assert data(world.take(subscription, consumer=other)) == [b"1", b"2", b"3", b"4"]


def test_nacked_key_comes_back_whole_and_in_order(world: World):
    """Acks of the messages that came back with it are stale."""
    subscription = world.subscribe(enable_message_ordering=True)
    world.publish(b"1", b"2", b"3", key="k")
    batch = world.take(subscription)
    subscription.modify_ack_deadline(ids(batch)[1:2], 0, world.now)
    assert subscription.acknowledge(ids(batch)[2:], world.now) == ids(batch)[2:]
    assert subscription.acknowledge(ids(batch)[:1], world.now) == []
    again = world.take(subscription)
    assert data(again) == [b"2", b"3"]
    assert [delivery.attempt for delivery in again] == [2, 1]


def test_dead_letters_carry_their_origin_and_stay_without_a_topic(world: World):
    """Without the dead letter topic the message goes on being delivered."""
    dead = "projects/p/topics/dead"
    world.broker.create_topic(TopicSettings(dead))
    letters = world.subscribe("projects/p/subscriptions/letters", topic=dead)
    subscription = world.subscribe(dead_letter_policy=DeadLetterPolicy(dead, 5))
    world.publish(b"x", key="k", a="b")
    published_us = world.now
    for attempt in range(1, 6):
        world.pass_time(1)
        (delivery,) = world.take(subscription)
        assert delivery.attempt == attempt
        subscription.modify_ack_deadline([delivery.ack_id], 0, world.now)
    assert subscription.unacked() == []
    (letter,) = letters.unacked()
    assert letter.publish_time_us > published_us
    assert letter.ordering_key == "k"
    assert letter.attributes == {
        "a": "b",
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "CloudPubSubDeadLetterSourceSubscription": "s-1",
        "CloudPubSubDeadLetterSourceSubscriptionProject": "p",
        "CloudPubSubDeadLetterSourceTopicPublishTime": "2023-11-14T22:13:20.000Z",
    }
    world.broker.delete_topic(dead)
    world.publish(b"y")
    for attempt in range(1, 8):
        (delivery,) = world.take(subscription)
        assert delivery.attempt == attempt
        subscription.modify_ack_deadline([delivery.ack_id], 0, world.now)


def test_filtered_messages_are_never_delivered(world: World):
    """They are not in the backlog either."""
    subscription = world.subscribe(filter='attributes.kind = "a"')
    world.publish(b"1", kind="a")
    world.publish(b"2", kind="b")
    world.publish(b"3")
    assert [m.data for m in subscription.unacked()] == [b"1"]


def test_retention_drops_what_nobody_took(world: World):
    """After message_retention_duration, or the topic's if that is longer."""
    subscription = world.subscribe(message_retention_us=names.MIN_RETENTION_US)
    world.publish(b"a")
    world.pass_time(599)
    assert len(subscription.unacked()) == 1
    world.pass_time(1)
    assert subscription.unacked() == []
    settings = TopicSettings(TOPIC, message_retention_us=names.MIN_RETENTION_US * 2)
    world.broker.update_topic(settings, world.now)
    world.publish(b"b")
    world.pass_time(900)
    assert data(world.take(subscription)) == [b"b"]


def test_seek_brings_back_what_is_retained(world: World):
    """Acked messages with retain_acked_messages, and what the topic kept from before."""
    settings = TopicSettings(TOPIC, message_retention_us=names.MIN_RETENTION_US)
    world.broker.update_topic(settings, world.now)
    world.publish(b"before")
    world.pass_time(1)
    subscription = world.subscribe()
    world.publish(b"after")
    subscription.acknowledge(ids(world.take(subscription)), world.now)
    world.broker.seek_to_time(NAME, world.now, world.now)
    assert data(world.take(subscription)) == [b"after"]
    world.broker.seek_to_time(NAME, 0, world.now)
    assert [m.data for m in subscription.unacked()] == [b"before", b"after"]
    world.pass_time(600)
    world.broker.seek_to_time(NAME, 0, world.now)
    assert [m.data for m in subscription.unacked()] == [b"before", b"after"]


def test_snapshot_keeps_its_backlog_and_all_that_follows(world: World):
    """It serves another subscription of the topic too, through that one's filter."""
    subscription = world.subscribe()
    other = world.subscribe("projects/p/subscriptions/other", filter="attributes:k")
    world.publish(b"acked")
    subscription.acknowledge(ids(world.take(subscription)), world.now)
    world.publish(b"unacked", k="")
    world.broker.create_snapshot("projects/p/snapshots/snap", NAME, {}, world.now)
    world.publish(b"later", b"later still")
    subscription.acknowledge(ids(world.take(subscription)), world.now)
    world.broker.seek_to_snapshot(NAME, "projects/p/snapshots/snap", world.now)
    assert data(world.take(subscription)) == [b"unacked", b"later", b"later still"]
    other.acknowledge(ids(world.take(other)), world.now)
    world.broker.seek_to_snapshot(other.settings.name, "projects/p/snapshots/snap", world.now)
    assert data(world.take(other)) == [b"unacked"]


def test_snapshot_expires_by_its_oldest_message(world: World):
    """7 days less its age; one that would live under an hour is refused."""
    world.subscribe()
    world.publish(b"a")
    world.pass_time(2 * 86400)
    snapshot = world.broker.create_snapshot("projects/p/snapshots/snap", NAME, {}, world.now)
    assert snapshot.expire_us == world.now + 5 * names.DAY_US
    world.pass_time(5 * 86400 - 1800)
    with pytest.raises(FailedPrecondition):
        world.broker.create_snapshot("projects/p/snapshots/late", NAME, {}, world.now)
    world.pass_time(1800)
    with pytest.raises(NotFound):
        world.broker.snapshot("projects/p/snapshots/snap", world.now)


def test_unused_subscription_expires(world: World):
    """By its policy, counted from its last use; a connected consumer keeps it."""
    subscription = world.subscribe(expiration_us=names.DAY_US)
    world.pass_time(80_000)
    world.take(subscription)
    world.pass_time(80_000)
    subscription.attached += 1
    world.pass_time(100_000)
    assert NAME in world.broker.subscriptions
    subscription.attached -= 1
    world.pass_time(100_000)
    assert NAME not in world.broker.subscriptions
    assert world.broker.next_wakeup() == NEVER


def test_deleted_topic_leaves_its_subscriptions_their_backlog(world: World):
    """And a new topic of the name is another topic."""
    subscription = world.subscribe()
    world.publish(b"a")
    world.broker.delete_topic(TOPIC)
    world.broker.create_topic(TopicSettings(TOPIC))
    world.publish(b"b")
    assert subscription.settings.topic == "_deleted-topic_"
    assert data(world.take(subscription)) == [b"a"]


def test_detached_subscription_has_no_backlog_and_cannot_be_pulled(world: World):
    """It stays, says so, and hears nothing more."""
    subscription = world.subscribe()
    world.publish(b"a")
    world.broker.detach_subscription(NAME, world.now)
    world.publish(b"b")
    assert subscription.unacked() == []
    assert subscription.settings.detached
    with pytest.raises(FailedPrecondition):
        subscription.check_takeable(push=False)


@pytest.mark.parametrize(
    ("drafts", "field"),
    [
        ([], "messages"),
        ([(b"x", {}, "")] * 1001, "messages"),
        ([(b"", {}, "")], "empty"),
        ([(b"x" * 10_000_001, {}, "")], "message"),
        ([(b"x" * 6_000_000, {}, "")] * 2, "messages"),
        ([(b"x", {f"k{i}": "" for i in range(101)}, "")], "attributes"),
        ([(b"x", {"k" * 257: ""}, "")], "attributes"),
        ([(b"x", {"k": "é" * 513}, "")], "attributes"),
        ([(b"x", {"googclient": ""}, "")], "goog"),
        ([(b"x", {"": "v"}, "")], "attributes"),
        ([(b"x", {}, "k" * 1025)], "ordering_key"),
        ([(b"x", {}, "a"), (b"x", {}, "b")], "ordering_key"),
    ],
)
def test_publish_beyond_a_limit_is_refused_whole(world: World, drafts: Any, field: str):
    """INVALID_ARGUMENT naming the field, and nothing is stored."""
    subscription = world.subscribe()
    with pytest.raises(InvalidArgument, match=field):
        world.broker.publish(TOPIC, drafts, world.now)
    assert subscription.unacked() == []


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"ack_deadline_seconds": 9}, "ack_deadline_seconds"),
        ({"ack_deadline_seconds": 601}, "ack_deadline_seconds"),
        ({"message_retention_us": 599 * SECOND_US}, "message_retention_duration"),
        ({"message_retention_us": 32 * names.DAY_US}, "message_retention_duration"),
        ({"expiration_us": names.DAY_US - 1}, "expiration_policy.ttl"),
        ({"retry_policy": RetryPolicy(0, 601 * SECOND_US)}, "maximum_backoff"),
        ({"retry_policy": RetryPolicy(20 * SECOND_US, SECOND_US)}, "maximum_backoff"),
        ({"filter": "this is (not a filter"}, "filter"),
        ({"labels": {"A": ""}}, "labels"),
        ({"labels": {f"k{i}": "" for i in range(65)}}, "labels"),
        ({"push": PushSettings("ftp://x/")}, "push_endpoint"),
        ({"push": PushSettings("http://x/", has_oidc=True)}, "service_account_email"),
    ],
)
def test_subscription_out_of_range_is_refused(world: World, settings: Any, field: str):
    """INVALID_ARGUMENT naming the field, and nothing is made."""
    with pytest.raises(InvalidArgument, match=field):
        world.subscribe(**settings)
    assert NAME not in world.broker.subscriptions


@pytest.mark.parametrize(
    "name",
    ["t", "projects/p/topics/ab", "projects/p/topics/1abc", "projects/p/topics/goog-x",
     "projects/p/topics/" + "x" * 256, "projects/p/subscriptions/abc", "projects//topics/abc"],
)  # fmt: skip
def test_bad_topic_name_is_refused(world: World, name: str):
    """3 to 255 characters, a letter first, not `goog`."""
    with pytest.raises(InvalidArgument, match=r"Invalid \[topics\] name"):
        world.broker.create_topic(TopicSettings(name))


def test_wakeups_do_not_pile_up(world: World):
    """A subscription used for a long time plans no more than it needs."""
    subscription = world.subscribe()
    for _ in range(5000):
        world.publish(b"x")
        subscription.acknowledge(ids(world.take(subscription)), world.now)
        world.pass_time(0.01)
    assert len(subscription._expiries) < 2000
    assert len(world.broker._wakeups) < 100
