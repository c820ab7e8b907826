"""Avro's JSON encoding, as a check: does this text encode a value of that schema?

1. A union's value other than null is {"branch": value}, the branch by its full name.
2. Every field of a record must be there, also one with a default; what the schema does not
   know is ignored (observed: production, and Google's emulator 0.8.20).
3. int and long within 32 and 64 bits and without a fraction; float and double are numbers;
   bytes and fixed are strings of the code points 0 to 255.
4. One JSON value is the whole text, and NaN and Infinity are not JSON.

Source: https://avro.apache.org/docs/1.11.1/specification/#json-encoding
"""

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emulator.pubsub.schema_avro import AvroType

_BITS = {"int": 31, "long": 63}


def fault(root: "AvroType", data: bytes) -> str | None:
    """Why `data` is not a value of `root` in Avro's JSON encoding; None if it is."""
    try:
        value = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # of json and of UTF-8
        return f"not JSON: {error}"
    return _fault(root, value, "message")


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not a JSON number")


def _fault(wanted: "AvroType", value: Any, where: str) -> str | None:
    kind = wanted.kind
    if kind == "record":
        return _record_fault(wanted, value, where)
    if kind == "union":
        return _union_fault(wanted, value, where)
    if kind in ("array", "map"):
        return _items_fault(wanted, value, where)
    return None if _is_scalar(wanted, value) else f"{where} is not a {wanted.branch_name}"


def _is_scalar(wanted: "AvroType", value: Any) -> bool:
    """Whether `value` encodes one of the types without parts; True is not 1."""
    kind = wanted.kind
    if kind == "null":
        return value is None
    if kind == "boolean":
        return isinstance(value, bool)
    if kind in _BITS:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        bound = 1 << _BITS[kind]
        return type(value) is int and -bound <= value < bound
    if kind in ("float", "double"):
        return type(value) in (int, float)
    if not isinstance(value, str):
        return False
    if kind == "enum":
        return value in wanted.symbols
    if kind == "string":
        return True
    return (kind == "bytes" or len(value) == wanted.size) and all(ord(c) < 256 for c in value)


def _record_fault(wanted: "AvroType", value: Any, where: str) -> str | None:
    if not isinstance(value, dict):
        return f"{where} is not an object"
    for each in wanted.fields:
        if each.name not in value:
            return f"{where} has no field {each.name!r}"
        reason = _fault(each.type, value[each.name], f"{where}.{each.name}")
        if reason is not None:
            return reason
    return None


def _union_fault(wanted: "AvroType", value: Any, where: str) -> str | None:
    if value is None:
        known = any(branch.kind == "null" for branch in wanted.branches)
        return None if known else f"{where} cannot be null"
    if not isinstance(value, dict) or len(value) != 1:
        return f'{where} must be {{"<type>": <value>}}, as Avro encodes a union in JSON'
    ((name, inner),) = value.items()
    for branch in wanted.branches:
        if branch.branch_name == name and branch.kind != "null":
            return _fault(branch, inner, f"{where}.{name}")
    return f"{where} cannot be a {name!r}"


def _items_fault(wanted: "AvroType", value: Any, where: str) -> str | None:
    shape = list if wanted.kind == "array" else dict
    if not isinstance(value, shape):
        return f"{where} is not an {wanted.kind}" if shape is list else f"{where} is not a map"
    assert wanted.items is not None  # noqa: S101 - of every array and map
    parts = enumerate(value) if isinstance(value, list) else value.items()
    for key, item in parts:
        reason = _fault(wanted.items, item, f"{where}[{key!r}]")
        if reason is not None:
            return reason
    return None
