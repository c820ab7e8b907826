"""Bulk writes: BatchWrite, the client's BulkWriter and the Write stream."""

import queue
from typing import Any

import pytest
from google.api_core.exceptions import InvalidArgument
from google.cloud import firestore
from google.cloud.firestore_v1 import types
from google.rpc import code_pb2

from tests.conformance.features import feature
from tests.conformance.firestore.pages import ADD, BATCH_WRITE, DELETE, WRITE_STREAM
from tests.conformance.firestore.raw import OWNER, PATIENCE_SECONDS, Raw


def batch_write(raw: Raw, *writes: types.Write) -> types.BatchWriteResponse:
    request = types.BatchWriteRequest(database=raw.database, writes=writes)
    return raw.api.batch_write(request=request, metadata=OWNER)


@feature("BatchWrite", production=BATCH_WRITE)
def test_writes_of_a_batch_succeed_or_fail_each(raw: Raw) -> None:
    """A failed write has a status of its own and does not hold back the others."""
    create = raw.put("users/ann", v=2)
    create.current_document.exists = False
    raw.commit(raw.put("users/ann", v=1))
    reply = batch_write(raw, raw.put("users/ben", v=1), create, raw.put("users/carl", v=1))
    assert [status.code for status in reply.status] == [
        code_pb2.OK,
        code_pb2.ALREADY_EXISTS,
        code_pb2.OK,
    ]
    assert "update_time" in reply.write_results[0]
    assert "update_time" not in reply.write_results[1]
    assert raw.get("users/ann").fields["v"].integer_value == 1
    assert raw.get("users/carl").fields["v"].integer_value == 1


@feature("BatchWrite", production=BATCH_WRITE)
def test_batch_may_not_write_a_document_twice(raw: Raw) -> None:
    """Two writes of one document in one batch are INVALID_ARGUMENT, and neither is applied."""
    with pytest.raises(InvalidArgument):
        batch_write(raw, raw.put("users/ann", v=1), raw.put("users/ann", v=2))
    assert not raw.query("users")[0].document.name


@feature("BulkWriter", production=BATCH_WRITE)
def test_bulk_writer_writes_all(db: firestore.Client) -> None:
    """Creates, sets, updates and deletes through a BulkWriter all arrive."""
    db.document("bulk/old").set({"v": 1})
    db.document("bulk/gone").set({"v": 1})
    results: list[str] = []
    writer = db.bulk_writer()
    writer.on_write_result(lambda reference, _result, _writer: results.append(reference.id))
    for number in range(60):
        writer.create(db.document(f"bulk/n{number:02}"), {"v": number})
    writer.set(db.document("bulk/set"), {"v": 1})
    writer.update(db.document("bulk/old"), {"w": 2})
    writer.delete(db.document("bulk/gone"))
    writer.close()
    assert len(results) == 63
    assert db.document("bulk/old").get().to_dict() == {"v": 1, "w": 2}
    assert not db.document("bulk/gone").get().exists
    assert db.collection("bulk").count().get()[0][0].value == 62


@feature("BulkWriter", production=BATCH_WRITE)
def test_bulk_writer_is_told_of_the_write_that_failed(db: firestore.Client) -> None:
    """Only the failed write reaches on_write_error, with its status code."""
    failures: list[tuple[str, int]] = []
    db.document("bulk/there").set({"v": 1})

    def note(error: object, _writer: object) -> bool:
        failures.append((error.operation.reference.id, error.code))  # type: ignore[attr-defined]
        return False

    writer = db.bulk_writer()
    writer.on_write_error(note)
    writer.create(db.document("bulk/there"), {"v": 2})
    writer.create(db.document("bulk/new"), {"v": 2})
    writer.close()
    assert failures == [("there", code_pb2.ALREADY_EXISTS)]
    assert db.document("bulk/new").get().exists


@feature("recursive_delete", production=DELETE)
def test_recursive_delete_takes_the_subcollections_along(db: firestore.Client) -> None:
    """All documents below a document go, its siblings stay."""
    for path in ("users/ann", "users/ann/mails/1", "users/ann/mails/1/parts/1", "users/ben"):
        db.document(path).set({"v": 1})
    db.recursive_delete(db.document("users/ann"))
    assert [s.reference.path for s in db.collection("users").get()] == ["users/ben"]
    assert not db.collection_group("mails").get()
    assert not db.collection_group("parts").get()


@feature("add() makes an id", production=ADD)
def test_added_documents_have_ids_of_their_own(db: firestore.Client) -> None:
    """Two additions make two documents."""
    references = [db.collection("users").add({"v": number})[1] for number in range(2)]
    assert [reference.get().get("v") for reference in references] == [0, 1]


class WriteStream:
    """One Write call: the handshake, then requests and their answers in turn."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._requests: queue.SimpleQueue[types.WriteRequest | None] = queue.SimpleQueue()
        self._replies: Any = None

    def send(self, **fields: Any) -> types.WriteResponse:
        self._requests.put(types.WriteRequest(database=self._raw.database, **fields))
        if self._replies is None:  # the client waits for the first answer before it returns
            self._replies = self._raw.api.write(
                requests=iter(self._requests.get, None),
                metadata=(*OWNER, ("google-cloud-resource-prefix", self._raw.database)),
                timeout=PATIENCE_SECONDS,
            )
        return next(self._replies)

    def __enter__(self) -> "WriteStream":
        return self

    def __exit__(self, *_exc: object) -> None:
        self._requests.put(None)
        if self._replies is not None:
            self._replies.cancel()


@feature("Write stream", production=WRITE_STREAM)
def test_write_stream_applies_each_request_in_turn(raw: Raw) -> None:
    """After the handshake each request is one atomic commit, answered with a new token."""
    with WriteStream(raw) as stream:
        first = stream.send()
        assert first.stream_id
        assert first.stream_token
        second = stream.send(writes=[raw.put("users/ann", v=1)], stream_token=first.stream_token)
        third = stream.send(
            writes=[raw.put("users/ann", v=2), raw.put("users/ben", v=1)],
            stream_token=second.stream_token,
        )
    assert second.commit_time < third.commit_time
    assert len(third.write_results) == 2
    assert third.stream_token not in {second.stream_token, b""}
    assert raw.get("users/ann").fields["v"].integer_value == 2
