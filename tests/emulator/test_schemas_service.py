"""SchemaService: requests and replies of every RPC, without a socket."""

import importlib.resources
import json
from typing import Any

import pytest
from google.pubsub_v1 import types

from emulator.clock import ManualClock
from emulator.errors import InvalidArgument, NotFound
from emulator.pubsub.schema_kinds import compile_schema
from emulator.pubsub.schema_service import schema_service, settings_from_pb, settings_to_pb
from emulator.pubsub.schemas import Encoding, SchemaRegistry, SchemaSettings
from emulator.pubsub.settings import TopicSettings
from emulator.pubsub.translate import updated_topic

NAME = "projects/p/schemas/user"
AVRO = '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]}'
PROTO = 'syntax = "proto3"; message M { string a = 1; }'


class Calls:
    """A SchemaService to call: `calls.CreateSchema(parent=...)`; what it deleted."""

    def __init__(self) -> None:
        self.deleted: list[str] = []
        self.registry = SchemaRegistry(compile_schema)
        ids = (f"{number:08x}" for number in range(100))
        self.service = schema_service(
            self.registry,
            ManualClock(1_700_000_000_250_000),
            revision_id=lambda: next(ids),
            on_deleted=self.deleted.append,
        )

    def __getattr__(self, name: str) -> Any:
        rpc = self.service.rpcs[name]

        def call(**fields: Any) -> Any:
            reply = rpc.call(rpc.request(**fields), None)
            assert isinstance(reply, rpc.reply)
            return reply

        return call


@pytest.fixture
def calls() -> Calls:
    return Calls()


def avro(calls: Calls) -> Any:
    return calls.CreateSchema(
        parent="projects/p", schema_id="user", schema={"type_": "AVRO", "definition": AVRO}
    )


def test_every_rpc_of_the_installed_client_is_in_the_table(calls: Calls) -> None:
    """None is left out, and none is refused."""
    text = importlib.resources.files("google.pubsub_v1").joinpath("gapic_metadata.json").read_text()
    clients = json.loads(text)["services"]["SchemaService"]["clients"]
    assert set(calls.service.rpcs) == set(clients["grpc"]["rpcs"])
    assert not calls.service.unsupported


def test_views_say_whether_the_definition_is_shown(calls: Calls) -> None:
    """GetSchema shows all unless BASIC; the lists show the definition only when FULL."""
    created = avro(calls)
    assert (created.name, created.revision_id, created.definition) == (NAME, "00000000", AVRO)
    assert created.revision_create_time.ToJsonString() == "2023-11-14T22:13:20.250Z"
    assert calls.GetSchema(name=NAME) == created
    assert calls.GetSchema(name=NAME, view="FULL") == created
    basic = calls.GetSchema(name=NAME, view="BASIC")
    assert (basic.definition, basic.type_, basic.revision_id) == ("", 2, "00000000")
    for listed in (calls.ListSchemas(parent="projects/p"), calls.ListSchemaRevisions(name=NAME)):
        assert list(listed.schemas) == [basic]
    full = calls.ListSchemaRevisions(name=NAME, view="FULL")
    assert list(full.schemas) == [created]
    assert list(calls.ListSchemas(parent="projects/p", view="FULL").schemas) == [created]


def test_revisions_come_and_go(calls: Calls) -> None:
    """Commit, roll back, page, delete one, delete all."""
    avro(calls)
    wider = AVRO.replace("}]", '}, {"name": "b", "type": "int", "default": 0}]')
    committed = calls.CommitSchema(name=NAME, schema={"type_": "AVRO", "definition": wider})
    assert (committed.revision_id, committed.definition) == ("00000001", wider)
    back = calls.RollbackSchema(name=NAME, revision_id="00000000")
    assert (back.revision_id, back.definition) == ("00000002", AVRO)
    page = calls.ListSchemaRevisions(name=NAME, page_size=2)
    assert [each.revision_id for each in page.schemas] == ["00000000", "00000001"]
    rest = calls.ListSchemaRevisions(name=NAME, page_token=page.next_page_token)
    assert [each.revision_id for each in rest.schemas] == ["00000002"]
    assert calls.DeleteSchemaRevision(name=f"{NAME}@00000001") == committed
    calls.DeleteSchema(name=NAME)
    assert calls.deleted == [NAME]
    with pytest.raises(NotFound):
        calls.GetSchema(name=NAME)


@pytest.mark.parametrize(
    ("schema", "message", "conforms"),
    [
        ({"type_": "AVRO", "definition": AVRO}, b'{"a": "x"}', True),
        ({"type_": "AVRO", "definition": AVRO}, b'{"a": 1}', False),
        ({"type_": "PROTOCOL_BUFFER", "definition": PROTO}, b'{"a": "x"}', True),
        ({"type_": "PROTOCOL_BUFFER", "definition": PROTO}, b'{"b": "x"}', False),
    ],
)
def test_message_is_validated_against_a_given_or_a_named_schema(
    calls: Calls, schema: dict[str, str], message: bytes, conforms: bool
) -> None:
    """Both kinds, ad hoc and stored."""
    calls.ValidateSchema(parent="projects/p", schema=schema)
    calls.CreateSchema(parent="projects/p", schema_id="user", schema=schema)
    for spec in ({"schema": schema}, {"name": NAME}, {"name": f"{NAME}@00000000"}):
        request = {"parent": "projects/p", "message": message, "encoding": "JSON", **spec}
        if conforms:
            calls.ValidateMessage(**request)
        else:
            with pytest.raises(InvalidArgument):
                calls.ValidateMessage(**request)


def test_what_is_not_said_is_refused_by_the_name_of_its_field(calls: Calls) -> None:
    """No type, no encoding, a compiled set for Avro."""
    with pytest.raises(InvalidArgument, match=r"schema\.type"):
        calls.ValidateSchema(schema={"definition": AVRO})
    with pytest.raises(InvalidArgument, match="encoding"):
        calls.ValidateMessage(schema={"type_": "AVRO", "definition": AVRO}, message=b'{"a": "x"}')
    with pytest.raises(InvalidArgument, match="compiled_proto_schema"):
        calls.ValidateSchema(
            schema={"type_": "AVRO", "compiled_proto_schema": {"root_message": "M"}}
        )
    with pytest.raises(InvalidArgument, match="root_message"):
        calls.ValidateSchema(
            schema={"type_": "PROTOCOL_BUFFER", "compiled_proto_schema": {"compiled_bytes": b"x"}}
        )


def test_settings_of_a_topic_travel_both_ways() -> None:
    """The message and the value are the same thing; an encoding is required."""
    settings = SchemaSettings(NAME, Encoding.BINARY, "00000001", "00000002")
    assert settings_from_pb(settings_to_pb(settings)) == settings
    with pytest.raises(InvalidArgument, match=r"schema_settings\.encoding"):
        settings_from_pb(types.SchemaSettings.pb()(schema=NAME))


def test_settings_of_a_topic_are_updated_by_part() -> None:
    """A mask may name single fields; the result is checked as a whole."""
    present = TopicSettings(
        "projects/p/topics/ttt",
        schema_settings=SchemaSettings(NAME, Encoding.JSON, last_revision_id="00000001"),
    )
    given = types.Topic.pb()(name=present.name, schema_settings={"encoding": "BINARY"})

    def updated(*paths: str, settings: TopicSettings = present) -> SchemaSettings | None:
        return updated_topic(settings, given, paths, lenient=False).schema_settings

    assert updated("schema_settings.encoding") == SchemaSettings(
        NAME, Encoding.BINARY, last_revision_id="00000001"
    )
    assert updated(
        "schema_settings.encoding", "schema_settings.last_revision_id"
    ) == SchemaSettings(NAME, Encoding.BINARY)
    assert updated("labels") == present.schema_settings
    with pytest.raises(InvalidArgument, match="other is not a known SchemaSettings field"):
        updated("schema_settings.other")
    with pytest.raises(InvalidArgument, match=r"schema_settings\.encoding"):
        updated("schema_settings.schema", settings=TopicSettings(present.name))
