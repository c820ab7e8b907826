"""The async client: the same calls through grpc.aio."""

import asyncio
from typing import Any

from google.cloud import firestore
from google.cloud.firestore_v1 import FieldFilter
from google.cloud.firestore_v1.base_vector_query import DistanceMeasure
from google.cloud.firestore_v1.vector import Vector

from tests.conformance.features import feature
from tests.conformance.firestore.conftest import InLoop
from tests.conformance.firestore.pages import ADD, AGGREGATION, CONTENTION, QUERIES, READ, VECTOR


@feature("Async: documents", production=ADD)
def test_async_documents(in_loop: InLoop) -> None:
    """Set, update, get, get_all, list and delete."""

    async def work(db: firestore.AsyncClient) -> None:
        ann = db.document("users/ann")
        await ann.set({"v": 1, "at": {"x": 1}})
        await ann.update({"at.y": 2, "n": firestore.Increment(3)})
        assert (await ann.get()).to_dict() == {"v": 1, "at": {"x": 1, "y": 2}, "n": 3}
        found = [s.exists async for s in db.get_all([ann, db.document("users/nobody")])]
        assert sorted(found) == [False, True]
        await db.document("users/ben/mails/1").set({})
        assert [r.id async for r in db.collection("users").list_documents()] == ["ann", "ben"]
        assert [c.id async for c in db.collections()] == ["users"]
        await ann.delete()
        assert not (await ann.get()).exists

    in_loop(work)


@feature("Async: queries and batches", production=QUERIES)
def test_async_queries(in_loop: InLoop) -> None:
    """A batch written, then filters, order, cursors, groups and limit_to_last."""

    async def work(db: firestore.AsyncClient) -> None:
        numbers = db.collection("numbers")
        batch = db.batch()
        for number in range(10):
            batch.set(numbers.document(f"n{number}"), {"v": number})
        await batch.commit()
        query = numbers.where(filter=FieldFilter("v", ">=", 4)).order_by("v")
        assert [s.get("v") async for s in query.limit(3).stream()] == [4, 5, 6]
        after = await numbers.document("n7").get()
        assert [s.id for s in await query.start_after(after).get()] == ["n8", "n9"]
        last = numbers.order_by("v").limit_to_last(2)
        assert [s.get("v") for s in await last.get()] == [8, 9]
        assert len(await db.collection_group("numbers").get()) == 10

    in_loop(work)


@feature("Async: aggregations", production=AGGREGATION)
def test_async_aggregations(in_loop: InLoop) -> None:
    """Count, sum and average."""

    async def work(db: firestore.AsyncClient) -> None:
        for number in (1, 2, 6):
            await db.document(f"numbers/{number}").set({"v": number})
        query = db.collection("numbers").count("n").sum("v", "s").avg("v", "a")
        assert {r.alias: r.value for r in (await query.get())[0]} == {"n": 3, "s": 9, "a": 3.0}

    in_loop(work)


@feature("Async: vector search", production=VECTOR)
def test_async_vector_search(in_loop: InLoop) -> None:
    """The nearest vector is found."""

    async def work(db: firestore.AsyncClient) -> None:
        await db.document("points/a").set({"at": Vector([1.0, 0.0])})
        await db.document("points/b").set({"at": Vector([0.0, 1.0])})
        query = db.collection("points").find_nearest(
            vector_field="at",
            query_vector=Vector([0.1, 1.0]),
            distance_measure=DistanceMeasure.EUCLIDEAN,
            limit=1,
        )
        assert [snapshot.id for snapshot in await query.get()] == ["b"]

    in_loop(work)


@feature("Async: transactions", production=CONTENTION)
def test_async_transactions_lose_no_update(in_loop: InLoop) -> None:
    """Three tasks increment one document at once: all three count."""

    async def work(db: firestore.AsyncClient) -> Any:
        counter = db.document("counters/one")
        await counter.set({"n": 0})

        async def increment() -> None:
            @firestore.async_transactional
            async def change(transaction: firestore.AsyncTransaction) -> None:
                found = await counter.get(transaction=transaction)
                transaction.update(counter, {"n": found.get("n") + 1})

            await change(db.transaction(max_attempts=20))

        await asyncio.gather(*(increment() for _ in range(3)))
        return (await counter.get()).get("n")

    assert in_loop(work) == 3


@feature("Async: many calls at once", production=READ)
def test_async_calls_run_side_by_side(in_loop: InLoop) -> None:
    """A hundred sets and gets started together all end well."""

    async def work(db: firestore.AsyncClient) -> list[int]:
        references = [db.document(f"many/{number}") for number in range(100)]
        await asyncio.gather(*(r.set({"v": n}) for n, r in enumerate(references)))
        found = await asyncio.gather(*(reference.get() for reference in references))
        return [snapshot.get("v") for snapshot in found]

    assert in_loop(work) == list(range(100))
