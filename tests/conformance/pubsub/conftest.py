"""Fixtures of the Pub/Sub suite: the official clients, and short words for what every test does.

`pubsub.create_topic(...)` and every other RPC, by its name in the API, is the generated client's
method called with the request's fields, without retries: what the server says is what the test
sees. Nothing here sleeps: what must arrive is waited for with a time limit, and what must not
arrive is shown by a later message that overtakes it.
"""

import itertools
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import grpc
import pytest
from google.api_core.exceptions import DeadlineExceeded
from google.cloud import pubsub_v1
from google.pubsub_v1 import PublisherClient, SchemaServiceClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.schema_service.transports import SchemaServiceGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import PubsubMessage, ReceivedMessage, StreamingPullRequest

from tests.conformance.conftest import Server
from tests.conformance.pubsub.endpoint import Endpoint

RPC_TIMEOUT_SECONDS = 10.0
BIG = 64 * 1024 * 1024


class Stream:
    """One StreamingPull call of the generated client, read by a thread: `take`, `send`, `close`."""

    def __init__(self, client: SubscriberClient, first: dict[str, Any]) -> None:
        self.received: list[ReceivedMessage] = []
        self.replies: list[Any] = []
        self.error: Exception | None = None
        self.ended = False
        self._changed = threading.Condition()
        self._to_send: list[StreamingPullRequest | None] = [StreamingPullRequest(first)]
        self._call = client.streaming_pull(requests=self._requests(), timeout=60)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _requests(self) -> Iterator[StreamingPullRequest]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._to_send or self.ended)
                request = self._to_send.pop(0) if self._to_send else None
            if request is None:
                return
            yield request

    def _read(self) -> None:
        try:
            for reply in self._call:
                with self._changed:
                    self.replies.append(reply)
                    self.received.extend(reply.received_messages)
                    self._changed.notify_all()
        except Exception as error:  # kept for the test to look at
            self.error = error
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def wait_for(self, holds: Callable[["Stream"], bool], within: float = 5.0) -> bool:
        """Whether `holds(self)` became true within the time, or before the stream ended."""
        with self._changed:
            self._changed.wait_for(lambda: holds(self) or self.ended, within)
            return holds(self)

    def take(self, count: int, within: float = 5.0) -> list[ReceivedMessage]:
        """The first `count` messages of the stream, once they have arrived."""
        assert self.wait_for(lambda s: len(s.received) >= count, within), (
            f"{len(self.received)} of {count} messages within {within} s: {self.error or ''}"
        )
        return list(self.received)

    def send(self, **fields: Any) -> None:
        """Another StreamingPullRequest."""
        with self._changed:
            self._to_send.append(StreamingPullRequest(fields))
            self._changed.notify_all()

    def half_close(self) -> None:
        """Say that no further request follows."""
        with self._changed:
            self._to_send.append(None)
            self._changed.notify_all()

    def cancel(self) -> None:
        """End the call as a client that goes away does."""
        self._call.cancel()
        self._reader.join(RPC_TIMEOUT_SECONDS)


class Pubsub:
    """A project of its own on the server under test."""

    def __init__(self, server: Server, clients: "Clients", project_id: str) -> None:
        self.server = server
        self.clients = clients
        self.project = f"projects/{project_id}"
        self.project_id = project_id
        self._numbers = itertools.count(1)
        self._streams: list[Stream] = []

    def __getattr__(self, rpc: str) -> Callable[..., Any]:
        if rpc.startswith("_"):
            raise AttributeError(rpc)
        method = self.clients.method(rpc)

        def call(timeout: float = RPC_TIMEOUT_SECONDS, **fields: Any) -> Any:
            return method(request=fields, retry=None, timeout=timeout)

        return call

    def name(self, collection: str, start: str = "r") -> str:
        """A fresh resource name: "projects/P/topics/r-1"."""
        return f"{self.project}/{collection}/{start}-{next(self._numbers)}"

    def topic(self, **fields: Any) -> str:
        """Create a topic; its name."""
        name: str = self.create_topic(name=self.name("topics"), **fields).name
        return name

    def subscription(self, topic: str, **fields: Any) -> str:
        """Create a subscription; its name."""
        name = self.name("subscriptions")
        created: str = self.create_subscription(name=name, topic=topic, **fields).name
        return created

    def send(self, topic: str, *messages: bytes | dict[str, Any]) -> list[str]:
        """Publish in one request, data alone or the fields of a PubsubMessage; the message ids."""
        fields = [{"data": m} if isinstance(m, bytes) else m for m in messages]
        return list(self.publish(topic=topic, messages=fields).message_ids)

    def take(
        self, subscription: str, count: int = 1, within: float = 5.0, at_most: int | None = None
    ) -> list[ReceivedMessage]:
        """Pull until `count` messages have come, in order of arrival; none is acknowledged."""
        received: list[ReceivedMessage] = []
        end = time.monotonic() + within
        while len(received) < count and (left := end - time.monotonic()) > 0:
            wanted = at_most or count - len(received)
            with suppress(DeadlineExceeded):
                reply = self.pull(timeout=left, subscription=subscription, max_messages=wanted)
                received.extend(reply.received_messages)
        assert len(received) >= count, f"{data(received)}: {count} wanted within {within} s"
        return received

    def take_now(self, subscription: str, max_messages: int = 100) -> list[ReceivedMessage]:
        """What a pull that does not wait answers."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # still in the API: that is tested
            reply = self.pull(
                subscription=subscription, max_messages=max_messages, return_immediately=True
            )
        return list(reply.received_messages)

    def ack(self, subscription: str, received: Sequence[ReceivedMessage]) -> None:
        """Acknowledge."""
        self.acknowledge(subscription=subscription, ack_ids=[r.ack_id for r in received])

    def extend(self, subscription: str, received: Sequence[ReceivedMessage], seconds: int) -> None:
        """ModifyAckDeadline of all of them; 0 seconds is a nack."""
        self.modify_ack_deadline(
            subscription=subscription,
            ack_ids=[r.ack_id for r in received],
            ack_deadline_seconds=seconds,
        )

    def nack(self, subscription: str, received: Sequence[ReceivedMessage]) -> None:
        """Give them back at once."""
        self.extend(subscription, received, 0)

    def before(self, topic: str, subscription: str, marker: bytes = b"marker") -> list[bytes]:
        """Publish a marker and pull until it comes: the data of all that came before it."""
        self.send(topic, marker)
        seen: list[bytes] = []
        while marker not in seen:
            received = self.take(subscription, at_most=100)
            self.ack(subscription, received)
            seen.extend(r.message.data for r in received)
        return seen[: seen.index(marker)]

    def stream(self, subscription: str, **fields: Any) -> Stream:
        """Open a StreamingPull; it is cancelled when the test ends."""
        first = {"subscription": subscription, "stream_ack_deadline_seconds": 10} | fields
        stream = Stream(self.clients.subscriber, first)
        self._streams.append(stream)
        return stream

    def close(self) -> None:
        for stream in self._streams:
            stream.cancel()


class Clients:
    """The generated clients on one channel, and the hand-written ones over the environment."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.channel = grpc.insecure_channel(
            address,
            options=[
                ("grpc.max_send_message_length", BIG),
                ("grpc.max_receive_message_length", BIG),
            ],
        )
        self.publisher = PublisherClient(transport=PublisherGrpcTransport(channel=self.channel))
        self.subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=self.channel))
        self.schemas = SchemaServiceClient(
            transport=SchemaServiceGrpcTransport(channel=self.channel)
        )

    def method(self, rpc: str) -> Callable[..., Any]:
        """The method of whichever generated client has an RPC of this name."""
        for client in (self.publisher, self.subscriber, self.schemas):
            if hasattr(client, rpc):
                found: Callable[..., Any] = getattr(client, rpc)
                return found
        raise AttributeError(rpc)


def data(received: Sequence[ReceivedMessage | PubsubMessage]) -> list[bytes]:
    """What the messages carry, in order."""
    return [bytes((m.message if isinstance(m, ReceivedMessage) else m).data) for m in received]


@pytest.fixture(scope="session")
def clients(pubsub_server: Server) -> Iterator[Clients]:
    """Clients of the server of this backend."""
    clients = Clients(pubsub_server.address)
    yield clients
    clients.channel.close()


@pytest.fixture
def pubsub(pubsub_server: Server, clients: Clients, project_id: str) -> Iterator[Pubsub]:
    """A fresh project."""
    pubsub = Pubsub(pubsub_server, clients, project_id)
    yield pubsub
    pubsub.close()


@pytest.fixture
def subscriber_client(
    pubsub_server: Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pubsub_v1.SubscriberClient]:
    """The hand-written subscriber, as applications use it: found by its environment variable."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_server.address)
    with pubsub_v1.SubscriberClient() as client:
        yield client


@pytest.fixture
def publisher_client(
    pubsub_server: Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pubsub_v1.PublisherClient]:
    """The hand-written publisher with ordering enabled."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_server.address)
    options = pubsub_v1.types.PublisherOptions(enable_message_ordering=True)
    client = pubsub_v1.PublisherClient(publisher_options=options)
    yield client
    client.stop()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """A web server to push to."""
    with Endpoint() as endpoint:
        yield endpoint
