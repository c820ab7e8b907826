"""Retry policies and dead letter topics, on pull."""

import time
from typing import Any

import pytest
from google.api_core.exceptions import NotFound

from tests.conformance.features import feature
from tests.conformance.pubsub.conftest import Pubsub, data

DOCS = "https://cloud.google.com/pubsub/docs"
RETRY = f"{DOCS}/subscription-retry-policy"
DEAD = f"{DOCS}/dead-letter-topics"


def backoff(minimum: float, maximum: float) -> dict[str, Any]:
    """A retry policy of these seconds."""
    return {
        name: {"seconds": int(value), "nanos": round(value % 1 * 1e9)}
        for name, value in (("minimum_backoff", minimum), ("maximum_backoff", maximum))
    }


@feature(
    "A retry policy delays from the first nack",
    production=RETRY,
    gcloud="the first nack redelivers at once",
)
def test_first_nack_waits_the_minimum_backoff(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, retry_policy=backoff(1, 10))
    pubsub.send(topic, b"x")
    pubsub.nack(subscription, pubsub.take(subscription))
    began = time.monotonic()
    pubsub.take(subscription)
    assert 0.7 < time.monotonic() - began < 2.5


@feature(
    "A retry policy's delay grows exponentially",
    production=RETRY,
    gcloud="the first nack redelivers at once; then 1 to 2 s each, not doubling",
)
def test_backoff_grows(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, retry_policy=backoff(0.25, 60))
    pubsub.send(topic, b"x")
    received, last = pubsub.take(subscription), 0.15
    for _ in range(4):
        pubsub.nack(subscription, received)
        began = time.monotonic()
        received = pubsub.take(subscription, within=4)
        wait = time.monotonic() - began
        assert wait > 1.3 * last
        last = wait


@feature(
    "A retry policy's delay stays within its maximum",
    production=RETRY,
    gcloud="2 s where the maximum is 0.4 s",
)
def test_backoff_stays_within_its_maximum(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, retry_policy=backoff(0.2, 0.4))
    pubsub.send(topic, b"x")
    received = pubsub.take(subscription)
    for _ in range(5):
        pubsub.nack(subscription, received)
        began = time.monotonic()
        received = pubsub.take(subscription)
        assert time.monotonic() - began < 0.9


@feature(
    "A message waiting for its retry does not hold up others",
    production=RETRY,
    gcloud="the first nack redelivers at once",
)
def test_others_flow_during_a_backoff(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, retry_policy=backoff(10, 60))
    pubsub.send(topic, b"slow")
    pubsub.nack(subscription, pubsub.take(subscription))
    pubsub.send(topic, b"other")
    assert b"other" in data(pubsub.take(subscription))


def exhausted(pubsub: Pubsub, subscription: str, attempts: int) -> list[int]:
    """Nack the one message `attempts` times; the delivery_attempt of each."""
    seen = []
    for _ in range(attempts):
        received = pubsub.take(subscription)
        seen.append(received[0].delivery_attempt)
        pubsub.nack(subscription, received)
    return seen


@feature("After max_delivery_attempts a message goes to the dead letter topic", production=DEAD)
def test_message_is_dead_lettered_after_its_attempts(pubsub: Pubsub) -> None:
    topic, dead = pubsub.topic(), pubsub.topic()
    dead_subscription = pubsub.subscription(dead)
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
    subscription = pubsub.subscription(topic, dead_letter_policy=policy)
    pubsub.send(topic, {"data": b"poison", "attributes": {"a": "b"}})
    assert exhausted(pubsub, subscription, 5) == [1, 2, 3, 4, 5]
    assert pubsub.before(topic, subscription) == []
    [dead_letter] = pubsub.take(dead_subscription)
    assert dead_letter.message.data == b"poison"
    assert dead_letter.message.attributes["a"] == "b"


@feature(
    "A dead letter is forwarded without a further pull",
    production=DEAD,
    gcloud="only when the subscription is pulled again",
)
def test_dead_letter_does_not_wait_for_the_next_pull(pubsub: Pubsub) -> None:
    topic, dead = pubsub.topic(), pubsub.topic()
    dead_subscription = pubsub.subscription(dead)
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
    subscription = pubsub.subscription(topic, dead_letter_policy=policy)
    pubsub.send(topic, b"poison")
    exhausted(pubsub, subscription, 5)
    assert data(pubsub.take(dead_subscription, within=2)) == [b"poison"]


@feature("A dead letter carries where it comes from", production=DEAD)
def test_dead_letter_has_the_source_attributes(pubsub: Pubsub) -> None:
    topic, dead = pubsub.topic(), pubsub.topic()
    dead_subscription = pubsub.subscription(dead)
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
    subscription = pubsub.subscription(topic, dead_letter_policy=policy)
    pubsub.send(topic, b"poison")
    exhausted(pubsub, subscription, 5)
    pubsub.before(topic, subscription)
    attributes = dict(pubsub.take(dead_subscription)[0].message.attributes)
    prefix = "CloudPubSubDeadLetterSource"
    assert attributes.pop(f"{prefix}TopicPublishTime")
    assert attributes == {
        f"{prefix}DeliveryCount": "5",
        f"{prefix}Subscription": subscription.rsplit("/", 1)[1],
        f"{prefix}SubscriptionProject": pubsub.project_id,
    }


@feature("Passed deadlines count as attempts", production=DEAD)
def test_deadlines_lead_to_the_dead_letter_topic(pubsub: Pubsub) -> None:
    topic, dead = pubsub.topic(), pubsub.topic()
    dead_subscription = pubsub.subscription(dead)
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
    subscription = pubsub.subscription(topic, dead_letter_policy=policy)
    pubsub.send(topic, b"poison")
    exhausted(pubsub, subscription, 4)
    pubsub.extend(subscription, pubsub.take(subscription), 1)
    with pytest.raises(AssertionError):
        pubsub.take(subscription, within=2.5)
    assert data(pubsub.take(dead_subscription)) == [b"poison"]


@feature("Five attempts by default", production=DEAD)
def test_attempts_are_five_by_default(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic, dead_letter_policy={"dead_letter_topic": topic})
    assert pubsub.get_subscription(subscription=name).dead_letter_policy.max_delivery_attempts == 5


@feature("A dead letter topic that does not exist holds the message back", production=DEAD)
def test_message_is_not_lost_without_the_dead_letter_topic(pubsub: Pubsub) -> None:
    topic, dead = pubsub.topic(), pubsub.topic()
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
    subscription = pubsub.subscription(topic, dead_letter_policy=policy)
    pubsub.send(topic, b"poison")
    pubsub.delete_topic(topic=dead)
    assert exhausted(pubsub, subscription, 6)[:5] == [1, 2, 3, 4, 5]


@feature(
    "Dead letters keep their ordering key",
    production=DEAD,
    gcloud="the key is stuck: neither forwarded nor followed by its next message",
)
def test_dead_letter_keeps_its_ordering_key(pubsub: Pubsub) -> None:
    topic, dead = pubsub.topic(), pubsub.topic()
    dead_subscription = pubsub.subscription(dead)
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
    subscription = pubsub.subscription(
        topic, dead_letter_policy=policy, enable_message_ordering=True
    )
    pubsub.send(topic, {"data": b"poison", "ordering_key": "k"})
    exhausted(pubsub, subscription, 5)
    pubsub.send(topic, {"data": b"next", "ordering_key": "k"})
    assert data(pubsub.take(subscription, within=2)) == [b"next"]
    assert pubsub.take(dead_subscription)[0].message.ordering_key == "k"


@feature("A dead letter policy needs an existing topic", production=DEAD)
def test_policy_with_an_unknown_topic_is_not_found(pubsub: Pubsub) -> None:
    policy = {"dead_letter_topic": pubsub.name("topics"), "max_delivery_attempts": 5}
    with pytest.raises(NotFound):
        pubsub.subscription(pubsub.topic(), dead_letter_policy=policy)
