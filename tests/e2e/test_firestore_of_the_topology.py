"""The local Firestore as the topology describes it: its indexes, and its TTL policies.

What production refuses for want of an index fails here first, and what is kept for a time is gone.
"""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from google.api_core.exceptions import FailedPrecondition
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter

from emulator.topology import Topology, TtlPolicy
from tests.e2e.conftest import PATIENCE_SECONDS, ROOT, RunningStack

TOPOLOGY = Topology.load(ROOT / "terraform/topology.yaml")


@pytest.fixture
def database(stack_backend: str, request: pytest.FixtureRequest) -> firestore.Client:
    """The stack's Firestore."""
    if stack_backend == "gcloud":
        pytest.skip("Google's Firestore emulator needs no index and deletes nothing by itself")
    stack: RunningStack = request.getfixturevalue("stack")
    return stack.firestore


def test_a_query_of_a_field_without_an_index_is_refused(database: firestore.Client) -> None:
    """`users.created_time` is under `unindexed`, `users.email` is not."""
    users = database.collection("users")
    assert users.where(filter=FieldFilter("email", "==", "nobody@example.com")).get() == []
    with pytest.raises(FailedPrecondition, match="COLLECTION_ASC index for collection users and"):
        users.order_by("created_time").get()


def test_a_query_without_its_composite_index_is_refused(database: firestore.Client) -> None:
    """That of the relay is under `indexes`, the same of `users` is not."""
    pending = FieldFilter("state", "==", "no such state")
    outbox = database.collection("outbox").where(filter=pending)
    assert outbox.order_by("created_time").get() == []
    with pytest.raises(FailedPrecondition, match="The query requires an index"):
        database.collection("users").where(filter=pending).order_by("name").get()


@pytest.mark.parametrize("policy", TOPOLOGY.firestore.ttl, ids=lambda policy: policy.collection)
def test_an_expired_document_is_deleted(database: firestore.Client, policy: TtlPolicy) -> None:
    """At once, where production may take a day; one that has not expired stays."""
    documents = database.collection(policy.collection)
    expired, kept = documents.document("ttl-expired"), documents.document("ttl-kept")
    now, day = datetime.now(UTC), timedelta(days=1)
    batch = database.batch()
    batch.set(expired, {policy.field: now - day})
    batch.set(kept, {policy.field: now + day})
    batch.commit()
    gone = threading.Event()

    def changed(found: list[firestore.DocumentSnapshot], *_: object) -> None:
        if not any(document.exists for document in found):
            gone.set()

    watch = expired.on_snapshot(changed)
    try:
        assert gone.wait(PATIENCE_SECONDS)
    finally:
        watch.unsubscribe()
    assert kept.get().exists
    kept.delete()
