"""Transactions: all or nothing, as if one after the other."""

import pytest
from google.api_core.exceptions import (
    Aborted,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from google.cloud import firestore
from google.cloud.firestore_v1 import types
from google.cloud.firestore_v1.base_query import FieldFilter

from tests.conformance.features import feature
from tests.conformance.firestore.pages import CONTENTION, READ_TIME, RPC, TRANSACTIONS
from tests.conformance.firestore.raw import OWNER, Raw, begin


def rollback(raw: Raw, transaction: bytes) -> None:
    request = types.RollbackRequest(database=raw.database, transaction=transaction)
    raw.api.rollback(request=request, metadata=OWNER)


@feature("A transaction commits", production=TRANSACTIONS)
def test_transaction_commits_all_its_writes(db: firestore.Client) -> None:
    """One get and two creates appear together, and the decorated function's value is returned."""
    db.document("users/ann").set({"n": 1})

    @firestore.transactional
    def work(transaction: firestore.Transaction) -> int:
        number: int = db.document("users/ann").get(transaction=transaction).get("n")
        transaction.create(db.document("users/ben"), {"n": number + 1})
        transaction.create(db.document("users/carl"), {"n": number + 2})
        return number

    assert work(db.transaction()) == 1
    found = db.collection("users").order_by("n").get()
    assert [snapshot.id for snapshot in found] == ["ann", "ben", "carl"]
    assert found[1].create_time == found[2].create_time


@feature("A transaction that fails changes nothing", production=TRANSACTIONS)
def test_exception_in_the_function_rolls_back(db: firestore.Client) -> None:
    """An error of the function reaches the caller; no write is applied and no lock is left."""
    db.document("users/ann").set({"n": 1})

    @firestore.transactional
    def work(transaction: firestore.Transaction) -> None:
        db.document("users/ann").get(transaction=transaction)
        transaction.set(db.document("users/ann"), {"n": 2})
        raise KeyError("no")

    with pytest.raises(KeyError):
        work(db.transaction())
    assert db.document("users/ann").get().get("n") == 1
    db.document("users/ann").set({"n": 3})


@feature("A transaction that fails changes nothing", production=TRANSACTIONS)
def test_failed_write_undoes_the_transaction(db: firestore.Client) -> None:
    """An update of a missing document fails the commit with NOT_FOUND and undoes the rest."""

    @firestore.transactional
    def work(transaction: firestore.Transaction) -> None:
        transaction.set(db.document("users/ann"), {"n": 1})
        transaction.update(db.document("users/nobody"), {"n": 1})

    with pytest.raises(NotFound):
        work(db.transaction())
    assert not db.document("users/ann").get().exists


@feature("Uncommitted writes are invisible", production=CONTENTION)
def test_writes_are_invisible_until_the_commit(raw: Raw) -> None:
    """Between begin and commit nobody sees a change; after it everybody does."""
    raw.commit(raw.put("users/ann", v=1))
    transaction = begin(raw, read_write={})
    assert raw.get("users/ann", transaction=transaction).fields["v"].integer_value == 1
    assert raw.get("users/ann").fields["v"].integer_value == 1
    raw.commit(raw.put("users/ann", v=2), transaction=transaction)
    assert raw.get("users/ann").fields["v"].integer_value == 2


@feature("Rollback", production=RPC)
def test_transaction_ends_with_its_rollback(raw: Raw) -> None:
    """After a rollback nothing was written, others may write, and the id is of no use."""
    raw.commit(raw.put("users/ann", v=1))
    transaction = begin(raw, read_write={})
    raw.get("users/ann", transaction=transaction)
    rollback(raw, transaction)
    raw.commit(raw.put("users/ann", v=2))
    with pytest.raises((InvalidArgument, Aborted, NotFound)):
        raw.commit(raw.put("users/ann", v=3), transaction=transaction)
    assert raw.get("users/ann").fields["v"].integer_value == 2


@feature("A transaction ends with its commit", production=RPC)
def test_transaction_cannot_be_committed_twice(raw: Raw) -> None:
    """The second commit of one transaction is refused and writes nothing."""
    transaction = begin(raw, read_write={})
    raw.commit(raw.put("users/ann", v=1), transaction=transaction)
    with pytest.raises((InvalidArgument, FailedPrecondition, Aborted)):
        raw.commit(raw.put("users/ann", v=2), transaction=transaction)
    assert raw.get("users/ann").fields["v"].integer_value == 1


@feature("An unknown transaction is refused", production=RPC)
@pytest.mark.parametrize("way", ["get", "commit", "query"])
def test_made_up_transaction_is_refused(raw: Raw, way: str) -> None:
    """A transaction id that the server never gave is INVALID_ARGUMENT."""
    calls = {
        "get": lambda: raw.get("users/ann", transaction=b"made up"),
        "commit": lambda: raw.commit(transaction=b"made up"),
        "query": lambda: list(
            raw.api.run_query(
                types.RunQueryRequest(
                    parent=raw.root,
                    structured_query={"from_": [{"collection_id": "users"}]},
                    transaction=b"made up",
                ),
                metadata=OWNER,
            )
        ),
    }
    with pytest.raises(InvalidArgument):
        calls[way]()


@feature("A transaction begins with the first read", production=RPC)
def test_first_read_may_begin_the_transaction(raw: Raw) -> None:
    """BatchGetDocuments and RunQuery with new_transaction return the id that commits."""
    raw.commit(raw.put("users/ann", v=1))
    get = types.BatchGetDocumentsRequest(
        database=raw.database,
        documents=[raw.name("users/ann")],
        new_transaction={"read_write": {}},
    )
    replies = list(raw.api.batch_get_documents(request=get, metadata=OWNER))
    transaction = next(reply.transaction for reply in replies if reply.transaction)
    raw.commit(raw.put("users/ann", v=2), transaction=transaction)
    query = types.RunQueryRequest(
        parent=raw.root,
        structured_query={"from_": [{"collection_id": "users"}]},
        new_transaction={"read_write": {}},
    )
    found = list(raw.api.run_query(request=query, metadata=OWNER))
    transaction = next(reply.transaction for reply in found if reply.transaction)
    raw.commit(raw.put("users/ann", v=3), transaction=transaction)
    assert raw.get("users/ann").fields["v"].integer_value == 3


@feature("A retry names the transaction it repeats", production=RPC)
def test_retry_transaction_is_accepted(raw: Raw) -> None:
    """A transaction begun with retry_transaction is a new one that commits."""
    first = begin(raw, read_write={})
    rollback(raw, first)
    second = begin(raw, read_write={"retry_transaction": first})
    assert second != first
    raw.commit(raw.put("users/ann", v=1), transaction=second)


@feature("Read-only transactions", production=TRANSACTIONS)
def test_read_only_transaction_sees_one_moment(raw: Raw) -> None:
    """Its reads and queries all see the state at its first read, whatever is written meanwhile."""
    raw.commit(raw.put("users/ann", v=1))
    transaction = begin(raw, read_only={})
    assert raw.get("users/ann", transaction=transaction).fields["v"].integer_value == 1
    raw.commit(raw.put("users/ann", v=2), raw.put("users/ben", v=1))
    assert raw.get("users/ann", transaction=transaction).fields["v"].integer_value == 1
    request = types.RunQueryRequest(
        parent=raw.root,
        structured_query={"from_": [{"collection_id": "users"}]},
        transaction=transaction,
    )
    found = [r for r in raw.api.run_query(request=request, metadata=OWNER) if "document" in r]
    assert [reply.document.name for reply in found] == [raw.name("users/ann")]
    rollback(raw, transaction)


@feature("Read-only transactions", production=TRANSACTIONS)
def test_read_only_transaction_cannot_write(raw: Raw) -> None:
    """A commit with writes of a read-only transaction is refused."""
    transaction = begin(raw, read_only={})
    with pytest.raises((InvalidArgument, FailedPrecondition)):
        raw.commit(raw.put("users/ann", v=1), transaction=transaction)


@feature("Read-only transactions at a read_time", production=READ_TIME)
def test_read_only_transaction_reads_the_past(raw: Raw) -> None:
    """With read_time it sees the documents as they were then."""
    then = raw.commit(raw.put("users/ann", v=1)).commit_time
    raw.commit(raw.put("users/ann", v=2))
    transaction = begin(raw, read_only={"read_time": then})
    assert raw.get("users/ann", transaction=transaction).fields["v"].integer_value == 1


@feature("Client read-only transactions", production=TRANSACTIONS)
def test_clients_read_only_transaction_reads_and_refuses_writes(db: firestore.Client) -> None:
    """The client's read-only transaction runs queries; a write in it is an error."""
    db.document("users/ann").set({"v": 1})

    @firestore.transactional
    def names(transaction: firestore.Transaction) -> list[str]:
        query = db.collection("users").where(filter=FieldFilter("v", "==", 1))
        return [snapshot.id for snapshot in query.get(transaction=transaction)]

    assert names(db.transaction(read_only=True)) == ["ann"]


@feature("Aggregations and lists in transactions", production=TRANSACTIONS)
def test_count_runs_in_a_transaction(db: firestore.Client) -> None:
    """A count in a transaction counts what the transaction may commit upon."""
    db.document("users/ann").set({"v": 1})

    @firestore.transactional
    def work(transaction: firestore.Transaction) -> None:
        count = db.collection("users").count().get(transaction=transaction)[0][0].value
        transaction.set(db.document("sums/users"), {"count": count})

    work(db.transaction())
    assert db.document("sums/users").get().get("count") == 1
