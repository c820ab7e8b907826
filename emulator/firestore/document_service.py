"""google.firestore.v1: documents one by one and in batches, commits and transactions.

Every method is: parse the request, one call of the core, build the reply. What reads in a
transaction first takes its turn; nothing else waits.

Not here: lists (list_service.py), the Write stream (write_stream.py), queries and listening
(query_service.py).
"""

import secrets
import string
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
from google.protobuf.empty_pb2 import Empty

from emulator.clock import Clock
from emulator.errors import InvalidArgument, NotFound, ServiceError
from emulator.firestore.consistency import View, begin, open_view, take_turns
from emulator.firestore.convert import (
    decode_fields,
    decode_mask,
    document_bytes,
    document_pb,
    encode_time,
    optional_mask,
    own_name,
)
from emulator.firestore.convert_writes import (
    decode_precondition,
    decode_write,
    fill_commit,
    fill_write_result,
)
from emulator.firestore.limits import MAX_COMMIT_BYTES
from emulator.firestore.paths import (
    DatabaseName,
    Name,
    checked_name,
    parse_database,
    parse_document_name,
    parse_parent,
)
from emulator.firestore.pb import types
from emulator.firestore.store import Store
from emulator.firestore.values import FieldPath
from emulator.firestore.writes import Document, Operation, Precondition, Write
from emulator.wire import Context, Rpc

_AUTO_ID_LETTERS = string.ascii_letters + string.digits
_AUTO_ID_LENGTH = 20

_BatchGetReply: Final[Any] = types.BatchGetDocumentsResponse.pb()
_BatchWriteReply: Final[Any] = types.BatchWriteResponse.pb()
_BeginReply: Final[Any] = types.BeginTransactionResponse.pb()
_CommitReply: Final[Any] = types.CommitResponse.pb()


def auto_id() -> str:
    """A document id as the clients make them: 20 letters and digits."""
    return "".join(secrets.choice(_AUTO_ID_LETTERS) for _ in range(_AUTO_ID_LENGTH))


def check_commit_size(request: Any) -> None:
    """Raise unless a request that writes is of a size production takes.

    Raises:
        InvalidArgument: it is larger.
    """
    if request.ByteSize() > MAX_COMMIT_BYTES:
        raise InvalidArgument(f"Request payload size exceeds the limit: {MAX_COMMIT_BYTES} bytes.")


class DocumentService:
    """The RPCs that read and write documents by name."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def rpcs(self) -> dict[str, Rpc]:
        """This part of the service's table."""
        document: Any = types.Document.pb()
        return {
            "GetDocument": Rpc(types.GetDocumentRequest.pb(), document, self.get_document),
            "CreateDocument": Rpc(types.CreateDocumentRequest.pb(), document, self.create_document),
            "UpdateDocument": Rpc(types.UpdateDocumentRequest.pb(), document, self.update_document),
            "DeleteDocument": Rpc(types.DeleteDocumentRequest.pb(), Empty, self.delete_document),
            "BatchGetDocuments": Rpc(
                types.BatchGetDocumentsRequest.pb(),
                _BatchGetReply,
                self.batch_get_documents,
                stream_out=True,
            ),
            "BeginTransaction": Rpc(
                types.BeginTransactionRequest.pb(), _BeginReply, self.begin_transaction
            ),
            "Commit": Rpc(types.CommitRequest.pb(), _CommitReply, self.commit),
            "Rollback": Rpc(types.RollbackRequest.pb(), Empty, self.rollback),
            "BatchWrite": Rpc(types.BatchWriteRequest.pb(), _BatchWriteReply, self.batch_write),
        }

    async def get_document(self, request: Any, _context: Context) -> Any:
        """GetDocument."""
        target = parse_document_name(request.name)
        mask = optional_mask(request)
        view = open_view(self._store, target.database, request, self._clock)
        await take_turns(view, [target.name], self._clock)
        document = _read(view, target.name)
        if document is None:
            raise NotFound(f'Document "{request.name}" not found.')
        return document_pb(target.database, document, mask)

    async def batch_get_documents(self, request: Any, _context: Context) -> AsyncIterator[Any]:
        """BatchGetDocuments: each document once, whatever the number of times it is asked for."""
        database = parse_database(request.database)
        names = {name: own_name(name, database) for name in request.documents}
        mask = optional_mask(request)
        view = open_view(self._store, database, request, self._clock)
        if view.begun and view.transaction is not None:
            yield _BatchGetReply(transaction=view.transaction.transaction_id)
        if view.transaction is not None:
            # Sorted, so that two batches queue for the same documents in the same order.
            await take_turns(view, sorted(names.values()), self._clock)
        found = [(full_name, _read(view, name)) for full_name, name in names.items()]
        read_time_us = view.reply_time_us()
        for full_name, document in found:
            reply = _BatchGetReply()
            encode_time(read_time_us, reply.read_time)
            if document is None:
                reply.missing = full_name
            elif mask is None:
                reply.found.MergeFromString(document_bytes(database, document))
            else:
                reply.found.CopyFrom(document_pb(database, document, mask))
            yield reply

    def create_document(self, request: Any, _context: Context) -> Any:
        """CreateDocument, with an id of ours where none is given."""
        if request.document.name:
            raise InvalidArgument("document.name must not be set")
        parent = parse_parent(request.parent)
        document_id = request.document_id or auto_id()
        name = checked_name(
            (*parent.name, request.collection_id, document_id),
            f"{request.parent}/{request.collection_id}/{document_id}",
        )
        fields = decode_fields(request.document.fields)
        write = Write(Operation.UPDATE, name, fields, precondition=Precondition(exists=False))
        return self._write_one(parent.database, write, optional_mask(request))

    def update_document(self, request: Any, _context: Context) -> Any:
        """UpdateDocument: sets or, with an update_mask, merges."""
        target = parse_document_name(request.document.name)
        write = Write(
            Operation.UPDATE,
            target.name,
            decode_fields(request.document.fields),
            decode_mask(request.update_mask) if request.HasField("update_mask") else None,
            precondition=decode_precondition(request.current_document),
        )
        return self._write_one(target.database, write, optional_mask(request))

    def delete_document(self, request: Any, _context: Context) -> Empty:
        """DeleteDocument: of a missing document too, unless a precondition says otherwise."""
        target = parse_document_name(request.name)
        precondition = decode_precondition(request.current_document)
        write = Write(Operation.DELETE, target.name, precondition=precondition)
        self._store.database(target.database).commit([write], self._clock.now_us())
        return Empty()

    def commit(self, request: Any, _context: Context) -> Any:
        """Commit, in a transaction or outside."""
        name = parse_database(request.database)
        check_commit_size(request)
        database = self._store.database(name)
        now_us = self._clock.now_us()
        transaction = None
        if request.transaction:
            transaction = database.transaction(request.transaction, now_us)
        writes = [decode_write(write, name) for write in request.writes]
        reply = _CommitReply()
        fill_commit(database.commit(writes, now_us, transaction), reply)
        return reply

    def batch_write(self, request: Any, _context: Context) -> Any:
        """BatchWrite: each write is a commit of its own, with a status of its own."""
        name = parse_database(request.database)
        check_commit_size(request)
        writes = [decode_write(write, name) for write in request.writes]
        if len({write.name for write in writes}) != len(writes):
            raise InvalidArgument(
                "the same document cannot be written more than once in a single request"
            )
        database = self._store.database(name)
        reply = _BatchWriteReply()
        for write in writes:
            result, status = reply.write_results.add(), reply.status.add()
            try:
                commit = database.commit([write], self._clock.now_us())
            except ServiceError as error:
                status.code = grpc.StatusCode[error.code].value[0]
                status.message = error.message
            else:
                fill_write_result(commit.results[0], result)
        return reply

    def begin_transaction(self, request: Any, _context: Context) -> Any:
        """BeginTransaction."""
        database = self._store.database(parse_database(request.database))
        transaction = begin(database, request.options, self._clock.now_us())
        return _BeginReply(transaction=transaction.transaction_id)

    def rollback(self, request: Any, _context: Context) -> Empty:
        """Rollback."""
        database = self._store.database(parse_database(request.database))
        database.transactions.rollback(request.transaction, self._clock.now_us())
        return Empty()

    def _write_one(
        self, name: DatabaseName, write: Write, mask: tuple[FieldPath, ...] | None
    ) -> Any:
        database = self._store.database(name)
        database.commit([write], self._clock.now_us())
        document = database.get(write.name)
        assert document is not None  # noqa: S101 - it was written just now
        return document_pb(name, document, mask)


def _read(view: View, name: Name) -> Document | None:
    document = view.database.get(name, view.snapshot_us)
    if view.transaction is not None:
        view.transaction.record_read(name)
    return document
