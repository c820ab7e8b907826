"""Between google.firestore.v1 messages and the core's values, documents and masks.

1. Only shape is checked here (a value with no type, a latitude of 91); limits are limits.py's.
2. Instants are cut to microseconds on the way in.
3. A vector is on the wire the map {"__type__": "__vector__", "value": [doubles]}.
4. A document's wire form is made once, at its first read, and kept with it (`encoded`).
5. Raw protobuf classes, not the client's proto-plus wrappers, which cost tens of microseconds.

Not here: writes and their results (convert_writes.py).
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp as TimestampPb

from emulator.clock import SECOND_US
from emulator.errors import InvalidArgument
from emulator.firestore.paths import DatabaseName, Name, parse_document_name
from emulator.firestore.pb import types
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
from emulator.firestore.writes import Document

DocumentPb: Final[Any] = types.Document.pb()
ValuePb: Final[Any] = types.Value.pb()

_VECTOR_TYPE = "__vector__"
_MIN_SECONDS, _MAX_SECONDS = -62_135_596_800, 253_402_300_799  # years 1 to 9999


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


def own_name(text: str, database: DatabaseName) -> Name:
    """The relative name of a document that must be in `database`.

    Raises:
        InvalidArgument: it is no document's name, or of another database.
    """
    document = parse_document_name(text)
    if document.database != database:
        raise InvalidArgument(f'Document name "{text}" is not in the database "{database}".')
    return document.name
