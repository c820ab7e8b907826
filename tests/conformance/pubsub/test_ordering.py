"""Ordering keys: one key in order whatever happens, other keys not held up."""

import queue
from typing import Any

from google.cloud import pubsub_v1

from tests.conformance.features import feature
from tests.conformance.pubsub.conftest import Pubsub, data

ORDERING = "https://cloud.google.com/pubsub/docs/ordering"
TEN = [b"%d" % i for i in range(10)]


def keyed(key: str, *payloads: bytes) -> list[dict[str, Any]]:
    """Messages of one ordering key."""
    return [{"data": payload, "ordering_key": key} for payload in payloads]


def collect(pubsub: Pubsub, subscription: str, count: int) -> list[bytes]:
    """Pull and acknowledge until `count` messages have come, duplicates counted."""
    seen: list[bytes] = []
    while len(seen) < count:
        received = pubsub.take(subscription, at_most=100, within=2)
        pubsub.ack(subscription, received)
        seen.extend(data(received))
    return seen


@feature("Messages of one key arrive in order", production=ORDERING)
def test_one_key_is_pulled_in_order(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_message_ordering=True)
    for message in keyed("k", *TEN):
        pubsub.send(topic, message)
    assert collect(pubsub, subscription, 10) == TEN


@feature("Messages of one key arrive in order", production=ORDERING)
def test_one_key_is_streamed_in_order(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    stream = pubsub.stream(pubsub.subscription(topic, enable_message_ordering=True))
    pubsub.send(topic, *keyed("k", *TEN))
    while len(stream.received) < 10:
        before = len(stream.received)
        stream.take(before + 1)
        stream.send(ack_ids=[r.ack_id for r in stream.received[before:]])
    assert data(stream.received) == TEN


@feature("The key is delivered with the message", production=ORDERING)
def test_ordering_key_is_delivered(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    plain = pubsub.subscription(topic)
    ordered = pubsub.subscription(topic, enable_message_ordering=True)
    pubsub.send(topic, *keyed("k", b"x"))
    assert pubsub.take(plain)[0].message.ordering_key == "k"
    assert pubsub.take(ordered)[0].message.ordering_key == "k"


@feature("Order is kept after a nack", production=ORDERING)
def test_order_is_kept_after_a_nack(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_message_ordering=True)
    pubsub.send(topic, *keyed("k", *TEN))
    pubsub.nack(subscription, pubsub.take(subscription, at_most=10))
    assert collect(pubsub, subscription, 10) == TEN


@feature(
    "Order is kept after a nack",
    production=ORDERING,
    gcloud="a nacked message is delivered after all others of its key: 1 to 9, then 0",
)
def test_first_message_nacked_alone_is_still_first(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_message_ordering=True)
    pubsub.send(topic, *keyed("k", *TEN))
    pubsub.nack(subscription, pubsub.take(subscription, at_most=1))
    assert collect(pubsub, subscription, 10) == TEN


@feature(
    "Order is kept after a nack",
    production=ORDERING,
    gcloud="held until the others' deadline; then 1 to 9, then 0",
)
def test_nack_among_leased_messages_brings_all_back_in_order(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_message_ordering=True)
    pubsub.send(topic, *keyed("k", *TEN))
    received = pubsub.take(subscription, 10, at_most=10)
    pubsub.nack(subscription, received[:1])
    assert collect(pubsub, subscription, 10) == TEN


@feature("Order is kept after a deadline", production=ORDERING)
def test_order_is_kept_after_a_deadline(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_message_ordering=True)
    pubsub.send(topic, *keyed("k", *TEN))
    pubsub.extend(subscription, pubsub.take(subscription, at_most=10), 1)
    assert collect(pubsub, subscription, 10) == TEN


@feature(
    "Redelivery repeats what follows in the key, acknowledged or not",
    production=ORDERING,
    gcloud="nothing of the key is delivered again",
    embedded="what was acknowledged stays acknowledged",
)
def test_nack_redelivers_the_messages_after_it(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_message_ordering=True)
    pubsub.send(topic, *keyed("k", b"0", b"1", b"2"))
    received = pubsub.take(subscription, 3)
    pubsub.ack(subscription, received[1:])
    pubsub.nack(subscription, received[:1])
    assert collect(pubsub, subscription, 3) == [b"0", b"1", b"2"]


@feature("While one key waits, other keys flow", production=ORDERING)
def test_other_keys_flow_while_one_is_leased(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_message_ordering=True)
    pubsub.send(topic, *keyed("held", b"held-0"))
    pubsub.take(subscription)
    pubsub.send(topic, *keyed("held", b"held-1"))
    pubsub.send(topic, *keyed("free", b"free-0", b"free-1"))
    seen: list[bytes] = []
    while b"free-1" not in seen:
        received = pubsub.take(subscription, at_most=10)
        free = [r for r in received if r.message.ordering_key == "free"]
        if free:
            pubsub.ack(subscription, free)
        seen.extend(data(free))
    assert seen == [b"free-0", b"free-1"]


@feature(
    "While one key waits, other keys flow",
    production=ORDERING,
    gcloud="the first nack redelivers at once",
)
def test_other_keys_flow_during_a_backoff(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    policy = {"minimum_backoff": {"seconds": 5}, "maximum_backoff": {"seconds": 10}}
    subscription = pubsub.subscription(topic, enable_message_ordering=True, retry_policy=policy)
    pubsub.send(topic, *keyed("held", b"held-0", b"held-1"))
    pubsub.nack(subscription, pubsub.take(subscription, 1, at_most=10))
    pubsub.send(topic, *keyed("free", b"free-0"))
    assert data(pubsub.take(subscription, within=2))[-1:] == [b"free-0"]


@feature("Messages without a key are not ordered or held up", production=ORDERING)
def test_messages_without_a_key_flow(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_message_ordering=True)
    pubsub.send(topic, *keyed("k", b"0"))
    pubsub.take(subscription)
    pubsub.send(topic, b"plain")
    assert data(pubsub.take(subscription)) == [b"plain"]


@feature("The hand-written clients keep the order of a key", production=ORDERING)
def test_hand_written_clients_keep_order(
    pubsub: Pubsub,
    publisher_client: pubsub_v1.PublisherClient,
    subscriber_client: pubsub_v1.SubscriberClient,
) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_message_ordering=True)
    arrived: queue.Queue[tuple[str, int]] = queue.Queue()

    def callback(message: Any) -> None:
        arrived.put((message.ordering_key, int(message.data)))
        message.ack()

    future = subscriber_client.subscribe(subscription, callback)
    for i in range(50):
        for key in ("a", "b"):
            publisher_client.publish(topic, b"%d" % i, ordering_key=key)
    got = [arrived.get(timeout=5) for _ in range(100)]
    future.cancel()
    future.result(timeout=10)
    for key in ("a", "b"):
        assert [number for k, number in got if k == key] == list(range(50))
