"""Queries and listening over the wire, driven by Google's own client, threads and asyncio."""

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import And, FieldFilter, Or
from google.cloud.firestore_v1.base_vector_query import DistanceMeasure
from google.cloud.firestore_v1.query_profile import ExplainOptions
from google.cloud.firestore_v1.vector import Vector

from emulator.firestore.server import FirestoreOptions
from tests.emulator.firestore_client import serving, with_client

CITIES: dict[str, dict[str, Any]] = {
    "bj": {"n": 21, "country": "CN", "tags": ["capital"], "v": Vector([1.0, 0.0])},
    "la": {"n": 4, "country": "US", "tags": ["coast"], "v": Vector([0.0, 1.0])},
    "ny": {"n": 8, "country": "US", "tags": ["coast", "big"], "v": Vector([3.0, 4.0])},
    "sf": {"n": 1, "country": "US", "tags": ["coast"], "at": {"zip": 94105}},
}


def fill(client: firestore.Client) -> firestore.CollectionReference:
    batch = client.batch()
    cities = client.collection("cities")
    for name, fields in CITIES.items():
        batch.set(cities.document(name), fields)
    batch.set(client.document("cities/sf/cities/sub"), {"n": 100, "country": "US"})
    batch.commit()
    return cities


def ids(found: Any) -> list[str]:
    return [snapshot.id for snapshot in found]


US = FieldFilter("country", "==", "US")
BIG = FieldFilter("n", ">", 3)


def test_the_clients_own_query_methods():
    """Filters, order, cursors, limit to last, projection, groups, names, vectors."""

    def work(client):
        cities = fill(client)
        by_n = cities.order_by("n")
        selected = cities.where(filter=US).select(["at.zip", "n"]).get()
        near = cities.find_nearest(
            "v",
            Vector([1.0, 1.0]),
            distance_measure=DistanceMeasure.EUCLIDEAN,
            limit=2,
            distance_result_field="far",
        )
        return {
            "and": ids(cities.where(filter=And([US, BIG])).stream()),
            "or": ids(cities.where(filter=Or([FieldFilter("n", "==", 21), BIG])).stream()),
            "in": ids(cities.where(filter=FieldFilter("n", "in", [21, 1])).stream()),
            "any": ids(
                cities.where(
                    filter=FieldFilter("tags", "array_contains_any", ["big", "capital"])
                ).stream()
            ),
            # Of its own query: the client turns the order round in the one it is made from.
            "last": ids(cities.order_by("n").limit_to_last(2).get()),
            "after": ids(by_n.start_after({"n": 4}).end_at({"n": 8}).stream()),
            "snapshot": ids(by_n.start_at(cities.document("ny").get()).stream()),
            "offset": ids(by_n.offset(1).limit(2).stream()),
            "selected": [one.to_dict() for one in selected],
            "group": ids(client.collection_group("cities").where(filter=US).stream()),
            "name": ids(
                cities.where(filter=FieldFilter("__name__", ">", cities.document("la"))).stream()
            ),
            "near": [(one.id, one.get("far")) for one in near.get()],
        }

    assert with_client(work) == {
        "and": ["la", "ny"],
        "or": ["la", "ny", "bj"],
        "in": ["bj", "sf"],
        "any": ["bj", "ny"],
        "last": ["ny", "bj"],
        "after": ["ny"],
        "snapshot": ["ny", "bj"],
        "offset": ["la", "ny"],
        "selected": [{"n": 4}, {"n": 8}, {"n": 1, "at": {"zip": 94105}}],
        "group": ["la", "ny", "sf", "sub"],
        "name": ["ny", "sf"],
        "near": [("bj", 1.0), ("la", 1.0)],
    }


def test_aggregations_partitions_and_read_times():
    """What the client sends beside plain queries."""

    def work(client):
        cities = fill(client)
        before = cities.document("sf").get().read_time
        client.document("cities/late").set({"n": 1000})
        query = cities.where(filter=US)
        totals = query.count(alias="all").sum("n", alias="sum").avg("n", alias="avg").get()
        parts = list(client.collection_group("cities").get_partitions(3))
        return (
            {one.alias: one.value for one in totals[0]},
            cities.count().get()[0][0].value,
            cities.count().get(read_time=before)[0][0].value,
            ids(cities.stream(read_time=before)),
            [ids(part.query().stream()) for part in parts],
        )

    totals, now, then, past, parts = with_client(work)
    assert totals == {"all": 3, "sum": 13, "avg": 13 / 3}
    assert (now, then, past) == (5, 4, ["bj", "la", "ny", "sf"])
    assert [one for part in parts for one in part] == ["bj", "la", "late", "ny", "sf", "sub"]
    assert len(parts) == 4


def test_explain_tells_the_plan_and_with_analyze_the_work():
    """Google's emulator ignores explain_options; production answers them."""

    def work(client):
        query = fill(client).where(filter=BIG).order_by("n").limit(2)
        planned = query.get(explain_options=ExplainOptions(analyze=False))
        analyzed = query.get(explain_options=ExplainOptions(analyze=True))
        counted = query.count().get(explain_options=ExplainOptions(analyze=True))
        stats = analyzed.get_explain_metrics().execution_stats
        return (
            ids(planned),
            planned.get_explain_metrics().plan_summary.indexes_used,
            ids(analyzed),
            (stats.results_returned, stats.read_operations, stats.debug_stats["documents_scanned"]),
            counted.get_explain_metrics().execution_stats.results_returned,
        )

    planned, used, analyzed, stats, counted = with_client(work)
    assert planned == []
    assert used == [{"query_scope": "Collection", "properties": "(n ASC, __name__ ASC)"}]
    assert analyzed == ["la", "ny"]
    assert stats == (2, 2, "2")
    assert counted == 1


def test_a_query_in_a_transaction_is_validated_at_its_commit():
    """A document that enters the result dooms the transaction; one beyond its window does not."""

    def work(client):
        cities = fill(client)
        seen: list[list[str]] = []

        def smallest(transaction: Any, disturb: Callable[[], Any]) -> None:
            query = cities.order_by("n").limit(2)
            seen.append(ids(query.stream(transaction=transaction)))
            if len(seen) == 1:
                disturb()
            transaction.set(client.document("found/it"), {"ids": seen[-1]})

        attempt = firestore.transactional(smallest)
        attempt(client.transaction(), lambda: cities.document("beyond").set({"n": 5}))
        undisturbed, seen[:] = list(seen), []
        attempt(client.transaction(), lambda: cities.document("first").set({"n": 0}))
        return undisturbed, seen

    undisturbed, disturbed = with_client(work)
    assert undisturbed == [["sf", "la"]]
    assert disturbed == [["sf", "la"], ["first", "sf"]]


def test_what_production_refuses_is_refused():
    """INVALID_ARGUMENT, and with indexes required FAILED_PRECONDITION, of a listener too."""

    def work(client):
        cities = fill(client)
        with pytest.raises(exceptions.InvalidArgument, match="'IN' supports up to 30"):
            cities.where(filter=FieldFilter("n", "in", list(range(31)))).get()
        with pytest.raises(exceptions.FailedPrecondition, match="requires an index"):
            cities.where(filter=US).order_by("n").get()
        with pytest.raises(exceptions.FailedPrecondition, match="requires an index"):
            cities.where(filter=US).sum("n").get()
        return ids(cities.where(filter=US).get())

    assert with_client(work, FirestoreOptions(require_indexes=True)) == ["la", "ny", "sf"]


EXEMPT = {"fieldOverrides": [{"collectionGroup": "cities", "fieldPath": "at", "indexes": []}]}


def test_a_query_of_an_exempt_field_is_refused_where_indexes_are_required():
    """Filter, order and aggregation; by its name or by another field a document is found."""

    def work(client):
        cities = fill(client)
        zipped = cities.where(filter=FieldFilter("at.zip", "==", 94105))
        by_at = cities.order_by("at")
        for ask in (zipped.get, zipped.count().get, by_at.get, cities.avg("at.zip").get):
            with pytest.raises(exceptions.FailedPrecondition, match="requires a COLLECTION_ASC"):
                ask()
        with pytest.raises(exceptions.FailedPrecondition, match="requires an index"):
            zipped.where(filter=US).get()
        assert cities.document("sf").get().get("at.zip") == 94105
        return ids(cities.where(filter=US).get())

    required = FirestoreOptions(require_indexes=True, indexes=EXEMPT)
    assert with_client(work, required) == ["la", "ny", "sf"]


def test_a_query_of_an_exempt_field_is_answered_with_a_warning_otherwise(caplog):
    """Which names the index of the field that inherits the exemption."""

    def work(client):
        cities = fill(client)
        return ids(cities.where(filter=FieldFilter("at.zip", "==", 94105)).get())

    with caplog.at_level(logging.WARNING):
        assert with_client(work, FirestoreOptions(indexes=EXEMPT)) == ["sf"]
    (told,) = [one.getMessage() for one in caplog.records if "needs an index" in one.getMessage()]
    assert '"fieldPath": "at.zip"' in told


Snapshots = queue.Queue[tuple[list[str], list[str]]]


@contextlib.contextmanager
def listening(target: Any) -> Iterator[Snapshots]:
    """Snapshots of a query or document, each as (ids in order, `ADDED la`...)."""
    snapshots: Snapshots = queue.Queue()

    def told(documents: Any, changes: Any, _read_time: Any) -> None:
        snapshots.put((ids(documents), [f"{one.type.name} {one.document.id}" for one in changes]))

    watch = target.on_snapshot(told)
    try:
        yield snapshots
    finally:
        watch.unsubscribe()


def test_a_listener_hears_what_changed():
    """First the whole, then each difference: entering, changing, leaving, deleted."""

    def work(client):
        cities = fill(client)
        with listening(cities.where(filter=BIG).order_by("n").limit(2)) as snapshots:
            heard = [snapshots.get(timeout=10)]
            for change in (
                lambda: cities.document("new").set({"n": 5}),
                lambda: cities.document("new").set({"n": 6}),
                lambda: cities.document("la").update({"n": 0}),
                lambda: cities.document("new").delete(),
            ):
                change()
                heard.append(snapshots.get(timeout=10))
            assert snapshots.empty()
        return heard

    assert with_client(work) == [
        (["la", "ny"], ["ADDED la", "ADDED ny"]),
        (["la", "new"], ["REMOVED ny", "ADDED new"]),
        (["la", "new"], ["MODIFIED new"]),
        (["new", "ny"], ["REMOVED la", "ADDED ny"]),
        (["ny", "bj"], ["REMOVED new", "ADDED bj"]),
    ]


def test_a_document_listener_hears_of_a_document_that_is_not_there_yet():
    """An empty snapshot first."""

    def work(client):
        with listening(client.document("a/b")) as snapshots:
            heard = [snapshots.get(timeout=10)]
            client.document("a/b").set({"n": 1})
            heard.append(snapshots.get(timeout=10))
            client.document("a/b").delete()
            heard.append(snapshots.get(timeout=10))
        return heard

    assert with_client(work) == [([], []), (["b"], ["ADDED b"]), ([], ["REMOVED b"])]


def test_two_hundred_listeners_all_end_up_with_the_same():
    """However few snapshots each is given while commits come fast, the last one is the truth."""

    def work(client):
        query = client.collection("c").where(filter=FieldFilter("n", ">=", 0))
        latest: dict[int, list[str]] = {}
        everybody = threading.Semaphore(0)
        expected = [f"d{index}" for index in range(9)]

        def told(index: int) -> Callable[[Any, Any, Any], None]:
            def take(documents: Any, _changes: Any, _read_time: Any) -> None:
                latest[index] = sorted(ids(documents))
                if latest[index] in ([], expected):
                    everybody.release()

            return take

        watches = [query.on_snapshot(told(index)) for index in range(200)]
        try:
            for _ in watches:
                assert everybody.acquire(timeout=60)
            for name in expected:
                client.document(f"c/{name}").set({"n": 1})
            for _ in watches:
                assert everybody.acquire(timeout=60)
        finally:
            for watch in watches:
                watch.unsubscribe()
        return latest, expected

    latest, expected = with_client(work)
    assert latest == dict.fromkeys(range(200), expected)


def test_the_async_client_queries_while_others_write():
    """The same service through asyncio."""

    async def main() -> tuple[list[str], Any, list[str]]:
        async with serving():
            client = firestore.AsyncClient(project="p", credentials=AnonymousCredentials())
            try:
                cities = client.collection("cities")
                await asyncio.gather(
                    *(cities.document(name).set(fields) for name, fields in CITIES.items())
                )
                query = cities.where(filter=US).order_by("n", direction="DESCENDING")
                found = [one.id async for one in query.stream()]
                total = (await query.count().get())[0][0].value

                @firestore.async_transactional
                async def read(transaction: Any) -> list[str]:
                    return [one.id async for one in query.stream(transaction=transaction)]

                return found, total, await read(client.transaction())
            finally:
                client.close()

    assert asyncio.run(main()) == (["ny", "la", "sf"], 3, ["ny", "la", "sf"])
