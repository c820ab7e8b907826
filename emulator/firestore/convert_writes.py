"""Between google.firestore.v1 messages and the core's writes, preconditions and results.

1. A write is for a document of the database of its commit, and of no other.
2. `verify` is read although the published write.proto lacks it: the web and mobile clients send
   it for documents that a transaction read and does not write.
"""

from typing import Any, Final

from google.protobuf.unknown_fields import UnknownFieldSet

from emulator.errors import InvalidArgument
from emulator.firestore.convert import (
    decode_fields,
    decode_mask,
    decode_time,
    decode_value,
    encode_time,
    encode_value,
    own_name,
)
from emulator.firestore.paths import DatabaseName
from emulator.firestore.store import CommitResult
from emulator.firestore.transforms import Kind, Transform
from emulator.firestore.values import parse_field_path
from emulator.firestore.writes import (
    NO_PRECONDITION,
    Operation,
    Precondition,
    Write,
    WriteResult,
)

_VERIFY_FIELD: Final = 5


def decode_precondition(message: Any) -> Precondition:
    """A Precondition message."""
    kind = message.WhichOneof("condition_type")
    if kind == "exists":
        return Precondition(exists=message.exists)
    if kind == "update_time":
        return Precondition(update_time_us=decode_time(message.update_time))
    return NO_PRECONDITION


def _decode_transform(message: Any) -> Transform:
    kind = message.WhichOneof("transform_type")
    if kind is None:
        raise InvalidArgument("Operation type must be specified for field transformation.")
    path = parse_field_path(message.field_path)
    if path == ("__name__",):
        raise InvalidArgument("Cannot transform __name__.")
    match Kind(kind):
        case Kind.SET_TO_SERVER_VALUE:
            if message.set_to_server_value != 1:
                raise InvalidArgument(
                    "ServerValue type must be specified for set_to_server_value transformation."
                )
            return Transform(path, Kind.SET_TO_SERVER_VALUE)
        case Kind.APPEND_MISSING_ELEMENTS | Kind.REMOVE_ALL_FROM_ARRAY as array:
            elements = [decode_value(one) for one in getattr(message, kind).values]
            return Transform(path, array, elements)
        case number:
            return Transform(path, number, decode_value(getattr(message, kind)))


def decode_write(message: Any, database: DatabaseName) -> Write:
    """A Write message, for a commit in `database`.

    Raises:
        InvalidArgument: it is empty, malformed, or names a document elsewhere.
    """
    operation = message.WhichOneof("operation")
    precondition = NO_PRECONDITION
    if message.HasField("current_document"):
        precondition = decode_precondition(message.current_document)
    transforms: tuple[Transform, ...] = ()
    if message.update_transforms:
        transforms = tuple(map(_decode_transform, message.update_transforms))
    if operation == "update":
        name = own_name(message.update.name, database)
        fields = decode_fields(message.update.fields)
        mask = decode_mask(message.update_mask) if message.HasField("update_mask") else None
        return Write(Operation.UPDATE, name, fields, mask, transforms, precondition)
    if operation is not None and message.HasField("update_mask"):
        raise InvalidArgument(f"a {operation} must not specify a document mask.")
    if operation is not None and transforms:
        raise InvalidArgument(f"a {operation} must not specify a update transform.")
    if operation == "delete":
        return Write(
            Operation.DELETE, own_name(message.delete, database), precondition=precondition
        )
    if operation == "transform":
        if not message.transform.field_transforms:
            raise InvalidArgument("The list of FieldTransform must not be empty.")
        name = own_name(message.transform.document, database)
        transforms = tuple(map(_decode_transform, message.transform.field_transforms))
        return Write(Operation.UPDATE, name, {}, (), transforms, precondition)
    unknown_fields: Any = UnknownFieldSet(message)  # type: ignore[no-untyped-call,unused-ignore]
    for unknown in unknown_fields:
        if unknown.field_number == _VERIFY_FIELD and isinstance(unknown.data, bytes):
            name = own_name(unknown.data.decode(), database)
            return Write(Operation.VERIFY, name, precondition=precondition)
    raise InvalidArgument("empty write operation")


def fill_write_result(result: WriteResult, message: Any) -> None:
    """Set an empty WriteResult message."""
    message.SetInParent()
    if result.update_time_us is not None:
        encode_time(result.update_time_us, message.update_time)
    for value in result.transform_results:
        encode_value(value, message.transform_results.add())


def fill_commit(result: CommitResult, message: Any) -> None:
    """Set the results and the time of a CommitResponse or WriteResponse message."""
    for one in result.results:
        fill_write_result(one, message.write_results.add())
    encode_time(result.commit_time_us, message.commit_time)
