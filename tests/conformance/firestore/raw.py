"""Firestore without the high-level client: names, values, writes and a Listen stream.

Some of what a server must honour cannot be reached through `google.cloud.firestore.Client`
(a write that verifies, a page token, a target id): the tests then use the generated client.
"""

import datetime
import queue
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.cloud.firestore_v1 import GeoPoint, types
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport
from google.protobuf import struct_pb2

# What a rules-bypassing caller sends to the emulators; production's callers send a real token.
OWNER = (("authorization", "Bearer owner"),)
PATIENCE_SECONDS = 20.0


@dataclass(frozen=True)
class Raw:
    """The generated client of one database."""

    api: FirestoreClient
    database: str

    @property
    def root(self) -> str:
        """The parent of the top-level collections."""
        return f"{self.database}/documents"

    def name(self, path: str) -> str:
        """The full resource name of `users/ann`."""
        return f"{self.root}/{path}"

    def document(self, path: str, **fields: Any) -> types.Document:
        return types.Document(name=self.name(path), fields=to_fields(fields))

    def put(self, path: str, **fields: Any) -> types.Write:
        """A write that replaces the whole document."""
        return types.Write(update=self.document(path, **fields))

    def commit(self, *writes: types.Write, **more: Any) -> types.CommitResponse:
        request = types.CommitRequest(database=self.database, writes=writes, **more)
        return self.api.commit(request=request, metadata=OWNER, retry=None)

    def get(self, path: str, **more: Any) -> types.Document:
        request = types.GetDocumentRequest(name=self.name(path), **more)
        return self.api.get_document(request=request, metadata=OWNER)

    def query(
        self, collection_id: str, parent: str | None = None, **more: Any
    ) -> list[types.RunQueryResponse]:
        """Run a query on one collection; `more` are StructuredQuery's fields."""
        request = types.RunQueryRequest(
            parent=parent or self.root, structured_query=structured(collection_id, **more)
        )
        return list(self.api.run_query(request=request, metadata=OWNER))


def structured(collection_id: str, **more: Any) -> types.StructuredQuery:
    selector = types.StructuredQuery.CollectionSelector(collection_id=collection_id)
    return types.StructuredQuery(from_=[selector], **more)


def connect(address: str, project: str, database: str = "(default)") -> Raw:
    channel = grpc.insecure_channel(
        address, options=[("grpc.max_receive_message_length", 64 * 1024 * 1024)]
    )
    api = FirestoreClient(transport=FirestoreGrpcTransport(channel=channel))
    return Raw(api, f"projects/{project}/databases/{database}")


def begin(raw: Raw, **options: Any) -> bytes:
    """Begin a transaction with TransactionOptions; its id."""
    request = types.BeginTransactionRequest(database=raw.database, options=options)
    return raw.api.begin_transaction(request=request, metadata=OWNER).transaction


def to_value(value: Any) -> types.Value:
    """A Python value as Firestore's Value; a Value stays itself."""
    match value:
        case types.Value():
            return value
        case None:
            return types.Value(null_value=struct_pb2.NULL_VALUE)
        case bool():
            return types.Value(boolean_value=value)
        case int():
            return types.Value(integer_value=value)
        case float():
            return types.Value(double_value=value)
        case str():
            return types.Value(string_value=value)
        case bytes():
            return types.Value(bytes_value=value)
        case datetime.datetime():
            return types.Value(timestamp_value=value)
        case GeoPoint():
            return types.Value(geo_point_value=value.to_protobuf())
        case list():
            return types.Value(array_value=types.ArrayValue(values=[to_value(v) for v in value]))
        case dict():
            return types.Value(map_value=types.MapValue(fields=to_fields(value)))
    raise TypeError(f"no Firestore value: {value!r}")


def to_fields(fields: dict[str, Any]) -> dict[str, types.Value]:
    return {name: to_value(value) for name, value in fields.items()}


class ListenStream:
    """One Listen call: requests put in, responses read one by one."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._requests: queue.SimpleQueue[types.ListenRequest | None] = queue.SimpleQueue()
        self._responses: Any = None

    def __enter__(self) -> "ListenStream":
        return self

    def __exit__(self, *_exc: object) -> None:
        self._requests.put(None)
        if self._responses is not None:
            self._responses.cancel()

    def add_query(
        self, target_id: int, query: types.StructuredQuery, parent: str | None = None, **more: Any
    ) -> None:
        target = types.Target.QueryTarget(parent=parent or self._raw.root, structured_query=query)
        self._add(types.Target(query=target, target_id=target_id, **more))

    def add_documents(self, target_id: int, *paths: str, **more: Any) -> None:
        names = [self._raw.name(path) for path in paths]
        target = types.Target.DocumentsTarget(documents=names)
        self._add(types.Target(documents=target, target_id=target_id, **more))

    def remove(self, target_id: int) -> None:
        self._requests.put(
            types.ListenRequest(database=self._raw.database, remove_target=target_id)
        )

    def _add(self, target: types.Target) -> None:
        self._requests.put(types.ListenRequest(database=self._raw.database, add_target=target))
        if self._responses is None:  # the client waits for the first answer before it returns
            self._responses = self._raw.api.listen(
                requests=iter(self._requests.get, None),
                metadata=(*OWNER, ("google-cloud-resource-prefix", self._raw.database)),
                timeout=PATIENCE_SECONDS,
            )

    def until(self, wanted: Callable[[types.ListenResponse], bool]) -> list[types.ListenResponse]:
        """Every response up to and with the first one wanted."""
        seen = []
        for response in self._responses:
            seen.append(response)
            if wanted(response):
                return seen
        raise AssertionError(f"the stream ended after {seen}")

    def until_current(self, target_id: int) -> list[types.ListenResponse]:
        """Up to the word that the target has caught up with the database."""
        return self.until(lambda r: is_change(r, "CURRENT") and applies(r, target_id))

    def until_snapshot(self) -> list[types.ListenResponse]:
        """Up to a consistent state of all targets: a NO_CHANGE with a read_time and no target.

        Source: https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#targetchange
        """
        return self.until(
            lambda r: (
                is_change(r, "NO_CHANGE")
                and not r.target_change.target_ids
                and "read_time" in r.target_change
            )
        )


def is_change(response: types.ListenResponse, kind: str) -> bool:
    return "target_change" in response and response.target_change.target_change_type.name == kind


def applies(response: types.ListenResponse, target_id: int) -> bool:
    """Whether a target change is about the target (none named: about all)."""
    ids = response.target_change.target_ids
    return not ids or target_id in ids


def view(
    responses: list[types.ListenResponse], into: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What a client would hold after the responses: document id -> fields, updated in place."""
    held = {} if into is None else into
    for response in responses:
        if "document_change" in response:
            change = response.document_change
            if change.target_ids:
                held[change.document.name.rsplit("/", 1)[1]] = dict(change.document.fields)
            elif change.removed_target_ids:
                held.pop(change.document.name.rsplit("/", 1)[1], None)
        elif "document_delete" in response:
            held.pop(response.document_delete.document.rsplit("/", 1)[1], None)
        elif "document_remove" in response:
            held.pop(response.document_remove.document.rsplit("/", 1)[1], None)
        elif is_change(response, "RESET"):
            held.clear()
    return held
