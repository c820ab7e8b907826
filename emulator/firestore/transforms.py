"""Field transforms: what the server computes from the value a field has when it is written.

1. A field that is missing, or of a type the transform cannot use, counts as absent: increment,
   maximum and minimum then give their operand, the array ones start from an empty array.
2. Integers stay integers and saturate at 64 bits; one double makes the result a double.
3. Of two numbers that a query calls equal, maximum and minimum keep the stored one; a NaN on
   either side gives NaN.
4. The array transforms compare as queries do, and report null as their result.

Source: DocumentTransform in google/firestore/v1/write.proto; observed: Firestore emulator 1.19.9.
"""

import enum
import math
from dataclasses import dataclass
from typing import TypeGuard

from emulator.errors import InvalidArgument
from emulator.firestore.values import (
    FieldPath,
    Missing,
    Timestamp,
    Value,
    format_field_path,
    order_key,
)

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_MILLISECOND_US = 1000


class Kind(enum.Enum):
    """The transforms, named as in write.proto."""

    SET_TO_SERVER_VALUE = "set_to_server_value"
    INCREMENT = "increment"
    MAXIMUM = "maximum"
    MINIMUM = "minimum"
    APPEND_MISSING_ELEMENTS = "append_missing_elements"
    REMOVE_ALL_FROM_ARRAY = "remove_all_from_array"


@dataclass(frozen=True, slots=True)
class Transform:
    """One field transform; `operand` is a number, a list of elements, or None for the time."""

    path: FieldPath
    kind: Kind
    operand: Value = None


def check_transforms(transforms: tuple[Transform, ...]) -> None:
    """Raise unless the transforms of one write can be applied together.

    Raises:
        InvalidArgument: an operand is not a number, or one path is inside another.
    """
    paths = {transform.path for transform in transforms}
    for transform in transforms:
        if transform.kind in (Kind.INCREMENT, Kind.MAXIMUM, Kind.MINIMUM) and not _is_number(
            transform.operand
        ):
            raise InvalidArgument("Input must be int64 or double.")
        for length in range(1, len(transform.path)):
            if transform.path[:length] in paths:
                raise InvalidArgument(
                    f"Cannot transform property {format_field_path(transform.path[:length])} "
                    "and its nested property at the same time."
                )


def apply_transform(
    transform: Transform, current: Value | Missing, commit_time_us: int
) -> tuple[Value, Value]:
    """The field's new value, and the transform result the client is told."""
    operand = transform.operand
    match transform.kind:
        case Kind.SET_TO_SERVER_VALUE:
            # Documented with millisecond precision, equal in all fields of one commit.
            new: Value = Timestamp(commit_time_us - commit_time_us % _MILLISECOND_US)
            return new, new
        case Kind.APPEND_MISSING_ELEMENTS:
            return _append_missing(current, operand), None
        case Kind.REMOVE_ALL_FROM_ARRAY:
            return _remove_all(current, operand), None
    if not _is_number(current) or not _is_number(operand):
        return operand, operand
    if transform.kind is Kind.INCREMENT:
        new = _add(current, operand)
    else:
        new = _extreme(current, operand, largest=transform.kind is Kind.MAXIMUM)
    return new, new


def _is_number(value: Value | Missing) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _add(current: float, operand: float) -> float:
    total = current + operand
    return max(_INT64_MIN, min(_INT64_MAX, total)) if isinstance(total, int) else total


def _extreme(current: float, operand: float, *, largest: bool) -> float:
    if math.isnan(current) or math.isnan(operand):
        return math.nan
    return operand if (operand > current if largest else operand < current) else current


def _elements(value: Value | Missing) -> list[Value]:
    return value if isinstance(value, list) else []


def _append_missing(current: Value | Missing, operand: Value) -> list[Value]:
    result = list(_elements(current))
    present = {order_key(element) for element in result}
    for element in _elements(operand):
        key = order_key(element)
        if key not in present:
            present.add(key)
            result.append(element)
    return result


def _remove_all(current: Value | Missing, operand: Value) -> list[Value]:
    gone = {order_key(element) for element in _elements(operand)}
    return [element for element in _elements(current) if order_key(element) not in gone]
