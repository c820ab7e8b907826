"""Exactly-once delivery: acks that say whether they held."""

import queue
from collections.abc import Callable
from typing import Any

import pytest
from google.api_core.exceptions import GoogleAPICallError, InvalidArgument
from google.cloud import pubsub_v1
from google.cloud.pubsub_v1.subscriber.exceptions import AcknowledgeError, AcknowledgeStatus

from tests.conformance.features import feature
from tests.conformance.pubsub.conftest import Pubsub, data

ONCE = "https://cloud.google.com/pubsub/docs/exactly-once-delivery"
INVALID = "PERMANENT_FAILURE_INVALID_ACK_ID"


def reasons(error: GoogleAPICallError) -> dict[str, str]:
    """The ErrorInfo metadata of a refusal: {ack id: reason}."""
    return dict(error.metadata or {})


@feature("An ack of an expired lease is refused, naming the ack id", production=ONCE)
def test_ack_after_redelivery_is_refused(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_exactly_once_delivery=True)
    pubsub.send(topic, b"x")
    stale = pubsub.take(subscription)
    pubsub.extend(subscription, stale, 1)
    fresh = pubsub.take(subscription)
    with pytest.raises(InvalidArgument) as refused:
        pubsub.ack(subscription, stale)
    assert reasons(refused.value) == {stale[0].ack_id: INVALID}
    pubsub.ack(subscription, fresh)


@feature(
    "A lease ends at its deadline, whether or not it was delivered again",
    production=ONCE,
    gcloud="expiry is lazy: a late ack is accepted until the message is delivered again",
)
def test_ack_after_the_deadline_is_refused_before_redelivery(pubsub: Pubsub) -> None:
    topic, other = pubsub.topic(), pubsub.topic()
    subscription = pubsub.subscription(topic, enable_exactly_once_delivery=True)
    clock = pubsub.subscription(other)
    pubsub.send(topic, b"x")
    received = pubsub.take(subscription)
    pubsub.extend(subscription, received, 1)
    pubsub.send(other, b"tick")
    pubsub.extend(clock, pubsub.take(clock), 2)
    pubsub.take(clock)  # two seconds have passed on the server
    with pytest.raises(InvalidArgument):
        pubsub.ack(subscription, received)


@feature("Good ack ids of a request hold though others are refused", production=ONCE)
def test_good_ack_ids_hold_beside_a_bad_one(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_exactly_once_delivery=True)
    pubsub.send(topic, b"x", b"y")
    received = pubsub.take(subscription, 2)
    pubsub.nack(subscription, received[1:])
    with pytest.raises(InvalidArgument) as refused:
        pubsub.ack(subscription, received)
    assert reasons(refused.value) == {received[1].ack_id: INVALID}
    assert data(pubsub.take(subscription)) == [received[1].message.data]
    assert pubsub.before(topic, subscription) == []


@feature("A made-up ack id is refused", production=ONCE)
def test_made_up_ack_id_is_refused(pubsub: Pubsub) -> None:
    subscription = pubsub.subscription(pubsub.topic(), enable_exactly_once_delivery=True)
    with pytest.raises(GoogleAPICallError):
        pubsub.acknowledge(subscription=subscription, ack_ids=["made up"])


@feature("Extending an expired lease is refused, naming the ack id", production=ONCE)
def test_extension_of_a_stale_lease_is_refused(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_exactly_once_delivery=True)
    pubsub.send(topic, b"x")
    stale = pubsub.take(subscription)
    pubsub.nack(subscription, stale)
    pubsub.take(subscription)
    with pytest.raises(InvalidArgument) as refused:
        pubsub.extend(subscription, stale, 30)
    assert reasons(refused.value) == {stale[0].ack_id: INVALID}


@feature("The stream confirms acks", production=ONCE, gcloud="no confirmation is sent")
def test_stream_confirms_good_and_bad_acks(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_exactly_once_delivery=True)
    stream = pubsub.stream(subscription)
    pubsub.send(topic, b"x")
    [received] = stream.take(1)
    stream.send(ack_ids=[received.ack_id, "made up"])

    def confirmed() -> tuple[set[str], set[str]]:
        replies = [reply.acknowledge_confirmation for reply in stream.replies]
        good = {ack_id for reply in replies for ack_id in reply.ack_ids}
        return good, {ack_id for reply in replies for ack_id in reply.invalid_ack_ids}

    stream.wait_for(lambda s: all(confirmed()), 2)
    assert confirmed() == ({received.ack_id}, {"made up"})


@feature("The stream confirms deadlines", production=ONCE, gcloud="no confirmation is sent")
def test_stream_confirms_deadlines(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_exactly_once_delivery=True)
    stream = pubsub.stream(subscription)
    pubsub.send(topic, b"x")
    [received] = stream.take(1)
    stream.send(modify_deadline_ack_ids=[received.ack_id], modify_deadline_seconds=[30])

    def confirmed() -> set[str]:
        replies = [reply.modify_ack_deadline_confirmation for reply in stream.replies]
        return {ack_id for reply in replies for ack_id in reply.ack_ids}

    stream.wait_for(lambda s: bool(confirmed()), 2)
    assert confirmed() == {received.ack_id}


def receive(
    client: pubsub_v1.SubscriberClient, subscription: str, pubsub: Pubsub, topic: str
) -> tuple[Any, Any]:
    """Subscribe and receive one message: the subscription's future, and the message."""
    arrived: queue.Queue[Any] = queue.Queue()
    future = client.subscribe(subscription, arrived.put)
    pubsub.send(topic, b"x")
    return future, arrived.get(timeout=5)


@feature("ack_with_response succeeds", production=ONCE)
def test_ack_with_response_succeeds(
    pubsub: Pubsub, subscriber_client: pubsub_v1.SubscriberClient
) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_exactly_once_delivery=True)
    future, message = receive(subscriber_client, subscription, pubsub, topic)
    assert message.ack_with_response().result(10) == AcknowledgeStatus.SUCCESS
    future.cancel()
    future.result(timeout=10)
    assert pubsub.before(topic, subscription) == []


@feature("A stale lease raises AcknowledgeError INVALID_ACK_ID", production=ONCE)
@pytest.mark.parametrize(
    "late",
    [
        lambda message: message.ack_with_response(),
        lambda message: message.modify_ack_deadline_with_response(20),
    ],
    ids=["ack", "modify_ack_deadline"],
)
def test_stale_lease_raises_in_the_client(
    pubsub: Pubsub, subscriber_client: pubsub_v1.SubscriberClient, late: Callable[[Any], Any]
) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_exactly_once_delivery=True)
    future, message = receive(subscriber_client, subscription, pubsub, topic)
    pubsub.modify_ack_deadline(
        subscription=subscription, ack_ids=[message.ack_id], ack_deadline_seconds=0
    )
    response = late(message)
    with pytest.raises(AcknowledgeError) as refused:
        response.result(10)
    future.cancel()
    future.result(timeout=10)
    assert refused.value.error_code == AcknowledgeStatus.INVALID_ACK_ID
