"""Ack deadlines: a subscription's own ten seconds, on pull, on a stream and on push, at once."""

import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.conformance.conftest import Server
from tests.conformance.features import feature
from tests.conformance.pubsub.conftest import Clients, Pubsub
from tests.conformance.pubsub.endpoint import Endpoint

DOCS = "https://cloud.google.com/pubsub/docs"

Waits = dict[str, Future[float]]


def pulled_again(pubsub: Pubsub, topic: str) -> float:
    """Seconds between two deliveries of a message that is pulled and left alone."""
    subscription = pubsub.subscription(topic, ack_deadline_seconds=10)
    pubsub.send(topic, b"x")
    pubsub.take(subscription)
    began = time.monotonic()
    pubsub.take(subscription, within=15)
    return time.monotonic() - began


def streamed_again(pubsub: Pubsub, topic: str) -> float:
    """The same on a stream, whose own deadline of 10 s is what counts."""
    subscription = pubsub.subscription(topic, ack_deadline_seconds=600)
    stream = pubsub.stream(subscription, stream_ack_deadline_seconds=10)
    pubsub.send(topic, b"x")
    stream.take(1)
    began = time.monotonic()
    stream.take(2, within=15)
    return time.monotonic() - began


def pushed_again(pubsub: Pubsub, topic: str) -> float:
    """Seconds between two pushes where the first is not answered."""
    released = threading.Event()
    with Endpoint() as endpoint:

        def answer_the_second(push: object) -> int:
            if len(endpoint.pushes) == 1:
                released.wait(20)
            return 204

        endpoint.answer = answer_the_second
        backoff = {"minimum_backoff": {"nanos": 100_000_000}, "maximum_backoff": {"seconds": 1}}
        config = {"push_endpoint": endpoint.url}
        pubsub.subscription(topic, push_config=config, retry_policy=backoff)
        pubsub.send(topic, b"x")
        try:
            first, second = endpoint.take(2, within=15)[:2]
        finally:
            released.set()
        return second.at - first.at


@pytest.fixture(scope="module")
def waits(pubsub_server: Server, clients: Clients) -> Iterator[Waits]:
    """The three, under way at the same time."""
    pubsub = Pubsub(pubsub_server, clients, f"test-{uuid.uuid4().hex[:12]}")
    scenarios = (pulled_again, streamed_again, pushed_again)
    with ThreadPoolExecutor() as pool:
        yield {run.__name__: pool.submit(run, pubsub, pubsub.topic()) for run in scenarios}
    pubsub.close()


@feature(
    "An unacknowledged message is delivered again at the deadline",
    production=f"{DOCS}/lease-management",
)
def test_pulled_message_returns_at_the_subscriptions_deadline(waits: Waits) -> None:
    assert 9 < waits["pulled_again"].result() < 13


@feature(
    "A stream's deadline stands in for the subscription's",
    production=f"{DOCS}/reference/rpc/google.pubsub.v1#streamingpullrequest",
)
def test_streamed_message_returns_at_the_streams_deadline(waits: Waits) -> None:
    assert 9 < waits["streamed_again"].result() < 13


@feature(
    "A push that is not answered within the ack deadline is retried", production=f"{DOCS}/push"
)
def test_unanswered_push_is_retried_at_the_deadline(waits: Waits) -> None:
    assert 9 < waits["pushed_again"].result() < 13
