"""Contention: transactions that meet on a document, and what becomes of each."""

import concurrent.futures
import contextlib
import threading
import time

from google.api_core.exceptions import Aborted
from google.cloud import firestore
from google.cloud.firestore_v1 import types

from tests.conformance.features import feature
from tests.conformance.firestore.pages import CONTENTION
from tests.conformance.firestore.raw import OWNER, PATIENCE_SECONDS, Raw, begin


def increment(db: firestore.Client, path: str, attempts: int = 5) -> None:
    """Read a counter and write it one higher, in a transaction."""

    @firestore.transactional
    def work(transaction: firestore.Transaction) -> None:
        found = db.document(path).get(transaction=transaction)
        transaction.set(db.document(path), {"n": (found.get("n") if found.exists else 0) + 1})

    work(db.transaction(max_attempts=attempts))


@feature("No update is lost", production=CONTENTION)
def test_write_from_outside_cannot_slip_in_between(raw: Raw) -> None:
    """A document changes outside after a transaction read it: one of the two gives way."""
    raw.commit(raw.put("users/ann", v=1))
    transaction = begin(raw, read_write={})
    raw.get("users/ann", transaction=transaction)
    outcomes = []
    for name, change in (
        ("outside", lambda: raw.commit(raw.put("users/ann", v=10))),
        ("inside", lambda: raw.commit(raw.put("users/ann", v=2), transaction=transaction)),
    ):
        try:
            change()
            outcomes.append(name)
        except Aborted:
            pass
    assert len(outcomes) == 1
    wanted = {"outside": 10, "inside": 2}[outcomes[0]]
    assert raw.get("users/ann").fields["v"].integer_value == wanted


@feature("No update is lost", production=CONTENTION)
def test_document_that_a_query_would_now_find_is_a_conflict(raw: Raw) -> None:
    """A transaction that queried cannot commit if a new match appeared meanwhile, or it waits."""
    query = types.StructuredQuery(
        from_=[{"collection_id": "users"}],
        where={
            "field_filter": {
                "field": {"field_path": "v"},
                "op": "EQUAL",
                "value": {"integer_value": 1},
            }
        },
    )
    raw.commit(raw.put("users/ann", v=1))
    transaction = begin(raw, read_write={})
    request = types.RunQueryRequest(
        parent=raw.root, structured_query=query, transaction=transaction
    )
    found = raw.api.run_query(request=request, metadata=OWNER)
    assert len([reply for reply in found if "document" in reply]) == 1
    outcomes = []
    for name, change in (
        ("outside", lambda: raw.commit(raw.put("users/ben", v=1))),
        ("inside", lambda: raw.commit(raw.put("sums/one", v=1), transaction=transaction)),
    ):
        try:
            change()
            outcomes.append(name)
        except Aborted:
            pass
    assert len(outcomes) == 1


@feature("Contention is retried by the client", production=CONTENTION)
def test_decorated_function_runs_again_after_a_conflict(db: firestore.Client) -> None:
    """Two threads that both read before either writes both end well: their updates add up."""
    db.document("counters/one").set({"n": 0})
    both_have_read = threading.Barrier(2)
    attempts: list[int] = []

    def run(which: int) -> None:
        @firestore.transactional
        def work(transaction: firestore.Transaction) -> None:
            found = db.document("counters/one").get(transaction=transaction)
            first = which not in attempts
            attempts.append(which)
            if first:
                both_have_read.wait(PATIENCE_SECONDS)
            transaction.update(db.document("counters/one"), {"n": found.get("n") + 1})

        work(db.transaction())

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(run, range(2)))
    assert db.document("counters/one").get().get("n") == 2
    assert len(attempts) >= 3


@feature(
    "Contention ends within seconds",
    production=CONTENTION,
    gcloud="37 to 114 s, 63 attempts and more: each conflict waits 2 s for a lock",
)
def test_four_threads_increment_one_document(db: firestore.Client) -> None:
    """4 threads x 5 increments of one document make 20, within five seconds."""
    end = time.monotonic() + 5.0

    def five_increments(_thread: int) -> None:
        for _ in range(5):
            if time.monotonic() < end:
                with contextlib.suppress(ValueError):  # out of attempts: the sum will tell
                    increment(db, "counters/one", attempts=10)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(five_increments, range(4)))
    assert db.document("counters/one").get().get("n") == 20


@feature("Contention ends well", production=CONTENTION)
def test_one_of_many_creates_wins(db: firestore.Client) -> None:
    """Four transactions that create one document if it is missing: one does, three see it."""

    @firestore.transactional
    def claim(transaction: firestore.Transaction, who: int) -> bool:
        reference = db.document("claims/one")
        if reference.get(transaction=transaction).exists:
            return False
        transaction.create(reference, {"who": who})
        return True

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        won = list(pool.map(lambda who: claim(db.transaction(max_attempts=20), who), range(4)))
    assert won.count(True) == 1
    assert db.document("claims/one").get().get("who") == won.index(True)


@feature(
    "An abandoned transaction blocks nobody for long",
    production=CONTENTION,
    gcloud="a write to a document it read is ABORTED after 2 s, for 60 s",
)
def test_abandoned_transaction_does_not_block_writers(raw: Raw, db: firestore.Client) -> None:
    """A transaction that read and never ended: a write from outside is applied all the same."""
    db.document("users/ann").set({"v": 1})
    raw.get("users/ann", transaction=begin(raw, read_write={}))
    db.document("users/ann").set({"v": 2}, timeout=PATIENCE_SECONDS)
    assert db.document("users/ann").get().get("v") == 2


@feature("Transactions on different documents do not meet", production=CONTENTION)
def test_transactions_on_different_documents_do_not_conflict(db: firestore.Client) -> None:
    """Eight threads that count on documents of their own need one attempt each."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: increment(db, f"counters/{n}", attempts=1), range(8)))
    assert [s.get("n") for s in db.collection("counters").get()] == [1] * 8
