"""The embedded Firestore over the wire, driven by Google's own client."""

import asyncio
import datetime
import json
from concurrent.futures import ThreadPoolExecutor
from importlib import resources

import aiohttp
import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter

from emulator.clock import SystemClock
from emulator.firestore.paths import parse_database
from emulator.firestore.server import FirestoreOptions, firestore_service
from emulator.firestore.store import Store
from tests.emulator.firestore_client import serving, with_client


async def exists(*clients: firestore.AsyncClient) -> list[bool]:
    """Whether a/b is there, for each client."""
    return [(await client.document("a/b").get()).exists for client in clients]


def test_documents_come_back_as_they_were_set():
    """Set, get, merge, update by path, delete: through the client's own methods."""

    def work(client):
        reference = client.collection("users").document("ada")
        reference.set({"name": "Ada", "langs": ["en"], "home": {"city": "London", "zip": 1}})
        reference.set({"home": {"zip": 2}}, merge=True)
        reference.update({"home.street": "St James", "langs": firestore.ArrayUnion(["fr"])})
        snapshot = reference.get()
        reference.delete()
        return snapshot.to_dict(), snapshot.create_time < snapshot.update_time, reference.get()

    fields, updated, gone = with_client(work)
    assert fields == {
        "name": "Ada",
        "langs": ["en", "fr"],
        "home": {"city": "London", "zip": 2, "street": "St James"},
    }
    assert updated
    assert not gone.exists


def test_refusals_carry_their_status():
    """The client raises what it raises in production."""

    def work(client):
        reference = client.collection("users").document("ada")
        with pytest.raises(exceptions.NotFound, match="No document to update"):
            reference.update({"n": 1})
        reference.create({"n": 1})
        with pytest.raises(exceptions.AlreadyExists):
            reference.create({"n": 1})
        with pytest.raises(exceptions.InvalidArgument):
            reference.set({"a": [[1]]})

    with_client(work)


def test_projects_and_databases_are_apart():
    """One process serves many; a document in one is in no other."""

    async def main():
        async with serving():
            clients = [
                firestore.AsyncClient(project=project, database=database)
                for project, database in [("p", "(default)"), ("p", "two"), ("q", "(default)")]
            ]
            await clients[0].document("a/b").set({"n": 1})
            return await exists(*clients)

    assert asyncio.run(main()) == [True, False, False]


def test_http_controls_empty_databases():
    """GET / says Ok; DELETE empties one database; POST /reset empties all."""

    async def main():
        async with serving() as server, aiohttp.ClientSession() as session:
            url = f"http://{server.http_address}"
            clients = [firestore.AsyncClient(project=project) for project in ("one", "two")]
            for client in clients:
                await client.document("a/b").set({"n": 1})
            async with session.get(url) as reply:
                assert await reply.text() == "Ok\n"
            path = "/emulator/v1/projects/one/databases/(default)/documents"
            async with session.delete(url + path) as reply:
                assert reply.status == 200
            after_delete = await exists(*clients)
            async with session.post(f"{url}/reset") as reply:
                assert reply.status == 200
            return after_delete, await exists(*clients)

    assert asyncio.run(main()) == ([False, True], [False, False])


def increments(client: firestore.Client, threads: int, each: int) -> int:
    """Each thread increments one counter in transactions; how many attempts that took."""
    reference = client.document("counters/one")
    reference.set({"n": 0})
    attempts = []

    def work(_thread: int) -> None:
        for _ in range(each):

            @firestore.transactional
            def increment(transaction):
                attempts.append(1)
                count = reference.get(transaction=transaction).get("n")
                transaction.update(reference, {"n": count + 1})

            increment(client.transaction())

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    assert reference.get().get("n") == threads * each
    return len(attempts)


def test_contending_transactions_all_succeed_and_queue():
    """20 increments by 4 threads, and 50 writers at once: none lost, none out of attempts.

    Only those who read before the first collision try twice; whoever comes after waits a turn.
    So attempts stay below twice the transactions, where Google's emulator needs three times.
    """
    assert with_client(lambda client: increments(client, 4, 5)) <= 2 * 20
    assert with_client(lambda client: increments(client, 50, 1)) <= 2 * 50


def test_contending_async_transactions_all_succeed():
    """The async client's transactions contend and queue alike."""

    async def main():
        async with serving():
            client = firestore.AsyncClient(project="p")
            reference = client.document("counters/one")
            await reference.set({"n": 0})

            @firestore.async_transactional
            async def increment(transaction):
                count = (await reference.get(transaction=transaction)).get("n")
                transaction.update(reference, {"n": count + 1})

            await asyncio.gather(*(increment(client.transaction()) for _ in range(30)))
            return (await reference.get()).get("n")

    assert asyncio.run(main()) == 30


def test_workers_that_query_for_the_next_job_each_take_another():
    """A query in a transaction is part of what it read: no job is taken twice, none is lost."""

    def work(client):
        jobs = client.collection("jobs")
        for number in range(20):
            jobs.document(str(number)).set({"state": "pending"})
        pending = jobs.where(filter=FieldFilter("state", "==", "pending")).limit(1)
        attempts = []

        @firestore.transactional
        def take(transaction):
            attempts.append(1)
            for job in pending.stream(transaction=transaction):
                transaction.update(job.reference, {"state": "taken"})
                return job.id
            return None

        def take_all(_worker: int) -> list[str]:
            return list(iter(lambda: take(client.transaction()), None))

        with ThreadPoolExecutor(8) as pool:
            taken = [job for jobs_of_one in pool.map(take_all, range(8)) for job in jobs_of_one]
        return sorted(taken, key=int), len(attempts)

    taken, attempts = with_client(work)
    assert taken == [str(number) for number in range(20)]
    assert attempts <= 2 * (20 + 8)  # every job taken, every worker once finding none


TTL_ENTRY = {"collectionGroup": "a", "fieldPath": "expires", "indexes": [], "ttl": True}


@pytest.mark.parametrize(
    "options",
    [
        FirestoreOptions(ttl_policies=[("a", "expires")]),
        FirestoreOptions(indexes={"fieldOverrides": [TTL_ENTRY]}),
    ],
    ids=["policy", "firestore.indexes.json"],
)
def test_expired_documents_are_deleted(options):
    """A TTL policy deletes without being asked, as soon as the time has come."""

    async def main():
        async with serving(options) as server:
            deleted = asyncio.Event()
            database = server.store.database(parse_database("projects/p/databases/(default)"))
            database.observers.append(
                lambda changes, _time: deleted.set() if changes[0].new is None else None
            )
            client = firestore.AsyncClient(project="p")
            now = datetime.datetime.now(datetime.UTC)
            await client.document("a/kept").set({"expires": now + datetime.timedelta(hours=1)})
            await client.document("a/b").set({"expires": now})
            await asyncio.wait_for(deleted.wait(), 10)
            return await exists(client), (await client.document("a/kept").get()).exists

    assert asyncio.run(main()) == ([False], True)


def test_every_rpc_of_the_installed_client_is_served_or_refused_with_a_reason():
    """The table and the unsupported ones are together exactly what the client can call."""
    text = (resources.files("google.cloud.firestore_v1") / "gapic_metadata.json").read_text()
    known = set(json.loads(text)["services"]["Firestore"]["clients"]["grpc"]["rpcs"])
    service = firestore_service(Store(), SystemClock(), FirestoreOptions())
    assert not set(service.rpcs) & set(service.unsupported)
    assert all(service.unsupported.values())
    missing = known - set(service.rpcs) - set(service.unsupported)
    assert missing == set()
