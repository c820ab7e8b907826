"""The embedded Pub/Sub against Google's emulator: `python -m bench.pubsub`.

Single publishes, callbacks and push go through the official Python client. Throughput is
measured with bare gRPC stubs and the client's message types, since the client library itself
is the bottleneck above a few thousand messages a second; one line shows it as well.

The side "bare" is a server without a broker (bench/bare.py), for the floor of publish and
callback: what it costs is not the broker's.

Latency "at rest" is of one message at a time, 20 to 70 ms apart at random, so that a server
that polls is met at every phase of its poll.
"""

import argparse
import asyncio
import json
import queue
import random
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import grpc.aio
from google.cloud import pubsub_v1
from google.pubsub_v1 import types
from google.pubsub_v1.services.publisher import PublisherClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

from bench import measure
from bench.measure import Metric, Server, Side
from emulator import gcloud

PROJECT = "projects/bench"
BARE = "bare"
PAYLOAD = b"x" * 100
SIZES = {1_000: "1k", 10_000: "10k", 100_000: "100k", 1_000_000: "1M"}

METRICS = [
    Metric("start", "start to first answered RPC", "s", measure.at_most_times(0.5, "at most half")),
    Metric("idle_memory", "memory idle", "MB", measure.at_most_times(1 / 3, "at most a third")),
    Metric(
        "loaded_memory",
        "memory after the load below",
        "MB",
        measure.at_most_times(1 / 3, "at most a third"),
    ),
    Metric(
        "publish_p50",
        "publish, 1 message, p50",
        "ms",
        measure.at_most_times(1, "no slower"),
    ),
    Metric("publish_p99", "publish, 1 message, p99", "ms"),
    Metric(
        "publish_batches",
        "publish in batches of 1,000 x 100 bytes",
        "messages/s",
        measure.at_least_times(1, "no slower"),
    ),
    Metric("callback_p50", "publish to callback at rest, p50", "ms", measure.at_most(4, "ms")),
    Metric("callback_p99", "publish to callback at rest, p99", "ms"),
    Metric(
        "streaming_pull",
        "StreamingPull, bare stub, acknowledged in the stream",
        "messages/s",
        measure.at_least_times(8, "at least 8 times"),
    ),
    Metric("callbacks", "StreamingPull, client library, callbacks", "messages/s"),
    Metric("push_p50", "publish to push endpoint at rest, p50", "ms", measure.at_most(10, "ms")),
    Metric("push_p99", "publish to push endpoint at rest, p99", "ms"),
    Metric("fan_out", "100 subscriptions on one topic, 100 streams", "deliveries/s"),
    Metric("fan_out_publish_p50", "publish, 1 message, to 100 subscriptions, p50", "ms"),
    Metric("ordered", "1,000 ordering keys, one stream", "messages/s"),
    *(
        Metric(f"backlog_{name}", f"publish, 1 message, on a backlog of {name}, p50", "ms")
        for name in SIZES.values()
    ),
    Metric("backlog_growth", "the last of these as a multiple of the first", ""),
    Metric("queued_message", "memory per queued message of 100 bytes", "bytes"),
]


class Stub:
    """Bare calls with the client's message types."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def _unary(self, service: str, name: str, request: Any, reply: Any) -> Callable[..., Any]:
        path = f"/google.pubsub.v1.{service}/{name}"
        call = self._channel.unary_unary(path, request.SerializeToString, reply.FromString)
        return lambda message: call(message, timeout=120)

    def publish(self) -> Callable[..., Any]:
        """Publish, prepared."""
        request, reply = types.PublishRequest.pb(), types.PublishResponse.pb()
        return self._unary("Publisher", "Publish", request, reply)

    def create(self, name: str, *subscriptions: str, **settings: Any) -> str:
        """A topic with subscriptions of the same settings; the topic's name."""
        topic = f"{PROJECT}/topics/{name}"
        pb = types.Topic.pb()
        self._unary("Publisher", "CreateTopic", pb, pb)(pb(name=topic))
        pb = types.Subscription.pb()
        create = self._unary("Subscriber", "CreateSubscription", pb, pb)
        for each in subscriptions:
            create(
                pb(
                    name=f"{PROJECT}/subscriptions/{each}",
                    topic=topic,
                    ack_deadline_seconds=60,
                    **settings,
                )
            )
        return topic

    def streaming_pull(self) -> Any:
        """StreamingPull, prepared."""
        request, reply = types.StreamingPullRequest.pb(), types.StreamingPullResponse.pb()
        path = "/google.pubsub.v1.Subscriber/StreamingPull"
        return self._channel.stream_stream(path, request.SerializeToString, reply.FromString)


def first_rpc(address: str) -> None:
    """List no topics."""
    request, reply = types.ListTopicsRequest.pb(), types.ListTopicsResponse.pb()
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            "/google.pubsub.v1.Publisher/ListTopics", request.SerializeToString, reply.FromString
        )
        call(request(project=PROJECT), timeout=30, wait_for_ready=True)


def batch(topic: str, count: int) -> Any:
    """A request of `count` messages."""
    pb = types.PubsubMessage.pb()
    return types.PublishRequest.pb()(topic=topic, messages=[pb(data=PAYLOAD)] * count)


def batch_of_key(topic: str, key: str, count: int) -> Any:
    """A request of `count` messages of one ordering key, numbered from 0 in their data."""
    pb = types.PubsubMessage.pb()
    messages = [pb(data=b"%d" % number, ordering_key=key) for number in range(count)]
    return types.PublishRequest.pb()(topic=topic, messages=messages)


def timed(call: Callable[[], Any], count: int) -> list[float]:
    """Milliseconds of each of `count` calls."""
    samples = []
    for _ in range(count):
        begun = time.perf_counter()
        call()
        samples.append((time.perf_counter() - begun) * 1000)
    return samples


def opening(subscription: str, outstanding: int = 10_000) -> Any:
    """The first request of a stream."""
    return types.StreamingPullRequest.pb()(
        subscription=f"{PROJECT}/subscriptions/{subscription}",
        stream_ack_deadline_seconds=60,
        max_outstanding_messages=outstanding,
    )


def stream(stub: Stub, subscription: str, count: int) -> Iterator[Any]:
    """The first `count` distinct messages, each response acknowledged in the stream."""
    request = types.StreamingPullRequest.pb()
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    requests.put(opening(subscription))
    call = stub.streaming_pull()(iter(requests.get, None), timeout=300)
    seen: set[str] = set()
    for response in call:
        received = response.received_messages
        requests.put(request(ack_ids=[each.ack_id for each in received]))
        for each in received:
            if each.message.message_id not in seen:
                seen.add(each.message.message_id)
                yield each.message
        if len(seen) >= count:
            break
    requests.put(None)
    call.cancel()


def at_rest(
    publish: Callable[[bytes], Any], arrived: "queue.SimpleQueue[Any]", n: int
) -> list[float]:
    """Milliseconds from each of `n` spaced publishes to its arrival."""
    samples = []
    for number in range(n):
        time.sleep(random.uniform(0.02, 0.07))  # noqa: S311 - not a secret
        begun = time.perf_counter()
        publish(b"%d" % number)
        samples.append((arrived.get(timeout=30) - begun) * 1000)
    return samples


def client_publisher(address: str) -> PublisherClient:
    """The generated client: what a publish costs without the library's batching."""
    transport = PublisherGrpcTransport(channel=grpc.insecure_channel(address))
    return PublisherClient(transport=transport)


def single_publishes(servers: Mapping[str, Server], n: int) -> Iterator[tuple[str, str, float]]:
    calls: dict[str, Callable[[], Any]] = {}
    samples: dict[str, list[float]] = defaultdict(list)
    message = types.PubsubMessage(data=PAYLOAD)
    for name, server in servers.items():
        topic = Stub(grpc.insecure_channel(server.address)).create("single", "single")
        publish = client_publisher(server.address).publish
        calls[name] = partial(publish, topic=topic, messages=[message])
    for number in range(2 * n):
        for name, call in calls.items():
            took = timed(call, 1)
            if number >= n:  # warm by now, both
                samples[name] += took
    for name, values in samples.items():
        yield "publish_p50", name, measure.percentile(values, 50)
        yield "publish_p99", name, measure.percentile(values, 99)


def callbacks(server: Server, stub: Stub, n: int) -> Iterator[tuple[str, float]]:
    topic = stub.create("callback", "callback")
    publisher = pubsub_v1.PublisherClient(
        pubsub_v1.types.BatchSettings(max_messages=1),
        transport=PublisherGrpcTransport(channel=grpc.insecure_channel(server.address)),
    )
    subscriber = pubsub_v1.SubscriberClient(
        transport=pubsub_v1.SubscriberClient.get_transport_class("grpc")(
            channel=grpc.insecure_channel(server.address)
        ),
    )
    arrived: queue.SimpleQueue[float] = queue.SimpleQueue()

    def callback(message: Any) -> None:
        arrived.put(time.perf_counter())
        message.ack()

    future = subscriber.subscribe(f"{PROJECT}/subscriptions/callback", callback)
    try:
        at_rest(lambda data: publisher.publish(topic, data), arrived, 10)  # warm, both
        samples = at_rest(lambda data: publisher.publish(topic, data), arrived, n)
        yield "callback_p50", measure.percentile(samples, 50)
        yield "callback_p99", measure.percentile(samples, 99)
        publish, many = stub.publish(), 50 * n
        begun = time.perf_counter()
        for _ in range(many // 1000):
            publish(batch(topic, 1000))
        for _ in range(many):
            last = arrived.get(timeout=60)
        yield "callbacks", many / (last - begun)
    finally:
        future.cancel()
        future.result(timeout=30)
        publisher.stop()
        subscriber.close()


def throughput(stub: Stub, batches: int) -> Iterator[tuple[str, float]]:
    topic = stub.create("batches", "batches")
    publish, request = stub.publish(), batch(topic, 1000)
    timed(lambda: publish(request), 5)  # warm, both
    begun = time.perf_counter()
    timed(lambda: publish(request), batches)
    yield "publish_batches", batches * 1000 / (time.perf_counter() - begun)
    count = (batches + 5) * 1000
    begun = time.perf_counter()
    for _ in stream(stub, "batches", count):
        pass
    yield "streaming_pull", count / (time.perf_counter() - begun)


def ordered(stub: Stub, each: int) -> Iterator[tuple[str, float]]:
    topic = stub.create("ordered", "ordered", enable_message_ordering=True)
    publish, keys = stub.publish(), 1000
    for number in range(keys):  # a request may have one key only
        publish(batch_of_key(topic, f"key-{number}", each))
    following: dict[str, int] = defaultdict(int)
    begun = time.perf_counter()
    for message in stream(stub, "ordered", keys * each):
        number = following[message.ordering_key]
        assert int(message.data) == number, f"{message.ordering_key}: not {number} next"
        following[message.ordering_key] = number + 1
    yield "ordered", keys * each / (time.perf_counter() - begun)


async def _drain(address: str, names: list[str], each: int) -> float:
    """The time when the last of `names` has received `each` messages, each on its own stream."""
    request = types.StreamingPullRequest.pb()

    async def one(stub: Stub, name: str) -> None:
        call = stub.streaming_pull()(timeout=300)
        await call.write(opening(name))
        got = 0
        while got < each:
            response = await call.read()
            got += len(response.received_messages)
            await call.write(request(ack_ids=[m.ack_id for m in response.received_messages]))
        call.cancel()

    async with grpc.aio.insecure_channel(address) as channel:
        stub = Stub(channel)
        await asyncio.gather(*(one(stub, name) for name in names))
        return time.perf_counter()


def fan_out(server: Server, stub: Stub, messages: int) -> Iterator[tuple[str, float]]:
    names = [f"fan-{number}" for number in range(100)]
    topic = stub.create("fan", *names)
    publish = stub.publish()
    single = batch(topic, 1)
    samples = timed(lambda: publish(single), messages)
    yield "fan_out_publish_p50", measure.percentile(samples, 50)
    begun = time.perf_counter()
    ended = asyncio.run(_drain(server.address, names, messages))
    yield "fan_out", messages * len(names) / (ended - begun)


def push(stub: Stub, n: int) -> Iterator[tuple[str, float]]:
    arrived: queue.SimpleQueue[float] = queue.SimpleQueue()

    class Endpoint(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            arrived.put(time.perf_counter())
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
            pass

    endpoint = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    endpoint.daemon_threads = True
    thread = threading.Thread(target=endpoint.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{endpoint.server_address[1]}/"
        config = types.PushConfig.pb()(push_endpoint=url)
        topic = stub.create("push", "push", push_config=config)
        publish, pb = stub.publish(), types.PubsubMessage.pb()

        def one(data: bytes) -> None:
            publish(types.PublishRequest.pb()(topic=topic, messages=[pb(data=data)]))

        at_rest(one, arrived, 10)  # warm, both
        samples = at_rest(one, arrived, n)
        yield "push_p50", measure.percentile(samples, 50)
        yield "push_p99", measure.percentile(samples, 99)
    finally:
        endpoint.shutdown()
        thread.join()
        endpoint.server_close()


def backlog(server: Server, stub: Stub, up_to: int) -> Iterator[tuple[str, float]]:
    topic = stub.create("backlog", "backlog")
    publish, request, single = stub.publish(), batch(topic, 1000), batch(topic, 1)
    timed(lambda: publish(single), 100)  # warm, both
    before, queued, costs = server.rss_bytes(), 0, []
    for size, name in SIZES.items():
        if size > up_to:
            break
        while queued < size:
            publish(request)
            queued += 1000
        costs.append(measure.percentile(timed(lambda: publish(single), 200), 50))
        yield f"backlog_{name}", costs[-1]
    yield "backlog_growth", costs[-1] / costs[0]
    yield "queued_message", (server.rss_bytes() - before) / queued


def scenario(
    arguments: argparse.Namespace,
) -> Callable[[Side, Server], Iterator[tuple[str, float]]]:
    """All of it on one server."""
    quick = arguments.quick
    few = 20 if quick else 200

    def run(side: Side, server: Server) -> Iterator[tuple[str, float]]:
        if side.name != BARE:
            yield "start", server.first_answer_seconds
            yield "idle_memory", server.rss_bytes() / 1e6
        with grpc.insecure_channel(server.address) as channel:
            stub = Stub(channel)
            yield from callbacks(server, stub, few)
            if side.name == BARE:
                return
            yield from push(stub, few)
            yield from throughput(stub, 5 if quick else 30)
            yield from ordered(stub, 2 if quick else 10)
            yield from fan_out(server, stub, 10 if quick else 100)
            yield "loaded_memory", server.rss_bytes() / 1e6
            whole = arguments.full or side.name == measure.EMBEDDED
            up_to = 10_000 if quick else 1_000_000 if whole else 100_000
            yield from backlog(server, stub, up_to)

    return run


def main() -> int:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(prog="python -m bench.pubsub", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="a smoke run, not stored")
    parser.add_argument("--full", action="store_true", help="a backlog of 1M on both sides")
    parser.add_argument("--rounds", type=int, help="default: 3, with --quick 1")
    parser.add_argument(
        "--backend", choices=["both", measure.EMBEDDED, measure.GCLOUD], default="both"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    arguments = parser.parse_args()
    chosen = measure.sides("pubsub", arguments.backend)
    if arguments.backend == "both":
        bare = [sys.executable, "-m", "bench.bare"]
        chosen.append(Side(BARE, lambda port: [*bare, str(port)]))
    results = measure.Results("pubsub", METRICS, [side.name for side in chosen])
    rounds = arguments.rounds or (1 if arguments.quick else 3)
    measure.run(results, chosen, rounds, first_rpc, scenario(arguments))
    calls = 100 if arguments.quick else 1000
    measure.run_together(
        results, chosen, rounds, first_rpc, lambda servers: single_publishes(servers, calls)
    )
    if arguments.json:
        print(json.dumps(results.as_dict()))
    else:
        measure.show(results)
    if not arguments.quick and arguments.backend == "both":
        version = gcloud.find().pubsub_version or "not installed"
        note = f"`python -m bench.pubsub`, {rounds} rounds; Google's emulator {version}."
        for path in results.store(note):
            print(f"stored {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
