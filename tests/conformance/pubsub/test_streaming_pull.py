"""StreamingPull: flow control, deadlines in the stream, its end, and the hand-written client."""

import queue
import time
from typing import Any

import pytest
from google.api_core.exceptions import InvalidArgument, NotFound
from google.cloud import pubsub_v1

from tests.conformance.features import differs, feature
from tests.conformance.pubsub.conftest import Clients, Pubsub, Stream, data

DOCS = "https://cloud.google.com/pubsub/docs"
STREAMING = f"{DOCS}/pull#streamingpull_api"
FLOW = f"{DOCS}/flow-control-messages"
REFERENCE = f"{DOCS}/reference/rpc/google.pubsub.v1#streamingpullrequest"


@feature("A stream delivers as messages come", production=STREAMING)
def test_stream_delivers_at_once(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    stream = pubsub.stream(pubsub.subscription(topic))
    for i in range(3):
        pubsub.send(topic, b"%d" % i)
        stream.take(i + 1)
    assert data(stream.received) == [b"0", b"1", b"2"]


@feature("Acks and deadlines may be sent in the stream", production=REFERENCE)
def test_ack_in_the_stream_ends_the_lease(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    stream = pubsub.stream(subscription)
    pubsub.send(topic, b"acked", b"nacked")
    acked, nacked = stream.take(2)
    stream.send(
        ack_ids=[acked.ack_id],
        modify_deadline_ack_ids=[nacked.ack_id],
        modify_deadline_seconds=[0],
    )
    again = stream.take(3)[2]
    assert again.message.message_id == nacked.message.message_id
    stream.send(ack_ids=[again.ack_id])
    pubsub.send(topic, b"marker")
    assert data(stream.take(4))[3] == b"marker"


@feature("Acks and deadlines may be sent in the stream", production=REFERENCE)
def test_deadline_changed_in_the_stream_is_kept(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    stream = pubsub.stream(pubsub.subscription(topic))
    pubsub.send(topic, b"again")
    [first] = stream.take(1)
    began = time.monotonic()
    stream.send(modify_deadline_ack_ids=[first.ack_id], modify_deadline_seconds=[1])
    again = stream.take(2)[1]
    assert 0.5 < time.monotonic() - began < 3
    assert again.ack_id != first.ack_id


@feature(
    "max_outstanding_messages is kept to",
    production=FLOW,
    gcloud="ignored: with a limit of 10 the stream took all 50",
)
def test_stream_holds_no_more_messages_than_asked_for(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    stream = pubsub.stream(subscription, max_outstanding_messages=10)
    pubsub.send(topic, *[b"%d" % i for i in range(50)])
    first = stream.take(10)
    assert len(pubsub.take(subscription, 40, within=1.5)) == 40  # what the stream must not take
    assert len(stream.received) == 10
    pubsub.send(topic, b"next")
    stream.send(ack_ids=[first[0].ack_id])
    assert data(stream.take(11))[10] == b"next"


@feature(
    "max_outstanding_bytes is kept to",
    production=FLOW,
    gcloud="ignored: with a limit of 10,000 bytes the stream took 40,000",
)
def test_stream_holds_no_more_bytes_than_asked_for(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    stream = pubsub.stream(subscription, max_outstanding_bytes=10_000)
    pubsub.send(topic, *[b"x" * 4_000] * 10)
    stream.take(1)
    assert len(pubsub.take(subscription, 7, within=1.5)) == 7
    assert len(stream.received) <= 3


@feature("A message larger than max_outstanding_bytes is delivered alone", production=FLOW)
def test_large_message_is_not_stuck(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    stream = pubsub.stream(pubsub.subscription(topic), max_outstanding_bytes=100)
    pubsub.send(topic, b"x" * 5_000)
    assert len(stream.take(1)) == 1


@feature(
    "A cancelled stream gives its messages back at once",
    production=STREAMING,
    gcloud="held until the ack deadline",
)
def test_cancelled_stream_returns_what_it_held(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, ack_deadline_seconds=60)
    stream = pubsub.stream(subscription, stream_ack_deadline_seconds=60)
    pubsub.send(topic, b"held")
    stream.take(1)
    stream.cancel()
    assert data(pubsub.take(subscription, within=1.5)) == [b"held"]


@feature(
    "A cancelled stream takes no more messages",
    production=STREAMING,
    gcloud="the dead stream keeps taking messages, for about 60 s",
)
def test_message_after_a_cancelled_stream_reaches_the_next(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    stream = pubsub.stream(subscription)
    pubsub.send(topic, b"first")
    pubsub.ack(subscription, stream.take(1))
    stream.cancel()
    following = pubsub.stream(subscription)
    for i in range(10):
        pubsub.send(topic, b"%d" % i)
    assert sorted(data(following.take(10, within=1.5))) == [b"%d" % i for i in range(10)]


@feature("Half-closing a stream ends it cleanly", production=STREAMING)
def test_half_closed_stream_ends_without_an_error(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    stream = pubsub.stream(pubsub.subscription(topic))
    pubsub.send(topic, b"x")
    stream.send(ack_ids=[stream.take(1)[0].ack_id])
    stream.half_close()
    stream.wait_for(lambda s: s.ended)
    assert stream.ended
    assert stream.error is None


@feature("A stream's requests are checked", production=REFERENCE)
@pytest.mark.parametrize(
    "fields",
    [
        {"stream_ack_deadline_seconds": 9},
        {"stream_ack_deadline_seconds": 601},
        {"modify_deadline_ack_ids": ["a"], "modify_deadline_seconds": []},
    ],
    ids=["deadline of 9 s", "deadline of 601 s", "ack id without seconds"],
)
def test_bad_first_request_is_refused(pubsub: Pubsub, fields: dict[str, Any]) -> None:
    stream = pubsub.stream(pubsub.subscription(pubsub.topic()), **fields)
    stream.wait_for(lambda s: s.ended, 3)
    assert isinstance(stream.error, InvalidArgument)


@feature("A stream's requests are checked", production=REFERENCE)
def test_stream_of_an_unknown_subscription_is_not_found(pubsub: Pubsub) -> None:
    stream = pubsub.stream(pubsub.name("subscriptions"))
    stream.wait_for(lambda s: s.ended)
    assert isinstance(stream.error, NotFound)


@feature("A stream ends when its subscription is deleted", production=STREAMING)
def test_stream_of_a_deleted_subscription_ends(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    stream = pubsub.stream(subscription)
    pubsub.send(topic, b"x")
    stream.take(1)
    pubsub.delete_subscription(subscription=subscription)
    stream.wait_for(lambda s: s.ended)
    assert isinstance(stream.error, NotFound)


@feature(
    "The stream tells the subscription's properties", production=f"{DOCS}/exactly-once-delivery"
)
def test_first_reply_says_whether_delivery_is_ordered_or_exactly_once(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    stream = pubsub.stream(
        pubsub.subscription(topic, enable_exactly_once_delivery=True, enable_message_ordering=True)
    )
    pubsub.send(topic, b"x")
    stream.take(1)
    properties = stream.replies[0].subscription_properties
    assert properties.exactly_once_delivery_enabled
    assert properties.message_ordering_enabled


@feature("The hand-written subscriber receives and acknowledges", production=STREAMING)
def test_subscriber_client_receives_every_message_once(
    pubsub: Pubsub, subscriber_client: pubsub_v1.SubscriberClient
) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    arrived: queue.Queue[bytes] = queue.Queue()

    def callback(message: Any) -> None:
        arrived.put(message.data)
        message.ack()

    future = subscriber_client.subscribe(subscription, callback)
    pubsub.send(topic, *[b"%d" % i for i in range(200)])
    got = [arrived.get(timeout=5) for _ in range(200)]
    future.cancel()
    future.result(timeout=10)
    assert sorted(got, key=int) == [b"%d" % i for i in range(200)]
    assert pubsub.before(topic, subscription) == []


@feature("The hand-written subscriber's nack redelivers", production=f"{DOCS}/handling-failures")
def test_subscriber_client_nack_is_delivered_again(
    pubsub: Pubsub, subscriber_client: pubsub_v1.SubscriberClient
) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    arrived: queue.Queue[bytes] = queue.Queue()

    def callback(message: Any) -> None:
        arrived.put(message.data)
        message.nack() if arrived.qsize() < 2 else message.ack()

    future = subscriber_client.subscribe(subscription, callback)
    pubsub.send(topic, b"again")
    end = time.monotonic() + 5
    while arrived.qsize() < 2 and time.monotonic() < end:
        future.running()
    future.cancel()
    future.result(timeout=10)
    assert list(arrived.queue) == [b"again", b"again"]


@feature(
    "The hand-written subscriber's flow control is kept to",
    production=FLOW,
    gcloud="ignored by the server: the client held all 30",
)
def test_subscriber_client_holds_no_more_than_its_flow_control(
    pubsub: Pubsub, subscriber_client: pubsub_v1.SubscriberClient
) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    arrived: queue.Queue[Any] = queue.Queue()
    flow = pubsub_v1.types.FlowControl(max_messages=5)
    future = subscriber_client.subscribe(subscription, arrived.put, flow_control=flow)
    pubsub.send(topic, *[b"%d" % i for i in range(30)])
    held = [arrived.get(timeout=5) for _ in range(5)]
    others = pubsub.take(subscription, 25, within=1.5)
    for message in held:
        message.ack()
    future.cancel()
    future.result(timeout=10)
    assert len(others) == 25


@feature("A stream's requests are checked", production=REFERENCE)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subscription", "projects/p/subscriptions/abc"),
        pytest.param("max_outstanding_messages", 5, marks=differs(gcloud="later limits ignored")),
        pytest.param("max_outstanding_bytes", 5, marks=differs(gcloud="later limits ignored")),
        ("stream_ack_deadline_seconds", 5),
    ],
)
def test_bad_later_request_ends_the_stream(pubsub: Pubsub, field: str, value: Any) -> None:
    topic = pubsub.topic()
    stream = pubsub.stream(pubsub.subscription(topic))
    pubsub.send(topic, b"x")
    stream.take(1)
    stream.send(**{field: value})
    stream.wait_for(lambda s: s.ended, 2)
    assert isinstance(stream.error, InvalidArgument)


@feature(
    "A lost connection gives its messages back at once",
    production=STREAMING,
    gcloud="held until the ack deadline",
)
def test_lost_connection_returns_what_its_stream_held(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, ack_deadline_seconds=60)
    lost = Clients(pubsub.server.address)
    stream = Stream(
        lost.subscriber, {"subscription": subscription, "stream_ack_deadline_seconds": 60}
    )
    pubsub.send(topic, b"held")
    stream.take(1)
    lost.channel.close()
    assert data(pubsub.take(subscription, within=1.5)) == [b"held"]
