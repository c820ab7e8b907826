"""The embedded Firestore against Google's emulator: `python -m bench.firestore`.

Single calls, transactions, batches and queries go through the official Python client, as an
application's do. Documents are loaded, and streams listened to, with bare gRPC stubs and the
client's message types, so that it is the server that is measured.

Queries are asked of one collection at each size. Each returns 10 documents (a count, all), so
their growth shows whether the cost follows the result or the collection.

Single calls are measured twice: the first ones after the start, which is what a test run or
a demo sees, and warm, when the JVM has compiled what it runs.

Google's emulator may take minutes to let contending transactions through: CAP_SECONDS ends
that, and then the figure is the cap.
"""

import argparse
import asyncio
import concurrent.futures
import json
import os
import queue
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio
from google.api_core.exceptions import GoogleAPICallError
from google.cloud import firestore
from google.cloud.firestore_v1 import FieldFilter, types

from bench import measure
from bench.measure import Metric, Server, Side
from emulator import gcloud

DATABASE = "projects/bench/databases/(default)"
ROOT = f"{DATABASE}/documents"
SERVICE = "/google.firestore.v1.Firestore"
SIZES = {1_000: "1k", 10_000: "10k", 100_000: "100k"}
QUERIES = ("equality", "range", "order_limit", "group", "count")
WORDS = {
    "equality": "equality, 10 of",
    "range": "range, 10 of",
    "order_limit": "order and limit, 10 of",
    "group": "collection group, 10 of",
    "count": "count of all",
}
GREATER_THAN = types.StructuredQuery.FieldFilter.Operator.GREATER_THAN.value
BATCH = 500
FEW = 500
CAP_SECONDS = 45.0
LISTEN_SECONDS = 150.0

HALF = measure.at_most_times(0.5, "at most half")
AT_SET_AND_GET = measure.at_most_times(0.7, "at most 0.7")
TWICE = measure.at_most(2, "times")

METRICS = [
    Metric("start", "start to first answered RPC", "s", HALF),
    Metric("idle_memory", "memory idle", "MB"),
    Metric("set_p50", "set, p50", "ms", AT_SET_AND_GET),
    Metric("set_early", f"set, p50 of the first {FEW}", "ms"),
    Metric("set_p99", "set, p99", "ms"),
    Metric("get_p50", "get, p50", "ms", AT_SET_AND_GET),
    Metric("get_early", f"get, p50 of the first {FEW}", "ms"),
    Metric("get_p99", "get, p99", "ms"),
    Metric(
        "transaction_p50",
        "transaction of one get and two creates, p50",
        "ms",
        measure.at_most_times(0.85, "at most 0.85"),
    ),
    Metric(
        "transaction_early", f"transaction of one get and two creates, p50 of the first {FEW}", "ms"
    ),
    Metric("transaction_p99", "transaction of one get and two creates, p99", "ms"),
    Metric("batched", f"writes in batches of {BATCH}", "documents/s"),
    *(
        Metric(f"{query}_{name}", f"query: {WORDS[query]} {name}, p50", "ms")
        for query in QUERIES
        for name in SIZES.values()
    ),
    *(
        Metric(
            f"{query}_growth",
            f"query: {WORDS[query].split(',')[0]}, last as a multiple of the first",
            "",
            TWICE if query != "count" else None,
        )
        for query in QUERIES
    ),
    Metric("first_query", "first equality query after the load", "ms"),
    Metric("loaded_memory", "memory with 100k documents", "MB", HALF),
    Metric("emptied_memory", "memory after they are deleted", "MB"),
    Metric(
        "contention", "20 increments of one document by 4 threads", "s", measure.at_most(0.5, "s")
    ),
    Metric("contention_attempts", "attempts that they took", ""),
    Metric("writers", "50 writers, one increment each of one document", "s"),
    Metric("listen_p50", "set to on_snapshot, p50", "ms"),
    Metric("listen_p99", "set to on_snapshot, p99", "ms"),
    Metric("targets", "50 writes, 200 targets on one stream", "s", measure.at_most(0.5, "s")),
    Metric("streams", "50 writes, 200 streams of one target", "s"),
]


class Stub:
    """Bare calls with the client's message types."""

    def __init__(self, channel: Any) -> None:
        commit, listen = f"{SERVICE}/Commit", f"{SERVICE}/Listen"
        request, reply = types.CommitRequest.pb(), types.CommitResponse.pb()
        self._commit = channel.unary_unary(commit, request.SerializeToString, reply.FromString)
        request, reply = types.ListenRequest.pb(), types.ListenResponse.pb()
        self.listen = channel.stream_stream(listen, request.SerializeToString, reply.FromString)

    def commit(self, writes: list[Any], database: str = DATABASE) -> Any:
        """Commit the writes; an awaitable of the reply on an async channel."""
        return self._commit(types.CommitRequest.pb()(database=database, writes=writes), timeout=120)


def first_rpc(address: str) -> None:
    """Commit nothing."""
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            f"{SERVICE}/Commit",
            types.CommitRequest.pb().SerializeToString,
            types.CommitResponse.pb().FromString,
        )
        call(types.CommitRequest.pb()(database=DATABASE), timeout=30, wait_for_ready=True)


@contextmanager
def connected(address: str) -> Iterator[firestore.Client]:
    """The official client."""
    os.environ["FIRESTORE_EMULATOR_HOST"] = address
    client = firestore.Client(project="bench")
    try:
        yield client
    finally:
        client._firestore_api.transport.close()


def timed(call: Callable[[], Any], count: int, enough_seconds: float = 60.0) -> list[float]:
    """Milliseconds of each of `count` calls, or of as many as fit into `enough_seconds`."""
    samples: list[float] = []
    end = time.perf_counter() + enough_seconds
    while len(samples) < count and (len(samples) < 3 or time.perf_counter() < end):
        begun = time.perf_counter()
        call()
        samples.append((time.perf_counter() - begun) * 1000)
    return samples


def percentiles(key: str, samples: list[float]) -> Iterator[tuple[str, float]]:
    yield f"{key}_p50", measure.percentile(samples, 50)
    yield f"{key}_p99", measure.percentile(samples, 99)


# --- single calls ----------------------------------------------------------------------------


def single_calls(db: firestore.Client, count: int) -> Iterator[tuple[str, float]]:
    numbers = iter(range(10**9))

    def put() -> None:
        number = next(numbers)
        db.document(f"single/d{number % 25}").set({"n": number, "name": "Ada", "tags": ["a"]})

    def get() -> None:
        assert db.document(f"single/d{next(numbers) % 25}").get().exists

    @firestore.transactional
    def claim(transaction: firestore.Transaction) -> None:
        number = next(numbers)
        db.document("single/d1").get(transaction=transaction)
        transaction.create(db.document(f"users/u{number}"), {"n": number})
        transaction.create(db.document(f"claims/c{number}"), {"n": number})

    for key, call in (
        ("set", put),
        ("get", get),
        ("transaction", lambda: claim(db.transaction())),
    ):
        yield f"{key}_early", measure.percentile(timed(call, count), 50)
        timed(call, 2 * count)  # warm, both: a JVM compiles what it has run often
        yield from percentiles(key, timed(call, count))


def batches(db: firestore.Client, count: int) -> Iterator[tuple[str, float]]:
    def one(number: int) -> None:
        batch = db.batch()
        for document in range(BATCH):
            batch.set(db.document(f"batches/d{number}-{document}"), {"n": document, "name": "Ada"})
        batch.commit()

    one(-1)  # warm
    begun = time.perf_counter()
    for number in range(count):
        one(number)
    yield "batched", count * BATCH / (time.perf_counter() - begun)


# --- many documents --------------------------------------------------------------------------


def item(number: int) -> Any:
    """A small document: unique n, ten of each bucket, a name."""
    value = types.Value.pb()
    return types.Document.pb()(
        name=f"{ROOT}/items/i{number:06}",
        fields={
            "n": value(integer_value=number),
            "bucket": value(integer_value=number // 10),
            "name": value(string_value=f"name of {number}"),
        },
    )


def load(stub: Stub, first: int, last: int) -> None:
    write = types.Write.pb()
    for start in range(first, last, BATCH):
        stop = min(start + BATCH, last)
        stub.commit([write(update=item(number)) for number in range(start, stop)])


def empty(stub: Stub, count: int) -> None:
    write = types.Write.pb()
    for start in range(0, count, BATCH):
        names = [item(number).name for number in range(start, min(start + BATCH, count))]
        stub.commit([write(delete=name) for name in names])


def queries(db: firestore.Client, size: int) -> dict[str, Callable[[], None]]:
    """Each query by name: it asks for a random ten, and checks that it got them."""
    items, group = db.collection("items"), db.collection_group("items")

    def at() -> int:
        return random.randrange(size // 10)  # noqa: S311 - not a secret

    def ten(query: Any) -> None:
        assert len(query.get()) == 10

    def in_range() -> None:
        first = at()
        query = items.where(filter=FieldFilter("n", ">=", first))
        ten(query.where(filter=FieldFilter("n", "<", first + 10)))

    def counted() -> None:
        assert items.count("n").get()[0][0].value == size

    return {
        "equality": lambda: ten(items.where(filter=FieldFilter("bucket", "==", at()))),
        "range": in_range,
        "order_limit": lambda: ten(items.order_by("n", direction="DESCENDING").limit(10)),
        "group": lambda: ten(group.where(filter=FieldFilter("bucket", "==", at()))),
        "count": counted,
    }


def many_documents(
    server: Server, db: firestore.Client, stub: Stub, up_to: int, count: int
) -> Iterator[tuple[str, float]]:
    costs: dict[str, list[float]] = {query: [] for query in QUERIES}
    loaded = 0
    for size, name in SIZES.items():
        if size > up_to:
            break
        load(stub, loaded, size)
        loaded = size
        asked = queries(db, size)
        if size == min(SIZES):
            (first,) = timed(asked["equality"], 1)[:1]
            yield "first_query", first
        for query, call in asked.items():
            timed(call, 5, 0.0)  # warm, both
            costs[query].append(measure.percentile(timed(call, count, 2.0), 50))
            yield f"{query}_{name}", costs[query][-1]
    for query, values in costs.items():
        if len(values) > 1:
            yield f"{query}_growth", values[-1] / values[0]
    if loaded == max(SIZES):
        yield "loaded_memory", server.rss_bytes() / 1e6
    empty(stub, loaded)
    if loaded == max(SIZES):
        yield "emptied_memory", server.rss_bytes() / 1e6


# --- contention ------------------------------------------------------------------------------


def increments(db: firestore.Client, path: str, threads: int, each: int) -> tuple[float, int]:
    """Seconds for `threads` to increment one document `each` times, and attempts used."""
    reference, attempts = db.document(path), []
    end = time.perf_counter() + CAP_SECONDS

    @firestore.transactional
    def increment(transaction: firestore.Transaction) -> None:
        attempts.append(None)
        found = reference.get(transaction=transaction)
        transaction.set(reference, {"n": (found.get("n") if found.exists else 0) + 1})

    def work(_thread: int) -> None:
        done = 0
        while done < each and time.perf_counter() < end:
            try:
                increment(db.transaction())
            except (ValueError, GoogleAPICallError):  # five attempts were not enough
                continue
            done += 1

    begun = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    took = time.perf_counter() - begun
    if took < CAP_SECONDS:
        found = reference.get().get("n")
        assert found == threads * each, f"{found} increments of {threads * each}"
    return min(took, CAP_SECONDS), len(attempts)


def contention(db: firestore.Client, quick: bool) -> Iterator[tuple[str, float]]:
    seconds, attempts = increments(db, "counters/four", *((2, 2) if quick else (4, 5)))
    if quick:
        return  # a smoke run of the code: not the case that the line names
    yield "contention", seconds
    yield "contention_attempts", attempts
    yield "writers", increments(db, "counters/fifty", 50, 1)[0]


# --- listening -------------------------------------------------------------------------------


def latency(db: firestore.Client, count: int) -> Iterator[tuple[str, float]]:
    reference = db.document("listen/one")
    arrived: queue.SimpleQueue[float] = queue.SimpleQueue()
    watch = reference.on_snapshot(lambda *_: arrived.put(time.perf_counter()))
    try:
        arrived.get(timeout=30)
        samples = []
        for number in range(count):
            begun = time.perf_counter()
            reference.set({"n": number})
            samples.append((arrived.get(timeout=30) - begun) * 1000)
        yield from percentiles("listen", samples[count // 10 :])
    finally:
        watch.unsubscribe()


async def listening(address: str, collection: str, streams: int, targets: int) -> float:
    """Seconds from the first of 50 writes until every target has heard of every document."""
    # A database of its own, and nobody leaves before all are done: after a listener has gone,
    # Google's emulator fails the next commit to what it listened to with CANCELLED or UNKNOWN,
    # whoever commits, and streams of others.
    database = f"projects/{collection}/databases/(default)"
    writes = 50
    message, change = types.ListenRequest.pb(), types.TargetChange.TargetChangeType
    current, done, over = asyncio.Semaphore(0), asyncio.Semaphore(0), asyncio.Event()

    def target(number: int) -> Any:
        # Queries that differ, so that no server can answer one for all.
        value = types.Value.pb()(integer_value=-1 - number)
        where = {"field_filter": {"field": {"field_path": "n"}, "op": GREATER_THAN, "value": value}}
        structured = types.StructuredQuery.pb()(from_=[{"collection_id": collection}], where=where)
        query = types.Target.QueryTarget.pb()(
            parent=f"{database}/documents", structured_query=structured
        )
        return types.Target.pb()(target_id=number + 1, query=query)

    async def one(stub: Stub, stream: int) -> None:
        call = stub.listen(timeout=300, metadata=(("google-cloud-resource-prefix", database),))
        mine = range(targets) if streams == 1 else range(stream, stream + 1)
        for number in mine:
            await call.write(message(database=database, add_target=target(number)))
        heard: dict[int, set[str]] = {number + 1: set() for number in mine}
        missing = len(heard) * writes
        while missing:
            reply = await call.read()
            if reply.target_change.target_change_type == change.CURRENT:
                for _ in reply.target_change.target_ids:
                    current.release()
            for number in reply.document_change.target_ids:
                if reply.document_change.document.name not in heard[number]:
                    heard[number].add(reply.document_change.document.name)
                    missing -= 1
        done.release()
        await over.wait()
        call.cancel()

    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        stub = Stub(channel)
        async with asyncio.timeout(LISTEN_SECONDS), asyncio.TaskGroup() as group:
            for stream in range(streams):
                group.create_task(one(stub, stream))
                for _ in range(targets // streams):  # one stream after the other
                    await current.acquire()
            begun = time.perf_counter()
            for number in range(writes):
                value = types.Value.pb()(integer_value=number)
                name = f"{database}/documents/{collection}/d{number}"
                document = types.Document.pb()(name=name, fields={"n": value})
                await stub.commit([types.Write.pb()(update=document)], database)
            for _ in range(streams):
                await done.acquire()
            took = time.perf_counter() - begun
            over.set()
        return took


def heard(address: str, streams: int, targets: int) -> list[float]:
    """The seconds of the first attempt of three that ends well, if any.

    Google's emulator now and then ends a stream of many, or a commit that many listen to, with
    UNKNOWN and no text.
    """
    for attempt in range(3):
        try:
            return [asyncio.run(listening(address, f"heard-{streams}-{attempt}", streams, targets))]
        except (ExceptionGroup, TimeoutError) as failure:
            print(f"again, as listening failed: {failure!r}", file=sys.stderr)
    return []


# --- the whole -------------------------------------------------------------------------------


def scenario(
    arguments: argparse.Namespace,
) -> Callable[[Side, Server], Iterator[tuple[str, float]]]:
    """All of it on one server."""
    quick = arguments.quick
    few = 50 if quick else FEW

    def run(_side: Side, server: Server) -> Iterator[tuple[str, float]]:
        yield "start", server.first_answer_seconds
        yield "idle_memory", server.rss_bytes() / 1e6
        with connected(server.address) as db, grpc.insecure_channel(server.address) as channel:
            yield from single_calls(db, few)
            yield from batches(db, 2 if quick else 20)
            up_to = min(SIZES) if quick else max(SIZES)
            yield from many_documents(server, db, Stub(channel), up_to, 10 if quick else 50)
            yield from latency(db, 20 if quick else 200)
            yield from contention(db, quick)
        targets = 20 if quick else 200
        one = heard(server.address, 1, targets)
        many = heard(server.address, targets, targets)
        if not quick:
            yield from (("targets", seconds) for seconds in one)
            yield from (("streams", seconds) for seconds in many)

    return run


def main() -> int:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(prog="python -m bench.firestore", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="a smoke run, not stored")
    parser.add_argument("--rounds", type=int, help="default: 3, with --quick 1")
    parser.add_argument(
        "--backend", choices=["both", measure.EMBEDDED, measure.GCLOUD], default="both"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    arguments = parser.parse_args()
    chosen = measure.sides("firestore", arguments.backend)
    results = measure.Results("firestore", METRICS, [side.name for side in chosen])
    rounds = arguments.rounds or (1 if arguments.quick else 3)
    measure.run(results, chosen, rounds, first_rpc, scenario(arguments))
    if arguments.json:
        print(json.dumps(results.as_dict()))
    else:
        measure.show(results)
    if not arguments.quick and arguments.backend == "both":
        version = gcloud.find().firestore_version or "not installed"
        note = f"`python -m bench.firestore`, {rounds} rounds; Google's emulator {version}."
        for path in results.store(note):
            print(f"stored {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
