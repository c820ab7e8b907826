"""Protocol buffers: definitions, both encodings of messages, and what may change."""

import pytest
from google.protobuf import descriptor_pb2

from emulator.errors import InvalidArgument
from emulator.pubsub.schema_protobuf import ProtobufSchema
from emulator.pubsub.schemas import Encoding, SchemaSource, SchemaType


def compiled(definition: str) -> ProtobufSchema:
    return ProtobufSchema(SchemaSource(SchemaType.PROTOCOL_BUFFER, definition))


def proto3(body: str) -> str:
    return f'syntax = "proto3"; message M {{ {body} }}'


def proto2(body: str) -> str:
    return f'syntax = "proto2"; message M {{ {body} }}'


USER = proto3(
    "string user_id = 1; int64 at = 2; repeated string tags = 3; Kind kind = 4; Inner inner = 5;"
    "enum Kind { UNKNOWN = 0; NEW = 1; } message Inner { bool flag = 1; }"
)


@pytest.mark.parametrize(
    "definition",
    [
        USER,
        proto2("required string a = 1; optional group G = 2 { optional int32 b = 3; }"),
        'edition = "2023"; package a.b; message M { string a = 1; }',
        proto3(""),
        proto3("map<string, int32> m = 1; oneof o { string a = 2; bytes b = 3; }"),
    ],
)
def test_right_definition_compiles(definition: str) -> None:
    """proto2, proto3 and editions."""
    assert compiled(definition).incompatibility(compiled(definition)) is None


@pytest.mark.parametrize(
    ("definition", "why"),
    [
        ("", "one top-level type"),
        ("nonsense", "line 1, column 1"),
        (proto3("string a = 1"), "Expected"),
        (proto3("string a = 1; int32 b = 1;"), "number 1"),
        (proto3("Missing a = 1;"), "Missing"),
        ('syntax = "proto3"; message A {} message B {}', "found: A, B"),
        ('syntax = "proto3"; message A {} enum E { X = 0; }', "found: A, E"),
        ('syntax = "proto3"; enum E { X = 0; }', "found: E"),
        (
            'syntax = "proto3"; import "google/protobuf/timestamp.proto"; '
            "message A { google.protobuf.Timestamp t = 1; }",
            "not found",
        ),
    ],
)
def test_wrong_definition_is_refused_with_the_compilers_words(definition: str, why: str) -> None:
    """One message at the top, no imports, and no syntax error."""
    with pytest.raises(InvalidArgument, match=f"Could not parse schema definition: .*{why}"):
        compiled(definition)


@pytest.mark.parametrize(
    ("text", "conforms"),
    [
        (b"{}", True),
        (
            b'{"userId": "u", "at": "12", "tags": ["x"], "kind": "NEW", "inner": {"flag": true}}',
            True,
        ),
        (b'{"user_id": "u", "at": 12, "kind": 1}', True),
        (b'{"unknown": 1}', False),
        (b'{"inner": {"unknown": 1}}', False),
        (b'{"userId": 1}', False),
        (b'{"at": "x"}', False),
        (b'{"kind": "OTHER"}', False),
        (b"", False),
        (b"[]", False),
        (b"{} {}", False),
        (b"\xff", False),
    ],
)
def test_json_message(text: bytes, conforms: bool) -> None:
    """Protobuf's JSON mapping; a field that the schema does not have is refused."""
    schema = compiled(USER)
    if conforms:
        schema.check(text, Encoding.JSON)
    else:
        with pytest.raises(InvalidArgument, match="Could not parse protocol buffer message"):
            schema.check(text, Encoding.JSON)


@pytest.mark.parametrize(
    ("data", "conforms"),
    [
        (b"", True),
        (b"\x0a\x01u\x10\x0c", True),
        (b"\x2a\x02\x08\x01", True),
        (b"\x20\x07", True),
        (b"\x0a\x05u", False),
        (b"\xff", False),
        (b"\x0a\x01\xff", False),
        (b"\x32\x01u", False),
        (b"\x2a\x02\x10\x01", False),
        (b"not a message", False),
    ],
)
def test_binary_message(data: bytes, conforms: bool) -> None:
    """An unknown field is refused, at the top (number 6) and within (inner, number 2)."""
    schema = compiled(USER)
    if conforms:
        schema.check(data, Encoding.BINARY)
    else:
        with pytest.raises(InvalidArgument, match="Could not parse protocol buffer message"):
            schema.check(data, Encoding.BINARY)


def test_required_field_must_be_set() -> None:
    """In both encodings."""
    schema = compiled(proto2("required string a = 1; optional string b = 2;"))
    schema.check(b"\x0a\x01x", Encoding.BINARY)
    schema.check(b'{"a": "x"}', Encoding.JSON)
    for data, encoding in [(b"\x12\x01x", Encoding.BINARY), (b'{"b": "x"}', Encoding.JSON)]:
        with pytest.raises(InvalidArgument, match="required"):
            schema.check(data, encoding)


@pytest.mark.parametrize(
    ("old", "new", "compatible"),
    [
        (proto3("string a = 1;"), proto3("string a = 1; int32 b = 2;"), True),
        (proto3("string a = 1; int32 b = 2;"), proto3("string a = 1;"), True),
        (proto3("string a = 1;"), proto3("optional string a = 1; M m = 2;"), False),
        (proto3("string a = 1;"), proto3("string a = 1; M m = 2;"), True),
        (proto3("int64 a = 1;"), proto3("string a = 1;"), False),
        (proto3("int32 a = 1;"), proto3("int64 a = 1;"), False),
        (proto3("string a = 1;"), proto3("string b = 1;"), False),
        (proto3("string a = 1;"), proto3("repeated string a = 1;"), False),
        (proto3("string a = 1;"), proto3("string a = 1; repeated string b = 2;"), False),
        (proto2("optional string a = 1;"), proto2("required string a = 1;"), False),
        (proto2(""), proto2("required string a = 1;"), False),
        (proto3("string a = 1;"), proto3("oneof o { string a = 1; }"), False),
        (
            proto3("I i = 1; message I { string a = 1; }"),
            proto3("I i = 1; message I { string a = 1; string b = 2; }"),
            True,
        ),
        (
            proto3("I i = 1; message I { string a = 1; }"),
            proto3("I i = 1; message I { int32 a = 1; }"),
            False,
        ),
        (
            proto3("E e = 1; enum E { A = 0; }"),
            proto3("E e = 1; enum E { A = 0; B = 1; }"),
            True,
        ),
        (
            proto3("E e = 1; enum E { A = 0; B = 1; }"),
            proto3("E e = 1; enum E { A = 0; C = 1; }"),
            False,
        ),
    ],
)
def test_only_optional_fields_may_come_and_go(old: str, new: str, compatible: bool) -> None:
    """Existing fields stay as they are, nested ones too, whichever revision is first."""
    assert (compiled(new).incompatibility(compiled(old)) is None) is compatible
    assert (compiled(old).incompatibility(compiled(new)) is None) is compatible


def test_incompatibility_is_told_as_production_does() -> None:
    """The wording observed on production."""
    old, new = proto3("string device = 4;"), proto3("int64 device_id = 4;")
    assert compiled(new).incompatibility(compiled(old)) == (
        "device_id of type int64 is not compatible with device of type string"
    )


def test_compiled_set_may_have_imports_and_names_its_root() -> None:
    """A FileDescriptorSet with its dependencies first, as protoc writes it."""
    inner = descriptor_pb2.FileDescriptorProto(name="i.proto", package="i", syntax="proto3")
    inner.message_type.add(name="I").field.add(name="a", number=1, type=9, label=1)
    outer = descriptor_pb2.FileDescriptorProto(
        name="o.proto", package="o", syntax="proto3", dependency=["i.proto"]
    )
    outer.message_type.add(name="Other")
    outer.message_type.add(name="O").field.add(
        name="i", number=1, type=11, label=1, type_name=".i.I"
    )
    both = descriptor_pb2.FileDescriptorSet(file=[inner, outer]).SerializeToString()

    def schema(compiled_bytes: bytes, root: str, definition: str = "") -> ProtobufSchema:
        return ProtobufSchema(
            SchemaSource(SchemaType.PROTOCOL_BUFFER, definition, root, compiled_bytes)
        )

    schema(both, "o.O").check(b'{"i": {"a": "x"}}', Encoding.JSON)
    with pytest.raises(InvalidArgument, match="Could not parse"):
        schema(both, "o.O").check(b'{"a": "x"}', Encoding.JSON)
    for compiled_bytes, root, definition in [
        (both, "o.Missing", ""),
        (both, "", ""),
        (b"\xff", "o.O", ""),
        (descriptor_pb2.FileDescriptorSet(file=[outer]).SerializeToString(), "o.O", ""),
        (both, "o.O", USER),
    ]:
        with pytest.raises(InvalidArgument):
            schema(compiled_bytes, root, definition)
