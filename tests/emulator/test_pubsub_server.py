"""The server over the wire, with the official client: what ends when, and that nothing is left."""

import asyncio
import gc
import queue
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
import pytest
from google.api_core.exceptions import Cancelled, InvalidArgument, NotFound
from google.auth.credentials import AnonymousCredentials
from google.cloud import pubsub_v1
from google.cloud.pubsub_v1.subscriber.exceptions import AcknowledgeError, AcknowledgeStatus
from google.pubsub_v1.services.publisher.async_client import PublisherAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber.async_client import SubscriberAsyncClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport
from google.pubsub_v1.types import StreamingPullRequest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from emulator.pubsub.server import PubSubOptions, PubSubServer

TOPIC = "projects/p/topics/t-1"
NAME = "projects/p/subscriptions/s-1"


class Clients:
    """Asynchronous clients of one server, on one channel."""

    def __init__(self, server: PubSubServer) -> None:
        self.server = server
        self.streams: list[Stream] = []
        self.channel = grpc.aio.insecure_channel(server.address)
        self.publisher = PublisherAsyncClient(
            transport=PublisherGrpcAsyncIOTransport(channel=self.channel)
        )
        self.subscriber = SubscriberAsyncClient(
            transport=SubscriberGrpcAsyncIOTransport(channel=self.channel)
        )

    async def publish(self, *data: bytes) -> None:
        request = {"topic": TOPIC, "messages": [{"data": one} for one in data]}
        await self.publisher.publish(request=request)

    async def stream(self, **first: Any) -> "Stream":
        self.streams.append(await Stream.open(self, first))
        return self.streams[-1]

    async def drop(self) -> None:
        """Lose the connection; the client's own tasks end too."""
        await self.channel.close()
        for stream in self.streams:
            await stream.requests.put(None)

    async def pull_now(self) -> list[Any]:
        with pytest.warns(DeprecationWarning, match="return_immediately"):
            pulled = await self.subscriber.pull(
                request={"subscription": NAME, "max_messages": 100, "return_immediately": True}
            )
        return list(pulled.received_messages)


class Stream:
    """A StreamingPull call, its requests in a queue."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[StreamingPullRequest | None] = asyncio.Queue()

    @classmethod
    async def open(cls, clients: Clients, first: dict[str, Any]) -> "Stream":
        stream = cls()
        request = {"subscription": NAME, "stream_ack_deadline_seconds": 60} | first
        await stream.requests.put(StreamingPullRequest(request))

        async def requests() -> Any:
            while (one := await stream.requests.get()) is not None:
                yield one

        stream.call = await clients.subscriber.streaming_pull(requests=requests())
        return stream

    async def take(self) -> list[Any]:
        async with asyncio.timeout(10):
            return list((await self.call.read()).received_messages)


def over_the_wire(
    scenario: Callable[[Clients], Awaitable[None]], options: PubSubOptions | None = None
) -> None:
    """Run the scenario against a server with a topic and a subscription; nothing may be left."""

    async def run() -> None:
        server = await PubSubServer.start(options=options)
        clients = Clients(server)
        try:
            await clients.publisher.create_topic(name=TOPIC)
            await clients.subscriber.create_subscription(name=NAME, topic=TOPIC)
            await scenario(clients)
        finally:
            await clients.drop()
            began = time.monotonic()
            await server.close()
            took = time.monotonic() - began
        assert took < 1
        await _others_end()

    asyncio.run(run())


async def _others_end() -> None:
    """Wait until no task but this one is left."""
    async with asyncio.timeout(5):
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others, timeout=1)


def test_cancelled_streams_messages_reach_a_new_stream_at_once():
    """Their leases of 60 s end with the stream."""

    async def scenario(clients: Clients) -> None:
        first = await clients.stream()
        await clients.publish(b"a", b"b")
        assert len(await first.take()) == 2
        first.call.cancel()
        began = time.monotonic()
        second = await clients.stream()
        assert {r.message.data for r in await second.take()} == {b"a", b"b"}
        assert time.monotonic() - began < 2
        second.call.cancel()

    over_the_wire(scenario)


def test_lost_connection_gives_messages_back_at_once():
    """A closed channel is a cancelled stream."""

    async def scenario(clients: Clients) -> None:
        lost = Clients(clients.server)
        stream = await lost.stream()
        await clients.publish(b"a")
        await stream.take()
        await lost.drop()
        following = await clients.stream()
        assert [r.message.data for r in await following.take()] == [b"a"]
        following.call.cancel()

    over_the_wire(scenario)


def test_half_closed_stream_ends_with_ok_and_keeps_its_leases():
    """The client may still ack what it has, by other means."""

    async def scenario(clients: Clients) -> None:
        stream = await clients.stream()
        await clients.publish(b"a")
        (received,) = await stream.take()
        await stream.requests.put(None)
        assert await stream.call.read() is grpc.aio.EOF
        assert await stream.call.code() == grpc.StatusCode.OK
        assert await clients.pull_now() == []
        await clients.subscriber.acknowledge(subscription=NAME, ack_ids=[received.ack_id])
        assert clients.server.runtime.broker.subscription(NAME).unacked() == []

    over_the_wire(scenario)


def test_streams_share_a_backlog():
    """Several subscribers of one subscription each get some of a burst."""

    async def scenario(clients: Clients) -> None:
        streams = [await clients.stream() for _ in range(4)]
        await clients.subscriber.list_subscriptions(project="projects/p")
        await clients.publish(*[b"x"] * 100)
        counts = [len(batch) for batch in await asyncio.gather(*(s.take() for s in streams))]
        assert min(counts) >= 10
        for stream in streams:
            stream.call.cancel()

    over_the_wire(scenario)


@pytest.mark.parametrize(
    "request_after",
    [
        {"subscription": NAME},
        {"max_outstanding_messages": 5},
        {"modify_deadline_ack_ids": ["1-1-1"], "modify_deadline_seconds": [-1]},
        {"ack_ids": ["made up"]},
        {"stream_ack_deadline_seconds": 5},
    ],
    ids=str,
)
def test_bad_later_request_ends_the_stream(request_after: dict[str, Any]):
    """With INVALID_ARGUMENT."""

    async def scenario(clients: Clients) -> None:
        stream = await clients.stream()
        await stream.requests.put(StreamingPullRequest(request_after))
        with pytest.raises(InvalidArgument):
            await stream.take()

    over_the_wire(scenario)


def test_ping_of_protocol_version_1_is_answered():
    """By an empty response; Java's client reconnects without one."""

    async def scenario(clients: Clients) -> None:
        stream = await clients.stream(protocol_version=1)
        await stream.requests.put(StreamingPullRequest())
        assert await stream.take() == []
        await clients.publish(b"a")
        assert len(await stream.take()) == 1
        stream.call.cancel()

    over_the_wire(scenario)


def test_waiting_pull_is_woken_by_a_publish():
    """And answers an empty list before its caller's deadline."""

    async def scenario(clients: Clients) -> None:
        request = {"subscription": NAME, "max_messages": 10}
        pull = asyncio.ensure_future(clients.subscriber.pull(request=request, timeout=30))
        empty = await clients.subscriber.pull(request=request, timeout=0.4)
        assert list(empty.received_messages) == []
        await clients.publish(b"a")
        async with asyncio.timeout(5):
            assert [r.message.data for r in (await pull).received_messages] == [b"a"]

    over_the_wire(scenario)


@pytest.mark.parametrize("end", ["delete", "reset"])
def test_deleted_subscription_ends_its_streams_and_pulls(end: str):
    """With NOT_FOUND, at once; a reset of the server does too."""

    async def scenario(clients: Clients) -> None:
        stream = await clients.stream(max_outstanding_messages=1)
        await clients.publish(b"a")
        await stream.take()
        pull = asyncio.ensure_future(
            clients.subscriber.pull(request={"subscription": NAME, "max_messages": 1}, timeout=30)
        )
        await clients.subscriber.get_subscription(subscription=NAME)
        if end == "delete":
            await clients.subscriber.delete_subscription(subscription=NAME)
        else:
            await clients.server.reset()
        with pytest.raises(NotFound):
            await stream.take()
        with pytest.raises(NotFound):
            await pull
        assert NAME not in clients.server.runtime.broker.subscriptions

    over_the_wire(scenario)


def test_churn_leaves_no_task_and_no_file_behind():
    """Two hundred connections, opened, used and dropped in the middle of a stream."""

    async def scenario(clients: Clients) -> None:
        async def once() -> None:
            client = Clients(clients.server)
            stream = await client.stream()
            await clients.publish(b"a")
            await stream.take()
            await client.drop()

        def counted() -> tuple[int, int]:
            gc.collect()
            return len(asyncio.all_tasks()), len(list(Path("/proc/self/fd").iterdir()))

        async def settled() -> tuple[int, int]:
            async with asyncio.timeout(5):
                subscription = clients.server.runtime.broker.subscription(NAME)
                while subscription.attached:  # noqa: ASYNC110  # gives way to the loop, no more
                    await asyncio.sleep(0)
            return counted()

        for _ in range(10):
            await once()
        tasks, files = await settled()
        for _ in range(200):
            await once()
        tasks_after, files_after = await settled()
        assert tasks_after <= tasks + 5
        assert files_after <= files + 5

    over_the_wire(scenario)


def test_close_with_open_calls_is_prompt():
    """Streams and pulls that wait are ended by the server."""

    async def scenario(clients: Clients) -> None:
        stream = await clients.stream()
        reading = asyncio.ensure_future(stream.take())
        pull = asyncio.ensure_future(
            clients.subscriber.pull(
                request={"subscription": NAME, "max_messages": 1}, timeout=30, retry=None
            )
        )
        await clients.subscriber.get_subscription(subscription=NAME)
        began = time.monotonic()
        await clients.server.close()
        assert time.monotonic() - began < 1
        ended = await asyncio.gather(reading, pull, return_exceptions=True)
        assert all(isinstance(error, Exception) for error in ended)

    over_the_wire(scenario)


def test_reset_and_health_are_served():
    """POST /reset forgets everything; GET / and the health service say that all is well."""

    async def scenario(clients: Clients) -> None:
        url = f"http://{clients.server.http_address}"
        async with aiohttp.ClientSession() as session:
            async with session.get(url) as response:
                assert (await response.text()).strip() == "Ok"
            async with session.post(f"{url}/reset") as response:
                assert response.status == 200
        with pytest.raises(NotFound):
            await clients.publisher.get_topic(topic=TOPIC)
        health = health_pb2_grpc.HealthStub(clients.channel)
        for service in ("", "google.pubsub.v1.Publisher", "google.iam.v1.IAMPolicy"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING

    over_the_wire(scenario)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"200 OK"),
        (b"POST /reset HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", b"200 OK"),
        (b"GET /reset HTTP/1.1\r\n\r\n", b"405 Method Not Allowed"),
        (b"GET /nope?x=1 HTTP/1.1\r\n\r\n", b"404 Not Found"),
        (b"nonsense\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400 Bad Request"),
        (b"GET /" + b"x" * 70_000, b"400 Bad Request"),
    ],
    ids=["ok", "reset", "method", "path", "nonsense", "length", "long"],
)
def test_http_side_answers_once_and_closes(request_bytes: bytes, status: bytes):
    """Whatever comes, one answer, and the connection ends."""

    async def scenario(clients: Clients) -> None:
        host, port = clients.server.http_address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request_bytes)
        answer = await reader.read()
        assert answer.split(b"\r\n")[0] == b"HTTP/1.1 " + status
        writer.close()
        await writer.wait_closed()

    over_the_wire(scenario)


def test_unfinished_http_request_does_not_hold_up_the_close():
    """A connection that says nothing is dropped with the server."""

    async def scenario(clients: Clients) -> None:
        host, port = clients.server.http_address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\n")
        await writer.drain()
        await clients.server.close()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    over_the_wire(scenario)


def test_exactly_once_acks_say_whether_they_held():
    """The hand-written client's ack_with_response: SUCCESS, and INVALID_ACK_ID when stale."""

    async def scenario(clients: Clients) -> None:
        once = "projects/p/subscriptions/once"
        await clients.subscriber.create_subscription(
            request={"name": once, "topic": TOPIC, "enable_exactly_once_delivery": True}
        )
        await clients.publish(b"a", b"b")
        results = await asyncio.to_thread(_ack_twice, clients.server.address, once)
        assert results == [AcknowledgeStatus.SUCCESS, AcknowledgeStatus.INVALID_ACK_ID]

    over_the_wire(scenario)


def _ack_twice(address: str, name: str) -> list[AcknowledgeStatus]:
    transport = pubsub_v1.SubscriberClient.get_transport_class("grpc")
    with grpc.insecure_channel(address) as channel:
        client = pubsub_v1.SubscriberClient(
            transport=transport(channel=channel, credentials=AnonymousCredentials())
        )
        arrived: queue.Queue[Any] = queue.Queue()
        future = client.subscribe(name, arrived.put)
        good, stale = (arrived.get(timeout=5) for _ in range(2))
        client.modify_ack_deadline(
            subscription=name, ack_ids=[stale.ack_id], ack_deadline_seconds=0
        )
        results = [good.ack_with_response().result(10)]
        with pytest.raises(AcknowledgeError) as refused:
            stale.ack_with_response().result(10)
        results.append(refused.value.error_code)
        future.cancel()
        future.result(timeout=10)
        return results


def test_hand_written_subscriber_that_stops_leaves_its_messages_to_the_next():
    """Cancelled while its callbacks hold messages: the next subscriber has them at once."""

    async def scenario(clients: Clients) -> None:
        await clients.publish(b"a", b"b")
        seen = await asyncio.to_thread(_subscribe_twice, clients.server.address)
        assert seen == {b"a", b"b"}

    over_the_wire(scenario)


def _subscribe_twice(address: str) -> set[bytes]:
    transport = pubsub_v1.SubscriberClient.get_transport_class("grpc")
    seen: set[bytes] = set()
    for ack in (False, True):
        channel = grpc.insecure_channel(address)
        client = pubsub_v1.SubscriberClient(
            transport=transport(channel=channel, credentials=AnonymousCredentials())
        )
        arrived: queue.Queue[Any] = queue.Queue()
        future = client.subscribe(NAME, arrived.put)
        messages = [arrived.get(timeout=5) for _ in range(2)]
        if ack:
            for message in messages:
                message.ack()
            seen = {message.data for message in messages}
        future.cancel()
        future.result(timeout=10)
        client.close()
        channel.close()
    return seen


def test_port_taken_is_an_os_error():
    """And nothing of the half-started server is left."""

    async def run() -> None:
        server = await PubSubServer.start()
        port = int(server.address.rsplit(":", 1)[1])
        with pytest.raises(OSError, match=str(port)):
            await PubSubServer.start(port=port)
        await server.close()
        await _others_end()

    asyncio.run(run())


def test_cancelled_pull_gives_nothing_away():
    """A caller that goes away while it waits takes no message with it."""

    async def scenario(clients: Clients) -> None:
        request = {"subscription": NAME, "max_messages": 10}
        pulls = [
            asyncio.ensure_future(clients.subscriber.pull(request=request, timeout=30))
            for _ in range(20)
        ]
        await clients.subscriber.get_subscription(subscription=NAME)
        for pull in pulls:
            pull.cancel()
        await asyncio.gather(*pulls, return_exceptions=True)
        subscription = clients.server.runtime.broker.subscription(NAME)
        async with asyncio.timeout(5):
            while subscription.attached:  # noqa: ASYNC110  # gives way to the loop, no more
                await asyncio.sleep(0)
        await clients.publish(b"a")
        pulled = await clients.subscriber.pull(request=request, timeout=5)
        assert [r.message.data for r in pulled.received_messages] == [b"a"]

    over_the_wire(scenario)


def test_cancelled_is_what_the_client_sees():
    """A stream that the client cancels reports CANCELLED to the client."""

    async def scenario(clients: Clients) -> None:
        stream = await clients.stream()
        await clients.publish(b"a")
        await stream.take()
        stream.call.cancel()
        with pytest.raises((Cancelled, asyncio.CancelledError)):
            await stream.call.read()

    over_the_wire(scenario)
