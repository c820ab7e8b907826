"""Schemas: definitions and messages are checked, in Avro and in protocol buffers."""

import json
from typing import Any

import pytest
from google.api_core.exceptions import AlreadyExists, InvalidArgument, NotFound
from google.pubsub_v1.types import Encoding, Schema

from tests.conformance.features import differs, feature
from tests.conformance.pubsub.conftest import Pubsub

DOCS = "https://cloud.google.com/pubsub/docs"
REFERENCE = f"{DOCS}/reference/rpc/google.pubsub.v1"
SCHEMAS = f"{DOCS}/schemas"
CREATE = f"{DOCS}/create-schemas"
VALIDATE = f"{REFERENCE}#validatemessagerequest"
TOPIC = f"{DOCS}/associate-schema-topic"

AVRO = json.dumps(
    {
        "type": "record",
        "name": "State",
        "fields": [
            {"name": "name", "type": "string"},
            {"name": "population", "type": "long"},
            {"name": "motto", "type": ["null", "string"], "default": None},
        ],
    }
)
PROTO = """syntax = "proto3";
message State { string name = 1; int64 population = 2; optional string motto = 3; }
"""
TYPES = {"AVRO": (Schema.Type.AVRO, AVRO), "PROTOCOL_BUFFER": (Schema.Type.PROTOCOL_BUFFER, PROTO)}

# Avro: string "Ohio" (length 4 as zigzag), long 12 (zigzag), union branch 0 (null).
AVRO_BINARY = b"\x08Ohio\x18\x00"
TOO_LONG = AVRO_BINARY + b"\x00"
# Protocol buffers: field 1 length-delimited "Ohio", field 2 varint 12.
PROTO_BINARY = b"\x0a\x04Ohio\x10\x0c"


def schema(kind: str) -> dict[str, Any]:
    """A Schema of this kind, without a name."""
    type_, definition = TYPES[kind]
    return {"type_": type_, "definition": definition}


def create(pubsub: Pubsub, kind: str) -> Any:
    """Create a schema in the project."""
    schema_id = pubsub.name("schemas").rsplit("/", 1)[1]
    return pubsub.create_schema(
        parent=pubsub.project, schema=schema(kind), schema_id=f"s-{schema_id}"
    )


NO_PROTOBUF = differs(gcloud="UNIMPLEMENTED: no protocol buffers")
KINDS = pytest.mark.parametrize(
    "kind", ["AVRO", pytest.param("PROTOCOL_BUFFER", marks=NO_PROTOBUF)]
)


@feature("Schemas are created, read, listed and deleted", production=CREATE)
@KINDS
def test_schema_reads_back_until_deleted(pubsub: Pubsub, kind: str) -> None:
    made = create(pubsub, kind)
    assert made.name.startswith(f"{pubsub.project}/schemas/s-")
    assert (made.type_, made.definition) == TYPES[kind]
    assert len(made.revision_id) == 8
    assert pubsub.get_schema(name=made.name) == made
    listed = pubsub.list_schemas(parent=pubsub.project, view="FULL")
    assert [s.definition for s in listed] == [made.definition]
    pubsub.delete_schema(name=made.name)
    with pytest.raises(NotFound):
        pubsub.get_schema(name=made.name)


@feature(
    "The BASIC view leaves the definition out",
    production=f"{REFERENCE}#listschemasrequest",
    gcloud="the definition is listed in the BASIC view",
)
def test_basic_view_has_no_definition(pubsub: Pubsub) -> None:
    made = create(pubsub, "AVRO")
    assert pubsub.get_schema(name=made.name, view="BASIC").definition == ""
    assert [s.definition for s in pubsub.list_schemas(parent=pubsub.project)] == [""]


@feature("A schema's name is its own", production=CREATE)
def test_second_schema_of_a_name_already_exists(pubsub: Pubsub) -> None:
    made = create(pubsub, "AVRO")
    with pytest.raises(AlreadyExists):
        pubsub.create_schema(
            parent=pubsub.project, schema=schema("AVRO"), schema_id=made.name.rsplit("/", 1)[1]
        )


@feature("Lists are paged with stable tokens", production=f"{REFERENCE}#listschemasrequest")
def test_schemas_are_listed_in_pages(pubsub: Pubsub) -> None:
    names = {create(pubsub, "AVRO").name for _ in range(3)}
    pages = list(pubsub.list_schemas(parent=pubsub.project, page_size=2).pages)
    assert [len(page.schemas) for page in pages] == [2, 1]
    assert {s.name for page in pages for s in page.schemas} == names


WRONG_DEFINITIONS = [
    pytest.param("AVRO", "{", id="AVRO: not JSON"),
    pytest.param("AVRO", '{"type": "record", "name": "R"}', id="AVRO: record without fields"),
    pytest.param("AVRO", '{"type": "nonsense", "name": "R"}', id="AVRO: unknown type"),
    pytest.param("PROTOCOL_BUFFER", "message {", id="PROTOCOL_BUFFER: syntax", marks=NO_PROTOBUF),
    pytest.param(
        "PROTOCOL_BUFFER",
        'syntax = "proto3"; message A { B b = 1; }',
        id="PROTOCOL_BUFFER: unknown type",
        marks=NO_PROTOBUF,
    ),
    pytest.param(
        "PROTOCOL_BUFFER",
        'syntax = "proto3"; message A { string a = 1; } message B { string b = 1; }',
        id="PROTOCOL_BUFFER: two top-level messages",
        marks=NO_PROTOBUF,
    ),
]


@feature("A definition is checked", production=f"{DOCS}/validate-schema-definition")
@pytest.mark.parametrize("rpc", ["validate_schema", "create_schema"])
@pytest.mark.parametrize(("kind", "definition"), WRONG_DEFINITIONS)
def test_wrong_definition_is_refused(pubsub: Pubsub, kind: str, definition: str, rpc: str) -> None:
    fields: dict[str, Any] = {"schema": {"type_": TYPES[kind][0], "definition": definition}}
    if rpc == "create_schema":
        fields["schema_id"] = "wrong-schema"
    with pytest.raises(InvalidArgument):
        getattr(pubsub, rpc)(parent=pubsub.project, **fields)


@feature(
    "A definition is at most 300 KB",
    production="https://cloud.google.com/pubsub/quotas#resource_limits",
    gcloud="not checked",
)
def test_large_definition_is_refused(pubsub: Pubsub) -> None:
    record = {"type": "record", "name": "R", "fields": [], "doc": "x" * 310_000}
    definition = {"type_": Schema.Type.AVRO, "definition": json.dumps(record)}
    with pytest.raises(InvalidArgument):
        pubsub.create_schema(parent=pubsub.project, schema=definition, schema_id="large")


@feature("A definition is checked", production=f"{DOCS}/validate-schema-definition")
@KINDS
def test_good_definition_is_accepted(pubsub: Pubsub, kind: str) -> None:
    pubsub.validate_schema(parent=pubsub.project, schema=schema(kind))


MESSAGES = [
    ("AVRO", "JSON", b'{"name": "Ohio", "population": 12, "motto": {"string": "x"}}', True),
    ("AVRO", "JSON", b'{"name": "Ohio", "population": 12, "motto": null}', True),
    ("AVRO", "JSON", b'{"name": "Ohio", "population": "twelve", "motto": null}', False),
    ("AVRO", "JSON", b'{"name": "Ohio"}', False),
    ("AVRO", "JSON", b"not json", False),
    ("AVRO", "BINARY", AVRO_BINARY, True),
    ("AVRO", "BINARY", AVRO_BINARY[:-2], False),
    ("AVRO", "BINARY", TOO_LONG, False),
    ("PROTOCOL_BUFFER", "JSON", b'{"name": "Ohio", "population": "12"}', True),
    ("PROTOCOL_BUFFER", "JSON", b'{"name": "Ohio", "unknown": 1}', False),
    ("PROTOCOL_BUFFER", "JSON", b'{"name": 1}', False),
    ("PROTOCOL_BUFFER", "BINARY", PROTO_BINARY, True),
    ("PROTOCOL_BUFFER", "BINARY", PROTO_BINARY[:-1], False),
]
TRAILING = differs(gcloud="bytes after the message are ignored")
CASES = pytest.mark.parametrize(
    ("kind", "encoding", "message", "valid"),
    [
        pytest.param(
            *case,
            id=f"{case[0]}-{case[1]}-{number}",
            marks=[NO_PROTOBUF] * (case[0] != "AVRO") + [TRAILING] * (case[2] == TOO_LONG),
        )
        for number, case in enumerate(MESSAGES)
    ],
)


@feature("ValidateMessage against a definition", production=VALIDATE)
@CASES
def test_message_is_validated_against_a_definition(
    pubsub: Pubsub, kind: str, encoding: str, message: bytes, valid: bool
) -> None:
    fields = {"schema": schema(kind), "message": message, "encoding": encoding}
    if valid:
        pubsub.validate_message(parent=pubsub.project, **fields)
    else:
        with pytest.raises(InvalidArgument):
            pubsub.validate_message(parent=pubsub.project, **fields)


@feature("ValidateMessage against a stored schema", production=VALIDATE)
@KINDS
def test_message_is_validated_against_a_stored_schema(pubsub: Pubsub, kind: str) -> None:
    name = create(pubsub, kind).name
    good = AVRO_BINARY if kind == "AVRO" else PROTO_BINARY
    pubsub.validate_message(parent=pubsub.project, name=name, message=good, encoding="BINARY")
    with pytest.raises(InvalidArgument):
        pubsub.validate_message(
            parent=pubsub.project, name=name, message=good[:-1], encoding="BINARY"
        )


@feature("A topic's schema is enforced on publish", production=SCHEMAS)
@CASES
def test_publish_is_held_to_the_schema(
    pubsub: Pubsub, kind: str, encoding: str, message: bytes, valid: bool
) -> None:
    settings = {"schema": create(pubsub, kind).name, "encoding": encoding}
    topic = pubsub.topic(schema_settings=settings)
    subscription = pubsub.subscription(topic)
    if valid:
        pubsub.send(topic, message)
        assert pubsub.take(subscription)[0].message.data == message
    else:
        with pytest.raises(InvalidArgument):
            pubsub.send(topic, message)


@feature("A message tells its schema in googclient_schema* attributes", production=SCHEMAS)
@pytest.mark.parametrize("encoding", ["JSON", "BINARY"])
def test_message_names_its_schema(pubsub: Pubsub, encoding: str) -> None:
    made = create(pubsub, "AVRO")
    topic = pubsub.topic(schema_settings={"schema": made.name, "encoding": encoding})
    subscription = pubsub.subscription(topic)
    pubsub.send(topic, AVRO_BINARY if encoding == "BINARY" else MESSAGES[1][2])
    assert dict(pubsub.take(subscription)[0].message.attributes) == {
        "googclient_schemaname": made.name,
        "googclient_schemarevisionid": made.revision_id,
        "googclient_schemaencoding": encoding,
    }


@feature("A topic shows its schema settings", production=TOPIC)
def test_schema_settings_read_back(pubsub: Pubsub) -> None:
    made = create(pubsub, "AVRO")
    topic = pubsub.topic(schema_settings={"schema": made.name, "encoding": "JSON"})
    settings = pubsub.get_topic(topic=topic).schema_settings
    assert (settings.schema, settings.encoding) == (made.name, Encoding.JSON)


@feature("A topic needs an existing schema and an encoding", production=TOPIC)
def test_topic_of_an_unknown_schema_is_refused(pubsub: Pubsub) -> None:
    with pytest.raises(NotFound):
        pubsub.topic(schema_settings={"schema": pubsub.name("schemas"), "encoding": "JSON"})


@feature("A topic needs an existing schema and an encoding", production=TOPIC)
def test_topic_without_an_encoding_is_refused(pubsub: Pubsub) -> None:
    with pytest.raises(InvalidArgument, match=r"(?i)encoding"):
        pubsub.topic(schema_settings={"schema": create(pubsub, "AVRO").name})


@feature(
    "A topic whose schema was deleted shows «_deleted-schema_»", production=f"{REFERENCE}#topic"
)
def test_topic_of_a_deleted_schema_says_so(pubsub: Pubsub) -> None:
    made = create(pubsub, "AVRO")
    topic = pubsub.topic(schema_settings={"schema": made.name, "encoding": "JSON"})
    pubsub.delete_schema(name=made.name)
    assert pubsub.get_topic(topic=topic).schema_settings.schema == "_deleted-schema_"


@feature("A topic's schema can be taken away", production=TOPIC)
def test_schema_settings_are_removed_by_mask(pubsub: Pubsub) -> None:
    made = create(pubsub, "AVRO")
    topic = pubsub.topic(schema_settings={"schema": made.name, "encoding": "JSON"})
    pubsub.update_topic(topic={"name": topic}, update_mask={"paths": ["schema_settings"]})
    assert pubsub.send(topic, b"anything")
