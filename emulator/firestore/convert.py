"""Between google.firestore.v1 messages and the core's values, documents and writes.

1. Only shape is checked here (a value with no type, a latitude of 91); limits are limits.py's.
2. Instants are cut to microseconds on the way in.
3. A vector is on the wire the map {"__type__": "__vector__", "value": [doubles]}.
4. A document's wire form is made once, at its first read, and kept with it (`encoded`).
5. Raw protobuf classes, not the client's proto-plus wrappers, which cost tens of microseconds.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from google.cloud.firestore_v1 import types
from google.protobuf.timestamp_pb2 import Timestamp as TimestampPb
from google.protobuf.unknown_fields import UnknownFieldSet

from emulator.clock import SECOND_US
from emulator.errors import InvalidArgument
from emulator.firestore.paths import DatabaseName, Name, parse_document_name
from emulator.firestore.store import CommitResult
from emulator.firestore.transforms import Kind, Transform
from emulator.firestore.values import (
    MISSING,
    FieldPath,
    Fields,
    GeoPoint,
    Reference,
    Timestamp,
    Value,
    Vector,
    get_field,
    parse_field_path,
)
from emulator.firestore.writes import Document, Operation, Precondition, Write, WriteResult

DocumentPb: Final[Any] = types.Document.pb()
ValuePb: Final[Any] = types.Value.pb()

_VECTOR_TYPE = "__vector__"
_MIN_SECONDS, _MAX_SECONDS = -62_135_596_800, 253_402_300_799  # years 1 to 9999
_NO_PRECONDITION = Precondition()
# The web and mobile clients send `verify`, which the published write.proto does not name.
_VERIFY_FIELD = 5


def decode_time(message: Any) -> int:
    """A protobuf Timestamp in microseconds.

    Raises:
        InvalidArgument: it is outside the years 1 to 9999.
    """
    if not _MIN_SECONDS <= message.seconds <= _MAX_SECONDS or not 0 <= message.nanos < 10**9:
        raise InvalidArgument("Timestamp is outside 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z.")
    seconds: int = message.seconds
    nanos: int = message.nanos
    return seconds * SECOND_US + nanos // 1000


def encode_time(time_us: int, message: Any) -> None:
    """Set a protobuf Timestamp."""
    seconds, micros = divmod(time_us, SECOND_US)
    message.seconds = seconds
    message.nanos = micros * 1000


def time_pb(time_us: int) -> TimestampPb:
    """A protobuf Timestamp."""
    seconds, micros = divmod(time_us, SECOND_US)
    return TimestampPb(seconds=seconds, nanos=micros * 1000)


def _decode_geo_point(message: Any) -> GeoPoint:
    point = GeoPoint(message.latitude, message.longitude)
    if not -90 <= point.latitude <= 90:
        raise InvalidArgument(
            f"Geo point latitude '{point.latitude}' outside permitted range -90.0 to 90.0."
        )
    if not -180 <= point.longitude <= 180:
        raise InvalidArgument(
            f"Geo point longitude '{point.longitude}' outside permitted range -180.0 to 180.0."
        )
    return point


def _decode_vector(fields: Any) -> Vector:
    if "value" not in fields:
        raise InvalidArgument("Vector map is missing key 'value'.")
    if len(fields) > 2:
        raise InvalidArgument("Vector Value map has extraneous entries.")
    if not fields["value"].HasField("array_value"):
        raise InvalidArgument("Vector Value type must be an array.")
    elements = fields["value"].array_value.values
    doubles = tuple(one.double_value for one in elements if one.HasField("double_value"))
    if not elements:
        raise InvalidArgument("Cannot have a zero length vector.")
    if len(doubles) != len(elements):
        raise InvalidArgument("Vector must only contain values of type 'double'")
    return Vector(doubles)


def _decode_map(message: Any) -> Fields | Vector:
    fields = message.fields
    if "__type__" in fields and fields["__type__"].string_value == _VECTOR_TYPE:
        return _decode_vector(fields)
    return decode_fields(fields)


def _decode_reference(name: str) -> Reference:
    parse_document_name(name)
    return Reference(name)


_DECODERS: Final[dict[str, Callable[[Any], Value]]] = {
    "null_value": lambda message: None,
    "boolean_value": lambda message: message.boolean_value,
    "integer_value": lambda message: message.integer_value,
    "double_value": lambda message: message.double_value,
    "timestamp_value": lambda message: Timestamp(decode_time(message.timestamp_value)),
    "string_value": lambda message: message.string_value,
    "bytes_value": lambda message: message.bytes_value,
    "reference_value": lambda message: _decode_reference(message.reference_value),
    "geo_point_value": lambda message: _decode_geo_point(message.geo_point_value),
    "array_value": lambda message: [decode_value(one) for one in message.array_value.values],
    "map_value": lambda message: _decode_map(message.map_value),
}


def decode_value(message: Any) -> Value:
    """The value of a Value message.

    Raises:
        InvalidArgument: it has no type, or one that cannot be stored.
    """
    kind = message.WhichOneof("value_type")
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise InvalidArgument(f"Cannot convert firestore.v1.Value with type {kind or 'unset'}.")
    return decoder(message)


def decode_fields(fields: Mapping[str, Any]) -> Fields:
    """The fields of a Document or MapValue message; names are interned, they repeat so much."""
    intern = sys.intern
    return {intern(key): decode_value(message) for key, message in fields.items()}


def _encode_timestamp(value: Any, message: Any) -> None:
    encode_time(value.us, message.timestamp_value)


def _encode_geo_point(value: Any, message: Any) -> None:
    message.geo_point_value.SetInParent()
    message.geo_point_value.latitude = value.latitude
    message.geo_point_value.longitude = value.longitude


def _encode_list(value: Any, message: Any) -> None:
    message.array_value.SetInParent()
    add = message.array_value.values.add
    for element in value:
        encode_value(element, add())


def _encode_map(value: Any, message: Any) -> None:
    message.map_value.SetInParent()
    encode_fields(value, message.map_value.fields)


def _encode_vector(value: Any, message: Any) -> None:
    fields = message.map_value.fields
    fields["__type__"].string_value = _VECTOR_TYPE
    array = fields["value"].array_value
    array.SetInParent()
    array.values.extend(ValuePb(double_value=element) for element in value.values)


_ENCODERS: Final[dict[type, Callable[[Any, Any], None]]] = {
    type(None): lambda value, message: setattr(message, "null_value", 0),
    bool: lambda value, message: setattr(message, "boolean_value", value),
    int: lambda value, message: setattr(message, "integer_value", value),
    float: lambda value, message: setattr(message, "double_value", value),
    Timestamp: _encode_timestamp,
    str: lambda value, message: setattr(message, "string_value", value),
    bytes: lambda value, message: setattr(message, "bytes_value", value),
    Reference: lambda value, message: setattr(message, "reference_value", value.name),
    GeoPoint: _encode_geo_point,
    list: _encode_list,
    Vector: _encode_vector,
    dict: _encode_map,
}


def encode_value(value: Value, message: Any) -> None:
    """Set an empty Value message."""
    _ENCODERS[type(value)](value, message)


def encode_fields(fields: Fields, target: Any) -> None:
    """Fill the `fields` map of a Document or MapValue message."""
    for key, value in fields.items():
        _ENCODERS[type(value)](value, target[key])


def document_pb(
    database: DatabaseName, document: Document, mask: tuple[FieldPath, ...] | None = None
) -> Any:
    """The Document message of a stored document, with the fields of `mask` only if given."""
    if mask is None:
        return DocumentPb.FromString(document_bytes(database, document))
    return _build(database, document, project(document.fields, mask))


def document_bytes(database: DatabaseName, document: Document) -> bytes:
    """A stored document's wire form, made at the first call and kept."""
    if document.encoded is None:
        message = _build(database, document, document.fields)
        document.encoded = message.SerializeToString()
    return document.encoded


def _build(database: DatabaseName, document: Document, fields: Fields) -> Any:
    message = DocumentPb(name=database.full_name(document.name))
    encode_fields(fields, message.fields)
    encode_time(document.create_time_us, message.create_time)
    encode_time(document.update_time_us, message.update_time)
    return message


def project(fields: Fields, mask: Iterable[FieldPath]) -> Fields:
    """The parts of `fields` that the paths name; `__name__` is no field."""
    result: Fields = {}
    for path in mask:
        value = get_field(fields, path)
        if value is MISSING:
            continue
        at = result
        for segment in path[:-1]:
            child = at.setdefault(segment, {})
            assert isinstance(child, dict)  # noqa: S101 - it is a map in `fields`
            at = child
        at[path[-1]] = value
    return result


def decode_mask(message: Any) -> tuple[FieldPath, ...]:
    """The paths of a DocumentMask.

    Raises:
        InvalidArgument: one is not a field path.
    """
    paths = [parse_field_path(text) for text in message.field_paths]
    return tuple(sorted({path for path in paths if path != ("__name__",)}))


def optional_mask(request: Any) -> tuple[FieldPath, ...] | None:
    """The request's `mask`, or None where all fields are wanted."""
    return decode_mask(request.mask) if request.HasField("mask") else None


def decode_precondition(message: Any) -> Precondition:
    """A Precondition message."""
    kind = message.WhichOneof("condition_type")
    if kind == "exists":
        return Precondition(exists=message.exists)
    if kind == "update_time":
        return Precondition(update_time_us=decode_time(message.update_time))
    return _NO_PRECONDITION


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
    precondition = _NO_PRECONDITION
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


def own_name(text: str, database: DatabaseName) -> Name:
    """The relative name of a document that must be in `database`.

    Raises:
        InvalidArgument: it is no document's name, or of another database.
    """
    document = parse_document_name(text)
    if document.database != database:
        raise InvalidArgument(f'Document name "{text}" is not in the database "{database}".')
    return document.name


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
