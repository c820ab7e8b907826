"""What a document may hold: sizes, depth, names, index entries; refused as production refuses.

1. Everything here answers INVALID_ARGUMENT and changes nothing.
2. Sizes are counted as documented: a string its UTF-8 bytes + 1, numbers and timestamps 8,
   null and bool 1, a field its name + its value, a document its name + its fields + 32.
3. Index entries are those of the automatic single-field indexes: two for each field that is
   neither array nor map, one for each distinct element of an array.

Not here: ids (paths.py), the size of a whole commit (it is the request's, document_service.py).
Sources: https://firebase.google.com/docs/firestore/quotas,
https://firebase.google.com/docs/firestore/storage-size; texts observed: Firestore emulator 1.19.9.
"""

from emulator.errors import InvalidArgument
from emulator.firestore.paths import Name, is_reserved
from emulator.firestore.values import (
    Fields,
    GeoPoint,
    Reference,
    Timestamp,
    Value,
    Vector,
    order_key,
)

MAX_DOCUMENT_BYTES = 1_048_576
MAX_VALUE_BYTES = 1_048_487
MAX_FIELD_NAME_BYTES = 1500
MAX_DEPTH = 20
MAX_INDEX_ENTRIES = 40_000
MAX_TRANSFORMS = 500  # of one document in one commit
MAX_COMMIT_BYTES = 10 * 1024 * 1024
MAX_VECTOR_DIMENSIONS = 2048

_DOCUMENT_OVERHEAD_BYTES = 32
_NAME_OVERHEAD_BYTES = 16


def check_document(name: Name, fields: Fields, full_name: str) -> None:
    """Raise unless a document may be stored; `full_name` is for the message.

    Raises:
        InvalidArgument: a limit is passed; the message names it.
    """
    size = document_bytes(name, fields)
    if size > MAX_DOCUMENT_BYTES:
        raise InvalidArgument(
            f"Document '{full_name}' cannot be written because its size ({size:,} bytes) "
            f"exceeds the maximum allowed size of {MAX_DOCUMENT_BYTES:,} bytes."
        )
    # An entry takes more than a byte of document, so most documents need no counting.
    if size > MAX_INDEX_ENTRIES and index_entries(fields) > MAX_INDEX_ENTRIES:
        raise InvalidArgument(
            f"too many index entries for entity {full_name}: "
            f"{index_entries(fields)}, at most {MAX_INDEX_ENTRIES} are allowed"
        )


def document_bytes(name: Name, fields: Fields) -> int:
    """The documented size of a document; refuses values that no document may hold.

    Raises:
        InvalidArgument: a name, a depth, a nested array or a single value is not allowed.
    """
    size = _NAME_OVERHEAD_BYTES + _DOCUMENT_OVERHEAD_BYTES
    for segment in name:
        size += _text_bytes(segment) + 1
    return size + _map_bytes(fields, 0, "")


def _text_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _map_bytes(fields: Fields, depth: int, top: str) -> int:
    size = 0
    for key, value in fields.items():
        name_bytes = _text_bytes(key)
        if not name_bytes:
            raise InvalidArgument("The property.name is the empty string.")
        if name_bytes > MAX_FIELD_NAME_BYTES:
            raise InvalidArgument(f"The property.name is longer than {MAX_FIELD_NAME_BYTES} bytes.")
        if key[0] == "_" and is_reserved(key):
            raise InvalidArgument(f"field name {key} is reserved")
        size += name_bytes + 1 + _value_bytes(value, depth, top or key)
    return size


def _value_bytes(value: Value, depth: int, top: str) -> int:
    if isinstance(value, (str, bytes)):
        size = _text_bytes(value) + 1 if isinstance(value, str) else len(value)
        if size > MAX_VALUE_BYTES + isinstance(value, str):
            raise InvalidArgument(
                f'The value of property "{top}" is longer than {MAX_VALUE_BYTES} bytes.'
            )
        return size
    if value is None or isinstance(value, bool):
        return 1
    if isinstance(value, (int, float, Timestamp)):
        return 8
    if isinstance(value, (dict, list)):
        if depth == MAX_DEPTH:
            raise InvalidArgument(f"Property {top} contains an invalid nested entity.")
        if isinstance(value, dict):
            return _map_bytes(value, depth + 1, top)
        if any(isinstance(element, list) for element in value):
            raise InvalidArgument("Cannot convert an array value in an array value.")
        if any(isinstance(element, Vector) for element in value):
            raise InvalidArgument("Cannot convert a vector value in an array value.")
        return sum(_value_bytes(element, depth + 1, top) for element in value)
    if isinstance(value, GeoPoint):
        return 16
    if isinstance(value, Reference):
        return _NAME_OVERHEAD_BYTES + _text_bytes(value.name) + 1
    if len(value.values) > MAX_VECTOR_DIMENSIONS:
        raise InvalidArgument(f"Vectors must be at most {MAX_VECTOR_DIMENSIONS} dimensions.")
    return 8 * len(value.values)


def index_entries(fields: Fields) -> int:
    """How many entries the automatic single-field indexes hold for these fields."""
    total = 0
    for value in fields.values():
        if isinstance(value, dict):
            total += index_entries(value)
        elif isinstance(value, list):
            total += len({order_key(element) for element in value})
        else:
            total += 2  # ascending and descending
    return total
