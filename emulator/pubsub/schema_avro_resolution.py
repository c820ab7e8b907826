"""Avro's schema resolution, as a question: can a reader read everything a writer may write?

A revision of a Pub/Sub schema must pass "as if it is both the reader schema and the writer
schema", so the caller asks both ways.

1. The same type; int -> long -> float -> double; bytes <-> string; arrays, maps by their parts.
2. Records, enums and fixed by their name without namespace, or by an alias of the reader's.
3. A record: every field of the reader is in the writer or has a default.
4. An enum: every symbol of the writer is the reader's, or the reader has a default.
5. Of a writing union every branch must be readable; of a reading union one branch must read.

Sources: https://avro.apache.org/docs/1.11.1/specification/#schema-resolution,
https://cloud.google.com/pubsub/docs/commit-schema-revision
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emulator.pubsub.schema_avro import AvroType

_PROMOTIONS = {
    "int": frozenset({"long", "float", "double"}),
    "long": frozenset({"float", "double"}),
    "float": frozenset({"double"}),
    "string": frozenset({"bytes"}),
    "bytes": frozenset({"string"}),
}


def fault(reader: "AvroType", writer: "AvroType") -> str | None:
    """Why `reader` cannot read what `writer` writes; None if it can."""
    return _fault(reader, writer, set())


def _fault(reader: "AvroType", writer: "AvroType", seen: set[tuple[int, int]]) -> str | None:
    pair = (id(reader), id(writer))
    if pair in seen:  # a recursive type: decided where it began
        return None
    seen.add(pair)
    if writer.kind == "union":
        reasons = (_fault(reader, branch, seen) for branch in writer.branches)
        return next(filter(None, reasons), None)
    if reader.kind == "union":
        return _union_fault(reader, writer, seen)
    if reader.kind != writer.kind:
        if reader.kind in _PROMOTIONS.get(writer.kind, ()):
            return None
        return _mismatch(reader, writer)
    if reader.kind in ("array", "map"):
        assert reader.items is not None  # noqa: S101 - of every array and map
        assert writer.items is not None  # noqa: S101 - of every array and map
        return _fault(reader.items, writer.items, seen)
    if reader.name and not _same_name(reader, writer):
        return _mismatch(reader, writer)
    if reader.kind == "fixed" and reader.size != writer.size:
        return _mismatch(reader, writer)
    if reader.kind == "enum" and not reader.has_default:
        unknown = [symbol for symbol in writer.symbols if symbol not in reader.symbols]
        if unknown:
            return f"enum {reader.name} has no symbol {unknown[0]} and no default"
    if reader.kind == "record":
        return _record_fault(reader, writer, seen)
    return None


def _union_fault(reader: "AvroType", writer: "AvroType", seen: set[tuple[int, int]]) -> str | None:
    for branch in reader.branches:
        attempt = set(seen)  # an assumption made by a branch that fails must not stand
        if _fault(branch, writer, attempt) is None:
            return None
    return f"{writer.branch_name} is in no branch of the union"


def _record_fault(reader: "AvroType", writer: "AvroType", seen: set[tuple[int, int]]) -> str | None:
    written = {each.name: each for each in writer.fields}
    for each in reader.fields:
        source = next((written[n] for n in (each.name, *each.aliases) if n in written), None)
        if source is None:
            if not each.has_default:
                return f"{reader.name}.{each.name} has no default and is not in the other revision"
            continue
        reason = _fault(each.type, source.type, seen)
        if reason is not None:
            return f"{reader.name}.{each.name}: {reason}"
    return None


def _same_name(reader: "AvroType", writer: "AvroType") -> bool:
    short = writer.name.rpartition(".")[2]
    return reader.name.rpartition(".")[2] == short or writer.name in reader.aliases


def _mismatch(reader: "AvroType", writer: "AvroType") -> str:
    return f"{writer.branch_name} cannot be read as {reader.branch_name}"
