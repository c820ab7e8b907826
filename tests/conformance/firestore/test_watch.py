"""on_snapshot: the official client's listeners."""

import contextlib
import queue
from collections.abc import Iterator
from typing import Any

import pytest
from google.cloud import firestore
from google.cloud.firestore_v1 import FieldFilter
from google.cloud.firestore_v1.watch import ChangeType

from tests.conformance.features import feature
from tests.conformance.firestore.pages import LISTEN
from tests.conformance.firestore.raw import PATIENCE_SECONDS


class Snapshots:
    """The snapshots that a listener was called with, one at a time."""

    def __init__(self) -> None:
        self._arrived: queue.SimpleQueue[tuple[list[Any], list[Any]]] = queue.SimpleQueue()

    def __call__(self, documents: Any, changes: Any, _read_time: object) -> None:
        self._arrived.put((list(documents), list(changes)))

    def next(self) -> tuple[list[Any], list[Any]]:
        try:
            return self._arrived.get(timeout=PATIENCE_SECONDS)
        except queue.Empty:
            pytest.fail("no snapshot")

    def until(self, *wanted: str) -> list[Any]:
        """Wait for the snapshot that holds just the documents wanted, in this order."""
        while True:
            documents, _ = self.next()
            if [document.id for document in documents] == list(wanted):
                return documents


@contextlib.contextmanager
def listening(to: Any) -> Iterator[Snapshots]:
    snapshots = Snapshots()
    watch = to.on_snapshot(snapshots)
    try:
        yield snapshots
    finally:
        watch.unsubscribe()


def kinds(changes: list[Any]) -> dict[str, ChangeType]:
    return {change.document.id: change.type for change in changes}


@feature("on_snapshot of a document", production=LISTEN)
def test_document_listener_hears_create_update_and_delete(db: firestore.Client) -> None:
    """First a document that is not there, then each state of it."""
    reference = db.document("users/ann")
    with listening(reference) as snapshots:
        documents, _ = snapshots.next()
        assert [document for document in documents if document.exists] == []
        reference.set({"v": 1})
        assert snapshots.until("ann")[0].to_dict() == {"v": 1}
        reference.update({"v": 2})
        assert snapshots.until("ann")[0].to_dict() == {"v": 2}
        reference.delete()
        documents, _ = snapshots.next()
        assert [document for document in documents if document.exists] == []


@feature("on_snapshot of a query", production=LISTEN)
def test_query_listener_hears_added_modified_and_removed(db: firestore.Client) -> None:
    """Each change says what happened to which document."""
    users = db.collection("users")
    users.document("ann").set({"v": 1})
    users.document("ben").set({"v": 2})
    with listening(users.where(filter=FieldFilter("v", ">", 0)).order_by("v")) as snapshots:
        documents, changes = snapshots.next()
        assert [document.id for document in documents] == ["ann", "ben"]
        assert set(kinds(changes).values()) == {ChangeType.ADDED}
        users.document("carl").set({"v": 1.5})
        documents, changes = snapshots.next()
        assert [document.id for document in documents] == ["ann", "carl", "ben"]
        assert kinds(changes) == {"carl": ChangeType.ADDED}
        users.document("ann").update({"v": 3})
        documents, changes = snapshots.next()
        assert [document.id for document in documents] == ["carl", "ben", "ann"]
        assert kinds(changes) == {"ann": ChangeType.MODIFIED}
        users.document("ben").update({"v": -1})
        documents, changes = snapshots.next()
        assert [document.id for document in documents] == ["carl", "ann"]
        assert kinds(changes) == {"ben": ChangeType.REMOVED}


@feature("on_snapshot of a query", production=LISTEN)
def test_empty_query_has_a_first_snapshot(db: firestore.Client) -> None:
    """A listener to nothing is called at once, with nothing."""
    with listening(db.collection("users")) as snapshots:
        assert snapshots.next() == ([], [])


@feature("on_snapshot with order and limit", production=LISTEN)
def test_limited_listener_keeps_its_window(db: firestore.Client) -> None:
    """The window holds the first two whatever enters, leaves or moves."""
    users = db.collection("users")
    for number, name in enumerate(("ann", "ben", "carl")):
        users.document(name).set({"v": number})
    with listening(users.order_by("v").limit(2)) as snapshots:
        snapshots.until("ann", "ben")
        users.document("zoe").set({"v": -1})
        snapshots.until("zoe", "ann")
        users.document("ann").delete()
        snapshots.until("zoe", "ben")
        users.document("zoe").update({"v": 10})
        snapshots.until("ben", "carl")


@feature("on_snapshot of a collection group", production=LISTEN)
def test_group_listener_hears_every_depth(db: firestore.Client) -> None:
    """A group query is listened to like any other."""
    with listening(db.collection_group("mails")) as snapshots:
        snapshots.next()
        db.document("users/ann/mails/1").set({})
        snapshots.until("1")
        db.document("mails/0").set({})
        snapshots.until("0", "1")


@feature("Listeners hear transactions and batches as one", production=LISTEN)
def test_batch_is_one_snapshot(db: firestore.Client) -> None:
    """Ten documents written in one batch arrive in one snapshot."""
    with listening(db.collection("users")) as snapshots:
        snapshots.next()
        batch = db.batch()
        for number in range(10):
            batch.set(db.document(f"users/u{number}"), {})
        batch.commit()
        documents, changes = snapshots.next()
        assert len(documents) == len(changes) == 10


@feature("Many listeners", production=LISTEN)
def test_every_listener_hears_the_change(db: firestore.Client) -> None:
    """Twenty listeners to one document all hear of one write."""
    reference = db.document("users/ann")
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(listening(reference)) for _ in range(20)]
        for snapshots in listeners:
            snapshots.next()
        reference.set({"v": 1})
        for snapshots in listeners:
            snapshots.until("ann")
