"""Avro: definitions, both encodings of messages, and compatibility both ways."""

import io
import json
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import InvalidArgument
from emulator.pubsub.schema_avro import AvroSchema
from emulator.pubsub.schemas import Encoding, SchemaSource, SchemaType


def compiled(definition: Any) -> AvroSchema:
    text = definition if isinstance(definition, str) else json.dumps(definition)
    return AvroSchema(SchemaSource(SchemaType.AVRO, text))


def record(*fields: Any, name: str = "R", **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields), **more}


def of(kind: Any, **more: Any) -> dict[str, Any]:
    """A record with the one field `v`."""
    return record({"name": "v", "type": kind, **more})


ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
FIXED = {"type": "fixed", "name": "F", "size": 2}
NESTED = {**of("int"), "name": "Q", "namespace": "n.s"}
LIST = record(
    {"name": "v", "type": "int"}, {"name": "next", "type": ["null", "R"], "default": None}
)


@pytest.mark.parametrize(
    "definition",
    [
        '"string"',
        of(["null", "string"], default=None),
        of({"type": "int", "logicalType": "date"}),
        of({"type": "string", "more": 1}),
        of(ENUM),
        of(FIXED),
        LIST,
        ["null", NESTED],
        record(
            {"name": "a", "type": NESTED}, {"name": "b", "type": "n.s.Q"}, aliases=["Old"], doc="d"
        ),
    ],
)
def test_right_definition_compiles(definition: Any) -> None:
    """Everything of the specification, also a top level that is no record."""
    assert compiled(definition).incompatibility(compiled(definition)) is None


@pytest.mark.parametrize(
    "definition",
    [
        "",
        "{nope",
        "{'type': 'string'}",
        "3",
        "null",
        '"text"',
        record(name="a b"),
        record(name="1a"),
        record(namespace="a b"),
        {"type": "record", "fields": []},
        {"type": "record", "name": "R"},
        record({"name": "v"}),
        record({"type": "int"}),
        record({"name": "v-1", "type": "int"}),
        record({"name": "v", "type": "int"}, {"name": "v", "type": "int"}),
        of("unknown"),
        of(["int", "int"]),
        of(["null", ["int"]]),
        of({"type": "array"}),
        of({"type": "map", "items": "int"}),
        of({"type": "enum", "name": "E", "symbols": []}),
        of({"type": "enum", "name": "E", "symbols": ["A", "A"]}),
        of({"type": "enum", "name": "E", "symbols": ["A b"]}),
        of({**ENUM, "default": "C"}),
        of({"type": "fixed", "name": "F", "size": "2"}),
        of({"type": "fixed", "name": "F"}),
        of(record(name="R")),
        of("int", default="x"),
        of({"type": {"type": "string"}}),
        of({"type": ["null", "string"]}),
        of({"type": "unknown"}),
        {"name": "R"},
    ],
)
def test_wrong_definition_is_refused(definition: Any) -> None:
    """Also where fastavro alone would take it."""
    with pytest.raises(InvalidArgument, match="Could not parse schema definition: "):
        compiled(definition)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("null", ["null"], ["0", "false"]),
        ("boolean", ["true", "false"], ["1", '"true"', "null"]),
        (
            "int",
            ["0", "-2147483648", "2147483647", "1.0"],
            ["2147483648", "1.5", "true", '"1"', "null"],
        ),
        ("long", ["9223372036854775807"], ["9223372036854775808", "1.5"]),
        ("float", ["1", "1.5"], ['"NaN"', "NaN", "Infinity", "true"]),
        ("double", ["1", "-1.5e300"], ['"1"', "null"]),
        ("string", ['"x"', '"\u00e4"'], ["1", "null"]),
        ("bytes", ['"a"', '"\\u00ff"', '""'], ['"\\u0100"', "1"]),
        (FIXED, ['"ab"'], ['"abc"', '"a"', '"a\\u0100"']),
        (ENUM, ['"A"'], ['"C"', "0", "null"]),
        ({"type": "array", "items": "int"}, ["[]", "[1, 2]"], ['["a"]', "{}", "null"]),
        ({"type": "map", "values": "long"}, ["{}", '{"a": 1}'], ['{"a": "b"}', "[]"]),
        (
            ["null", "int", "string"],
            ["null", '{"int": 1}', '{"string": "1"}'],
            ["1", '"1"', '{"long": 1}', '{"int": "1"}', '{"null": null}', "{}"],
        ),
        (["int", "string"], ['{"int": 1}'], ["null", '{"int": 1, "string": "x"}']),
        (["null", NESTED], ['{"n.s.Q": {"v": 1}}'], ['{"Q": {"v": 1}}', '{"n.s.Q": {}}']),
        ({"type": "int", "logicalType": "date"}, ["1"], ['"2020-01-01"']),
    ],
)
def test_json_encoding_of_a_type(kind: Any, good: list[str], bad: list[str]) -> None:
    """Avro's JSON encoding; unions name their branch."""
    schema = compiled(of(kind))
    for text in good:
        schema.check(f'{{"v": {text}}}'.encode(), Encoding.JSON)
    for text in bad:
        with pytest.raises(InvalidArgument, match="Could not parse JSON Avro message"):
            schema.check(f'{{"v": {text}}}'.encode(), Encoding.JSON)


@pytest.mark.parametrize(
    ("text", "conforms"),
    [
        (b'{"v": 1, "next": null}', True),
        (b' {"next": {"R": {"v": 2, "next": null}}, "v": 1}\n', True),
        (b'{"v": 1, "next": null, "unknown": [1]}', True),
        (b'{"v": 1}', False),
        (b'{"v": 1, "next": {"R": {"v": 2}}}', False),
        (b'{"v": 1, "next": null} {}', False),
        (b'{"v": 1, "next": null', False),
        (b"[]", False),
        (b"", False),
        (b'{"v": 1, "next": null, "x": "\xff"}', False),
    ],
)
def test_json_record(text: bytes, conforms: bool) -> None:
    """Every field must be there, defaults too; what is unknown is ignored; one value only."""
    schema = compiled(LIST)
    if conforms:
        schema.check(text, Encoding.JSON)
    else:
        with pytest.raises(InvalidArgument):
            schema.check(text, Encoding.JSON)


@pytest.mark.parametrize(
    ("data", "conforms"),
    [
        (b"\x02\x00", True),
        (b"\x02\x02\x04\x00", True),
        (b"\x02", False),
        (b"\x02\x08", False),
        (b"\x02\x00\x00", False),
        (b"", False),
        (b"Obj\x01", False),
        (b'{"v": 1, "next": null}', False),
    ],
)
def test_binary_record(data: bytes, conforms: bool) -> None:
    """The bare binary encoding, whole: no container file, nothing after it."""
    schema = compiled(LIST)
    if conforms:
        schema.check(data, Encoding.BINARY)
    else:
        with pytest.raises(InvalidArgument, match="Could not parse binary Avro message"):
            schema.check(data, Encoding.BINARY)


VALUES = st.fixed_dictionaries(
    {
        "text": st.text(),
        "number": st.integers(-(2**63), 2**63 - 1),
        "ratio": st.floats(allow_nan=False, allow_infinity=False),
        "flag": st.booleans(),
        "raw": st.binary(),
        "list": st.lists(st.one_of(st.none(), st.text())),
        "map": st.dictionaries(st.text(min_size=1), st.integers(-(2**31), 2**31 - 1)),
        "letter": st.sampled_from(["A", "B"]),
    }
)
WIDE = record(
    *(
        {"name": name, "type": kind}
        for name, kind in {
            "text": "string",
            "number": "long",
            "ratio": "double",
            "flag": "boolean",
            "raw": "bytes",
            "list": {"type": "array", "items": ["null", "string"]},
            "map": {"type": "map", "values": "int"},
            "letter": ENUM,
        }.items()
    )
)


@given(VALUES)
def test_what_an_avro_writer_writes_conforms(value: dict[str, Any]) -> None:
    """In both encodings, as fastavro writes them."""
    schema = compiled(WIDE)
    parsed = fastavro.parse_schema(WIDE)
    binary, text = io.BytesIO(), io.StringIO()
    fastavro.schemaless_writer(binary, parsed, value)
    fastavro.json_writer(text, parsed, [value])
    schema.check(binary.getvalue(), Encoding.BINARY)
    schema.check(text.getvalue().encode(), Encoding.JSON)
    with pytest.raises(InvalidArgument):
        schema.check(binary.getvalue() + b"\x00", Encoding.BINARY)


A = {"name": "a", "type": "string"}
B = {"name": "b", "type": "int"}
B_DEFAULT = {**B, "default": 0}


@pytest.mark.parametrize(
    ("old", "new", "compatible"),
    [
        (record(A), record(A), True),
        (record(A), record(A, B_DEFAULT), True),
        (record(A, B_DEFAULT), record(A), True),
        (record(A), record(A, B), False),
        (record(A, B), record(A), False),
        (record(A, B), record(B, A), True),
        (record(A), record({**A, "type": "int"}), False),
        (record(A), record(A, name="Other"), False),
        (record(A), record(A, namespace="x.y"), True),
        (record(A), record({**A, "doc": "text"}), True),
        (of("string"), of("bytes"), True),
        (of("int"), of("long"), False),
        (of("int"), of(["null", "int"]), False),
        (of(["null", "int"]), of(["int", "null"]), True),
        (of(["null", "int"]), of(["null", "int", "string"]), False),
        (of(ENUM), of({**ENUM, "symbols": ["B", "A"]}), True),
        (of(ENUM), of({**ENUM, "symbols": ["A", "B", "C"]}), False),
        (of({**ENUM, "default": "A"}), of({**ENUM, "symbols": ["A", "B", "C"]}), True),
        (of(FIXED), of({**FIXED, "size": 3}), False),
        (of({"type": "array", "items": "int"}), of({"type": "array", "items": "string"}), False),
        (of({"type": "map", "values": "int"}), of({"type": "map", "values": "int"}), True),
        (of({"type": "map", "values": "int"}), of({"type": "array", "items": "int"}), False),
        (LIST, LIST, True),
        (LIST, record(*LIST["fields"], B_DEFAULT), True),
        (LIST, record({"name": "v", "type": "string"}, LIST["fields"][1]), False),
        (of(["null", NESTED]), of(["null", {**NESTED, "fields": [A]}]), False),
        ("string", "bytes", True),
        (record(A), "string", False),
    ],
)
def test_compatibility_holds_both_ways(old: Any, new: Any, compatible: bool) -> None:
    """A revision is read by, and reads, the earlier one."""
    first = compiled(json.dumps(old))
    second = compiled(json.dumps(new))
    assert (second.incompatibility(first) is None) is compatible
    assert (first.incompatibility(second) is None) is compatible


def test_field_may_be_renamed_with_aliases_on_both_sides_only() -> None:
    """An alias helps the reader that has it, and the other way round nothing does."""
    old, new = record(B), record({**B, "name": "c", "aliases": ["b"]})
    assert compiled(new).incompatibility(compiled(old)) is not None
