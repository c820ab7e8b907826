"""Firestore's values: the types a field can have, their total order, and field paths.

1. A value is None, bool, int, float, Timestamp, str, bytes, Reference, GeoPoint, list, Vector
   or dict[str, value]. Python finds True == 1 == 1.0; Firestore keeps three types, so nothing
   here compares values with `==` before their types agree.
2. `order_key` is the order queries sort and compare by: null < bool < number < timestamp <
   string < bytes < reference < geo point < array < vector < map. Numbers compare by exact
   value whatever their type, NaN before all of them, -0.0 equal to 0. Keys are equal exactly
   where a query calls two values equal.
3. `same_value` is identity: a write that changes nothing by it leaves update_time alone.
4. Strings order by UTF-8 bytes, which is the order of code points, which is Python's.

Not here: limits (limits.py), resource names (paths.py), protobuf (convert.py).
Sources: https://firebase.google.com/docs/firestore/manage-data/data-types#value_type_ordering
and the FieldPath and Value comments of google/firestore/v1/document.proto.
"""

import enum
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from emulator.errors import InvalidArgument
from emulator.firestore.paths import name_key


@dataclass(frozen=True, slots=True)
class Timestamp:
    """An instant: `us` microseconds since the Unix epoch; finer digits are cut, as documented."""

    us: int


@dataclass(frozen=True, slots=True)
class Reference:
    """A document by its full resource name: projects/P/databases/D/documents/c/d."""

    name: str


@dataclass(frozen=True, slots=True)
class GeoPoint:
    """A place on earth, in degrees."""

    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Vector:
    """An embedding: on the wire the map {"__type__": "__vector__", "value": [doubles]}."""

    values: tuple[float, ...]


Value: TypeAlias = (
    bool
    | int
    | float
    | Timestamp
    | str
    | bytes
    | Reference
    | GeoPoint
    | list["Value"]
    | Vector
    | dict[str, "Value"]
    | None
)
Fields: TypeAlias = dict[str, Value]
FieldPath: TypeAlias = tuple[str, ...]
OrderKey: TypeAlias = tuple[Any, ...]


class Missing(enum.Enum):
    """The type of MISSING: a field that is not there, unlike one that is null."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING

# The first element of every order key: the rank of the type.
RANK_NULL, RANK_BOOL, RANK_NUMBER, RANK_TIMESTAMP, RANK_STRING, RANK_BYTES = range(6)
RANK_REFERENCE, RANK_GEO_POINT, RANK_ARRAY, RANK_VECTOR, RANK_MAP = range(6, 11)


def _float_key(value: float) -> OrderKey:
    # NaN is what differs from itself; its key comes before every other number's.
    return (RANK_NUMBER, 0) if value != value else (RANK_NUMBER, 1, value)


def _map_key(value: Fields) -> OrderKey:
    return (RANK_MAP, tuple((key, order_key(value[key])) for key in sorted(value)))


_KEYS: Final[dict[type, Callable[[Any], OrderKey]]] = {
    type(None): lambda value: (RANK_NULL,),
    bool: lambda value: (RANK_BOOL, value),
    int: lambda value: (RANK_NUMBER, 1, value),
    float: _float_key,
    Timestamp: lambda value: (RANK_TIMESTAMP, value.us),
    str: lambda value: (RANK_STRING, value),
    bytes: lambda value: (RANK_BYTES, value),
    Reference: lambda value: (RANK_REFERENCE, name_key(value.name.split("/"))),
    GeoPoint: lambda value: (RANK_GEO_POINT, value.latitude, value.longitude),
    list: lambda value: (RANK_ARRAY, tuple(map(order_key, value))),
    # By dimension first, then element by element.
    Vector: lambda value: (
        RANK_VECTOR,
        len(value.values),
        tuple(_float_key(element) for element in value.values),
    ),
    dict: _map_key,
}


def order_key(value: Value) -> OrderKey:
    """A plain tuple that sorts and equals as Firestore's queries do; `key[0]` is the rank."""
    return _KEYS[type(value)](value)


def same_value(left: Value, right: Value) -> bool:
    """Whether storing one over the other changes nothing: types and bits agree.

    1, 1.0 and True differ, -0.0 and 0.0 differ, NaN is the same as NaN.
    """
    if type(left) is not type(right):
        return False
    if isinstance(left, float) and isinstance(right, float):
        return _same_float(left, right)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same_value, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(
            same_value(value, right[key]) for key, value in left.items()
        )
    if isinstance(left, Vector) and isinstance(right, Vector):
        return len(left.values) == len(right.values) and all(
            map(_same_float, left.values, right.values)
        )
    if isinstance(left, GeoPoint) and isinstance(right, GeoPoint):
        return _same_float(left.latitude, right.latitude) and _same_float(
            left.longitude, right.longitude
        )
    return left == right


def _same_float(left: float, right: float) -> bool:
    if left == right:
        return math.copysign(1.0, left) == math.copysign(1.0, right)
    return math.isnan(left) and math.isnan(right)


_SIMPLE = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_SEGMENT = re.compile(r"([A-Za-z_][A-Za-z_0-9]*)|`((?:[^`\\]|\\.)+)`", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def parse_field_path(text: str) -> FieldPath:
    r"""The segments of `a.b`, of `` a.`x.y` ``, of `` `a\`b` ``.

    Raises:
        InvalidArgument: a segment is empty, or needs backquotes and has none.
    """
    if _SIMPLE.fullmatch(text):
        return (text,)
    segments: list[str] = []
    at = 0
    while True:
        match = _SEGMENT.match(text, at)
        if match is None:
            raise InvalidArgument(f"Invalid property path: {text!r}.")
        plain, quoted = match.groups()
        segments.append(plain if plain is not None else _ESCAPED.sub(r"\1", quoted))
        at = match.end()
        if at == len(text):
            return tuple(segments)
        if text[at] != ".":
            raise InvalidArgument(f"Invalid property path: {text!r}.")
        at += 1


def format_field_path(path: FieldPath) -> str:
    """The inverse of `parse_field_path`: a segment is quoted only where it must be."""
    return ".".join(
        segment
        if _SIMPLE.fullmatch(segment)
        else "`" + segment.replace("\\", "\\\\").replace("`", "\\`") + "`"
        for segment in path
    )


def get_field(fields: Fields, path: FieldPath) -> Value | Literal[Missing.MISSING]:
    """The value at `path`, or MISSING where there is none."""
    value: Value = fields
    for segment in path:
        if not isinstance(value, dict) or segment not in value:
            return MISSING
        value = value[segment]
    return value
