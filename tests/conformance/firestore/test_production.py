"""Nearer to production: composite indexes are missed and expired documents deleted."""

import asyncio
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest
from google.api_core.exceptions import FailedPrecondition
from google.cloud import firestore
from google.cloud.firestore_v1 import FieldFilter

from emulator.clock import ManualClock
from emulator.firestore.server import FirestoreOptions, FirestoreServer
from tests.conformance.conftest import Server
from tests.conformance.features import feature
from tests.conformance.firestore.pages import INDEXES, TTL
from tests.conformance.firestore.test_watch import listening

ROOT = Path(__file__).parents[3]
ANY_QUERY = "no query is ever refused for want of an index, and none is warned of"


@dataclass
class Started:
    """A server of this test alone: how to reach it and what it wrote to its log."""

    address: str
    log: "queue.SimpleQueue[str]"


@pytest.fixture
def another(
    backend: str, firestore_server: Server, request: pytest.FixtureRequest
) -> Iterator[Started]:
    """On embedded a server with the switches that the test gives, on gcloud the one there is."""
    log: queue.SimpleQueue[str] = queue.SimpleQueue()
    if backend == "gcloud":
        yield Started(firestore_server.address, log)
        return
    command = [sys.executable, "-m", "emulator", "firestore", "--backend", "embedded", "--json"]
    with subprocess.Popen(
        [*command, *request.param],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        reader = threading.Thread(target=_copy, args=(process.stderr, log))
        reader.start()
        try:
            yield Started(json.loads(process.stdout.readline())["address"], log)
        finally:
            process.terminate()
            reader.join()


def _copy(stream: IO[str], into: "queue.SimpleQueue[str]") -> None:
    for line in stream:
        into.put(line)


def connected(address: str, project_id: str, monkeypatch: pytest.MonkeyPatch) -> firestore.Client:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", address)
    return firestore.Client(project=project_id)


def needy(db: firestore.Client) -> Any:
    """A query that production refuses without an index on (city, age)."""
    return db.collection("users").where(filter=FieldFilter("city", "==", "Bern")).order_by("age")


@feature("A missing composite index is an error", production=INDEXES, gcloud=ANY_QUERY)
@pytest.mark.parametrize("another", [["--require-indexes"]], indirect=True)
def test_query_without_its_index_is_refused(
    another: Started, project_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --require-indexes such a query is FAILED_PRECONDITION and names the index."""
    db = connected(another.address, project_id, monkeypatch)
    with pytest.raises(FailedPrecondition, match=r"index") as refused:
        needy(db).get()
    assert '"fieldPath": "age"' in refused.value.message
    group = db.collection_group("users").where(filter=FieldFilter("city", "==", "Bern"))
    with pytest.raises(FailedPrecondition):
        group.get()


@feature("Single-field indexes come by themselves", production=INDEXES)
@pytest.mark.parametrize("another", [["--require-indexes"]], indirect=True)
def test_queries_of_single_fields_need_no_definition(
    another: Started, project_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equalities on several fields, one inequality, one order and one array-contains are served."""
    db = connected(another.address, project_id, monkeypatch)
    users = db.collection("users")
    users.document("ann").set({"city": "Bern", "age": 5, "tags": ["a"]})
    bern = users.where(filter=FieldFilter("city", "==", "Bern"))
    for query in (
        bern.where(filter=FieldFilter("age", "==", 5)),
        bern.where(filter=FieldFilter("tags", "array_contains", "a")),
        users.where(filter=FieldFilter("age", ">", 1)).order_by("age", direction="DESCENDING"),
        users.order_by("city"),
        users.where(filter=FieldFilter("city", "in", ["Bern", "Rome"])),
        db.collection_group("users"),
    ):
        assert [snapshot.id for snapshot in query.get()] == ["ann"]


@feature("A missing composite index is warned of", production=INDEXES, gcloud=ANY_QUERY)
@pytest.mark.parametrize("another", [[]], indirect=True)
def test_query_without_its_index_is_warned_of(
    another: Started, project_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the query is answered, and the log has definitions for Terraform and Firebase."""
    db = connected(another.address, project_id, monkeypatch)
    db.document("users/ann").set({"city": "Bern", "age": 5})
    assert [snapshot.id for snapshot in needy(db).get()] == ["ann"]
    seen = ""
    while not ("google_firestore_index" in seen and '"fieldPath": "age"' in seen):
        try:
            seen += another.log.get(timeout=5)
        except queue.Empty:
            pytest.fail(f"no warning, but: {seen!r}")


@pytest.fixture
def expiring(backend: str, firestore_server: Server) -> Iterator[tuple[str, Any]]:
    """A server that deletes `sessions` by their field `expires`, and what moves its clock."""
    if backend == "gcloud":
        yield firestore_server.address, lambda _seconds: None
        return
    clock = ManualClock()
    options = FirestoreOptions(ttl_policies=[("sessions", "expires")])
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    starting = FirestoreServer.start(clock=clock, options=options)
    server = asyncio.run_coroutine_threadsafe(starting, loop).result(10)

    def advance(seconds: float) -> None:
        clock.advance(seconds)
        loop.call_soon_threadsafe(server.clock_moved)

    try:
        yield server.address, advance
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@feature("TTL policies delete expired documents", production=TTL, gcloud="no TTL policies")
def test_expired_document_is_deleted(
    expiring: tuple[str, Any], project_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document goes once its time has passed; one without a time, or with a later one, stays."""
    address, advance = expiring
    db = connected(address, project_id, monkeypatch)
    now = db.document("clock/now").set({}).update_time
    sessions = db.collection("sessions")
    sessions.document("soon").set({"expires": now.replace(year=now.year + 1)})
    sessions.document("later").set({"expires": now.replace(year=now.year + 9)})
    sessions.document("text").set({"expires": "soon"})
    db.document("others/soon").set({"expires": now.replace(year=now.year + 1)})
    with listening(sessions) as snapshots:
        documents, _ = snapshots.next()
        assert [document.id for document in documents] == ["later", "soon", "text"]
        advance(2 * 366 * 86_400)
        # A change of our own follows: the listener hears of it whether or not one expired.
        sessions.document("zulu").set({})
        heard: list[str] = []
        while "zulu" not in heard:
            heard = [document.id for document in snapshots.next()[0]]
    assert heard == ["later", "text", "zulu"]
    assert db.document("others/soon").get().exists
